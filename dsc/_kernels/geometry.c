/* Maps that follow from depth and normals: edges of occlusion, and shading by a lamp at the camera.
 *
 * Numbers are doubles that hold integers below 2^53, so that products and sums are exact; a square
 * root or a quotient of two of them is rounded once, and then to an integer. The twins are in
 * `dsc._codecs.derived.edge_occlusion` and `dsc._codecs.derived.reshading`.
 */
#include <math.h>

#include "clones.h"
#include "kernels.h"

/* ---- edges of occlusion */

#define LARGE 0x1p26

/* Sums of a row of roots of depth, pixel by pixel: smoothed along the row, its slope, and whether a
 * pixel or a neighbour of it in the row is too far. */
typedef struct {
    int32_t *smooth, *slope;
    uint8_t *far;
} Row;

CLONED static void sum_row(const uint16_t *depth, const uint32_t *roots, int64_t width,
                           uint32_t limit, int32_t *restrict root, Row row) {
    for (int64_t x = 0; x < width; x++) root[x] = (int32_t)roots[depth[x]];
    for (int64_t x = 1; x < width - 1; x++) {
        row.smooth[x] = root[x - 1] + 2 * root[x] + root[x + 1];
        row.slope[x] = root[x + 1] - root[x - 1];
        row.far[x] = (depth[x - 1] >= limit) | (depth[x] >= limit) | (depth[x + 1] >= limit);
    }
}

CLONED static void edge_row(const Row *above, const Row *own, const Row *below, int64_t width,
                            double scale, double most, double *restrict found, uint16_t *out) {
    for (int64_t x = 1; x < width - 1; x++) {
        double along = fabs((double)(above->slope[x] + 2 * own->slope[x] + below->slope[x]));
        double down = fabs((double)(below->smooth[x] - above->smooth[x]));
        int large = along >= LARGE || down >= LARGE; /* squares would be beyond 2^53 */
        along = large ? floor(along * 0x1p-4) : along;
        down = large ? floor(down * 0x1p-4) : down;
        double root = rint(sqrt(2 * (along * along + down * down))) * (large ? 0x1p4 : 1);
        double edge = floor((root * scale + 0x1p30) * 0x1p-31);
        found[x] = edge < most ? edge : most;
    }
    for (int64_t x = 1; x < width - 1; x++) {
        uint16_t edge = (uint16_t)(int32_t)found[x];
        out[x] = above->far[x] | own->far[x] | below->far[x] ? 0 : edge;
    }
}

static void edges(const uint16_t *depth, const uint32_t *roots, int64_t height, int64_t width,
                  uint32_t limit, double scale, double most, void *room, uint16_t *out) {
    double *found = room;
    int32_t *root = (int32_t *)(found + width), *sums = root + width;
    uint8_t *far = (uint8_t *)(sums + 6 * width);
    Row rows[3];
    memset(out, 0, (size_t)(height * width) * sizeof *out);
    if (width < 3) return;
    for (int k = 0; k < 3; k++)
        rows[k] = (Row){sums + 2 * k * width, sums + (2 * k + 1) * width, far + k * width};
    for (int64_t y = 0; y < height; y++) {
        sum_row(depth + y * width, roots, width, limit, root, rows[y % 3]);
        if (y >= 2)
            edge_row(&rows[(y - 2) % 3], &rows[(y - 1) % 3], &rows[y % 3], width, scale, most,
                     found, out + (y - 1) * width);
    }
}

static PyObject *geometry_edges(PyObject *self, PyObject *args) {
    (void)self;
    enum { DEPTH, ROOTS, OUT, N };
    PyObject *o[N], *result = NULL;
    Array a[N] = {0};
    unsigned int limit, scale, most;
    void *room = NULL;
    if (!PyArg_ParseTuple(args, "OOIIIO", &o[DEPTH], &o[ROOTS], &limit, &scale, &most, &o[OUT]))
        return NULL;
    if (array_open(&a[DEPTH], o[DEPTH], "depth", "u2", 2, READ) < 0 ||
        array_open(&a[ROOTS], o[ROOTS], "roots", "u4", 1, READ) < 0 ||
        array_open(&a[OUT], o[OUT], "out", "u2", 2, WRITE) < 0 ||
        array_expect(&a[ROOTS], "roots", 1 << 16) < 0 ||
        array_expect(&a[OUT], "out", a[DEPTH].count) < 0)
        goto done;
    int64_t height = a[DEPTH].shape[0], width = a[DEPTH].shape[1];
    if (a[OUT].shape[1] != width || most > 65535) {
        PyErr_SetString(PyExc_TypeError, "out: not a map of the depth's size");
        goto done;
    }
    room = malloc((size_t)width * (sizeof(double) + 7 * sizeof(int32_t) + 3) + 1);
    if (!room) {
        PyErr_NoMemory();
        goto done;
    }
    Py_BEGIN_ALLOW_THREADS
    edges(a[DEPTH].data, a[ROOTS].data, height, width, limit, scale, most, room, a[OUT].data);
    Py_END_ALLOW_THREADS
    result = Py_NewRef(Py_None);
done:
    free(room);
    arrays_close(a, N);
    return result;
}

