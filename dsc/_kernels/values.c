/* Maps of numbers row by row: each value's distance from what its neighbours predict, decision by
 * decision under chances that are learnt on the way.
 *
 * `dsc._coding.context.values` is the reference.
 */
#include "mix.h"

#define SIDE 4 /* rows above the map and columns beside it that are read */
#define MIXED 7
#define HASH_BITS 16
#define PATTERNS (MIXED << HASH_BITS)
#define DECISIONS 24
#define LEVELS 8
#define FIRST_WEIGHT 15000
#define RATE_FIRST 80 /* of the weights, beyond the last, halved after so many pixels */
#define RATE_LAST 10
#define RATE_PIXELS 32768
#define MOST_ALIKE 100 /* decisions of a pattern after which it no longer learns more slowly */

/* The decisions of a distance. */
#define IS_ZERO 0
#define IS_NEGATIVE 1
#define LONGER 2
#define MOST_LONGER 10
#define BITS (LONGER + MOST_LONGER)
#define LAST_BITS 6
#define HIGH (BITS + LAST_BITS + 1)
#define MOST_BITS 16

typedef struct {
    MixTables tables;
    Port port;
    Counts counts;
    int32_t *weights;
    int64_t height, width, stride;
    int32_t *grid, *errors; /* inside margins */
    const uint8_t *holes;   /* of pixels that have no value, or NULL */
    uint32_t keys[MIXED];
    uint32_t level; /* how large errors are nearby */
    int rate;       /* at which weights learn: slower and slower */
    const char *damage;
} Values;

static int values_open(Values *values, int64_t height, int64_t width) {
    static const int32_t QUARTERS[TRUSTS] = {0, 2, 3, 4, 5, 6};
    const int n_weights = LEVELS * DECISIONS * MIXED * TRUSTS;
    values->height = height;
    values->width = width;
    values->stride = width + 2 * SIDE;
    size_t whole = (size_t)(height + SIDE) * (size_t)values->stride;
    mix_open(&values->tables);
    values->counts.chance = malloc(PATTERNS * sizeof *values->counts.chance);
    values->counts.seen = calloc(PATTERNS, sizeof *values->counts.seen);
    values->weights = malloc((size_t)n_weights * sizeof *values->weights);
    values->grid = calloc(whole, sizeof *values->grid);
    values->errors = calloc(whole, sizeof *values->errors);
    if (!values->counts.chance || !values->counts.seen || !values->weights || !values->grid ||
        !values->errors)
        return -1;
    for (int k = 0; k < PATTERNS; k++) values->counts.chance[k] = ANS_ONE / 2;
    for (int k = 0; k < n_weights; k++)
        values->weights[k] = FIRST_WEIGHT * QUARTERS[k % TRUSTS] / 4;
    return 0;
}

static void values_close(Values *values) {
    free(values->counts.chance);
    free(values->counts.seen);
    free(values->weights);
    free(values->grid);
    free(values->errors);
    free(values->port.intervals);
}

/* The place of a key among the patterns of its kind. */
static inline uint32_t hashed(uint32_t key) { return mix_hash(key, HASH_BITS); }

static int decide(Values *values, uint32_t decision, int bit) {
    uint32_t patterns[MIXED];
    for (uint32_t k = 0; k < MIXED; k++)
        patterns[k] =
            k << HASH_BITS | hashed(values->keys[k] + decision * UINT32_C(2654435769));
    int32_t *weights = values->weights + (values->level * DECISIONS + decision) * MIXED * TRUSTS;
    return code_mixed(&values->tables, &values->port, values->counts, patterns, MIXED, weights,
                      MOST_ALIKE, values->rate, bit);
}

/* Codes a number from 0 on: how many bits it has with 1 added, then those below its highest. */
static int32_t code_size(Values *values, int32_t size) {
    int bits = 0, wanted = 0;
    while (size > 0 && (size + 1) >> (wanted + 1)) wanted++;
    while (decide(values, BITS + (uint32_t)(bits < LAST_BITS ? bits : LAST_BITS), bits < wanted))
        if (++bits > MOST_BITS) {
            values->damage = "a distance is too long";
            return 0;
        }
    int32_t found = 1;
    for (int k = bits - 1; k >= 0; k--) {
        int bit = (size + 1) >> k & 1;
        if (bits - 1 - k < 2)
            bit = decide(values, HIGH + (uint32_t)(bits - 1 - k), bit);
        else
            bit = port_code(&values->port, ANS_ONE / 2, bit);
        found = found << 1 | bit;
    }
    return found - 1;
}

