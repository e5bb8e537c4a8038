/* Maps and what their values mean: look-ups, holes, unit vectors, structural similarity.
 *
 * Twins: `dsc._codecs.maps.look_up`, `dsc._coding.fill`, `dsc._schemas.task`,
 * `dsc._pipeline.metrics`. What is floating point here is the twin's, operation by operation, and
 * nothing may be fused: the values are the same to the last bit.
 */
#include "clones.h"
#include "kernels.h"

#include <math.h>

#ifdef __clang__
#pragma STDC FP_CONTRACT OFF
#endif

/* Opens an array of 8 or 16 bits, and sets `bytes` to those of an element. */
static int counts_open(Array *array, PyObject *object, const char *name, int writable, int *bytes) {
    *bytes = 1;
    if (array_open(array, object, name, "u1", 1, writable) == 0) return 0;
    PyErr_Clear();
    arrays_close(array, 1);
    *bytes = 2;
    return array_open(array, object, name, "u2", 1, writable);
}

/* Defines a look-up of elements T in a table of elements U; it returns the largest element. */
#define LOOK_UP(T, U)                                                                              \
    static uint32_t look_up_##T##_##U(const T *from, int64_t n, const U *table, int64_t size,      \
                                      const uint8_t *mask, U masked, U *to) {                      \
        uint32_t largest = 0;                                                                      \
        for (int64_t k = 0; k < n; k++) largest = from[k] > largest ? from[k] : largest;           \
        if ((int64_t)largest >= size) return largest;                                              \
        for (int64_t k = 0; k < n; k++) to[k] = mask && mask[k] ? masked : table[from[k]];         \
        return largest;                                                                            \
    }
LOOK_UP(uint8_t, uint8_t)
LOOK_UP(uint8_t, uint16_t)
LOOK_UP(uint16_t, uint8_t)
LOOK_UP(uint16_t, uint16_t)

static PyObject *maps_look_up(PyObject *self, PyObject *args) {
    (void)self;
    enum { IMAGE, TABLE, MASK, FOUND, N };
    PyObject *o[N], *result = NULL;
    Array a[N] = {0};
    int from, to, table;
    unsigned int masked;
    uint32_t largest;
    if (!PyArg_ParseTuple(args, "OOOIO", &o[IMAGE], &o[TABLE], &o[MASK], &masked, &o[FOUND]))
        return NULL;
    if (counts_open(&a[IMAGE], o[IMAGE], "image", READ, &from) < 0 ||
        counts_open(&a[TABLE], o[TABLE], "table", READ, &table) < 0 ||
        (o[MASK] != Py_None && array_open(&a[MASK], o[MASK], "mask", "b1", 1, READ) < 0) ||
        counts_open(&a[FOUND], o[FOUND], "found", WRITE, &to) < 0 ||
        array_expect(&a[FOUND], "found", to == table ? a[IMAGE].count : -1) < 0 ||
        (o[MASK] != Py_None && array_expect(&a[MASK], "mask", a[IMAGE].count) < 0))
        goto done;
    int64_t n = a[IMAGE].count, size = a[TABLE].count;
    Py_BEGIN_ALLOW_THREADS
    if (from == 1 && to == 1)
        largest = look_up_uint8_t_uint8_t(a[IMAGE].data, n, a[TABLE].data, size, a[MASK].data,
                                          (uint8_t)masked, a[FOUND].data);
    else if (from == 1)
        largest = look_up_uint8_t_uint16_t(a[IMAGE].data, n, a[TABLE].data, size, a[MASK].data,
                                           (uint16_t)masked, a[FOUND].data);
    else if (to == 1)
        largest = look_up_uint16_t_uint8_t(a[IMAGE].data, n, a[TABLE].data, size, a[MASK].data,
                                           (uint8_t)masked, a[FOUND].data);
    else
        largest = look_up_uint16_t_uint16_t(a[IMAGE].data, n, a[TABLE].data, size, a[MASK].data,
                                            (uint16_t)masked, a[FOUND].data);
    Py_END_ALLOW_THREADS
    result = PyLong_FromUnsignedLong(largest);
done:
    arrays_close(a, N);
    return result;
}

/* ---- unit vectors */

