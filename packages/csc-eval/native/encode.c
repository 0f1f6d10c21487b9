/* Run-length encoding of lines of voxels, one function per stored dtype. */
#include "csc.h"

static uint64_t bits_of(double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

/* The key of a value: integers sign-extended to 64 bits, floats as the bits of a double. Every NaN gets the same bits;
   as NaN != NaN, each NaN voxel is a run of its own all the same. */
#define INTEGER_KEY(v) ((uint64_t)(int64_t)(v))
#define FLOAT_KEY(v) ((v) != (v) ? UINT64_C(0x7ff8000000000000) : bits_of((double)(v)))

/* Encodes lines until all are done or the buffers might not hold the next one. Writes line_ptr[done + 1 .. ] as it
   goes (absolute, counted from *n_runs at entry) and returns how many lines were done. */
#define DEFINE_ENCODE(NAME, TYPE, KEY)                                                                                 \
    CSC_API int64_t csc_encode_##NAME(const TYPE *voxels, int64_t n_lines, int64_t nx, int64_t *line_ptr,              \
                                      int32_t *start, int32_t *stop, uint64_t *key, int64_t *n_runs, int64_t capacity) \
    {                                                                                                                  \
        const int64_t step = 8 / (int64_t)sizeof(TYPE);                                                                \
        int64_t n = *n_runs;                                                                                           \
        for (int64_t line = 0; line < n_lines; line++) {                                                               \
            const TYPE *row = voxels + line * nx;                                                                      \
            if (n + nx > capacity) {                                                                                   \
                *n_runs = n;                                                                                           \
                return line;                                                                                           \
            }                                                                                                          \
            int64_t x = 0;                                                                                             \
            while (x < nx) {                                                                                           \
                uint64_t word = 0;                                                                                     \
                while (x + step <= nx) {                                                                               \
                    memcpy(&word, row + x, 8);                                                                         \
                    if (word)                                                                                          \
                        break;                                                                                         \
                    x += step;                                                                                         \
                }                                                                                                      \
                while (x < nx && row[x] == 0)                                                                          \
                    x++;                                                                                               \
                if (x >= nx)                                                                                           \
                    break;                                                                                             \
                const TYPE value = row[x];                                                                             \
                start[n] = (int32_t)x++;                                                                               \
                while (x < nx && row[x] == value)                                                                      \
                    x++;                                                                                               \
                stop[n] = (int32_t)x;                                                                                  \
                key[n++] = KEY(value);                                                                                 \
            }                                                                                                          \
            line_ptr[line + 1] = n;                                                                                    \
        }                                                                                                              \
        *n_runs = n;                                                                                                   \
        return n_lines;                                                                                                \
    }

DEFINE_ENCODE(u1, uint8_t, INTEGER_KEY)
DEFINE_ENCODE(i1, int8_t, INTEGER_KEY)
DEFINE_ENCODE(u2, uint16_t, INTEGER_KEY)
DEFINE_ENCODE(i2, int16_t, INTEGER_KEY)
DEFINE_ENCODE(u4, uint32_t, INTEGER_KEY)
DEFINE_ENCODE(i4, int32_t, INTEGER_KEY)
DEFINE_ENCODE(u8, uint64_t, INTEGER_KEY)
DEFINE_ENCODE(i8, int64_t, INTEGER_KEY)
DEFINE_ENCODE(f4, float, FLOAT_KEY)
DEFINE_ENCODE(f8, double, FLOAT_KEY)

/* Counts truth & prediction, prediction only, truth only over two rows of bytes that are 0 or 1. */
CSC_API void csc_count_pairs(const uint8_t *truth, const uint8_t *prediction, int64_t n, int64_t *counts)
{
    int64_t both = 0, in_truth = 0, in_prediction = 0;
    for (int64_t begin = 0; begin < n; begin += 255 * 64) {
        const int64_t end = begin + 255 * 64 < n ? begin + 255 * 64 : n;
        uint32_t b = 0, t = 0, p = 0;
        for (int64_t i = begin; i < end; i++) {
            b += truth[i] & prediction[i];
            t += truth[i];
            p += prediction[i];
        }
        both += b;
        in_truth += t;
        in_prediction += p;
    }
    counts[0] = both;
    counts[1] = in_prediction - both;
    counts[2] = in_truth - both;
}
