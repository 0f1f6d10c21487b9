/* Gaussian filter and linear interpolation of a box, with the arithmetic of scipy.ndimage (gaussian_filter, and zoom
   with order=1, mode="grid-constant"): a volume resampled box by box equals the volume resampled at once, bit for bit. */
#include "csc.h"

/* One row of sums: the voxels k before and k after its own lie k * step away, where there are so many, else they are 0.
   scipy adds the farthest pair first, in double. Halving a volume has radius 2, which is faster in one go. */
#define DEFINE_BLUR_ROW(NAME, IN, OUT)                                                                                 \
    static void NAME(const IN *centre, int64_t step, int64_t before, int64_t after, const IN *zeros,                   \
                     OUT *restrict out, int64_t n, const double *weights, int64_t radius, double *restrict sums)       \
    {                                                                                                                  \
        if (radius == 2) {                                                                                             \
            const IN *const low1 = before >= 1 ? centre - step : zeros;                                                \
            const IN *const low2 = before >= 2 ? centre - 2 * step : zeros;                                            \
            const IN *const high1 = after >= 1 ? centre + step : zeros;                                                \
            const IN *const high2 = after >= 2 ? centre + 2 * step : zeros;                                            \
            const double w0 = weights[0], w1 = weights[1], w2 = weights[2];                                            \
            for (int64_t i = 0; i < n; i++) {                                                                          \
                const double pair1 = (double)low1[i] + (double)high1[i], pair2 = (double)low2[i] + (double)high2[i];   \
                out[i] = (OUT)((double)centre[i] * w0 + pair2 * w2 + pair1 * w1);                                      \
            }                                                                                                          \
            return;                                                                                                    \
        }                                                                                                              \
        for (int64_t i = 0; i < n; i++)                                                                                \
            sums[i] = (double)centre[i] * weights[0];                                                                  \
        for (int64_t k = radius; k > 0; k--) {                                                                         \
            const IN *const low = k <= before ? centre - k * step : zeros;                                             \
            const IN *const high = k <= after ? centre + k * step : zeros;                                             \
            for (int64_t i = 0; i < n; i++)                                                                            \
                sums[i] += ((double)low[i] + (double)high[i]) * weights[k];                                            \
        }                                                                                                              \
        for (int64_t i = 0; i < n; i++)                                                                                \
            out[i] = (OUT)sums[i];                                                                                     \
    }

/* A separable, symmetric filter of a box of IN, plane by plane; voxels outside count as 0. Only the outputs from first
   on are formed, count along each axis. weights: those of z, y and x in turn, radius + 1 of each, the centre's first.
   scipy rounds to the stored type after each axis. planes: (shape[1] + 1) * shape[2] values; zeros: 3 * shape[2] +
   2 * radius[2] doubles of 0. */
#define DEFINE_BLUR(NAME, IN, TYPE)                                                                                    \
    DEFINE_BLUR_ROW(blur_z_##NAME, IN, TYPE)                                                                           \
    DEFINE_BLUR_ROW(blur_y_##NAME, TYPE, TYPE)                                                                         \
    DEFINE_BLUR_ROW(blur_x_##NAME, double, TYPE)                                                                       \
                                                                                                                       \
    CSC_API void csc_blur_##NAME(const IN *in, TYPE *out, const int64_t *shape, const int64_t *first,                  \
                                 const int64_t *count, const double *weights, const int64_t *radius, TYPE *planes,     \
                                 double *zeros)                                                                        \
    {                                                                                                                  \
        const int64_t ny = shape[1], nx = shape[2], plane = ny * nx;                                                   \
        const double *const by_z = weights, *const by_y = by_z + radius[0] + 1, *const by_x = by_y + radius[1] + 1;    \
        TYPE *const along_z = planes, *const along_y = planes + plane;                                                 \
        double *const sums = zeros + nx, *const line = sums + nx + radius[2];                                          \
        for (int64_t z = first[0]; z < first[0] + count[0]; z++) {                                                     \
            for (int64_t y = 0; y < ny; y++)                                                                           \
                blur_z_##NAME(in + z * plane + y * nx, plane, z, shape[0] - 1 - z, (const IN *)zeros,                  \
                              along_z + y * nx, nx, by_z, radius[0], sums);                                            \
            for (int64_t y = first[1]; y < first[1] + count[1]; y++, out += count[2]) {                                \
                blur_y_##NAME(along_z + y * nx, nx, y, ny - 1 - y, (const TYPE *)zeros, along_y, nx, by_y, radius[1],  \
                              sums);                                                                                   \
                for (int64_t x = 0; x < nx; x++)                                                                       \
                    line[x] = (double)along_y[x];                                                                      \
                blur_x_##NAME(line + first[2], 1, radius[2], radius[2], NULL, out, count[2], by_x, radius[2], sums);   \
            }                                                                                                          \
        }                                                                                                              \
    }

DEFINE_BLUR(f4, float, float)
DEFINE_BLUR(f8, double, double)
/* A mask, filtered as floats of 0 and 1. */
DEFINE_BLUR(u1, uint8_t, float)

/* Output voxel o of an axis lies between source voxels index[o] and index[o] + 1 with weights w[2 * o], w[2 * o + 1]; a
   source index outside the box counts as 0. Along x, indices are from -1 to the last voxel. Products and sums go in
   scipy's order: ((v * wz) * wy) * wx, x fastest. lines: 4 * (source_shape[2] + 2) doubles. */
#define DEFINE_INTERPOLATE(NAME, TYPE)                                                                                 \
    CSC_API void csc_interpolate_##NAME(const TYPE *source, const int64_t *source_shape, const int64_t *shape,         \
                                        const int64_t *iz, const int64_t *iy, const int64_t *ix, const double *wz,     \
                                        const double *wy, const double *wx, TYPE *out, double *lines)                  \
    {                                                                                                                  \
        const int64_t nx = source_shape[2], width = nx + 2;                                                            \
        for (int64_t z = 0; z < shape[0]; z++)                                                                         \
            for (int64_t y = 0; y < shape[1]; y++, out += shape[2]) {                                                  \
                /* The four lines around, times their weights, with a zero at each end. */                             \
                for (int k = 0; k < 4; k++) {                                                                          \
                    const int64_t sz = iz[z] + (k >> 1), sy = iy[y] + (k & 1);                                         \
                    const int inside = sz >= 0 && sz < source_shape[0] && sy >= 0 && sy < source_shape[1];             \
                    const TYPE *from = inside ? source + (sz * source_shape[1] + sy) * nx : NULL;                      \
                    const double by_z = wz[2 * z + (k >> 1)], by_y = wy[2 * y + (k & 1)];                              \
                    double *line = lines + k * width;                                                                  \
                    line[0] = line[width - 1] = 0;                                                                     \
                    for (int64_t x = 0; x < nx; x++)                                                                   \
                        line[x + 1] = inside ? (double)from[x] * by_z * by_y : 0;                                      \
                }                                                                                                      \
                for (int64_t x = 0; x < shape[2]; x++) {                                                               \
                    const double *at = lines + ix[x] + 1;                                                              \
                    const double left = wx[2 * x], right = wx[2 * x + 1];                                              \
                    double sum = 0;                                                                                    \
                    for (int k = 0; k < 4; k++, at += width) {                                                         \
                        sum += at[0] * left;                                                                           \
                        sum += at[1] * right;                                                                          \
                    }                                                                                                  \
                    out[x] = (TYPE)sum;                                                                                \
                }                                                                                                      \
            }                                                                                                          \
    }

DEFINE_INTERPOLATE(f4, float)
DEFINE_INTERPOLATE(f8, double)
