/* Connected components, sizes and overlaps, on runs. */
#include "csc.h"

static int32_t root_of(int32_t *parent, int32_t i)
{
    while (parent[i] != i) {
        parent[i] = parent[parent[i]];
        i = parent[i];
    }
    return i;
}

/* The smaller index becomes the root, so that a root is the first run of its component in raster order. */
static void unite(int32_t *parent, int32_t a, int32_t b)
{
    a = root_of(parent, a);
    b = root_of(parent, b);
    if (a < b)
        parent[b] = a;
    else
        parent[a] = b;
}

static void unite_lines(const csc_runs *runs, const uint64_t *key, int64_t here, int64_t there, uint64_t nan_key,
                        int has_nan, int32_t *parent)
{
    int64_t i = runs->line_ptr[here], j = runs->line_ptr[there];
    const int64_t i_end = runs->line_ptr[here + 1], j_end = runs->line_ptr[there + 1];
    while (i < i_end && j < j_end) {
        /* 26-connected: runs touch when they overlap after growing one of them by a voxel at both ends. */
        if (runs->start[i] <= runs->stop[j] && runs->start[j] <= runs->stop[i] && key[i] == key[j] &&
            !(has_nan && key[i] == nan_key))
            unite(parent, (int32_t)i, (int32_t)j);
        /* Of two runs the one that ends first cannot touch the other's successor, unless it ends just before it. */
        if (runs->stop[i] < runs->stop[j])
            i++;
        else if (runs->stop[j] < runs->stop[i])
            j++;
        else if (j + 1 < j_end && runs->start[j + 1] <= runs->stop[i]) {
            if (key[i] == key[j + 1] && !(has_nan && key[i] == nan_key))
                unite(parent, (int32_t)i, (int32_t)(j + 1));
            i++;
        } else
            i++;
    }
}

/* Labels 1 .. N in raster order of each component's first voxel; returns N. */
CSC_API int64_t csc_label(const int64_t *line_ptr, const int32_t *start, const int32_t *stop, const uint64_t *key,
                          int64_t nz, int64_t ny, int has_nan, int32_t *label)
{
    const csc_runs runs = {line_ptr, start, stop, nz * ny};
    const uint64_t nan_key = UINT64_C(0x7ff8000000000000);
    const int64_t n = line_ptr[nz * ny];
    for (int64_t i = 0; i < n; i++)
        label[i] = (int32_t)i;
    for (int64_t z = 0; z < nz; z++)
        for (int64_t y = 0; y < ny; y++) {
            const int64_t line = z * ny + y;
            if (line_ptr[line] == line_ptr[line + 1])
                continue;
            if (y > 0)
                unite_lines(&runs, key, line, line - 1, nan_key, has_nan, label);
            if (z > 0) {
                unite_lines(&runs, key, line, line - ny, nan_key, has_nan, label);
                if (y > 0)
                    unite_lines(&runs, key, line, line - ny - 1, nan_key, has_nan, label);
                if (y + 1 < ny)
                    unite_lines(&runs, key, line, line - ny + 1, nan_key, has_nan, label);
            }
        }
    /* A root comes before all others of its component, so one pass may overwrite parents by labels: labels are
       stored negative until the end, to tell them from parents. */
    int32_t count = 0;
    for (int64_t i = 0; i < n; i++) {
        const int32_t parent = label[i];
        if (parent == (int32_t)i)
            label[i] = -(++count);
        else
            label[i] = label[parent];
    }
    for (int64_t i = 0; i < n; i++)
        label[i] = -label[i];
    return count;
}

/* For each label the position of its first voxel in Fortran order (z fastest); first_voxel comes in as INT64_MAX. */
CSC_API void csc_first_voxels_fortran(const int64_t *line_ptr, const int32_t *start, const int32_t *label, int64_t nz,
                                      int64_t ny, int64_t *first_voxel)
{
    for (int64_t z = 0; z < nz; z++)
        for (int64_t y = 0; y < ny; y++)
            for (int64_t i = line_ptr[z * ny + y]; i < line_ptr[z * ny + y + 1]; i++) {
                const int64_t position = ((int64_t)start[i] * ny + y) * nz + z;
                if (position < first_voxel[label[i]])
                    first_voxel[label[i]] = position;
            }
}

