/* Sparse assignment with an option to leave a row unmatched: shortest augmenting paths with potentials.
   R. Jonker and A. Volgenant, A shortest augmenting path algorithm for dense and sparse linear assignment problems,
   Computing 38 (1987); the potentials certify optimality and tell which pairs occur in any optimum. */
#include "csc.h"

typedef struct {
    int64_t distance;
    int32_t column;
} heap_item;

typedef struct {
    heap_item *items;
    int64_t size, capacity;
} heap;

static int heap_push(heap *h, int64_t distance, int32_t column)
{
    if (h->size == h->capacity) {
        const int64_t capacity = h->capacity ? 2 * h->capacity : 256;
        heap_item *items = realloc(h->items, (size_t)capacity * sizeof *items);
        if (!items)
            return -1;
        h->items = items;
        h->capacity = capacity;
    }
    int64_t i = h->size++;
    while (i > 0 && h->items[(i - 1) / 2].distance > distance) {
        h->items[i] = h->items[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    h->items[i] = (heap_item){distance, column};
    return 0;
}

static heap_item heap_pop(heap *h)
{
    const heap_item top = h->items[0], last = h->items[--h->size];
    int64_t i = 0;
    for (;;) {
        int64_t child = 2 * i + 1;
        if (child >= h->size)
            break;
        if (child + 1 < h->size && h->items[child + 1].distance < h->items[child].distance)
            child++;
        if (h->items[child].distance >= last.distance)
            break;
        h->items[i] = h->items[child];
        i = child;
    }
    if (h->size)
        h->items[i] = last;
    return top;
}

typedef struct {
    int64_t *distance;   /* per column, valid where stamp says so */
    int32_t *from_row;   /* per column: row before it on the shortest path */
    int32_t *stamp;      /* per column: 2 * search + 1 reached, + 2 settled */
    int32_t *settled;    /* columns settled in this search */
    int32_t *row_of;     /* per column: its matched row, -1 if free */
    heap queue;
} search_state;

/* Minimises the sum over rows of the matched pair's cost, or of unmatched[row]. Edges of row r are
   columns[row_ptr[r] .. row_ptr[r + 1]). Writes the matched edge's column (-1: none) and the potentials.
   Returns 0, or -1 without memory. */
CSC_API int csc_assign(int64_t n_rows, int64_t n_columns, const int64_t *row_ptr, const int32_t *columns,
                       const int64_t *cost, const int64_t *unmatched, int32_t *matched, int64_t *u, int64_t *v)
{
    search_state s = {malloc((size_t)(n_columns + 1) * sizeof(int64_t)), malloc((size_t)(n_columns + 1) * sizeof(int32_t)),
                      calloc((size_t)(n_columns + 1), sizeof(int32_t)),  malloc((size_t)(n_columns + 1) * sizeof(int32_t)),
                      malloc((size_t)(n_columns + 1) * sizeof(int32_t)), {NULL, 0, 0}};
    int status = s.distance && s.from_row && s.stamp && s.settled && s.row_of ? 0 : -1;
    for (int64_t j = 0; status == 0 && j < n_columns; j++) {
        s.row_of[j] = -1;
        v[j] = 0;
    }
    for (int64_t r = 0; r < n_rows; r++) {
        matched[r] = -1;
        u[r] = unmatched[r];
        for (int64_t e = row_ptr[r]; e < row_ptr[r + 1]; e++)
            if (cost[e] < u[r])
                u[r] = cost[e];
    }
    for (int64_t r = 0; status == 0 && r < n_rows; r++) {
        const int32_t reached = (int32_t)(2 * r + 1), done = (int32_t)(2 * r + 2);
        int64_t n_settled = 0, here = 0, exit_distance = INT64_MAX;
        int32_t row = (int32_t)r, exit_row = -1, exit_column = -1;
        s.queue.size = 0;
        for (;;) {
            if (here + unmatched[row] - u[row] < exit_distance) {
                exit_distance = here + unmatched[row] - u[row];
                exit_row = row;
            }
            for (int64_t e = row_ptr[row]; e < row_ptr[row + 1]; e++) {
                const int32_t j = columns[e];
                const int64_t d = here + cost[e] - u[row] - v[j];
                if (s.stamp[j] == done || (s.stamp[j] == reached && s.distance[j] <= d) || d >= exit_distance)
                    continue;
                s.distance[j] = d;
                s.from_row[j] = row;
                s.stamp[j] = reached;
                if (heap_push(&s.queue, d, j)) {
                    status = -1;
                    break;
                }
            }
            heap_item next = {INT64_MAX, -1};
            while (status == 0 && s.queue.size) {
                next = heap_pop(&s.queue);
                if (s.stamp[next.column] == reached && s.distance[next.column] == next.distance)
                    break;
                next.column = -1;
            }
            if (next.column < 0 || next.distance >= exit_distance)
                break;
            if (s.row_of[next.column] < 0) {
                exit_distance = next.distance;
                exit_column = next.column;
                break;
            }
            s.stamp[next.column] = done;
            s.settled[n_settled++] = next.column;
            here = next.distance;
            row = s.row_of[next.column];
        }
        if (status)
            break;
        for (int64_t k = 0; k < n_settled; k++) {
            const int32_t j = s.settled[k];
            v[j] += s.distance[j] - exit_distance;
            u[s.row_of[j]] += exit_distance - s.distance[j];
        }
        u[r] += exit_distance;
        /* Walk back: each row on the path takes the column that the search left it by. */
        int32_t column = exit_column, walker = exit_column >= 0 ? s.from_row[exit_column] : exit_row;
        for (;;) {
            const int32_t previous = matched[walker];
            matched[walker] = column;
            if (column >= 0)
                s.row_of[column] = walker;
            if (walker == (int32_t)r)
                break;
            column = previous;
            walker = s.from_row[column];
        }
    }
    free(s.distance);
    free(s.from_row);
    free(s.stamp);
    free(s.settled);
    free(s.row_of);
    free(s.queue.items);
    return status;
}