/* Codes a distance from the prediction. */
static int32_t code_distance(Values *values, int32_t distance) {
    if (decide(values, IS_ZERO, distance == 0)) return 0;
    int negative = decide(values, IS_NEGATIVE, distance < 0);
    int32_t size = (distance < 0 ? -distance : distance) - 1, found = 0;
    while (found < MOST_LONGER && decide(values, LONGER + (uint32_t)found, size > found)) found++;
    if (found == MOST_LONGER) found += code_size(values, size - MOST_LONGER);
    return negative ? -found - 1 : found + 1;
}

static uint32_t near(int32_t value, int32_t most) {
    return (uint32_t)((value < -most ? -most : value > most ? most : value) + most);
}

static uint32_t amount(int32_t value) {
    if (value < 0) value = -value;
    if (value < 2) return (uint32_t)value;
    return value < 4 ? 2 : value < 8 ? 3 : value < 16 ? 4 : value < 40 ? 5 : value < 120 ? 6 : 7;
}

static int32_t median(int32_t a, int32_t b, int32_t corner) {
    int32_t low = a < b ? a : b, high = a < b ? b : a;
    return corner >= high ? low : corner <= low ? high : a + b - corner;
}

/* Finds what is around a pixel; returns what it predicts. */
static int32_t look_around(Values *values, int64_t at, int first_row) {
    const int32_t *v = values->grid + at, *e = values->errors + at;
    const int64_t up = values->stride;
    int32_t west = v[-1], west2 = v[-2];
    int32_t north = v[-up], north2 = v[-2 * up], east = v[1 - up], east2 = v[2 - up];
    int32_t corner = v[-1 - up], far = v[1 - 2 * up];
    if (first_row) north = north2 = east = east2 = corner = far = west;
    int32_t p = median(west, north, corner);
    int32_t sum = abs(e[-1]) + abs(e[-up]) + abs(e[-1 - up]) + abs(e[1 - up]) + abs(e[-2]);
    uint32_t *keys = values->keys;
    values->level = amount(sum / 2);
    keys[0] = near(west - p, 30) << 12 | near(north - p, 30) << 6 | near(east - p, 30);
    keys[1] = near(west - p, 3) | near(north - p, 3) << 3 | near(east - p, 3) << 6 |
              near(corner - p, 3) << 9 | near(west2 - p, 3) << 12 | near(north2 - p, 3) << 15 |
              near(far - p, 3) << 18 | near(east2 - p, 3) << 21;
    keys[2] = values->level << 9 | amount(e[-1]) << 6 | amount(e[-up]) << 3 | amount(e[1 - up]);
    keys[3] = near(west - p, 7) << 20 | near(west2 - p, 7) << 16 | near(e[-1], 7) << 12 |
              near(e[-up], 7) << 8 | near(north - p, 7) << 4 | near(north2 - p, 7);
    keys[4] = (uint32_t)(west < p) << 18 | (uint32_t)(north < p) << 19 | (uint32_t)(east < p) << 20 |
              (uint32_t)(corner < p) << 21 | amount(west - p) << 15 | amount(north - p) << 12 |
              amount(east - p) << 9 | amount(corner - p) << 6 | amount(west2 - p) << 3 |
              amount(north2 - p);
    keys[5] = near(2 * west - west2 - p, 15) << 10 | near(2 * north - north2 - p, 15) << 5 |
              near(north + east - far - p, 15);
    keys[6] = values->level;
    return p;
}

