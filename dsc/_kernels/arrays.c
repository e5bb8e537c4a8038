/* Arrays of numpy's as C sees them. */
#include "kernels.h"

/* Returns the kind of an element ('u', 'i', 'f' or 'b') by its format, 0 for another. */
static char kind_of(const char *format) {
    if (!format) return 'u';
    if (*format == '@' || *format == '=' || (*format == '<' && PY_LITTLE_ENDIAN)) format++;
    if (!format[0] || format[1]) return 0;
    if (strchr("BHILQ", format[0])) return 'u';
    if (strchr("bhilq", format[0])) return 'i';
    if (strchr("fd", format[0])) return 'f';
    return format[0] == '?' ? 'b' : 0;
}

int array_open(Array *array, PyObject *object, const char *name, const char *element, int ndim,
               int writable) {
    int flags = PyBUF_FORMAT | PyBUF_C_CONTIGUOUS | (writable ? PyBUF_WRITABLE : 0);
    memset(array, 0, sizeof *array);
    if (PyObject_GetBuffer(object, &array->view, flags) < 0) {
        memset(&array->view, 0, sizeof array->view);
        return -1;
    }
    if (kind_of(array->view.format) != element[0] || array->view.itemsize != element[1] - '0' ||
        array->view.ndim != ndim || ndim > KERNELS_MOST_DIMS) {
        PyErr_Format(PyExc_TypeError, "%s: expected %d dimensions of %s, not %d of %s", name, ndim,
                     element, array->view.ndim, array->view.format ? array->view.format : "B");
        return -1;
    }
    array->data = array->view.buf;
    array->count = array->view.len / array->view.itemsize;
    for (int k = 0; k < ndim; k++) array->shape[k] = array->view.shape[k];
    return 0;
}

void arrays_close(Array *arrays, int n) {
    for (int k = 0; k < n; k++)
        if (arrays[k].view.obj) PyBuffer_Release(&arrays[k].view);
}

int array_expect(const Array *array, const char *name, int64_t count) {
    if (array->count == count) return 0;
    PyErr_Format(PyExc_TypeError, "%s: %lld elements, expected %lld", name, (long long)array->count,
                 (long long)count);
    return -1;
}