CLONED static void unit_vectors(const uint8_t *restrict image, int64_t n, float *restrict out) {
    for (int64_t k = 0; k < n; k++) {
        float x = ((float)image[3 * k] - 127.5f) / 127.5f;
        float y = ((float)image[3 * k + 1] - 127.5f) / 127.5f;
        float z = ((float)image[3 * k + 2] - 127.5f) / 127.5f;
        float length = sqrtf(x * x + y * y + z * z);
        length = length > 1e-6f ? length : 1e-6f;
        out[3 * k] = x / length;
        out[3 * k + 1] = y / length;
        out[3 * k + 2] = z / length;
    }
}

static void erase(const uint8_t *image, int64_t n, uint8_t invalid, float *out) {
    for (int64_t k = 0; k < n; k++)
        if (image[3 * k] == invalid && image[3 * k + 1] == invalid && image[3 * k + 2] == invalid)
            out[3 * k] = out[3 * k + 1] = out[3 * k + 2] = NAN;
}

static PyObject *maps_unit_vectors(PyObject *self, PyObject *args) {
    (void)self;
    enum { IMAGE, INVALID, FOUND, N };
    PyObject *o[N], *result = NULL;
    Array a[N] = {0};
    if (!PyArg_ParseTuple(args, "OOO", &o[0], &o[1], &o[2])) return NULL;
    if (array_open(&a[IMAGE], o[IMAGE], "image", "u1", 3, READ) < 0 ||
        array_open(&a[INVALID], o[INVALID], "invalid", "u1", 1, READ) < 0 ||
        array_open(&a[FOUND], o[FOUND], "found", "f4", 3, WRITE) < 0 ||
        array_expect(&a[IMAGE], "image", 3 * a[IMAGE].shape[0] * a[IMAGE].shape[1]) < 0 ||
        array_expect(&a[FOUND], "found", a[IMAGE].count) < 0)
        goto done;
    int64_t n = a[IMAGE].count / 3;
    Py_BEGIN_ALLOW_THREADS
    unit_vectors(a[IMAGE].data, n, a[FOUND].data);
    for (int64_t k = 0; k < a[INVALID].count; k++)
        erase(a[IMAGE].data, n, ((const uint8_t *)a[INVALID].data)[k], a[FOUND].data);
    Py_END_ALLOW_THREADS
    result = Py_NewRef(Py_None);
done:
    arrays_close(a, N);
    return result;
}

/* ---- holes filled from a pyramid of sums */

typedef struct {
    int64_t height, width;
    float *sums, *weight; /* (channels, height, width), (height, width) */
} Floor;

#define MOST_FLOORS 64

static int floor_open(Floor *floor, int64_t channels, int64_t height, int64_t width) {
    *floor = (Floor){.height = height, .width = width};
    floor->sums = malloc((size_t)((channels + 1) * height * width) * sizeof(float));
    floor->weight = floor->sums ? floor->sums + channels * height * width : NULL;
    return floor->sums ? 0 : -1;
}

static int is_full(const Floor *floor) {
    int full = 1;
    for (int64_t k = 0; k < floor->height * floor->width; k++) full &= floor->weight[k] > 0;
    return full;
}

/* Sums two by two; what lies beyond the last row and column is 0. */
static void halve(const float *from, int64_t height, int64_t width, float *to) {
    for (int64_t y = 0; y < height; y += 2)
        for (int64_t x = 0; x < width; x += 2) {
            int is_right = x + 1 < width, is_down = y + 1 < height;
            const float *at = from + y * width + x;
            float sum = at[0] + (is_down ? at[width] : 0.0f);
            sum = sum + (is_right ? at[1] : 0.0f);
            *to++ = sum + (is_right && is_down ? at[width + 1] : 0.0f);
        }
}

/* Makes means of sums; where there is nothing to be summed, those of the floor above. */
static void fill(Floor *floor, int64_t channels, const Floor *above) {
    for (int64_t c = 0; c < channels; c++)
        for (int64_t y = 0; y < floor->height; y++) {
            float *sums = floor->sums + (c * floor->height + y) * floor->width;
            const float *weight = floor->weight + y * floor->width;
            const float *coarse =
                above ? above->sums + (c * above->height + y / 2) * above->width : NULL;
            for (int64_t x = 0; x < floor->width; x++)
                sums[x] = weight[x] > 0 ? sums[x] / weight[x] : coarse[x / 2];
        }
}

