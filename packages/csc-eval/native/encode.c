/* Run-length encoding of lines of voxels, one function per stored dtype; and counting of masks. */
#include "csc.h"

#define NAN_KEY UINT64_C(0x7ff8000000000000)

static uint64_t bits_of(double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

/* The key of a value: integers sign-extended to 64 bits, floats as the bits of a double. Every NaN gets the same bits;
   as NaN != NaN, each NaN voxel is a run of its own all the same. */
#define INTEGER_KEY(v) ((uint64_t)(int64_t)(v))
#define FLOAT_KEY(v) ((v) != (v) ? NAN_KEY : bits_of((double)(v)))

/* Whether 64 bytes are 0, or repeat a pattern of 8: compilers turn these into a few instructions. */
static int all_zero(const void *bytes)
{
    uint64_t words[8], any = 0;
    memcpy(words, bytes, sizeof words);
    for (int i = 0; i < 8; i++)
        any |= words[i];
    return any == 0;
}

static int repeats(const void *bytes, uint64_t pattern)
{
    uint64_t words[8], other = 0;
    memcpy(words, bytes, sizeof words);
    for (int i = 0; i < 8; i++)
        other |= words[i] ^ pattern;
    return other == 0;
}

/* Encodes the lines of a box, from one of them on, until all are done or the buffers might not hold the next one.
   shape: nz, ny, nx; strides: voxels from plane to plane and from line to line; x_first: where the box begins. Writes
   line_ptr[done + 1 ..] as it goes (absolute, counted from *n_runs at entry) and returns how many lines are done. */
#define DEFINE_ENCODE(NAME, TYPE, KEY)                                                                                 \
    CSC_API int64_t csc_encode_##NAME(const TYPE *voxels, const int64_t *shape, const int64_t *strides,                \
                                      int64_t x_first, int64_t first_line, int64_t *line_ptr, int32_t *start,          \
                                      int32_t *stop, uint64_t *key, int64_t *n_runs, int64_t capacity)                 \
    {                                                                                                                  \
        const int64_t nx = shape[2], block = 64 / (int64_t)sizeof(TYPE), step = 8 / (int64_t)sizeof(TYPE);             \
        int64_t n = *n_runs, line = first_line, z = line / shape[1], y = line % shape[1];                              \
        for (; line < shape[0] * shape[1] && n + nx <= capacity; line++) {                                             \
            const TYPE *row = voxels + z * strides[0] + y * strides[1];                                                \
            if (++y == shape[1]) {                                                                                     \
                y = 0;                                                                                                 \
                z++;                                                                                                   \
            }                                                                                                          \
            int64_t x = 0;                                                                                             \
            for (;;) {                                                                                                 \
                while (x + block <= nx && all_zero(row + x))                                                           \
                    x += block;                                                                                        \
                for (uint64_t word = 0; x + step <= nx; x += step) {                                                   \
                    memcpy(&word, row + x, 8);                                                                         \
                    if (word)                                                                                          \
                        break;                                                                                         \
                }                                                                                                      \
                while (x < nx && row[x] == 0)                                                                          \
                    x++;                                                                                               \
                if (x >= nx)                                                                                           \
                    break;                                                                                             \
                const TYPE value = row[x];                                                                             \
                TYPE repeated[8];                                                                                      \
                uint64_t pattern, word;                                                                                \
                for (int64_t i = 0; i < step; i++)                                                                     \
                    repeated[i] = value;                                                                               \
                memcpy(&pattern, repeated, 8);                                                                         \
                start[n] = (int32_t)(x_first + x++);                                                                   \
                if (value == value) { /* not NaN, which differs from itself */                                         \
                    while (x + block <= nx && repeats(row + x, pattern))                                               \
                        x += block;                                                                                    \
                    for (; x + step <= nx; x += step) {                                                                \
                        memcpy(&word, row + x, 8);                                                                     \
                        if (word != pattern)                                                                           \
                            break;                                                                                     \
                    }                                                                                                  \
                }                                                                                                      \
                while (x < nx && row[x] == value)                                                                      \
                    x++;                                                                                               \
                stop[n] = (int32_t)(x_first + x);                                                                      \
                key[n++] = KEY(value);                                                                                 \
            }                                                                                                          \
            line_ptr[line + 1] = n;                                                                                    \
        }                                                                                                              \
        *n_runs = n;                                                                                                   \
        return line;                                                                                                   \
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

/* Puts the runs of boxes that lie beside each other into lines of the whole volume. The boxes form a grid of n_rows along
   y and n_columns along x, all from the same plane on, nz planes deep; those of row r cover lines row_begin[r] up to
   row_begin[r + 1]. box[r * n_columns + c] is where the line pointers of a box begin in box_ptr, -1 where it is empty.
   Equal values that meet at a border become one run. Writes line_ptr[1 ..] of the planes, and returns the new number of
   runs. */
CSC_API int64_t csc_join_boxes(int64_t nz, int64_t n_rows, int64_t n_columns, const int64_t *row_begin,
                               const int64_t *box, const int64_t *box_ptr, const int32_t *start, const int32_t *stop,
                               const uint64_t *key, int has_nan, int64_t n, int64_t *line_ptr, int32_t *out_start,
                               int32_t *out_stop, uint64_t *out_key)
{
    for (int64_t z = 0; z < nz; z++)
        for (int64_t r = 0; r < n_rows; r++)
            for (int64_t y = 0; y < row_begin[r + 1] - row_begin[r]; y++) {
                const int64_t line_begin = n, line = z * (row_begin[r + 1] - row_begin[r]) + y;
                for (int64_t c = 0; c < n_columns; c++) {
                    if (box[r * n_columns + c] < 0)
                        continue;
                    const int64_t *ptr = box_ptr + box[r * n_columns + c] + line;
                    int64_t i = ptr[0];
                    if (i < ptr[1] && n > line_begin && out_stop[n - 1] == start[i] && out_key[n - 1] == key[i] &&
                        !(has_nan && key[i] == NAN_KEY))
                        out_stop[n - 1] = stop[i++];
                    for (; i < ptr[1]; i++, n++) {
                        out_start[n] = start[i];
                        out_stop[n] = stop[i];
                        out_key[n] = key[i];
                    }
                }
                *++line_ptr = n;
            }
    return n;
}

/* Counts voxels in both, in the prediction only and in the truth only, of two boxes of bytes in which foreground is
   above 0. strides: bytes from plane to plane and from line to line. A box that is NULL has no foreground. */
CSC_API void csc_count_pairs(const int64_t *shape, const uint8_t *truth, const int64_t *truth_strides,
                             const uint8_t *prediction, const int64_t *prediction_strides, int64_t *counts)
{
    const int64_t nx = shape[2];
    int64_t both = 0, in_truth = 0, in_prediction = 0;
    for (int64_t z = 0; z < shape[0]; z++)
        for (int64_t y = 0; y < shape[1]; y++) {
            const uint8_t *t = truth ? truth + z * truth_strides[0] + y * truth_strides[1] : NULL;
            const uint8_t *p = prediction ? prediction + z * prediction_strides[0] + y * prediction_strides[1] : NULL;
            for (int64_t begin = 0; begin < nx; begin += 255) {
                const int64_t end = begin + 255 < nx ? begin + 255 : nx;
                uint8_t b = 0, in_t = 0, in_p = 0; /* so narrow that sixteen are added at once */
                if (t && p)
                    for (int64_t x = begin; x < end; x++)
                        b = (uint8_t)(b + ((t[x] != 0) & (p[x] != 0)));
                if (t)
                    for (int64_t x = begin; x < end; x++)
                        in_t = (uint8_t)(in_t + (t[x] != 0));
                if (p)
                    for (int64_t x = begin; x < end; x++)
                        in_p = (uint8_t)(in_p + (p[x] != 0));
                both += b;
                in_truth += in_t;
                in_prediction += in_p;
            }
        }
    counts[0] += both;
    counts[1] += in_prediction - both;
    counts[2] += in_truth - both;
}
