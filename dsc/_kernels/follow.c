/* Masks that follow one another: each pixel under what its own and the other mask's pixels say.
 *
 * `dsc._codecs.sequence.masks` is the reference.
 */
#include "mix.h"

#define AROUND_BITS 10 /* pixels of the same mask, as in raster.c */
#define AROUND (1 << AROUND_BITS)
#define NEAR_BITS 6
#define BEFORE_BITS 9
#define BOTH (1 << (NEAR_BITS + BEFORE_BITS))
#define WEIGHTS 64
#define SIDE 2   /* columns beside a row that hold 0 */
#define SPARE 16 /* bytes behind all rows that may be read */

typedef struct {
    MixTables tables;
    Port port;
    Counts around, both;
    int32_t *weights;
    int64_t height, width, stride;
    uint8_t *rows, *before; /* two rows above and one below, and two columns beside, hold 0 */
} Follow;

static uint8_t *row_in(const Follow *follow, uint8_t *rows, int64_t y) {
    return rows + (y + 2) * follow->stride + SIDE;
}

static uint8_t *padded(const Follow *follow, const uint8_t *mask) {
    uint8_t *rows = calloc((size_t)(follow->height + 3) * (size_t)follow->stride + SPARE, 1);
    if (rows && mask)
        for (int64_t y = 0; y < follow->height; y++)
            for (int64_t x = 0; x < follow->width; x++)
                row_in(follow, rows, y)[x] = mask[y * follow->width + x] != 0;
    return rows;
}

static int follow_open(Follow *follow, const uint8_t *mask, const uint8_t *before) {
    mix_open(&follow->tables);
    follow->stride = follow->width + 2 * SIDE;
    follow->rows = padded(follow, mask);
    follow->before = before ? padded(follow, before) : NULL;
    return follow->rows && (follow->before || !before) ? 0 : -1;
}

static void follow_close(Follow *follow) {
    free(follow->rows);
    free(follow->before);
    free(follow->port.intervals);
}

/* Tells whether all pixels of both patterns are alike. */
static inline int is_calm(uint32_t around, uint32_t before) {
    return around == 0 ? before == 0 : around == AROUND - 1 && before == (1 << BEFORE_BITS) - 1;
}

static inline int code_pixel(Follow *follow, uint32_t around, uint32_t before, int bit) {
    if (!follow->before) return code_one(&follow->tables, &follow->port, follow->around, around, bit);
    uint32_t near = (around & 3) | (around >> 3 & 7) << 2 | (around >> 8 & 1) << 5;
    uint32_t both = near << BEFORE_BITS | before;
    if (is_calm(around, before))
        return code_one(&follow->tables, &follow->port, follow->both, both, bit);
    uint32_t set = (around & 1) | (around >> 3 & 7) << 1 | (before >> 3 & 3) << 4;
    return code_two(&follow->tables, &follow->port, follow->around, around, follow->both, both,
                    follow->weights + 2 * set, bit);
}

/* The rows around the one that is coded. */
typedef struct {
    const uint8_t *above2, *above, *before[3];
} Beside;

/* Counts the pixels from x on, the first of which has patterns of `value` only, that have such
 * patterns too as long as all of them are `value`. */
static int64_t calm_pixels(const Beside *beside, int64_t x, int64_t width, uint8_t value) {
    const uint8_t *rows[5] = {beside->above2 + 1, beside->above + 2, beside->before[0] + 1,
                              beside->before[1] + 1, beside->before[2] + 1};
    const uint64_t wanted = value ? UINT64_C(0x0101010101010101) : 0;
    int64_t n = 1;
    for (; x + n < width; n += 8) {
        uint64_t differ = 0;
        for (int k = 0; k < 5; k++) {
            uint64_t found;
            memcpy(&found, rows[k] + x + n, sizeof found);
            differ |= found ^ wanted;
        }
        if (!differ) continue;
        for (int same = 1; same && x + n < width;) {
            for (int k = 0; k < 5; k++) same &= rows[k][x + n] == value;
            n += same;
        }
        break;
    }
    return x + n < width ? n : width - x;
}

/* Reads pixels of the patterns of `value` only until one is not `value`, at most n; returns how many
 * are. */
static int64_t skip_calm(Follow *follow, int64_t n, uint8_t value) {
    AnsDecoder coder = *follow->port.decoder;
    const uint32_t pattern = value ? BOTH - 1 : 0;
    uint32_t chance = follow->both.chance[pattern], seen = follow->both.seen[pattern];
    int64_t k = 0;
    for (; k < n && (ans_peek(&coder) < chance) == value; k++) {
        uint64_t share = follow->tables.share[seen];
        if (value) {
            ans_advance(&coder, 0, chance);
            chance += (uint32_t)((ANS_ONE - (uint64_t)chance) * share >> 16);
        } else {
            ans_advance(&coder, chance, ANS_ONE - chance);
            chance -= (uint32_t)(chance * share >> 16);
        }
        seen += seen < MOST_SEEN;
    }
    follow->both.chance[pattern] = chance;
    follow->both.seen[pattern] = (uint16_t)seen;
    *follow->port.decoder = coder;
    return k;
}

