/* Entropy coding of symbols grouped by table: all of table 0 first, then those of table 1. */
#include "ans.h"

/* Tables: entry k of table t is the interval from bounds[offsets[t] + t + k] to the next bound. */
typedef struct {
    const uint32_t *bounds;
    const int64_t *offsets;
    const int32_t *lows;
    int64_t count;
} Tables;

enum { BOUNDS, OFFSETS, LOWS, TABLE_ARRAYS };

static int tables_open(Tables *tables, Array *arrays, PyObject **objects) {
    if (array_open(&arrays[BOUNDS], objects[BOUNDS], "bounds", "u4", 1, READ) < 0 ||
        array_open(&arrays[OFFSETS], objects[OFFSETS], "offsets", "i8", 1, READ) < 0 ||
        array_open(&arrays[LOWS], objects[LOWS], "lows", "i4", 1, READ) < 0)
        return -1;
    tables->bounds = arrays[BOUNDS].data;
    tables->offsets = arrays[OFFSETS].data;
    tables->lows = arrays[LOWS].data;
    tables->count = arrays[LOWS].count;
    if (array_expect(&arrays[OFFSETS], "offsets", tables->count + 1) < 0) return -1;
    int fits = tables->offsets[0] == 0;
    for (int64_t t = 0; fits && t < tables->count; t++) {
        int64_t size = tables->offsets[t + 1] - tables->offsets[t];
        fits = size >= 1 && size <= ANS_ONE;
    }
    if (!fits || tables->offsets[tables->count] + tables->count != arrays[BOUNDS].count) {
        PyErr_SetString(PyExc_TypeError, "offsets: they do not cut bounds into tables");
        return -1;
    }
    return 0;
}

/* Counts the symbols of each table, and sets IndexError when one has none. */
static int count_groups(const uint8_t *indexes, int64_t n, int64_t tables, int64_t counts[256]) {
    memset(counts, 0, 256 * sizeof *counts);
    for (int64_t k = 0; k < n; k++) counts[indexes[k]]++;
    for (int64_t t = tables; t < 256; t++)
        if (counts[t]) {
            PyErr_Format(PyExc_IndexError, "table %lld of %lld", (long long)t, (long long)tables);
            return -1;
        }
    return 0;
}

/* Writes the places of the symbols to `order`, those of each table together. */
static void group(const uint8_t *indexes, int64_t n, const int64_t counts[256], uint32_t *order) {
    int64_t next[256], total = 0;
    for (int t = 0; t < 256; t++) {
        next[t] = total;
        total += counts[t];
    }
    for (int64_t k = 0; k < n; k++) order[next[indexes[k]]++] = (uint32_t)k;
}

static uint32_t *new_order(int64_t n) {
    uint32_t *order = n <= UINT32_MAX ? malloc((size_t)(n ? n : 1) * sizeof *order) : NULL;
    if (!order) PyErr_NoMemory();
    return order;
}

static int64_t look_up(const Tables *tables, const int32_t *symbols, const uint32_t *order,
                       const int64_t counts[256], uint32_t *intervals, int32_t *escaped) {
    int64_t at = 0, n_escaped = 0;
    for (int64_t t = 0; t < 256; t++) {
        if (!counts[t]) continue;
        const uint32_t *bounds = tables->bounds + tables->offsets[t] + t;
        int64_t escape = tables->offsets[t + 1] - tables->offsets[t] - 1, low = tables->lows[t];
        for (int64_t stop = at + counts[t]; at < stop; at++) {
            int32_t symbol = symbols[order[at]];
            int64_t entry = (int64_t)symbol - low;
            if (entry < 0 || entry >= escape) {
                escaped[n_escaped++] = symbol;
                entry = escape;
            }
            intervals[2 * at] = bounds[entry];
            intervals[2 * at + 1] = bounds[entry + 1] - bounds[entry];
        }
    }
    return n_escaped;
}

