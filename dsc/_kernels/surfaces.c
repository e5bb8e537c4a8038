/* Classes of pixels: where they lie, and the depth of planes.
 *
 * Twins: `dsc._codecs.surfaces.partition`, `dsc._codecs.surfaces.depth`.
 */
#include "kernels.h"

typedef struct {
    int64_t pixels, sum[2], first[2], last[2]; /* rows, columns */
} Box;

static int ids_below(const uint16_t *ids, int64_t n, int64_t count) {
    uint16_t most = 0;
    for (int64_t k = 0; k < n; k++) most = ids[k] > most ? ids[k] : most;
    if (n && most >= count) PyErr_SetString(PyExc_TypeError, "ids: a class beyond those that are");
    return n && most >= count ? -1 : 0;
}

static void boxes(const uint16_t *ids, int64_t height, int64_t width, Box *found) {
    for (int64_t y = 0; y < height; y++)
        for (int64_t x = 0; x < width; x++) {
            Box *box = &found[ids[y * width + x]];
            if (!box->pixels) {
                box->first[0] = y;
                box->first[1] = box->last[1] = x;
            }
            box->pixels++;
            box->sum[0] += y;
            box->sum[1] += x;
            box->last[0] = y;
            if (x < box->first[1]) box->first[1] = x;
            if (x > box->last[1]) box->last[1] = x;
        }
}

static PyObject *surfaces_boxes(PyObject *self, PyObject *args) {
    (void)self;
    enum { IDS, FOUND, N };
    PyObject *o[N], *result = NULL;
    Array a[N] = {0};
    Box *found = NULL;
    if (!PyArg_ParseTuple(args, "OO", &o[IDS], &o[FOUND])) return NULL;
    if (array_open(&a[IDS], o[IDS], "ids", "u2", 2, READ) < 0 ||
        array_open(&a[FOUND], o[FOUND], "found", "i8", 3, WRITE) < 0)
        goto done;
    int64_t n = a[FOUND].shape[1], *out = a[FOUND].data;
    if (array_expect(&a[FOUND], "found", 4 * n) < 0 || ids_below(a[IDS].data, a[IDS].count, n) < 0)
        goto done;
    found = calloc((size_t)n + 1, sizeof *found);
    if (!found) {
        PyErr_NoMemory();
        goto done;
    }
    Py_BEGIN_ALLOW_THREADS
    boxes(a[IDS].data, a[IDS].shape[0], a[IDS].shape[1], found);
    for (int64_t axis = 0; axis < 2; axis++)
        for (int64_t k = 0; k < n; k++) {
            const Box *box = &found[k];
            out[2 * (axis * n + k)] = box->pixels ? box->sum[axis] / box->pixels : 0;
            out[2 * (axis * n + k) + 1] = box->last[axis] - box->first[axis] + 1;
        }
    Py_END_ALLOW_THREADS
    result = Py_NewRef(Py_None);
done:
    free(found);
    arrays_close(a, N);
    return result;
}

/* Numbers the pairs of region and child that there are, in ascending order. Returns how many. */
static int64_t refine(const uint16_t *ids, const uint16_t *children, int64_t n, int64_t n_children,
                      uint16_t *numbers, int64_t n_pairs, uint16_t *found) {
    int64_t count = 0;
    memset(numbers, 0, (size_t)n_pairs * sizeof *numbers);
    for (int64_t k = 0; k < n; k++) numbers[ids[k] * n_children + children[k]] = 1;
    for (int64_t k = 0; k < n_pairs; k++)
        if (numbers[k]) numbers[k] = (uint16_t)count++;
    if (count > UINT16_MAX) return count;
    for (int64_t k = 0; k < n; k++) found[k] = numbers[ids[k] * n_children + children[k]];
    return count;
}