/* Fills the first floor, whose sums and weights are there. Returns -1 when there is no memory. */
static int fill_holes(Floor *floors, int64_t channels) {
    int n = 1;
    for (; !is_full(&floors[n - 1]); n++) {
        Floor *below = &floors[n - 1], *own = &floors[n];
        if (floor_open(own, channels, (below->height + 1) / 2, (below->width + 1) / 2) < 0) return -1;
        for (int64_t c = 0; c < channels; c++)
            halve(below->sums + c * below->height * below->width, below->height, below->width,
                  own->sums + c * own->height * own->width);
        halve(below->weight, below->height, below->width, own->weight);
    }
    for (int k = n - 1; k >= 0; k--) fill(&floors[k], channels, k < n - 1 ? &floors[k + 1] : NULL);
    return 0;
}

static PyObject *maps_fill(PyObject *self, PyObject *args) {
    (void)self;
    enum { PLANES, WEIGHT, N };
    PyObject *o[N], *result = NULL;
    Array a[N] = {0};
    Floor floors[MOST_FLOORS] = {0};
    int failed = 0, any = 0, all = 1;
    if (!PyArg_ParseTuple(args, "OO", &o[0], &o[1])) return NULL;
    if (array_open(&a[PLANES], o[PLANES], "planes", "f4", 3, WRITE) < 0 ||
        array_open(&a[WEIGHT], o[WEIGHT], "weight", "f4", 2, READ) < 0 ||
        array_expect(&a[WEIGHT], "weight", a[PLANES].shape[1] * a[PLANES].shape[2]) < 0)
        goto done;
    for (int64_t k = 0; k < a[WEIGHT].count; k++) {
        float weight = ((const float *)a[WEIGHT].data)[k];
        any |= weight > 0;
        all &= weight >= 0; /* else the sum of all might not be above 0, and no floor be full */
    }
    if (!any || !all) {
        PyErr_SetString(PyExc_TypeError, "weight: nothing to fill from, or a number below 0");
        goto done;
    }
    Py_BEGIN_ALLOW_THREADS
    floors[0] = (Floor){a[PLANES].shape[1], a[PLANES].shape[2], a[PLANES].data, a[WEIGHT].data};
    failed = fill_holes(floors, a[PLANES].shape[0]);
    for (int k = 1; k < MOST_FLOORS; k++) free(floors[k].sums);
    Py_END_ALLOW_THREADS
    if (failed)
        PyErr_NoMemory();
    else
        result = Py_NewRef(Py_None);
done:
    arrays_close(a, N);
    return result;
}

/* ---- structural similarity */

enum { MEAN_1, MEAN_2, SQUARE_1, SQUARE_2, PRODUCT, SUMS };

/* Blurs a column each of both images, of their squares and of their product: n columns at once. */
CLONED static void blur_rows(const double *restrict first, const double *restrict second,
                             int64_t stride, const double *window, int64_t size, int64_t n,
                             double *restrict out) {
    for (int64_t k = 0; k < size; k++) {
        const double w = window[k], *restrict a = first + k * stride, *restrict b = second + k * stride;
        for (int64_t x = 0; x < n; x++) {
            double of_a = a[x] * w, of_b = b[x] * w;
            double aa = a[x] * a[x] * w, bb = b[x] * b[x] * w, ab = a[x] * b[x] * w;
            out[MEAN_1 * n + x] = k ? out[MEAN_1 * n + x] + of_a : of_a;
            out[MEAN_2 * n + x] = k ? out[MEAN_2 * n + x] + of_b : of_b;
            out[SQUARE_1 * n + x] = k ? out[SQUARE_1 * n + x] + aa : aa;
            out[SQUARE_2 * n + x] = k ? out[SQUARE_2 * n + x] + bb : bb;
            out[PRODUCT * n + x] = k ? out[PRODUCT * n + x] + ab : ab;
        }
    }
}

/* Blurs rows of n along themselves, to n - size + 1 values each. */
CLONED static void blur_columns(const double *restrict in, const double *window, int64_t size,
                                int64_t n, double *restrict out) {
    int64_t length = n - size + 1;
    for (int64_t s = 0; s < SUMS; s++)
        for (int64_t k = 0; k < size; k++)
            for (int64_t x = 0; x < length; x++) {
                double part = in[s * n + k + x] * window[k];
                out[s * length + x] = k ? out[s * length + x] + part : part;
            }
}

