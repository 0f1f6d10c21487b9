/* Hausdorff distances between sets of voxels that are given as runs.

   Only voxels of one set that the other lacks can be away from it. For each of them the nearest voxel is searched line by
   line outward, with three shortcuts that leave the maximum exact: a voxel for which something is found within the
   maximum so far is done; so is a stretch of a run whose ends both lie within the maximum of a known point of the other
   set (distance to a point is convex along the run; the points found last are kept as such witnesses); and a stretch is
   halved only while its middle's distance plus its half length exceeds the maximum. */
#include "csc.h"

#define WITNESSES 8
#define COVER_DEPTH 4

typedef struct {
    int32_t z, y, start, stop;
} segment;

typedef struct {
    const segment *items;
    int64_t size;
} segments;

typedef struct {
    segment *items;
    int64_t size, capacity;
} segment_list;

/* A stretch of one set that the other lacks. reach: every voxel of it is at most so many steps along x away from
   the other set; FAR where the other set does not touch it along x. */
typedef struct {
    segment at;
    int32_t reach;
} piece;

#define FAR INT32_MAX

typedef struct {
    piece *items;
    int64_t size, capacity;
} piece_list;

/* One of the two sets, ready to be searched: segments in raster order; line k (z, y ascending) holds
   line_ptr[k] .. line_ptr[k + 1]; slice z holds lines slice_ptr[z - z_first] .. */
typedef struct {
    segments all;
    int32_t *line_y;
    int64_t *line_ptr;
    int64_t *slice_ptr;
    int64_t n_lines, capacity, slice_capacity;
    int32_t z_first, z_last;
} point_set;

typedef struct {
    int32_t z, y, x;
} point;

typedef struct {
    double vz, vy, vx, cap;
    point witness[WITNESSES]; /* points of the set that is searched, near the voxels asked for last */
    int n_witnesses, next_witness;
    double reached; /* the largest distance so far */
} walk;

static int push(segment_list *list, segment item)
{
    if (list->size == list->capacity) {
        const int64_t capacity = list->capacity ? 2 * list->capacity : 256;
        segment *items = realloc(list->items, (size_t)capacity * sizeof *items);
        if (!items)
            return -1;
        list->items = items;
        list->capacity = capacity;
    }
    list->items[list->size++] = item;
    return 0;
}

static int index_lines(point_set *set)
{
    const int64_t n = set->all.size;
    set->n_lines = 0;
    if (n == 0)
        return 0;
    set->z_first = set->all.items[0].z;
    set->z_last = set->all.items[n - 1].z;
    const int64_t slices = (int64_t)set->z_last - set->z_first + 2;
    if (set->capacity < n + 1) {
        free(set->line_y);
        free(set->line_ptr);
        set->capacity = 2 * (n + 1);
        set->line_y = malloc((size_t)set->capacity * sizeof(int32_t));
        set->line_ptr = malloc((size_t)set->capacity * sizeof(int64_t));
    }
    if (set->slice_capacity < slices) {
        free(set->slice_ptr);
        set->slice_capacity = slices;
        set->slice_ptr = malloc((size_t)slices * sizeof(int64_t));
    }
    if (!set->line_y || !set->line_ptr || !set->slice_ptr)
        return -1;
    int64_t slice = 0;
    set->slice_ptr[0] = 0;
    for (int64_t i = 0; i < n; i++) {
        const segment *s = set->all.items + i;
        if (i == 0 || s->z != s[-1].z || s->y != s[-1].y) {
            while (slice < (int64_t)s->z - set->z_first)
                set->slice_ptr[++slice] = set->n_lines;
            set->line_y[set->n_lines] = s->y;
            set->line_ptr[set->n_lines++] = i;
        }
    }
    set->line_ptr[set->n_lines] = n;
    while (slice < slices - 1)
        set->slice_ptr[++slice] = set->n_lines;
    return 0;
}

