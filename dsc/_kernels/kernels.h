/* What all kernels share: arrays that are checked before they are touched, and the module's parts.
 *
 * To add a kernel: a C file that ends in a table of its functions, a line for the table here and in
 * module.c, and the functions' types in compiled.pyi. setup.py finds the file by itself.
 */
#ifndef DSC_KERNELS_H
#define DSC_KERNELS_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define KERNELS_MOST_DIMS 4

/* An array of numpy's, by the buffer protocol: C-contiguous, of a known element. */
typedef struct {
    Py_buffer view;
    void *data;
    int64_t shape[KERNELS_MOST_DIMS];
    int64_t count; /* elements */
} Array;

enum { READ = 0, WRITE = 1 };

/* Opens `object` as an array. `element` is the kind and size of its elements, as numpy writes them:
 * "u1", "u2", "u4", "u8", "i1", ... "f4", "f8", "b1". Returns 0, or -1 with an exception set. */
int array_open(Array *array, PyObject *object, const char *name, const char *element, int ndim,
               int writable);

/* Closes n arrays; those that were never opened (zeroed) are skipped. */
void arrays_close(Array *arrays, int n);

/* Sets TypeError unless the array has this many elements. Returns 0 or -1. */
int array_expect(const Array *array, const char *name, int64_t count);

extern PyMethodDef ans_methods[];
extern PyMethodDef label_methods[];
extern PyMethodDef label_model_methods[];
extern PyMethodDef raster_methods[];
extern PyMethodDef scan_methods[];
extern PyMethodDef values_methods[];
extern PyMethodDef follow_methods[];
extern PyMethodDef track_methods[];
extern PyMethodDef palette_methods[];
extern PyMethodDef directions_methods[];
extern PyMethodDef bound_methods[];
extern PyMethodDef maps_methods[];
extern PyMethodDef residual_methods[];
extern PyMethodDef pixels_methods[];
extern PyMethodDef geometry_methods[];
extern PyMethodDef filters_methods[];
extern PyMethodDef surfaces_methods[];

/* A second version of a hot function, for processors with AVX2, is marked AVX2 and chosen where it is
 * called by `has_avx2`. */
#if defined(__x86_64__) && defined(__GNUC__)
#define WITH_AVX2 1
#define AVX2 __attribute__((target("avx2")))
static inline int has_avx2(void) {
    return __builtin_cpu_supports("avx2") != 0;
}
#else
#define WITH_AVX2 0
#endif

#endif