CLONED static void compare(const double *restrict sums, int64_t n, double c1, double c2,
                           double *restrict similarity, double *restrict contrast) {
    for (int64_t x = 0; x < n; x++) {
        double m1 = sums[MEAN_1 * n + x], m2 = sums[MEAN_2 * n + x];
        double variance_1 = sums[SQUARE_1 * n + x] - m1 * m1;
        double variance_2 = sums[SQUARE_2 * n + x] - m2 * m2;
        double covariance = sums[PRODUCT * n + x] - m1 * m2;
        double c = (2 * covariance + c2) / (variance_1 + variance_2 + c2);
        double l = (2 * m1 * m2 + c1) / (m1 * m1 + m2 * m2 + c1);
        similarity[x] = l * c;
        contrast[x] = c;
    }
}

static PyObject *maps_similarity(PyObject *self, PyObject *args) {
    (void)self;
    enum { FIRST, SECOND, DOWN, ALONG, SIMILARITY, CONTRAST, N };
    PyObject *o[N], *result = NULL;
    Array a[N] = {0};
    double c1, c2, *rows = NULL, *sums = NULL;
    if (!PyArg_ParseTuple(args, "OOOOddOO", &o[FIRST], &o[SECOND], &o[DOWN], &o[ALONG], &c1, &c2,
                          &o[SIMILARITY], &o[CONTRAST]))
        return NULL;
    if (array_open(&a[FIRST], o[FIRST], "first", "f8", 2, READ) < 0 ||
        array_open(&a[SECOND], o[SECOND], "second", "f8", 2, READ) < 0 ||
        array_open(&a[DOWN], o[DOWN], "down", "f8", 1, READ) < 0 ||
        array_open(&a[ALONG], o[ALONG], "along", "f8", 1, READ) < 0 ||
        array_open(&a[SIMILARITY], o[SIMILARITY], "similarity", "f8", 2, WRITE) < 0 ||
        array_open(&a[CONTRAST], o[CONTRAST], "contrast", "f8", 2, WRITE) < 0)
        goto done;
    int64_t stride = a[FIRST].shape[1], n_down = a[DOWN].count, n_along = a[ALONG].count;
    int64_t height = a[FIRST].shape[0] - n_down + 1, width = stride - n_along + 1;
    if (height < 1 || width < 1 || n_down < 1 || n_along < 1 || a[SECOND].shape[1] != stride ||
        a[SIMILARITY].shape[1] != width || a[CONTRAST].shape[1] != width) {
        PyErr_SetString(PyExc_TypeError, "the windows do not fit the images");
        goto done;
    }
    if (array_expect(&a[SECOND], "second", a[FIRST].count) < 0 ||
        array_expect(&a[SIMILARITY], "similarity", height * width) < 0 ||
        array_expect(&a[CONTRAST], "contrast", height * width) < 0)
        goto done;
    rows = malloc((size_t)(SUMS * stride) * sizeof *rows);
    sums = malloc((size_t)(SUMS * width) * sizeof *sums);
    if (!rows || !sums) {
        PyErr_NoMemory();
        goto done;
    }
    Py_BEGIN_ALLOW_THREADS
    for (int64_t y = 0; y < height; y++) {
        const double *first = (const double *)a[FIRST].data + y * stride;
        const double *second = (const double *)a[SECOND].data + y * stride;
        blur_rows(first, second, stride, a[DOWN].data, n_down, stride, rows);
        blur_columns(rows, a[ALONG].data, n_along, stride, sums);
        compare(sums, width, c1, c2, (double *)a[SIMILARITY].data + y * width,
                (double *)a[CONTRAST].data + y * width);
    }
    Py_END_ALLOW_THREADS
    result = Py_NewRef(Py_None);
done:
    free(rows);
    free(sums);
    arrays_close(a, N);
    return result;
}

PyMethodDef maps_methods[] = {
    {"maps_look_up", maps_look_up, METH_VARARGS, NULL},
    {"maps_unit_vectors", maps_unit_vectors, METH_VARARGS, NULL},
    {"maps_fill", maps_fill, METH_VARARGS, NULL},
    {"maps_similarity", maps_similarity, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};
