/* Linear interpolation of a box, with the arithmetic of scipy.ndimage.zoom(order=1, mode="grid-constant"), so that a
   volume interpolated box by box equals the volume interpolated at once, bit for bit. */
#include "csc.h"

/* Output voxel o of an axis lies between source voxels index[o] and index[o] + 1 with weights w[2 * o], w[2 * o + 1]; a
   source index outside the box counts as 0. Products and sums go in scipy's order: ((v * wz) * wy) * wx, x fastest. */
#define DEFINE_INTERPOLATE(NAME, TYPE)                                                                                 \
    CSC_API void csc_interpolate_##NAME(const TYPE *source, const int64_t *source_shape, const int64_t *shape,         \
                                        const int64_t *iz, const int64_t *iy, const int64_t *ix, const double *wz,     \
                                        const double *wy, const double *wx, TYPE *out)                                 \
    {                                                                                                                  \
        for (int64_t z = 0; z < shape[0]; z++)                                                                         \
            for (int64_t y = 0; y < shape[1]; y++)                                                                     \
                for (int64_t x = 0; x < shape[2]; x++) {                                                               \
                    double sum = 0;                                                                                    \
                    for (int corner = 0; corner < 8; corner++) {                                                       \
                        const int dz = corner >> 2, dy = (corner >> 1) & 1, dx = corner & 1;                           \
                        const int64_t sz = iz[z] + dz, sy = iy[y] + dy, sx = ix[x] + dx;                               \
                        double v = 0;                                                                                  \
                        if (sz >= 0 && sz < source_shape[0] && sy >= 0 && sy < source_shape[1] && sx >= 0 &&           \
                            sx < source_shape[2])                                                                      \
                            v = (double)source[(sz * source_shape[1] + sy) * source_shape[2] + sx];                    \
                        v *= wz[2 * z + dz];                                                                              \
                        v *= wy[2 * y + dy];                                                                              \
                        v *= wx[2 * x + dx];                                                                              \
                        sum += v;                                                                                      \
                    }                                                                                                  \
                    *out++ = (TYPE)sum;                                                                                \
                }                                                                                                      \
    }

DEFINE_INTERPOLATE(f4, float)
DEFINE_INTERPOLATE(f8, double)
