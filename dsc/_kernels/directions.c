/* The different normals of a map, merged as far as an error allows.
 *
 * Twins: `dsc._codecs.label.directions`. Angles are floating point there and here, operation by
 * operation, and nothing may be fused; what is summed is integers.
 */
#include "clones.h"
#include "kernels.h"

#include <math.h>

#ifdef __clang__
#pragma STDC FP_CONTRACT OFF
#endif

/* ---- the directions of a map */

#define SLOT_BITS 14
#define SLOTS (1 << SLOT_BITS)
#define MOST_DIRECTIONS (SLOTS / 2) /* half of the slots stay free */

typedef struct {
    uint32_t value;
    int32_t number; /* -1 where nothing is */
} Slot;

/* Returns where a value is among the slots, or is to be. */
static inline uint32_t slot_of(const Slot *slots, uint32_t value) {
    uint32_t at = (value * UINT32_C(2654435769)) >> (32 - SLOT_BITS);
    while (slots[at].number >= 0 && slots[at].value != value) at = (at + 1) % SLOTS;
    return at;
}

/* Numbers the valid pixels' values as they come, and counts them; returns how many there are, -1
 * when they are more than `most`. Pixels that are not valid have number 0. */
static int64_t number_pixels(const uint8_t *image, const uint8_t *invalid, int64_t n, int64_t most,
                             Slot *slots, uint16_t *numbers, uint32_t *values, int64_t *counts) {
    int64_t found = 0, last = -1;
    uint32_t before = 0;
    for (int64_t k = 0; k < SLOTS; k++) slots[k].number = -1;
    for (int64_t k = 0; k < n; k++) {
        numbers[k] = 0;
        if (invalid[k]) continue;
        uint32_t value = (uint32_t)image[3 * k] << 16 | (uint32_t)image[3 * k + 1] << 8 | image[3 * k + 2];
        if (last < 0 || value != before) {
            Slot *slot = slots + slot_of(slots, value);
            if (slot->number < 0) {
                if (found == most) return -1;
                values[found] = slot->value = value;
                counts[found] = 0;
                slot->number = (int32_t)found++;
            }
            last = slot->number;
            before = value;
        }
        numbers[k] = (uint16_t)last;
        counts[last]++;
    }
    return found;
}

static PyObject *directions_number(PyObject *self, PyObject *args) {
    (void)self;
    enum { IMAGE, INVALID, NUMBERS, VALUES, COUNTS, N };
    PyObject *o[N], *result = NULL;
    Array a[N] = {0};
    if (!PyArg_ParseTuple(args, "OOOOO", &o[0], &o[1], &o[2], &o[3], &o[4])) return NULL;
    if (array_open(&a[IMAGE], o[IMAGE], "image", "u1", 3, READ) < 0 ||
        array_open(&a[INVALID], o[INVALID], "invalid", "b1", 2, READ) < 0 ||
        array_open(&a[NUMBERS], o[NUMBERS], "numbers", "u2", 2, WRITE) < 0 ||
        array_open(&a[VALUES], o[VALUES], "values", "u4", 1, WRITE) < 0 ||
        array_open(&a[COUNTS], o[COUNTS], "counts", "i8", 1, WRITE) < 0 ||
        array_expect(&a[IMAGE], "image", 3 * a[INVALID].count) < 0 ||
        array_expect(&a[NUMBERS], "numbers", a[INVALID].count) < 0 ||
        array_expect(&a[COUNTS], "counts", a[VALUES].count) < 0)
        goto done;
    if (a[VALUES].count > MOST_DIRECTIONS) {
        PyErr_Format(PyExc_TypeError, "values: room for more than %d", MOST_DIRECTIONS);
        goto done;
    }
    Slot *slots = malloc(SLOTS * sizeof *slots);
    if (!slots) {
        PyErr_NoMemory();
        goto done;
    }
    int64_t found;
    Py_BEGIN_ALLOW_THREADS
    found = number_pixels(a[IMAGE].data, a[INVALID].data, a[INVALID].count, a[VALUES].count, slots,
                          a[NUMBERS].data, a[VALUES].data, a[COUNTS].data);
    free(slots);
    Py_END_ALLOW_THREADS
    result = PyLong_FromLongLong(found);
done:
    arrays_close(a, N);
    return result;
}

/* ---- angles */

/* Odd integers: a channel c of a direction is (2 c - 255) / 255, which is never 0. */
static inline int32_t component(uint8_t value) {
    return 2 * value - 255;
}

static inline int32_t product(const int32_t *a, const int32_t *b) {
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
}

/* The angle whose cosine is dot / sqrt(squares), in 2^-26 rad: formula 4.4.46 of Abramowitz and
 * Stegun's handbook (1964), within 2e-8 rad. */
static inline uint32_t angle_of(int32_t dot, double squares) {
    double cosine = (double)dot / sqrt(squares), x = fabs(cosine);
    double sum = -0.0012624911;
    sum = sum * x + 0.0066700901;
    sum = sum * x + -0.0170881256;
    sum = sum * x + 0.0308918810;
    sum = sum * x + -0.0501743046;
    sum = sum * x + 0.0889789874;
    sum = sum * x + -0.2145988016;
    sum = sum * x + 1.5707963050;
    double angle = sqrt(1.0 - x) * sum;
    angle = cosine < 0 ? 3.141592653589793 - angle : angle;
    return (uint32_t)(int32_t)(angle * 67108864.0 + 0.5);
}