static PyObject *ans_look_up(PyObject *self, PyObject *args) {
    (void)self;
    enum { SYMBOLS = TABLE_ARRAYS, INDEXES, INTERVALS, ESCAPED, N };
    PyObject *o[N], *result = NULL;
    Array a[N] = {0};
    Tables tables;
    int64_t counts[256], n_escaped;
    uint32_t *order = NULL;
    if (!PyArg_ParseTuple(args, "OOOOOOO", &o[SYMBOLS], &o[INDEXES], &o[BOUNDS], &o[OFFSETS],
                          &o[LOWS], &o[INTERVALS], &o[ESCAPED]))
        return NULL;
    if (tables_open(&tables, a, o) < 0 ||
        array_open(&a[SYMBOLS], o[SYMBOLS], "symbols", "i4", 1, READ) < 0 ||
        array_open(&a[INDEXES], o[INDEXES], "indexes", "u1", 1, READ) < 0 ||
        array_open(&a[INTERVALS], o[INTERVALS], "intervals", "u4", 2, WRITE) < 0 ||
        array_open(&a[ESCAPED], o[ESCAPED], "escaped", "i4", 1, WRITE) < 0)
        goto done;
    int64_t n = a[SYMBOLS].count;
    if (array_expect(&a[INDEXES], "indexes", n) < 0 ||
        array_expect(&a[INTERVALS], "intervals", 2 * n) < 0 ||
        array_expect(&a[ESCAPED], "escaped", n) < 0 ||
        count_groups(a[INDEXES].data, n, tables.count, counts) < 0 || !(order = new_order(n)))
        goto done;
    Py_BEGIN_ALLOW_THREADS
    group(a[INDEXES].data, n, counts, order);
    n_escaped = look_up(&tables, a[SYMBOLS].data, order, counts, a[INTERVALS].data, a[ESCAPED].data);
    Py_END_ALLOW_THREADS
    result = PyLong_FromLongLong(n_escaped);
done:
    free(order);
    arrays_close(a, N);
    return result;
}

/* Encodes from the last interval to the first. Returns -1 where one is empty. */
static int encode(const uint32_t *intervals, int64_t n, AnsEncoder *coder) {
    for (int64_t k = n - 1; k >= 0; k--) {
        uint32_t left = intervals[2 * k] & (ANS_ONE - 1), size = intervals[2 * k + 1];
        uint32_t more = intervals[2 * k] >> ANS_BITS;
        if (!size || size > ANS_ONE - left) return -1;
        if (more)
            ans_put_times(coder, left, size, more + 1);
        else
            ans_put(coder, left, size);
    }
    ans_finish(coder);
    return 0;
}

/* Returns how many symbols n intervals are for. */
static int64_t count_symbols(const uint32_t *intervals, int64_t n) {
    int64_t count = n;
    for (int64_t k = 0; k < n; k++) count += intervals[2 * k] >> ANS_BITS;
    return count;
}

static PyObject *ans_encode(PyObject *self, PyObject *args) {
    (void)self;
    PyObject *object, *result = NULL;
    Array a[1] = {0};
    AnsEncoder coder = {0};
    int failed;
    if (!PyArg_ParseTuple(args, "O", &object)) return NULL;
    if (array_open(a, object, "intervals", "u4", 2, READ) < 0) goto done;
    if (a->shape[1] != 2) {
        PyErr_SetString(PyExc_TypeError, "intervals: expected two columns");
        goto done;
    }
    coder.words = malloc((size_t)(count_symbols(a->data, a->shape[0]) + 2) * sizeof *coder.words);
    if (!coder.words) {
        PyErr_NoMemory();
        goto done;
    }
    Py_BEGIN_ALLOW_THREADS
    failed = encode(a->data, a->shape[0], &coder);
#if PY_BIG_ENDIAN
    for (size_t k = 0; k < coder.count; k++) coder.words[k] = __builtin_bswap32(coder.words[k]);
#endif
    Py_END_ALLOW_THREADS
    if (failed)
        PyErr_SetString(PyExc_ValueError, "a symbol has no probability under its table");
    else
        result = PyBytes_FromStringAndSize((const char *)coder.words, (Py_ssize_t)coder.count * 4);
done:
    free(coder.words);
    arrays_close(a, 1);
    return result;
}

int decoder_open(AnsDecoder *coder, Array *words, Array *state, PyObject **objects) {
    if (array_open(words, objects[0], "words", "u4", 1, READ) < 0 ||
        array_open(state, objects[1], "state", "u8", 1, WRITE) < 0 ||
        array_expect(state, "state", 2) < 0)
        return -1;
    coder->words = words->data;
    coder->state = ((uint64_t *)state->data)[0];
    coder->left = ((uint64_t *)state->data)[1];
    if (coder->left <= (uint64_t)words->count) return 0;
    PyErr_SetString(PyExc_TypeError, "state: more words are left than there are");
    return -1;
}

void decoder_close(const AnsDecoder *coder, Array *state) {
    ((uint64_t *)state->data)[0] = coder->state;
    ((uint64_t *)state->data)[1] = coder->left;
}

