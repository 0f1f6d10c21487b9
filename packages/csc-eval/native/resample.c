/* Gaussian filter and linear interpolation of a box, with the arithmetic of scipy.ndimage (gaussian_filter, and zoom
   with order=1, mode="grid-constant"): a volume resampled box by box equals the volume resampled at once, bit for bit. */
#include "csc.h"

/* One axis of a separable, symmetric filter; voxels outside count as 0. The axis has n voxels, n_outer lines of lines
   before it and n_inner voxels after it; only outputs first .. first + count - 1 are formed. weights[0] belongs to the centre, weights[k] to the voxels k away.
   scipy adds the farthest pair first, in double, and rounds to the stored type after each axis. accumulator: n_inner
   doubles, or n of them where n_inner is 1; padded: n + 2 * radius doubles. */
#define DEFINE_BLUR(NAME, TYPE)                                                                                        \
    CSC_API void csc_blur_##NAME(const TYPE *in, TYPE *out, int64_t n_outer, int64_t n, int64_t n_inner,               \
                                 int64_t first, int64_t count, const double *weights, int64_t radius,                  \
                                 double *accumulator, double *padded)                                                  \
    {                                                                                                                  \
        if (n_inner == 1) {                                                                                            \
            for (int64_t line = 0; line < n_outer; line++, in += n, out += count) {                                    \
                double *centre = padded + radius;                                                                      \
                for (int64_t i = 0; i < radius; i++)                                                                   \
                    padded[i] = centre[n + i] = 0;                                                                     \
                for (int64_t i = 0; i < n; i++)                                                                        \
                    centre[i] = (double)in[i];                                                                         \
                const double *from = centre + first;                                                                   \
                for (int64_t i = 0; i < count; i++)                                                                    \
                    accumulator[i] = from[i] * weights[0];                                                             \
                for (int64_t k = radius; k > 0; k--)                                                                   \
                    for (int64_t i = 0; i < count; i++)                                                                \
                        accumulator[i] += (from[i - k] + from[i + k]) * weights[k];                                    \
                for (int64_t i = 0; i < count; i++)                                                                    \
                    out[i] = (TYPE)accumulator[i];                                                                     \
            }                                                                                                          \
            return;                                                                                                    \
        }                                                                                                              \
        for (int64_t block = 0; block < n_outer; block++, in += n * n_inner, out += count * n_inner)                   \
            for (int64_t i = first; i < first + count; i++) {                                                          \
                const TYPE *centre = in + i * n_inner;                                                                 \
                for (int64_t j = 0; j < n_inner; j++)                                                                  \
                    accumulator[j] = (double)centre[j] * weights[0];                                                   \
                for (int64_t k = radius; k > 0; k--) {                                                                 \
                    const TYPE *before = i >= k ? centre - k * n_inner : NULL;                                         \
                    const TYPE *after = i + k < n ? centre + k * n_inner : NULL;                                       \
                    if (before && after)                                                                               \
                        for (int64_t j = 0; j < n_inner; j++)                                                          \
                            accumulator[j] += ((double)before[j] + (double)after[j]) * weights[k];                     \
                    else if (before || after)                                                                          \
                        for (int64_t j = 0; j < n_inner; j++)                                                          \
                            accumulator[j] += (double)(before ? before : after)[j] * weights[k];                       \
                }                                                                                                      \
                for (int64_t j = 0; j < n_inner; j++)                                                                  \
                    out[(i - first) * n_inner + j] = (TYPE)accumulator[j];                                             \
            }                                                                                                          \
    }

DEFINE_BLUR(f4, float)
DEFINE_BLUR(f8, double)

/* Output voxel o of an axis lies between source voxels index[o] and index[o] + 1 with weights w[2 * o], w[2 * o + 1]; a
   source index outside the box counts as 0. Products and sums go in scipy's order: ((v * wz) * wy) * wx, x fastest. */
#define DEFINE_INTERPOLATE(NAME, TYPE)                                                                                 \
    CSC_API void csc_interpolate_##NAME(const TYPE *source, const int64_t *source_shape, const int64_t *shape,         \
                                        const int64_t *iz, const int64_t *iy, const int64_t *ix, const double *wz,     \
                                        const double *wy, const double *wx, TYPE *out)                                 \
    {                                                                                                                  \
        const int64_t nx = source_shape[2];                                                                            \
        for (int64_t z = 0; z < shape[0]; z++)                                                                         \
            for (int64_t y = 0; y < shape[1]; y++, out += shape[2]) {                                                  \
                const TYPE *line[4];                                                                                   \
                for (int k = 0; k < 4; k++) {                                                                          \
                    const int64_t sz = iz[z] + (k >> 1), sy = iy[y] + (k & 1);                                         \
                    const int inside = sz >= 0 && sz < source_shape[0] && sy >= 0 && sy < source_shape[1];             \
                    line[k] = inside ? source + (sz * source_shape[1] + sy) * nx : NULL;                               \
                }                                                                                                      \
                const double z0 = wz[2 * z], z1 = wz[2 * z + 1], y0 = wy[2 * y], y1 = wy[2 * y + 1];                   \
                const double by_z[4] = {z0, z0, z1, z1}, by_y[4] = {y0, y1, y0, y1};                                   \
                for (int64_t x = 0; x < shape[2]; x++) {                                                               \
                    const int64_t left = ix[x];                                                                        \
                    const int has_left = left >= 0 && left < nx, has_right = left >= -1 && left + 1 < nx;              \
                    const double x0 = wx[2 * x], x1 = wx[2 * x + 1];                                                   \
                    double sum = 0;                                                                                    \
                    for (int k = 0; k < 4; k++) {                                                                      \
                        const double v0 = line[k] && has_left ? (double)line[k][left] : 0;                             \
                        const double v1 = line[k] && has_right ? (double)line[k][left + 1] : 0;                        \
                        sum += v0 * by_z[k] * by_y[k] * x0;                                                            \
                        sum += v1 * by_z[k] * by_y[k] * x1;                                                            \
                    }                                                                                                  \
                    out[x] = (TYPE)sum;                                                                                \
                }                                                                                                      \
            }                                                                                                          \
    }

DEFINE_INTERPOLATE(f4, float)
DEFINE_INTERPOLATE(f8, double)
