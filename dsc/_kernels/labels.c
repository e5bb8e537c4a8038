/* Label maps as `dsc._coding.context.coder` calls for them. */
#include "walk.h"

#define WALK_LEVELS walk_levels
#include "walk_levels.h"

static const char *const MESSAGES[] = {
    [NEITHER] = "a decision is neither yes nor no; the bitstream is damaged",
    [NO_SUCH_LABEL] = "an escape names no label; the bitstream is damaged",
    [TOO_MANY] = "more labels than a bitstream can name",
    [NOT_IN_ORDER] = "labels are not numbered in the order of coding",
};

/* Returns how many pixels of a map a phase of the model has at most; coarser levels have fewer. */
static size_t most_of_a_phase(const LabelModel *model, int64_t height, int64_t width) {
    int64_t most = 0;
    for (int phase = 0; phase < PHASES; phase++) {
        int64_t own = 0;
        for (int k = 0; k < model->n_places[phase]; k++) {
            const uint8_t *place = model->places[phase][k];
            int64_t rows = (height + CELL - 1 - place[0]) / CELL;
            own += rows * ((width + CELL - 1 - place[1]) / CELL);
        }
        if (own > most) most = own;
    }
    return (size_t)(most ? most : 1);
}

/* Asks for all memory that a walk needs but lists of what is rare. */
static int walk_open(Walk *walk, int64_t height, int64_t width) {
    size_t area = (size_t)(height + 2 * MARGIN) * (size_t)(width + 2 * MARGIN) + SPARE;
    size_t line = (size_t)words_of(width + 2 * MARGIN) + 1;
    size_t rows = (size_t)height * (size_t)words_of(width);
    size_t phase = most_of_a_phase(walk->model, height, width);
    int failed = 0;
#define ROOM(member, count) failed |= !((member) = malloc((count) * sizeof *(member)))
    ROOM(walk->grid, area);
    ROOM(walk->other, area);
    ROOM(walk->differ, (size_t)(height + 2 * MARGIN) * line);
    ROOM(walk->scratch, 2 * line);
    for (int c = 0; c < CALM; c++) ROOM(walk->calm[c], rows);
    ROOM(walk->wrong, walk->truth ? rows : 1);
    ROOM(walk->missed, rows);
    ROOM(walk->busy, phase);
    ROOM(walk->places, phase);
    ROOM(walk->order, phase);
    ROOM(walk->counts, MOST_LABELS + 1);
    ROOM(walk->rank, MOST_LABELS + 1);
    ROOM(walk->by_rank, MOST_LABELS + 1);
#undef ROOM
    walk->memo = calloc(MEMO, sizeof *walk->memo); /* no pattern is all zeros */
    if (failed || !walk->memo) {
        walk->failure = NO_MEMORY;
        return -1;
    }
    memset(walk->grid, 0, (1 + 2 * MARGIN) * (1 + 2 * MARGIN) * sizeof *walk->grid);
    walk->n_known = 1;
    walk->height = walk->width = 1; /* one pixel is known: the first label, 0 */
    walk->stride = 1 + 2 * MARGIN;
    for (walk->step = 1; walk->step < height || walk->step < width;) walk->step *= 2;
    return 0;
}

/* Begins with the level of a step, as it is known: every step-th pixel of every step-th row. */
static void begin_at(Walk *walk, const uint16_t *known, int64_t height, int64_t width, int64_t step) {
    walk->height = height;
    walk->width = width;
    walk->stride = width + 2 * MARGIN;
    walk->step = step;
    for (int64_t y = 0; y < height; y++) {
        memcpy(walk->grid + place_of(walk, y, 0), known + y * width, (size_t)width * sizeof *known);
        for (int64_t x = 0; x < width; x++)
            if (known[y * width + x] >= walk->n_known) walk->n_known = known[y * width + x] + 1;
    }
    if (walk->n_known > MOST_LABELS) walk->failure = TOO_MANY;
}

static void walk_close(Walk *walk) {
    void *rooms[] = {walk->grid,   walk->other,           walk->differ,        walk->scratch,
                     walk->wrong,  walk->missed,          walk->busy,          walk->places,
                     walk->order,  walk->memo,            walk->counts,        walk->rank,
                     walk->by_rank, walk->calm[0],        walk->calm[1],       walk->calm[2],
                     walk->items,  walk->intervals.items, walk->outside.items};
    for (size_t k = 0; k < sizeof rooms / sizeof *rooms; k++) free(rooms[k]);
}

static void run(Walk *walk, int64_t height, int64_t width) {
#if WITH_AVX2
    if (has_avx2()) {
        walk_levels_avx2(walk, height, width);
        return;
    }
#endif
    walk_levels(walk, height, width);
}

static PyObject *walk_error(const Walk *walk) {
    if (walk->failure == NO_MEMORY) return PyErr_NoMemory();
    PyErr_SetString(PyExc_ValueError, MESSAGES[walk->failure]);
    return NULL;
}