/* The x of the line that is nearest to x. */
static int32_t nearest_in_line(const point_set *set, int64_t line, int32_t x)
{
    int64_t low = set->line_ptr[line], high = set->line_ptr[line + 1];
    const segment *items = set->all.items;
    while (high - low > 1) { /* the last segment that starts at or before x */
        const int64_t middle = (low + high) / 2;
        if (items[middle].start <= x)
            low = middle;
        else
            high = middle;
    }
    if (items[low].start > x)
        return items[low].start;
    if (items[low].stop > x)
        return x;
    const int32_t before = items[low].stop - 1;
    if (low + 1 < set->line_ptr[line + 1] && items[low + 1].start - x < x - before)
        return items[low + 1].start;
    return before;
}

static double squared(const walk *w, int64_t dz, int64_t dy, int64_t dx)
{
    const double a = (double)dz * w->vz, b = (double)dy * w->vy, c = (double)dx * w->vx;
    return a * a + b * b + c * c;
}

static double squared_to(const walk *w, const point *p, int32_t z, int32_t y, int32_t x)
{
    return squared(w, (int64_t)p->z - z, (int64_t)p->y - y, (int64_t)p->x - x);
}

/* Whether every voxel of a stretch is within the maximum of some witness. */
static int covered(const walk *w, int32_t z, int32_t y, int32_t start, int32_t stop, int depth)
{
    const double limit = w->reached * w->reached;
    for (int k = 0; k < w->n_witnesses; k++)
        if (squared_to(w, &w->witness[k], z, y, start) <= limit &&
            squared_to(w, &w->witness[k], z, y, stop - 1) <= limit)
            return 1;
    if (depth == 0 || stop - start < 2)
        return 0;
    const int32_t middle = start + (stop - start) / 2;
    return covered(w, z, y, start, middle, depth - 1) && covered(w, z, y, middle, stop, depth - 1);
}

/* Looks at lines of one slice from y outward; improves *best; returns 1 when it is at most enough. */
static int search_slice(const point_set *set, const walk *w, int32_t z, int32_t y, int32_t x, int32_t slice,
                        double enough, double *best, point *nearest)
{
    const int64_t first = set->slice_ptr[slice - set->z_first], last = set->slice_ptr[slice - set->z_first + 1];
    if (first == last)
        return 0;
    int64_t low = first, high = last; /* lines below `low` lie before y, lines from it on at or after y */
    while (low < high) {
        const int64_t middle = (low + high) / 2;
        if (set->line_y[middle] < y)
            low = middle + 1;
        else
            high = middle;
    }
    int64_t down = low - 1, up = low;
    while (down >= first || up < last) {
        const int64_t to_down = down >= first ? (int64_t)y - set->line_y[down] : INT32_MAX;
        const int64_t to_up = up < last ? (int64_t)set->line_y[up] - y : INT32_MAX;
        const int64_t line = to_up <= to_down ? up++ : down--;
        const int64_t dy = to_up <= to_down ? to_up : to_down;
        if (squared(w, (int64_t)slice - z, dy, 0) >= *best)
            return 0; /* all that follow are farther */
        const int32_t near = nearest_in_line(set, line, x);
        const double d = squared(w, (int64_t)slice - z, dy, (int64_t)near - x);
        if (d < *best) {
            *best = d;
            *nearest = (point){slice, set->line_y[line], near};
            if (d <= enough)
                return 1;
        }
    }
    return 0;
}

/* Squared distance from a voxel to the set, at most cap squared; may return early with any value <= enough. */
static double search(const point_set *set, walk *w, int32_t z, int32_t y, int32_t x, double enough)
{
    double best = w->cap * w->cap;
    point nearest = {-1, -1, -1};
    for (int k = 0; k < w->n_witnesses; k++) {
        const double known = squared_to(w, &w->witness[k], z, y, x);
        if (known <= enough)
            return known;
        if (known < best)
            best = known;
    }
    int64_t down = z < set->z_last ? z : set->z_last, up = down + 1;
    if (z < set->z_first) {
        down = set->z_first - 1;
        up = set->z_first;
    }
    while (down >= set->z_first || up <= set->z_last) {
        const int64_t to_down = down >= set->z_first ? (int64_t)z - down : INT32_MAX;
        const int64_t to_up = up <= set->z_last ? up - z : INT32_MAX;
        const int64_t slice = to_up < to_down ? up++ : down--;
        if (squared(w, to_up < to_down ? to_up : to_down, 0, 0) >= best)
            break;
        if (search_slice(set, w, z, y, x, (int32_t)slice, enough, &best, &nearest))
            break;
    }
    if (nearest.z >= 0) {
        w->witness[w->next_witness] = nearest;
        w->next_witness = (w->next_witness + 1) % WITNESSES;
        if (w->n_witnesses < WITNESSES)
            w->n_witnesses++;
    }
    return best;
}