static PyObject *surfaces_refine(PyObject *self, PyObject *args) {
    (void)self;
    enum { IDS, CHILDREN, FOUND, N };
    PyObject *o[N], *result = NULL;
    Array a[N] = {0};
    long long n_regions, n_children, count;
    uint16_t *numbers = NULL;
    if (!PyArg_ParseTuple(args, "OLOLO", &o[IDS], &n_regions, &o[CHILDREN], &n_children, &o[FOUND]))
        return NULL;
    if (array_open(&a[IDS], o[IDS], "ids", "u2", 2, READ) < 0 ||
        array_open(&a[CHILDREN], o[CHILDREN], "children", "u2", 2, READ) < 0 ||
        array_open(&a[FOUND], o[FOUND], "found", "u2", 2, WRITE) < 0 ||
        array_expect(&a[CHILDREN], "children", a[IDS].count) < 0 ||
        array_expect(&a[FOUND], "found", a[IDS].count) < 0 ||
        ids_below(a[IDS].data, a[IDS].count, n_regions) < 0 ||
        ids_below(a[CHILDREN].data, a[CHILDREN].count, n_children) < 0)
        goto done;
    if (n_regions < 1 || n_regions > UINT16_MAX + 1 || n_children < 1 || n_children > UINT16_MAX + 1) {
        PyErr_SetString(PyExc_TypeError, "regions or children: more than 16 bits number");
        goto done;
    }
    numbers = malloc((size_t)(n_regions * n_children) * sizeof *numbers);
    if (!numbers) {
        PyErr_NoMemory();
        goto done;
    }
    Py_BEGIN_ALLOW_THREADS
    count = refine(a[IDS].data, a[CHILDREN].data, a[IDS].count, n_children, numbers,
                   n_regions * n_children, a[FOUND].data);
    Py_END_ALLOW_THREADS
    result = PyLong_FromLongLong(count);
done:
    free(numbers);
    arrays_close(a, N);
    return result;
}

static void depth(const uint16_t *ids, int64_t height, int64_t width, const int64_t *planes,
                  const int64_t *distances, uint16_t most, uint16_t *found) {
    for (int64_t y = 0; y < height; y++)
        for (int64_t x = 0; x < width; x++) {
            int64_t one = ids[y * width + x];
            const int64_t *plane = planes + 3 * one;
            int64_t below = plane[0] + plane[1] * y + plane[2] * x;
            if (below < 1) below = 1;
            int64_t value = (2 * distances[one] + below) / (2 * below);
            found[y * width + x] = value < most ? (uint16_t)value : most;
        }
}

static PyObject *surfaces_depth(PyObject *self, PyObject *args) {
    (void)self;
    enum { IDS, PLANES, DISTANCES, FOUND, N };
    PyObject *o[N], *result = NULL;
    Array a[N] = {0};
    unsigned short most;
    if (!PyArg_ParseTuple(args, "OOOHO", &o[IDS], &o[PLANES], &o[DISTANCES], &most, &o[FOUND]))
        return NULL;
    if (array_open(&a[IDS], o[IDS], "ids", "u2", 2, READ) < 0 ||
        array_open(&a[PLANES], o[PLANES], "planes", "i8", 2, READ) < 0 ||
        array_open(&a[DISTANCES], o[DISTANCES], "distances", "i8", 1, READ) < 0 ||
        array_open(&a[FOUND], o[FOUND], "found", "u2", 2, WRITE) < 0 ||
        array_expect(&a[PLANES], "planes", 3 * a[DISTANCES].count) < 0 ||
        array_expect(&a[FOUND], "found", a[IDS].count) < 0 ||
        ids_below(a[IDS].data, a[IDS].count, a[DISTANCES].count) < 0)
        goto done;
    Py_BEGIN_ALLOW_THREADS
    depth(a[IDS].data, a[IDS].shape[0], a[IDS].shape[1], a[PLANES].data, a[DISTANCES].data, most,
          a[FOUND].data);
    Py_END_ALLOW_THREADS
    result = Py_NewRef(Py_None);
done:
    arrays_close(a, N);
    return result;
}

PyMethodDef surfaces_methods[] = {
    {"surfaces_boxes", surfaces_boxes, METH_VARARGS, NULL},
    {"surfaces_refine", surfaces_refine, METH_VARARGS, NULL},
    {"surfaces_depth", surfaces_depth, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};