/* Opens the array of labels of a map that can be walked. */
static int map_open(Array *array, PyObject *object, int writable) {
    if (array_open(array, object, "labels", "u2", 2, writable) < 0) return -1;
    int64_t height = array->shape[0], width = array->shape[1];
    if (height > 0 && width > 0 && height <= INT32_MAX && width <= INT32_MAX &&
        (height + 2 * MARGIN) * (width + 2 * MARGIN) <= INT32_MAX)
        return 0;
    PyErr_SetString(PyExc_TypeError, "labels: too many pixels, or none");
    return -1;
}

/* Tells whether a known level has the size that a map has at a step, a power of two. */
static int is_level(const Array *level, int64_t height, int64_t width, int64_t step) {
    if (!(step & (step - 1)) && level->shape[0] == (height + step - 1) / step &&
        level->shape[1] == (width + step - 1) / step)
        return 1;
    PyErr_SetString(PyExc_TypeError, "known: not a level of the map");
    return 0;
}

/* Writes the logarithm, to base 2, of the end of each part of the numbers from 1 to 2, or up to 2^-20
 * more: bit by bit, by squaring. */
static void take_logs(float *logs) {
    for (int k = 0; k < LOGS; k++) {
        double x = 1.0 + (k + 1) / (double)LOGS, log = 0.0;
        for (double bit = 0.5; bit > 1e-6; bit /= 2) {
            x *= x;
            if (x >= 2.0) {
                x /= 2.0;
                log += bit;
            }
        }
        logs[k] = (float)(log + 1e-6);
    }
}

static PyObject *label_encode(PyObject *self, PyObject *args) {
    (void)self;
    PyObject *o[2], *result = NULL;
    Array a[1] = {0};
    long long finest = 1;
    Walk walk = {.most = -1};
    float logs[LOGS];
    if (!PyArg_ParseTuple(args, "OO|dL", &o[0], &o[1], &walk.most, &finest)) return NULL;
    if (!(walk.model = label_model_of(o[0])) || map_open(a, o[1], READ) < 0) goto done;
    if (walk.most >= 0) {
        take_logs(logs);
        walk.logs = logs;
    }
    walk.truth = a->data;
    walk.truth_stride = a->shape[1];
    walk.finest = finest < 1 ? 1 : finest;
    Py_BEGIN_ALLOW_THREADS
    if (walk.truth[0] != 0) walk.failure = NOT_IN_ORDER;
    if (walk_open(&walk, a->shape[0], a->shape[1]) == 0) run(&walk, a->shape[0], a->shape[1]);
    Py_END_ALLOW_THREADS
    if (walk.failure == TOO_LONG)
        result = Py_NewRef(Py_None);
    else if (walk.failure)
        walk_error(&walk);
    else
        result = PyBytes_FromStringAndSize((const char *)walk.intervals.items,
                                           (Py_ssize_t)walk.intervals.count * 8);
done:
    walk_close(&walk);
    arrays_close(a, 1);
    return result;
}

static PyObject *label_decode(PyObject *self, PyObject *args) {
    (void)self;
    PyObject *o[5], *result = NULL;
    Array a[4] = {0};
    long long step = 1, finest = 1;
    Walk walk = {0};
    AnsDecoder coder;
    if (!PyArg_ParseTuple(args, "OOOO|OLL", &o[0], &o[1], &o[2], &o[3], &o[4], &step, &finest))
        return NULL;
    if (!(walk.model = label_model_of(o[0])) || decoder_open(&coder, &a[0], &a[1], &o[1]) < 0 ||
        map_open(&a[2], o[3], WRITE) < 0)
        goto done;
    int64_t height = a[2].shape[0], width = a[2].shape[1];
    if (step > 1 && (map_open(&a[3], o[4], READ) < 0 ||
                     !is_level(&a[3], height, width, step)))
        goto done;
    walk.decoder = &coder;
    walk.finest = finest < 1 || finest > INT32_MAX ? 1 : finest;
    Py_BEGIN_ALLOW_THREADS
    if (walk_open(&walk, height, width) == 0) {
        walk.step *= walk.finest; /* what is read is that level of a larger map */
        if (step > 1) begin_at(&walk, a[3].data, a[3].shape[0], a[3].shape[1], step);
        run(&walk, height * walk.finest, width * walk.finest);
    }
    for (int64_t y = 0; y < height && !walk.failure; y++)
        memcpy((uint16_t *)a[2].data + y * width, walk.grid + place_of(&walk, y, 0),
               (size_t)width * sizeof *walk.grid);
    Py_END_ALLOW_THREADS
    decoder_close(&coder, &a[1]);
    result = walk.failure ? walk_error(&walk) : PyLong_FromLongLong(walk.n_known);
done:
    walk_close(&walk);
    arrays_close(a, 4);
    return result;
}

PyMethodDef label_methods[] = {
    {"label_encode", label_encode, METH_VARARGS, NULL},
    {"label_decode", label_decode, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};