static void decode(AnsDecoder *shared, const Tables *tables, uint32_t *order,
                   const int64_t counts[256], int32_t *symbols) {
    AnsDecoder coder = *shared;
    int64_t at = 0, n_escaped = 0;
    for (int64_t t = 0; t < 256; t++) {
        if (!counts[t]) continue;
        const uint32_t *bounds = tables->bounds + tables->offsets[t] + t;
        uint32_t size = (uint32_t)(tables->offsets[t + 1] - tables->offsets[t]);
        uint32_t low = (uint32_t)tables->lows[t];
        for (int64_t stop = at + counts[t]; at < stop; at++) {
            uint32_t entry = ans_find(bounds, size, ans_peek(&coder)), place = order[at];
            ans_advance(&coder, bounds[entry], bounds[entry + 1] - bounds[entry]);
            symbols[place] = (int32_t)(low + entry);
            if (entry == size - 1) order[n_escaped++] = place; /* never beyond `at` */
        }
    }
    for (int64_t k = 0; k < n_escaped; k++) symbols[order[k]] = ans_escape(&coder);
    *shared = coder;
}

static PyObject *ans_decode(PyObject *self, PyObject *args) {
    (void)self;
    enum { WORDS = TABLE_ARRAYS, STATE, INDEXES, SYMBOLS, N };
    PyObject *o[N], *result = NULL;
    Array a[N] = {0};
    Tables tables;
    AnsDecoder coder;
    int64_t counts[256];
    uint32_t *order = NULL;
    if (!PyArg_ParseTuple(args, "OOOOOOO", &o[WORDS], &o[STATE], &o[INDEXES], &o[BOUNDS],
                          &o[OFFSETS], &o[LOWS], &o[SYMBOLS]))
        return NULL;
    if (tables_open(&tables, a, o) < 0 ||
        decoder_open(&coder, &a[WORDS], &a[STATE], &o[WORDS]) < 0 ||
        array_open(&a[INDEXES], o[INDEXES], "indexes", "u1", 1, READ) < 0 ||
        array_open(&a[SYMBOLS], o[SYMBOLS], "symbols", "i4", 1, WRITE) < 0)
        goto done;
    int64_t n = a[INDEXES].count;
    if (array_expect(&a[SYMBOLS], "symbols", n) < 0 ||
        count_groups(a[INDEXES].data, n, tables.count, counts) < 0 || !(order = new_order(n)))
        goto done;
    Py_BEGIN_ALLOW_THREADS
    group(a[INDEXES].data, n, counts, order);
    decode(&coder, &tables, order, counts, a[SYMBOLS].data);
    Py_END_ALLOW_THREADS
    decoder_close(&coder, &a[STATE]);
    result = Py_NewRef(Py_None);
done:
    free(order);
    arrays_close(a, N);
    return result;
}

static PyObject *ans_decode_uniform(PyObject *self, PyObject *args) {
    (void)self;
    enum { WORDS, STATE, VALUES, N };
    PyObject *o[N], *result = NULL;
    Array a[N] = {0};
    AnsDecoder coder;
    unsigned int size;
    if (!PyArg_ParseTuple(args, "OOIO", &o[WORDS], &o[STATE], &size, &o[VALUES])) return NULL;
    if (decoder_open(&coder, &a[WORDS], &a[STATE], &o[WORDS]) < 0 ||
        array_open(&a[VALUES], o[VALUES], "values", "i4", 1, WRITE) < 0)
        goto done;
    if (size < 1 || size > ANS_ONE) {
        PyErr_SetString(PyExc_TypeError, "size: beyond the coder's precision");
        goto done;
    }
    Py_BEGIN_ALLOW_THREADS
    for (int64_t k = 0; k < a[VALUES].count; k++)
        ((int32_t *)a[VALUES].data)[k] = (int32_t)ans_uniform(&coder, size);
    Py_END_ALLOW_THREADS
    decoder_close(&coder, &a[STATE]);
    result = Py_NewRef(Py_None);
done:
    arrays_close(a, N);
    return result;
}

PyMethodDef ans_methods[] = {
    {"ans_look_up", ans_look_up, METH_VARARGS, NULL},
    {"ans_encode", ans_encode, METH_VARARGS, NULL},
    {"ans_decode", ans_decode, METH_VARARGS, NULL},
    {"ans_decode_uniform", ans_decode_uniform, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};