/* Voxel count and coordinate sums (z, y, x) per label. */
CSC_API void csc_measure(const int64_t *line_ptr, const int32_t *start, const int32_t *stop, const int32_t *label,
                         int64_t nz, int64_t ny, int64_t *size, int64_t *sums)
{
    for (int64_t z = 0; z < nz; z++)
        for (int64_t y = 0; y < ny; y++)
            for (int64_t i = line_ptr[z * ny + y]; i < line_ptr[z * ny + y + 1]; i++) {
                const int64_t n = stop[i] - start[i];
                int64_t *sum = sums + 3 * (int64_t)label[i];
                size[label[i]] += n;
                sum[0] += n * z;
                sum[1] += n * y;
                sum[2] += (int64_t)(stop[i] - 1 + start[i]) * n / 2;
            }
}

typedef struct {
    uint64_t *keys; /* (truth label << 32 | prediction label); 0 is free, as labels begin at 1 */
    int64_t *counts;
    int64_t used, capacity;
} csc_table;

static uint64_t mix(uint64_t h)
{
    h ^= h >> 33;
    h *= UINT64_C(0xff51afd7ed558ccd);
    h ^= h >> 33;
    return h;
}

static int table_resize(csc_table *table, int64_t capacity)
{
    csc_table fresh = {calloc((size_t)capacity, sizeof(uint64_t)), calloc((size_t)capacity, sizeof(int64_t)),
                       table->used, capacity};
    if (!fresh.keys || !fresh.counts) {
        free(fresh.keys);
        free(fresh.counts);
        return -1;
    }
    for (int64_t i = 0; i < table->capacity; i++)
        if (table->keys[i]) {
            uint64_t slot = mix(table->keys[i]) & (uint64_t)(capacity - 1);
            while (fresh.keys[slot])
                slot = (slot + 1) & (uint64_t)(capacity - 1);
            fresh.keys[slot] = table->keys[i];
            fresh.counts[slot] = table->counts[i];
        }
    free(table->keys);
    free(table->counts);
    *table = fresh;
    return 0;
}

static int table_add(csc_table *table, uint64_t key, int64_t count)
{
    if (2 * table->used >= table->capacity && table_resize(table, 2 * table->capacity))
        return -1;
    uint64_t slot = mix(key) & (uint64_t)(table->capacity - 1);
    while (table->keys[slot] && table->keys[slot] != key)
        slot = (slot + 1) & (uint64_t)(table->capacity - 1);
    if (!table->keys[slot]) {
        table->keys[slot] = key;
        table->used++;
    }
    table->counts[slot] += count;
    return 0;
}

/* Counts common voxels per pair of labels. Returns the number of pairs, at most max_pairs + 1, or -1 without memory.
   The pairs lie in *handle until csc_take_overlaps copies them out and frees it. */
CSC_API int64_t csc_overlaps(const int64_t *t_ptr, const int32_t *t_start, const int32_t *t_stop,
                             const int32_t *t_label, const int64_t *p_ptr, const int32_t *p_start,
                             const int32_t *p_stop, const int32_t *p_label, int64_t n_lines, int64_t max_pairs,
                             void **handle)
{
    csc_table *table = calloc(1, sizeof *table);
    *handle = table;
    if (!table || table_resize(table, 1024))
        return -1;
    for (int64_t line = 0; line < n_lines; line++) {
        int64_t i = t_ptr[line], j = p_ptr[line];
        while (i < t_ptr[line + 1] && j < p_ptr[line + 1]) {
            const int32_t begin = t_start[i] > p_start[j] ? t_start[i] : p_start[j];
            const int32_t end = t_stop[i] < p_stop[j] ? t_stop[i] : p_stop[j];
            if (begin < end && t_label[i] > 0) {
                const uint64_t key = (uint64_t)(uint32_t)t_label[i] << 32 | (uint32_t)p_label[j];
                if (table_add(table, key, end - begin))
                    return -1;
                if (table->used > max_pairs)
                    return table->used;
            }
            if (t_stop[i] < p_stop[j])
                i++;
            else
                j++;
        }
    }
    return table->used;
}

/* Copies the pairs out, where the arrays are not NULL, and frees the handle. */
CSC_API void csc_take_overlaps(void *handle, uint64_t *keys, int64_t *counts)
{
    csc_table *table = handle;
    if (!table)
        return;
    if (keys && counts)
        for (int64_t i = 0, n = 0; i < table->capacity; i++)
            if (table->keys[i]) {
                keys[n] = table->keys[i];
                counts[n++] = table->counts[i];
            }
    free(table->keys);
    free(table->counts);
    free(table);
}
