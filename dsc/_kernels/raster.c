/* Masks row by row: each pixel under the probability that its neighbours' pattern has had so far.
 *
 * `dsc._coding.context.raster` is the reference, and says where the numbers come from.
 */
#include "ans.h"

#define CONTEXT_BITS 10
#define MOST_SEEN 1023
#define LEFT 2  /* columns beside a row that are read and hold 0 */
#define RIGHT 2
#define MARGIN (LEFT + RIGHT)
#define SPARE 16 /* bytes behind all rows that may be read */

typedef struct {
    uint32_t chance[1 << CONTEXT_BITS]; /* of a set pixel, of 2^24 */
    uint16_t seen[1 << CONTEXT_BITS];
    uint32_t share[MOST_SEEN + 1]; /* of the way to what is seen that a chance moves, of 2^16 */
    int64_t height, width;
    uint8_t *rows; /* two rows above the first one, the margins beside all, and SPARE hold 0 */
} Raster;

static int raster_open(Raster *raster, int64_t height, int64_t width) {
    for (int k = 0; k < 1 << CONTEXT_BITS; k++) raster->chance[k] = ANS_ONE / 2;
    memset(raster->seen, 0, sizeof raster->seen);
    for (uint32_t k = 0; k <= MOST_SEEN; k++) raster->share[k] = 655360 / (10 * k + 18);
    raster->height = height;
    raster->width = width;
    raster->rows = calloc((size_t)(height + 2) * (size_t)(width + MARGIN) + SPARE, 1);
    return raster->rows ? 0 : -1;
}

static inline uint8_t *row_of(const Raster *raster, int64_t y) {
    return raster->rows + (y + 2) * (raster->width + MARGIN) + LEFT;
}

/* Moves the chance of a pattern towards what was seen. */
static inline void learn(Raster *raster, uint32_t context, int is_set) {
    uint64_t chance = raster->chance[context], share = raster->share[raster->seen[context]];
    uint64_t far = is_set ? ANS_ONE - chance : chance;
    uint32_t step = (uint32_t)(far * share >> 16);
    raster->chance[context] = (uint32_t)chance + (is_set ? step : 0 - step);
    raster->seen[context] += raster->seen[context] < MOST_SEEN;
}

/* The patterns of a row's pixels: three pixels two rows above, five one row above, two beside. */
typedef struct {
    const uint8_t *above2, *above;
    uint32_t top, middle, own;
} Window;

static inline Window window_of(const Raster *raster, int64_t y) {
    const uint8_t *above2 = row_of(raster, y - 2), *above = row_of(raster, y - 1);
    uint32_t middle = (uint32_t)above[0] << 1 | above[1];
    return (Window){above2, above, above2[0], middle, 0};
}

static inline uint32_t context_at(Window *window, int64_t x) {
    window->top = (window->top << 1 | window->above2[x + 1]) & 7;
    window->middle = (window->middle << 1 | window->above[x + 2]) & 31;
    return window->top << 7 | window->middle << 2 | window->own;
}

static void to_intervals(Raster *raster, uint32_t *intervals) {
    for (int64_t y = 0; y < raster->height; y++) {
        Window window = window_of(raster, y);
        const uint8_t *row = row_of(raster, y);
        for (int64_t x = 0; x < raster->width; x++, intervals += 2) {
            uint32_t context = context_at(&window, x), chance = raster->chance[context];
            int is_set = row[x];
            intervals[0] = is_set ? 0 : chance;
            intervals[1] = is_set ? chance : ANS_ONE - chance;
            learn(raster, context, is_set);
            window.own = (window.own << 1 | (uint32_t)is_set) & 3;
        }
    }
}

/* Counts the pixels from x on, whose pattern is empty, that have an empty one if none of them is
 * set. */
static int64_t calm_pixels(const Window *window, int64_t x, int64_t width) {
    int64_t n = 1;
    for (; x + n < width; n += 8) {
        uint64_t above2, above;
        memcpy(&above2, window->above2 + x + n + 1, sizeof above2);
        memcpy(&above, window->above + x + n + 2, sizeof above);
        if (!(above2 | above)) continue;
        while (x + n < width && !window->above2[x + n + 1] && !window->above[x + n + 2]) n++;
        break;
    }
    return x + n < width ? n : width - x;
}

