/* The steps that bring a decoded map within a bound: the twin is in `dsc._codecs.residual.bound`.
 *
 * Tables of steps have the element type of the map, so that whatever they hold is a count.
 */
#include "kernels.h"

#define MOST_POWERS 20
#define FEW 3 /* steps that are taken one by one: most residuals are no more */

/* The tables of a bound for maps of `size` counts. */
typedef struct {
    const int32_t *low, *high;
    const void *up, *down;
    int64_t ups, downs, size;
} Steps;

/* Defines the loops over maps of one element type. A table of powers has `count` rows of `size`
 * entries: where 1, 2, 4 ... steps lead from each count. */
#define LOOPS(T, NAME)                                                                             \
    typedef struct {                                                                               \
        const T *steps;                                                                            \
        int64_t count, size;                                                                       \
    } Powers_##NAME;                                                                               \
                                                                                                   \
    static T go_##NAME(const Powers_##NAME *powers, T from, uint32_t steps) {                      \
        if (steps <= FEW) {                                                                        \
            for (; steps; steps--) from = powers->steps[from];                                     \
            return from;                                                                           \
        }                                                                                          \
        for (int64_t k = 0; k < powers->count; k++)                                                \
            if (steps >> k & 1) from = powers->steps[k * powers->size + from];                     \
        return from;                                                                               \
    }                                                                                              \
                                                                                                   \
    /* Returns how many steps it takes from a count until `wanted` is covered, which it does not   \
     * cover. `limits` is the last original that each count covers, `sign` the way. */             \
    static int32_t steps_to_##NAME(const Powers_##NAME *powers, const int32_t *limits, T from,     \
                                   int32_t wanted, int32_t sign) {                                 \
        T here = from;                                                                             \
        for (int32_t steps = 1; steps <= FEW; steps++) {                                           \
            here = powers->steps[here];                                                            \
            if (sign * wanted <= sign * limits[here]) return steps;                                \
        }                                                                                          \
        int32_t steps = 1;                                                                         \
        here = from;                                                                               \
        for (int64_t k = powers->count - 1; k >= 0; k--) {                                         \
            T there = powers->steps[k * powers->size + here];                                      \
            if (sign * wanted > sign * limits[there]) {                                            \
                here = there;                                                                      \
                steps += (int32_t)1 << k;                                                          \
            }                                                                                      \
        }                                                                                          \
        return steps;                                                                              \
    }                                                                                              \
                                                                                                   \
    static void quantise_##NAME(const Steps *tables, const T *original, const T *decoded,          \
                                int64_t n, int32_t *residual) {                                    \
        const Powers_##NAME up = {tables->up, tables->ups, tables->size};                          \
        const Powers_##NAME down = {tables->down, tables->downs, tables->size};                    \
        for (int64_t k = 0; k < n; k++) {                                                          \
            T from = decoded[k];                                                                   \
            int32_t wanted = original[k];                                                          \
            if (wanted > tables->high[from])                                                       \
                residual[k] = steps_to_##NAME(&up, tables->high, from, wanted, 1);                 \
            else if (wanted < tables->low[from])                                                   \
                residual[k] = -steps_to_##NAME(&down, tables->low, from, wanted, -1);              \
            else                                                                                   \
                residual[k] = 0;                                                                   \
        }                                                                                          \
    }                                                                                              \
                                                                                                   \
    static void apply_##NAME(const Steps *tables, const T *decoded, const int32_t *residual,       \
                             int64_t n, T *found) {                                                \
        const Powers_##NAME up = {tables->up, tables->ups, tables->size};                          \
        const Powers_##NAME down = {tables->down, tables->downs, tables->size};                    \
        for (int64_t k = 0; k < n; k++) {                                                          \
            int32_t r = residual[k];                                                               \
            found[k] = r > 0   ? go_##NAME(&up, decoded[k], (uint32_t)r)                           \
                       : r < 0 ? go_##NAME(&down, decoded[k], 0 - (uint32_t)r)                     \
                               : decoded[k];                                                       \
        }                                                                                          \
    }                                                                                              \
                                                                                                   \
    static void holds_##NAME(const int32_t *allowed, const T *original, const T *decoded,          \
                             int64_t n, uint8_t *within) {                                         \
        for (int64_t k = 0; k < n; k++) {                                                          \
            int32_t error = (int32_t)original[k] - (int32_t)decoded[k];                            \
            within[k] = (error < 0 ? -error : error) <= allowed[original[k]];                      \
        }                                                                                          \
    }

LOOPS(uint8_t, u1)
LOOPS(uint16_t, u2)

/* ---- functions of the module */

/* Opens a map of 8 or 16 bits, and sets `size` to the number of its counts. */
static int map_open(Array *array, PyObject *object, const char *name, int writable, int64_t *size) {
    if (array_open(array, object, name, "u1", 1, writable) == 0) {
        *size = 1 << 8;
        return 0;
    }
    PyErr_Clear();
    arrays_close(array, 1);
    *size = 1 << 16;
    return array_open(array, object, name, "u2", 1, writable);
}

enum { LOW, HIGH, UP, DOWN, STEP_ARRAYS };

/* Opens the tables of a bound for maps of `size` counts. */
static int steps_open(Steps *steps, Array *a, PyObject **o, int64_t size) {
    const char *element = size == 1 << 8 ? "u1" : "u2";
    if (array_open(&a[LOW], o[LOW], "low", "i4", 1, READ) < 0 ||
        array_open(&a[HIGH], o[HIGH], "high", "i4", 1, READ) < 0 ||
        array_open(&a[UP], o[UP], "up", element, 2, READ) < 0 ||
        array_open(&a[DOWN], o[DOWN], "down", element, 2, READ) < 0 ||
        array_expect(&a[LOW], "low", size) < 0 || array_expect(&a[HIGH], "high", size) < 0)
        return -1;
    for (int k = UP; k <= DOWN; k++)
        if (a[k].shape[1] != size || a[k].shape[0] < 1 || a[k].shape[0] > MOST_POWERS) {
            PyErr_SetString(PyExc_TypeError, "steps: not a table of all counts");
            return -1;
        }
    *steps = (Steps){a[LOW].data,    a[HIGH].data,     a[UP].data, a[DOWN].data,
                     a[UP].shape[0], a[DOWN].shape[0], size};
    return 0;
}