static void walk_stretch(const point_set *set, walk *w, int32_t z, int32_t y, int32_t start, int32_t stop)
{
    if (covered(w, z, y, start, stop, COVER_DEPTH))
        return;
    const int32_t middle = start + (stop - 1 - start) / 2;
    const double half = (double)(stop - 1 - middle) * w->vx;
    const double slack = w->reached - half;
    const double d = sqrt(search(set, w, z, y, middle, slack > 0 ? slack * slack : -1.0));
    if (d > w->reached)
        w->reached = d;
    /* A search that ended early found d <= reached - half. The tolerance keeps rounding from cutting a stretch off. */
    if (w->reached >= w->cap || d + half <= w->reached * (1 - 1e-12))
        return;
    if (middle > start)
        walk_stretch(set, w, z, y, start, middle);
    if (w->reached < w->cap && middle + 1 < stop)
        walk_stretch(set, w, z, y, middle + 1, stop);
}

static int push_piece(piece_list *list, segment at, int left, int right)
{
    if (list->size == list->capacity) {
        const int64_t capacity = list->capacity ? 2 * list->capacity : 256;
        piece *items = realloc(list->items, (size_t)capacity * sizeof *items);
        if (!items)
            return -1;
        list->items = items;
        list->capacity = capacity;
    }
    const int32_t n = at.stop - at.start;
    list->items[list->size++] = (piece){at, left && right ? (n + 1) / 2 : left || right ? n : FAR};
    return 0;
}

/* The parts of a that b lacks, and at which ends b goes on. */
static int subtract(const segments *a, const segments *b, piece_list *out)
{
    int64_t j = 0;
    out->size = 0;
    for (int64_t i = 0; i < a->size; i++) {
        segment rest = a->items[i];
        int left = 0, right = 0;
        while (j < b->size && (b->items[j].z < rest.z || (b->items[j].z == rest.z && (b->items[j].y < rest.y ||
                               (b->items[j].y == rest.y && b->items[j].stop < rest.start)))))
            j++;
        for (int64_t k = j; k < b->size && b->items[k].z == rest.z && b->items[k].y == rest.y &&
                            b->items[k].start <= rest.stop; k++) {
            if (b->items[k].start == rest.stop) {
                right = 1;
                break;
            }
            if (b->items[k].start > rest.start) {
                segment before = rest;
                before.stop = b->items[k].start;
                if (push_piece(out, before, left, 1))
                    return -1;
            }
            if (b->items[k].stop >= rest.start) {
                rest.start = b->items[k].stop;
                left = 1;
            }
            if (rest.start >= rest.stop)
                break;
        }
        if (rest.start < rest.stop && push_piece(out, rest, left, right))
            return -1;
    }
    return 0;
}

/* Raises w->reached to the largest distance of a segment's voxels from the set. */
static void walk_all(const piece_list *from, const point_set *to, walk *w)
{
    w->n_witnesses = w->next_witness = 0;
    /* A coarse pass first: it usually finds nearly the maximum, which then spares the others their search. */
    const int64_t stride = from->size > 256 ? 61 : 1;
    for (int pass = stride > 1 ? 0 : 1; pass < 2; pass++)
        for (int64_t i = 0; i < from->size && w->reached < w->cap; i += pass ? 1 : stride) {
            const segment *s = &from->items[i].at;
            if (from->items[i].reach == FAR || (double)from->items[i].reach * w->vx > w->reached)
                walk_stretch(to, w, s->z, s->y, s->start, s->stop);
        }
}

static int before(const segment *a, const segment *b)
{
    return a->z != b->z ? a->z < b->z : a->y != b->y ? a->y < b->y : a->start < b->start;
}