/* Reads pixels of the empty pattern until one is set, at most n; returns how many are not. */
static int64_t skip_calm(Raster *raster, AnsDecoder *shared, int64_t n) {
    AnsDecoder coder = *shared;
    uint32_t chance = raster->chance[0], seen = raster->seen[0];
    int64_t k = 0;
    for (; k < n && ans_peek(&coder) >= chance; k++) {
        ans_advance(&coder, chance, ANS_ONE - chance);
        chance -= (uint32_t)((uint64_t)chance * raster->share[seen] >> 16);
        seen += seen < MOST_SEEN;
    }
    raster->chance[0] = chance;
    raster->seen[0] = (uint16_t)seen;
    *shared = coder;
    return k;
}

static void decode_row(Raster *raster, AnsDecoder *coder, int64_t y) {
    Window window = window_of(raster, y);
    uint8_t *row = row_of(raster, y);
    for (int64_t x = 0; x < raster->width; x++) {
        uint32_t context = context_at(&window, x), chance = raster->chance[context];
        if (!context) {
            int64_t n = calm_pixels(&window, x, raster->width), k = skip_calm(raster, coder, n);
            x += k < n ? k : n - 1;
            if (k == n) continue;
            chance = raster->chance[0];
        }
        int is_set = ans_peek(coder) < chance;
        if (is_set)
            ans_advance(coder, 0, chance);
        else
            ans_advance(coder, chance, ANS_ONE - chance);
        learn(raster, context, is_set);
        row[x] = (uint8_t)is_set;
        window.own = (window.own << 1 | (uint32_t)is_set) & 3;
    }
}

static void decode(Raster *raster, AnsDecoder *shared) {
    AnsDecoder coder = *shared;
    for (int64_t y = 0; y < raster->height; y++) decode_row(raster, &coder, y);
    *shared = coder;
}

static PyObject *raster_intervals(PyObject *self, PyObject *args) {
    (void)self;
    enum { MASK, INTERVALS, N };
    PyObject *o[N], *result = NULL;
    Array a[N] = {0};
    Raster raster = {0};
    if (!PyArg_ParseTuple(args, "OO", &o[MASK], &o[INTERVALS])) return NULL;
    if (array_open(&a[MASK], o[MASK], "mask", "b1", 2, READ) < 0 ||
        array_open(&a[INTERVALS], o[INTERVALS], "intervals", "u4", 2, WRITE) < 0 ||
        array_expect(&a[INTERVALS], "intervals", 2 * a[MASK].count) < 0)
        goto done;
    int64_t height = a[MASK].shape[0], width = a[MASK].shape[1];
    if (raster_open(&raster, height, width) < 0) {
        PyErr_NoMemory();
        goto done;
    }
    Py_BEGIN_ALLOW_THREADS
    const uint8_t *mask = a[MASK].data;
    for (int64_t y = 0; y < height; y++)
        for (int64_t x = 0; x < width; x++) row_of(&raster, y)[x] = mask[y * width + x] != 0;
    to_intervals(&raster, a[INTERVALS].data);
    Py_END_ALLOW_THREADS
    result = Py_NewRef(Py_None);
done:
    free(raster.rows);
    arrays_close(a, N);
    return result;
}

static PyObject *raster_decode(PyObject *self, PyObject *args) {
    (void)self;
    enum { WORDS, STATE, MASK, N };
    PyObject *o[N], *result = NULL;
    Array a[N] = {0};
    Raster raster = {0};
    AnsDecoder coder;
    if (!PyArg_ParseTuple(args, "OOO", &o[WORDS], &o[STATE], &o[MASK])) return NULL;
    if (decoder_open(&coder, &a[WORDS], &a[STATE], &o[WORDS]) < 0 ||
        array_open(&a[MASK], o[MASK], "mask", "b1", 2, WRITE) < 0)
        goto done;
    int64_t height = a[MASK].shape[0], width = a[MASK].shape[1];
    if (raster_open(&raster, height, width) < 0) {
        PyErr_NoMemory();
        goto done;
    }
    Py_BEGIN_ALLOW_THREADS
    decode(&raster, &coder);
    for (int64_t y = 0; y < height; y++)
        memcpy((uint8_t *)a[MASK].data + y * width, row_of(&raster, y), (size_t)width);
    Py_END_ALLOW_THREADS
    decoder_close(&coder, &a[STATE]);
    result = Py_NewRef(Py_None);
done:
    free(raster.rows);
    arrays_close(a, N);
    return result;
}

PyMethodDef raster_methods[] = {
    {"raster_intervals", raster_intervals, METH_VARARGS, NULL},
    {"raster_decode", raster_decode, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};