CLONED static void angles(const uint8_t *restrict first, const uint8_t *restrict second, int64_t n,
                          uint32_t *restrict found) {
    for (int64_t k = 0; k < n; k++) {
        int32_t x = component(first[3 * k]), u = component(second[3 * k]);
        int32_t y = component(first[3 * k + 1]), v = component(second[3 * k + 1]);
        int32_t z = component(first[3 * k + 2]), w = component(second[3 * k + 2]);
        double squares = (double)(x * x + y * y + z * z) * (double)(u * u + v * v + w * w);
        found[k] = angle_of(x * u + y * v + z * w, squares);
    }
}

static PyObject *directions_angles(PyObject *self, PyObject *args) {
    (void)self;
    PyObject *o[3], *result = NULL;
    Array a[3] = {0};
    if (!PyArg_ParseTuple(args, "OOO", &o[0], &o[1], &o[2])) return NULL;
    if (array_open(&a[0], o[0], "first", "u1", 2, READ) < 0 ||
        array_open(&a[1], o[1], "second", "u1", 2, READ) < 0 ||
        array_open(&a[2], o[2], "angles", "u4", 1, WRITE) < 0 ||
        array_expect(&a[0], "first", 3 * a[2].count) < 0 ||
        array_expect(&a[1], "second", 3 * a[2].count) < 0)
        goto done;
    Py_BEGIN_ALLOW_THREADS
    angles(a[0].data, a[1].data, a[2].count, a[2].data);
    Py_END_ALLOW_THREADS
    result = Py_NewRef(Py_None);
done:
    arrays_close(a, 3);
    return result;
}

/* ---- merging */

/* Gives each direction, the most frequent first, to the first one within a tolerance of it, while
 * neither sum of errors is beyond `most`; returns whether all went well. `least` is the square of the
 * cosine of the tolerance, which is an acute angle; `left` is room for n numbers. */
static int merge(const uint8_t *values, const int64_t *counts, int64_t n, double least,
                 const uint64_t *most, int32_t (*components)[3], int32_t *squares, int32_t *left,
                 uint16_t *own) {
    uint64_t sum = 0, square = 0;
    int64_t n_left = 0;
    for (int64_t k = 0; k < n; k++) {
        for (int c = 0; c < 3; c++) components[k][c] = component(values[3 * k + c]);
        squares[k] = product(components[k], components[k]);
        left[n_left++] = (int32_t)k;
    }
    while (n_left) {
        int32_t at = left[0];
        int64_t kept = 0;
        own[at] = (uint16_t)at;
        for (int64_t k = 1; k < n_left; k++) {
            int32_t other = left[k];
            int32_t dot = product(components[at], components[other]);
            double both = (double)squares[at] * (double)squares[other];
            if (dot <= 0 || (double)dot * (double)dot < least * both) {
                left[kept++] = other;
                continue;
            }
            uint64_t angle = angle_of(dot, both), count = (uint64_t)counts[other];
            own[other] = (uint16_t)at;
            sum += count * angle;
            square += count * (angle * angle >> 20);
            if (sum > most[0] || square > most[1]) return 0;
        }
        n_left = kept;
    }
    return 1;
}

static PyObject *directions_merge(PyObject *self, PyObject *args) {
    (void)self;
    enum { VALUES, COUNTS, OWN, N };
    PyObject *o[N], *result = NULL;
    Array a[N] = {0};
    double least;
    unsigned long long most_sum, most_square;
    if (!PyArg_ParseTuple(args, "OOdKKO", &o[VALUES], &o[COUNTS], &least, &most_sum, &most_square,
                          &o[OWN]))
        return NULL;
    if (array_open(&a[VALUES], o[VALUES], "values", "u1", 2, READ) < 0 ||
        array_open(&a[COUNTS], o[COUNTS], "counts", "i8", 1, READ) < 0 ||
        array_open(&a[OWN], o[OWN], "own", "u2", 1, WRITE) < 0 ||
        array_expect(&a[VALUES], "values", 3 * a[OWN].count) < 0 ||
        array_expect(&a[COUNTS], "counts", a[OWN].count) < 0)
        goto done;
    int64_t n = a[OWN].count;
    if (n > MOST_DIRECTIONS) {
        PyErr_Format(PyExc_TypeError, "values: more than %d", MOST_DIRECTIONS);
        goto done;
    }
    int32_t *room = malloc((size_t)(5 * n + 1) * sizeof *room);
    if (!room) {
        PyErr_NoMemory();
        goto done;
    }
    const uint64_t most[2] = {most_sum, most_square};
    int within;
    Py_BEGIN_ALLOW_THREADS
    within = merge(a[VALUES].data, a[COUNTS].data, n, least, most, (int32_t(*)[3])room, room + 3 * n,
                   room + 4 * n, a[OWN].data);
    free(room);
    Py_END_ALLOW_THREADS
    result = PyBool_FromLong(within);
done:
    arrays_close(a, N);
    return result;
}

PyMethodDef directions_methods[] = {
    {"directions_number", directions_number, METH_VARARGS, NULL},
    {"directions_angles", directions_angles, METH_VARARGS, NULL},
    {"directions_merge", directions_merge, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};