/* Two sets that have no voxel in common, in raster order. */
static int merge(const segments *a, const segments *b, segment_list *out)
{
    out->size = 0;
    for (int64_t i = 0, j = 0; i < a->size || j < b->size;) {
        const int first = j == b->size || (i < a->size && before(&a->items[i], &b->items[j]));
        if (push(out, first ? a->items[i++] : b->items[j++]))
            return -1;
    }
    return 0;
}

/* Sorts runs by their labels 1 .. , in raster order within each: those of label k are
   sorted[label_ptr[k]] .. sorted[label_ptr[k + 1] - 1]. label_ptr: three more than the largest label, 0 at entry. */
CSC_API void csc_group(const int64_t *line_ptr, const int32_t *start, const int32_t *stop, const int32_t *label,
                       int64_t nz, int64_t ny, int64_t n_labels, int64_t *label_ptr, segment *sorted)
{
    for (int64_t i = 0; i < line_ptr[nz * ny]; i++)
        label_ptr[label[i] + 2]++;
    for (int64_t k = 0; k <= n_labels; k++)
        label_ptr[k + 2] += label_ptr[k + 1];
    /* Where label k begins lies at k + 1 so far; adding its runs moves that to where it ends. */
    for (int64_t z = 0; z < nz; z++)
        for (int64_t y = 0; y < ny; y++)
            for (int64_t i = line_ptr[z * ny + y]; i < line_ptr[z * ny + y + 1]; i++)
                sorted[label_ptr[label[i] + 1]++] = (segment){(int32_t)z, (int32_t)y, start[i], stop[i]};
}

typedef struct {
    const segment *sorted;
    const int64_t *label_ptr;
} labelled_runs;

static segments of_label(const labelled_runs *runs, int64_t label)
{
    return (segments){runs->sorted + runs->label_ptr[label], runs->label_ptr[label + 1] - runs->label_ptr[label]};
}

typedef struct {
    point_set a, b;
    segment_list both;
    piece_list rest;
} workspace;

static int one_pair(segments truth, segments prediction, segments second, walk *w, workspace *space)
{
    point_set *a = &space->a, *b = &space->b;
    piece_list *rest = &space->rest;
    a->all = truth;
    b->all = prediction;
    if (second.size) {
        if (merge(&prediction, &second, &space->both))
            return -1;
        b->all = (segments){space->both.items, space->both.size};
    }
    w->reached = 0;
    if (a->all.size == 0 || b->all.size == 0) {
        w->reached = a->all.size == b->all.size ? 0 : w->cap;
        return 0;
    }
    if (index_lines(a) || index_lines(b) || subtract(&a->all, &b->all, rest))
        return -1;
    walk_all(rest, b, w);
    if (w->reached < w->cap) {
        if (subtract(&b->all, &a->all, rest))
            return -1;
        walk_all(rest, a, w);
    }
    return 0;
}

static void release(point_set *set)
{
    free(set->line_y);
    free(set->line_ptr);
    free(set->slice_ptr);
}

/* Distances, at most cap, of n pairs (truth label, one or two prediction labels; second 0: none) of runs that csc_group
   sorted. Returns 0, or -1 without memory. */
CSC_API int csc_hausdorff(int64_t n, const int64_t *t, const int64_t *p1, const int64_t *p2, const double *voxel_size,
                          double cap, const segment *t_sorted, const int64_t *t_label_ptr, const segment *p_sorted,
                          const int64_t *p_label_ptr, double *distance)
{
    const labelled_runs truth = {t_sorted, t_label_ptr}, prediction = {p_sorted, p_label_ptr};
    workspace space;
    memset(&space, 0, sizeof space);
    int status = 0;
    for (int64_t i = 0; i < n && status == 0; i++) {
        walk w = {.vz = voxel_size[0], .vy = voxel_size[1], .vx = voxel_size[2], .cap = cap};
        const segments none = {NULL, 0};
        status = one_pair(of_label(&truth, t[i]), of_label(&prediction, p1[i]),
                          p2[i] > 0 ? of_label(&prediction, p2[i]) : none, &w, &space);
        distance[i] = w.reached < cap ? w.reached : cap;
    }
    release(&space.a);
    release(&space.b);
    free(space.both.items);
    free(space.rest.items);
    return status;
}