static void code_values(Values *values, const uint16_t *truth) {
    for (int64_t y = 0; y < values->height && !values->damage && !values->port.failed; y++) {
        int64_t done = y * values->width;
        values->rate = (int)(RATE_LAST + RATE_FIRST * RATE_PIXELS / (RATE_PIXELS + done));
        int64_t start = (y + SIDE) * values->stride + SIDE;
        for (int k = 1; k <= SIDE; k++) {
            values->grid[start - k] = values->grid[start - values->stride];
            values->errors[start - k] = values->errors[start - values->stride];
        }
        for (int64_t x = 0; x < values->width && !values->damage; x++) {
            int64_t at = start + x, pixel = y * values->width + x;
            int32_t predicted = look_around(values, at, y == 0), distance = 0;
            if (!values->holes || !values->holes[pixel]) {
                distance = code_distance(values, truth ? truth[pixel] - predicted : 0);
                int32_t found = predicted + distance;
                if (!values->damage && (found < 0 || found > UINT16_MAX))
                    values->damage = "a value is out of range";
            }
            values->grid[at] = predicted + distance;
            values->errors[at] = distance;
        }
        for (int64_t k = 0; k < SIDE; k++)
            values->grid[start + values->width + k] = values->grid[start + values->width - 1];
    }
}

/* ---- what Python calls */

enum { NUMBERS, HOLES, MAPS };

static int maps_open(Array *a, PyObject **o, int decoding) {
    if (array_open(&a[NUMBERS], o[NUMBERS], "values", "u2", 2, decoding ? WRITE : READ) < 0) return -1;
    if (!a[NUMBERS].count) {
        PyErr_SetString(PyExc_TypeError, "a map without pixels");
        return -1;
    }
    if (o[HOLES] == Py_None) return 0;
    if (array_open(&a[HOLES], o[HOLES], "holes", "b1", 2, READ) < 0) return -1;
    return array_expect(&a[HOLES], "holes", a[NUMBERS].count);
}

static PyObject *values_encode(PyObject *self, PyObject *args) {
    (void)self;
    PyObject *o[MAPS], *result = NULL;
    Array a[MAPS] = {0};
    Values values = {0};
    if (!PyArg_ParseTuple(args, "OO", &o[NUMBERS], &o[HOLES])) return NULL;
    if (maps_open(a, o, 0) < 0) goto done;
    Py_BEGIN_ALLOW_THREADS
    values.holes = a[HOLES].data;
    values.port.failed = values_open(&values, a[NUMBERS].shape[0], a[NUMBERS].shape[1]);
    if (!values.port.failed) code_values(&values, a[NUMBERS].data);
    Py_END_ALLOW_THREADS
    if (values.port.failed)
        PyErr_NoMemory();
    else
        result = PyBytes_FromStringAndSize((const char *)values.port.intervals,
                                           (Py_ssize_t)values.port.count * 8);
done:
    values_close(&values);
    arrays_close(a, MAPS);
    return result;
}

static PyObject *values_decode(PyObject *self, PyObject *args) {
    (void)self;
    PyObject *o[MAPS], *c[2], *result = NULL;
    Array a[MAPS + 2] = {0}, *parts = a + MAPS;
    Values values = {0};
    AnsDecoder coder;
    if (!PyArg_ParseTuple(args, "OOOO", &c[0], &c[1], &o[NUMBERS], &o[HOLES])) return NULL;
    if (maps_open(a, o, 1) < 0 || decoder_open(&coder, &parts[0], &parts[1], c) < 0) goto done;
    Py_BEGIN_ALLOW_THREADS
    values.port.decoder = &coder;
    values.holes = a[HOLES].data;
    values.port.failed = values_open(&values, a[NUMBERS].shape[0], a[NUMBERS].shape[1]);
    if (!values.port.failed) code_values(&values, NULL);
    for (int64_t y = 0; y < values.height && !values.port.failed; y++)
        for (int64_t x = 0; x < values.width; x++)
            ((uint16_t *)a[NUMBERS].data)[y * values.width + x] =
                (uint16_t)values.grid[(y + SIDE) * values.stride + SIDE + x];
    Py_END_ALLOW_THREADS
    decoder_close(&coder, &parts[1]);
    if (values.port.failed)
        PyErr_NoMemory();
    else if (values.damage)
        PyErr_SetString(PyExc_ValueError, values.damage);
    else
        result = Py_NewRef(Py_None);
done:
    values_close(&values);
    arrays_close(a, MAPS + 2);
    return result;
}

PyMethodDef values_methods[] = {
    {"values_encode", values_encode, METH_VARARGS, NULL},
    {"values_decode", values_decode, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};