static void follow_row(Follow *follow, int64_t y) {
    uint8_t *row = row_in(follow, follow->rows, y);
    Beside beside = {row_in(follow, follow->rows, y - 2), row_in(follow, follow->rows, y - 1),
                     {NULL, NULL, NULL}};
    uint32_t top = beside.above2[0], own = 0, last[3] = {0, 0, 0};
    uint32_t middle = (uint32_t)beside.above[0] << 1 | beside.above[1];
    for (int k = 0; k < 3 && follow->before; k++) {
        beside.before[k] = row_in(follow, follow->before, y - 1 + k);
        last[k] = beside.before[k][0];
    }
    for (int64_t x = 0; x < follow->width; x++) {
        top = (top << 1 | beside.above2[x + 1]) & 7;
        middle = (middle << 1 | beside.above[x + 2]) & 31;
        for (int k = 0; k < 3 && follow->before; k++)
            last[k] = (last[k] << 1 | beside.before[k][x + 1]) & 7;
        uint32_t around = top << 7 | middle << 2 | own;
        uint32_t before = last[0] << 6 | last[1] << 3 | last[2];
        if (follow->before && follow->port.decoder && is_calm(around, before)) {
            uint8_t value = around != 0;
            int64_t n = calm_pixels(&beside, x, follow->width, value);
            int64_t k = skip_calm(follow, n, value);
            memset(row + x, value, (size_t)k);
            x += k < n ? k : n - 1;
            if (k == n) continue;
        }
        int bit = code_pixel(follow, around, before, row[x]);
        row[x] = (uint8_t)bit;
        own = (own << 1 | (uint32_t)bit) & 3;
    }
}

enum { AROUND_CHANCE, AROUND_SEEN, BOTH_CHANCE, BOTH_SEEN, MIX_WEIGHTS, STATE };

/* Opens the arrays that hold what was learned; they are written to. */
static int learned_open(Follow *follow, Array *a, PyObject **o) {
    static const char *const ELEMENTS[STATE] = {"u4", "u2", "u4", "u2", "i4"};
    static const int64_t COUNTS[STATE] = {AROUND, AROUND, BOTH, BOTH, 2 * WEIGHTS};
    for (int k = 0; k < STATE; k++)
        if (array_open(&a[k], o[k], "learned", ELEMENTS[k], 1, WRITE) < 0 ||
            array_expect(&a[k], "learned", COUNTS[k]) < 0)
            return -1;
    follow->around = (Counts){a[AROUND_CHANCE].data, a[AROUND_SEEN].data};
    follow->both = (Counts){a[BOTH_CHANCE].data, a[BOTH_SEEN].data};
    follow->weights = a[MIX_WEIGHTS].data;
    return 0;
}

/* Opens the mask, and the one before it unless it is None. */
static int masks_open(Follow *follow, Array *a, PyObject *mask, PyObject *before, int writable) {
    if (array_open(&a[0], mask, "mask", "b1", 2, writable) < 0) return -1;
    follow->height = a[0].shape[0];
    follow->width = a[0].shape[1];
    if (before == Py_None) return 0;
    if (array_open(&a[1], before, "before", "b1", 2, READ) < 0) return -1;
    if (a[1].shape[0] == follow->height && a[1].shape[1] == follow->width) return 0;
    PyErr_SetString(PyExc_TypeError, "before: another size than mask");
    return -1;
}

static PyObject *follow_encode(PyObject *self, PyObject *args) {
    (void)self;
    PyObject *o[STATE], *mask, *before, *result = NULL;
    Array a[STATE + 2] = {0};
    Follow follow = {0};
    if (!PyArg_ParseTuple(args, "OO(OOOOO)", &mask, &before, &o[0], &o[1], &o[2], &o[3], &o[4]))
        return NULL;
    if (learned_open(&follow, a, o) < 0 || masks_open(&follow, a + STATE, mask, before, READ) < 0)
        goto done;
    Py_BEGIN_ALLOW_THREADS
    follow.port.failed = follow_open(&follow, a[STATE].data, a[STATE + 1].data);
    for (int64_t y = 0; y < follow.height && !follow.port.failed; y++) follow_row(&follow, y);
    Py_END_ALLOW_THREADS
    if (follow.port.failed)
        PyErr_NoMemory();
    else
        result = PyBytes_FromStringAndSize((const char *)follow.port.intervals,
                                           (Py_ssize_t)follow.port.count * 8);
done:
    follow_close(&follow);
    arrays_close(a, STATE + 2);
    return result;
}

static PyObject *follow_decode(PyObject *self, PyObject *args) {
    (void)self;
    PyObject *o[STATE], *coder_objects[2], *mask, *before, *result = NULL;
    Array a[STATE + 4] = {0}, *parts = a + STATE + 2;
    Follow follow = {0};
    AnsDecoder coder;
    if (!PyArg_ParseTuple(args, "OOOO(OOOOO)", &coder_objects[0], &coder_objects[1], &mask, &before,
                          &o[0], &o[1], &o[2], &o[3], &o[4]))
        return NULL;
    if (learned_open(&follow, a, o) < 0 ||
        masks_open(&follow, a + STATE, mask, before, WRITE) < 0 ||
        decoder_open(&coder, &parts[0], &parts[1], coder_objects) < 0)
        goto done;
    follow.port.decoder = &coder;
    Py_BEGIN_ALLOW_THREADS
    follow.port.failed = follow_open(&follow, NULL, a[STATE + 1].data);
    for (int64_t y = 0; y < follow.height && !follow.port.failed; y++) {
        follow_row(&follow, y);
        memcpy((uint8_t *)a[STATE].data + y * follow.width, row_in(&follow, follow.rows, y),
               (size_t)follow.width);
    }
    Py_END_ALLOW_THREADS
    decoder_close(&coder, &parts[1]);
    if (follow.port.failed)
        PyErr_NoMemory();
    else
        result = Py_NewRef(Py_None);
done:
    follow_close(&follow);
    arrays_close(a, STATE + 4);
    return result;
}

PyMethodDef follow_methods[] = {
    {"follow_encode", follow_encode, METH_VARARGS, NULL},
    {"follow_decode", follow_decode, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};