static PyObject *bound_quantise(PyObject *self, PyObject *args) {
    (void)self;
    enum { ORIGINAL = STEP_ARRAYS, DECODED, RESIDUAL, N };
    PyObject *o[N], *result = NULL;
    Array a[N] = {0};
    Steps steps;
    int64_t size, other;
    if (!PyArg_ParseTuple(args, "OOOOOOO", &o[LOW], &o[HIGH], &o[UP], &o[DOWN], &o[ORIGINAL],
                          &o[DECODED], &o[RESIDUAL]))
        return NULL;
    if (map_open(&a[ORIGINAL], o[ORIGINAL], "original", READ, &size) < 0 ||
        map_open(&a[DECODED], o[DECODED], "decoded", READ, &other) < 0 ||
        array_open(&a[RESIDUAL], o[RESIDUAL], "residual", "i4", 1, WRITE) < 0 ||
        steps_open(&steps, a, o, size) < 0 ||
        array_expect(&a[DECODED], "decoded", other == size ? a[ORIGINAL].count : -1) < 0 ||
        array_expect(&a[RESIDUAL], "residual", a[ORIGINAL].count) < 0)
        goto done;
    int64_t n = a[ORIGINAL].count;
    Py_BEGIN_ALLOW_THREADS
    if (size == 1 << 8)
        quantise_u1(&steps, a[ORIGINAL].data, a[DECODED].data, n, a[RESIDUAL].data);
    else
        quantise_u2(&steps, a[ORIGINAL].data, a[DECODED].data, n, a[RESIDUAL].data);
    Py_END_ALLOW_THREADS
    result = Py_NewRef(Py_None);
done:
    arrays_close(a, N);
    return result;
}

static PyObject *bound_apply(PyObject *self, PyObject *args) {
    (void)self;
    enum { DECODED = STEP_ARRAYS, RESIDUAL, FOUND, N };
    PyObject *o[N], *result = NULL;
    Array a[N] = {0};
    Steps steps;
    int64_t size, other;
    if (!PyArg_ParseTuple(args, "OOOOOOO", &o[LOW], &o[HIGH], &o[UP], &o[DOWN], &o[DECODED],
                          &o[RESIDUAL], &o[FOUND]))
        return NULL;
    if (map_open(&a[DECODED], o[DECODED], "decoded", READ, &size) < 0 ||
        map_open(&a[FOUND], o[FOUND], "found", WRITE, &other) < 0 ||
        array_open(&a[RESIDUAL], o[RESIDUAL], "residual", "i4", 1, READ) < 0 ||
        steps_open(&steps, a, o, size) < 0 ||
        array_expect(&a[FOUND], "found", other == size ? a[DECODED].count : -1) < 0 ||
        array_expect(&a[RESIDUAL], "residual", a[DECODED].count) < 0)
        goto done;
    int64_t n = a[DECODED].count;
    Py_BEGIN_ALLOW_THREADS
    if (size == 1 << 8)
        apply_u1(&steps, a[DECODED].data, a[RESIDUAL].data, n, a[FOUND].data);
    else
        apply_u2(&steps, a[DECODED].data, a[RESIDUAL].data, n, a[FOUND].data);
    Py_END_ALLOW_THREADS
    result = Py_NewRef(Py_None);
done:
    arrays_close(a, N);
    return result;
}

static PyObject *bound_holds(PyObject *self, PyObject *args) {
    (void)self;
    enum { ALLOWED, ORIGINAL, DECODED, WITHIN, N };
    PyObject *o[N], *result = NULL;
    Array a[N] = {0};
    int64_t size, other;
    if (!PyArg_ParseTuple(args, "OOOO", &o[0], &o[1], &o[2], &o[3])) return NULL;
    if (map_open(&a[ORIGINAL], o[ORIGINAL], "original", READ, &size) < 0 ||
        map_open(&a[DECODED], o[DECODED], "decoded", READ, &other) < 0 ||
        array_open(&a[ALLOWED], o[ALLOWED], "allowed", "i4", 1, READ) < 0 ||
        array_open(&a[WITHIN], o[WITHIN], "within", "b1", 1, WRITE) < 0 ||
        array_expect(&a[ALLOWED], "allowed", size) < 0 ||
        array_expect(&a[DECODED], "decoded", other == size ? a[ORIGINAL].count : -1) < 0 ||
        array_expect(&a[WITHIN], "within", a[ORIGINAL].count) < 0)
        goto done;
    int64_t n = a[ORIGINAL].count;
    Py_BEGIN_ALLOW_THREADS
    if (size == 1 << 8)
        holds_u1(a[ALLOWED].data, a[ORIGINAL].data, a[DECODED].data, n, a[WITHIN].data);
    else
        holds_u2(a[ALLOWED].data, a[ORIGINAL].data, a[DECODED].data, n, a[WITHIN].data);
    Py_END_ALLOW_THREADS
    result = Py_NewRef(Py_None);
done:
    arrays_close(a, N);
    return result;
}

PyMethodDef bound_methods[] = {
    {"bound_quantise", bound_quantise, METH_VARARGS, NULL},
    {"bound_apply", bound_apply, METH_VARARGS, NULL},
    {"bound_holds", bound_holds, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};
