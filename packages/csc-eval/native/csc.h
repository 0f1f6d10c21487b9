/* What all kernels share: plain C11, no Python, no floating-point shortcuts; called through ctypes. */
#ifndef CSC_H
#define CSC_H

#include <float.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#ifdef _WIN32
#define CSC_API __declspec(dllexport)
#else
#define CSC_API __attribute__((visibility("default")))
#endif

/* Runs of one volume, in raster order. Line l = z * ny + y holds runs line_ptr[l] .. line_ptr[l + 1] - 1;
   run i covers x in [start[i], stop[i]). */
typedef struct {
    const int64_t *line_ptr;
    const int32_t *start;
    const int32_t *stop;
    int64_t n_lines;
} csc_runs;

#endif