/* ---- shading */

/* What all pixels of a map share. `by_axis` says that depth is along the camera's axis, `as_unit`
 * that normals are made unit vectors; else their length is 255 as they are. */
typedef struct {
    double toward, reach, gain;
    int by_axis, as_unit;
} Lamp;

/* Shades a row of normals; `across` (x of a ray) and `squares` are of its columns, `down` (y) and
 * `square` of the row. */
CLONED static void shade_row(const uint8_t *normal, const uint16_t *depth, int64_t width,
                             const double *across, const double *squares, double down,
                             double square, const Lamp *lamp, double *restrict found,
                             uint8_t *out) {
    for (int64_t x = 0; x < width; x++) {
        double n0 = 2 * normal[3 * x] - 255, n1 = 2 * normal[3 * x + 1] - 255,
               n2 = 2 * normal[3 * x + 2] - 255, counts = depth[x];
        double length = squares[x] + square, facing = n0 * across[x] + n1 * down + n2 * lamp->toward;
        double shorter = floor((length + 0x1p7) * 0x1p-8);
        double squared = lamp->as_unit ? n0 * n0 + n1 * n1 + n2 * n2 : 255 * 255;
        double norm = rint(sqrt(squared * length));
        double cosine = rint(facing * 0x1p10 / norm);
        double away = counts * counts * (lamp->by_axis ? shorter : 0x1p16);
        double left = rint(lamp->reach * 0x1p18 / (lamp->reach + away));
        double level = floor((lamp->gain * cosine * left + 0x1p41) * 0x1p-42);
        found[x] = level < 0 ? 0 : level > 255 ? 255 : level;
    }
    for (int64_t x = 0; x < width; x++) out[x] = (uint8_t)(int32_t)found[x];
}

static PyObject *geometry_shade(PyObject *self, PyObject *args) {
    (void)self;
    enum { NORMAL, DEPTH, DOWN, ACROSS, ROWS, COLUMNS, OUT, N };
    PyObject *o[N], *result = NULL;
    Array a[N] = {0};
    Lamp lamp;
    double *found = NULL;
    if (!PyArg_ParseTuple(args, "OOOOOOdddppO", &o[NORMAL], &o[DEPTH], &o[DOWN], &o[ACROSS],
                          &o[ROWS], &o[COLUMNS], &lamp.toward, &lamp.reach, &lamp.gain,
                          &lamp.by_axis, &lamp.as_unit, &o[OUT]))
        return NULL;
    if (array_open(&a[NORMAL], o[NORMAL], "normal", "u1", 3, READ) < 0 ||
        array_open(&a[DEPTH], o[DEPTH], "depth", "u2", 2, READ) < 0 ||
        array_open(&a[DOWN], o[DOWN], "down", "f8", 1, READ) < 0 ||
        array_open(&a[ACROSS], o[ACROSS], "across", "f8", 1, READ) < 0 ||
        array_open(&a[ROWS], o[ROWS], "rows", "f8", 1, READ) < 0 ||
        array_open(&a[COLUMNS], o[COLUMNS], "columns", "f8", 1, READ) < 0 ||
        array_open(&a[OUT], o[OUT], "out", "u1", 2, WRITE) < 0)
        goto done;
    int64_t height = a[DEPTH].shape[0], width = a[DEPTH].shape[1];
    if (array_expect(&a[NORMAL], "normal", 3 * height * width) < 0 ||
        array_expect(&a[DOWN], "down", height) < 0 || array_expect(&a[ROWS], "rows", height) < 0 ||
        array_expect(&a[ACROSS], "across", width) < 0 ||
        array_expect(&a[COLUMNS], "columns", width) < 0 ||
        array_expect(&a[OUT], "out", height * width) < 0)
        goto done;
    found = malloc((size_t)width * sizeof *found + 1);
    if (!found) {
        PyErr_NoMemory();
        goto done;
    }
    Py_BEGIN_ALLOW_THREADS
    for (int64_t y = 0; y < height; y++)
        shade_row((const uint8_t *)a[NORMAL].data + 3 * y * width,
                  (const uint16_t *)a[DEPTH].data + y * width, width, a[ACROSS].data,
                  a[COLUMNS].data, ((const double *)a[DOWN].data)[y],
                  ((const double *)a[ROWS].data)[y], &lamp, found,
                  (uint8_t *)a[OUT].data + y * width);
    Py_END_ALLOW_THREADS
    result = Py_NewRef(Py_None);
done:
    free(found);
    arrays_close(a, N);
    return result;
}

PyMethodDef geometry_methods[] = {
    {"geometry_edges", geometry_edges, METH_VARARGS, NULL},
    {"geometry_shade", geometry_shade, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};
