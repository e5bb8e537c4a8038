/* Label maps that follow one another: each pixel is what moved there from an earlier map, or else like
 * a neighbour.
 *
 * `dsc._codecs.sequence.tracks` is the reference.
 */
#include "mix.h"

#define BLOCK 16
#define FARTHEST_MOVE 31 /* pixels, in each direction */
#define LENGTHS 6        /* bits of the difference of two moves, at most */
#define MARGIN (FARTHEST_MOVE + BLOCK + 2)
#define NO_LABEL 0xFFFF
#define AGREED (1 << 10)
#define SHAPED (1 << 15)
#define OTHERS (1 << 9)
#define MOVED 128
#define MOVED_EACH 48 /* of them, for down and for right */
#define WEIGHTS 64
#define CANDIDATES 8
#define MISMATCH 4 /* bits that a pixel unlike its prediction takes, about */
#define TURN 4     /* and a vector that is not the one before, beside two for each of its bits */

typedef struct {
    MixTables tables;
    Port port;
    Counts agreed, shaped, others, moved;
    int32_t *weights;
    int64_t height, width;
    uint32_t count;    /* labels are below this */
    int32_t *vectors;  /* down and right, of each block */
    uint16_t *earlier; /* inside a margin that repeats its edge */
    uint16_t *moving;  /* the same, of what is predicted; a margin of 1 */
    uint16_t *own;     /* two rows above and two columns beside, which hold no label */
    const char *damage;
} Track;

static int64_t blocks_of(int64_t pixels) {
    return (pixels + BLOCK - 1) / BLOCK;
}

static const uint16_t *earlier_at(const Track *track, int64_t y, int64_t x) {
    return track->earlier + (y + MARGIN) * (track->width + 2 * MARGIN) + x + MARGIN;
}

static uint16_t *moving_at(const Track *track, int64_t y, int64_t x) {
    return track->moving + (y + 1) * (track->width + 2) + x + 1;
}

static uint16_t *own_at(const Track *track, int64_t y, int64_t x) {
    return track->own + (y + 2) * (track->width + 4) + x + 2;
}

static int64_t within(int64_t value, int64_t end) {
    return value < 0 ? 0 : value >= end ? end - 1 : value;
}

static int track_open(Track *track, const uint16_t *earlier) {
    int64_t height = track->height, width = track->width;
    mix_open(&track->tables);
    size_t wide = (size_t)(height + 2 * MARGIN) * (size_t)(width + 2 * MARGIN);
    size_t own = (size_t)(height + 2) * (size_t)(width + 4);
    track->earlier = malloc(wide * 2);
    track->moving = malloc((size_t)(height + 2) * (size_t)(width + 2) * 2);
    track->own = malloc(own * 2);
    if (!track->earlier || !track->moving || !track->own) return -1;
    memset(track->own, 0xFF, own * 2);
    uint16_t *to = track->earlier;
    for (int64_t y = -MARGIN; y < height + MARGIN; y++)
        for (int64_t x = -MARGIN; x < width + MARGIN; x++)
            *to++ = earlier[within(y, height) * width + within(x, width)];
    return 0;
}

static void track_close(Track *track) {
    free(track->earlier);
    free(track->moving);
    free(track->own);
    free(track->port.intervals);
}

/* ---- vectors */

static const int32_t STILL[2] = {0, 0};

/* Returns the vector of the block on the left, or else of that above. */
static const int32_t *vector_before(const Track *track, int64_t row, int64_t column) {
    int64_t columns = blocks_of(track->width);
    if (column) return track->vectors + 2 * (row * columns + column - 1);
    return row ? track->vectors + 2 * (row - 1) * columns : STILL;
}

static const int32_t *vector_above(const Track *track, int64_t row, int64_t column) {
    return row ? track->vectors + 2 * ((row - 1) * blocks_of(track->width) + column) : STILL;
}

static int length_of(int32_t number) {
    int length = 0;
    for (uint32_t rest = (uint32_t)(number < 0 ? -number : number); rest; rest >>= 1) length++;
    return length;
}

/* Codes a bit of a vector. */
static int code_move(Track *track, uint32_t pattern, int bit) {
    return code_one(&track->tables, &track->port, track->moved, pattern, bit);
}

/* Codes a difference: how many bits it has, its sign, and what is below its highest bit. */
static int32_t code_difference(Track *track, uint32_t first, int32_t number) {
    int wanted = length_of(number), length = 0;
    while (length < LENGTHS && code_move(track, first + (uint32_t)length, length < wanted)) length++;
    if (!length) return 0;
    int negative = code_move(track, first + LENGTHS, number < 0);
    int32_t found = 1, size = number < 0 ? -number : number;
    for (int k = length - 2; k >= 0; k--) {
        uint32_t pattern = first + LENGTHS + 1 + (uint32_t)(length * LENGTHS + k);
        found = found << 1 | code_move(track, pattern, size >> k & 1);
    }
    return negative ? -found : found;
}

static void code_vectors(Track *track) {
    int turned = 0;
    for (int64_t row = 0; row < blocks_of(track->height); row++)
        for (int64_t column = 0; column < blocks_of(track->width); column++) {
            int32_t *vector = track->vectors + 2 * (row * blocks_of(track->width) + column);
            const int32_t *before = vector_before(track, row, column);
            const int32_t *above = vector_above(track, row, column);
            int32_t own[2] = {vector[0], vector[1]};
            turned = code_move(track, (uint32_t)turned, own[0] != before[0] || own[1] != before[1]);
            memcpy(vector, before, sizeof own);
            if (!turned) continue;
            if (above[0] != before[0] || above[1] != before[1]) {
                int other = code_move(track, 2, own[0] != above[0] || own[1] != above[1]);
                if (!other) memcpy(vector, above, sizeof own);
                if (!other) continue;
            }
            for (int k = 0; k < 2; k++) {
                uint32_t first = 4 + (uint32_t)k * MOVED_EACH;
                vector[k] = before[k] + code_difference(track, first, own[k] - before[k]);
                if (vector[k] < -FARTHEST_MOVE || vector[k] > FARTHEST_MOVE) {
                    track->damage = "a vector is too long";
                    return;
                }
            }
        }
}

static void move_blocks(Track *track) {
    for (int64_t y = 0; y < track->height; y++)
        for (int64_t x = 0; x < track->width; x += BLOCK) {
            const int32_t *vector =
                track->vectors + 2 * (y / BLOCK * blocks_of(track->width) + x / BLOCK);
            int64_t n = track->width - x < BLOCK ? track->width - x : BLOCK;
            memcpy(moving_at(track, y, x), earlier_at(track, y + vector[0], x + vector[1]),
                   (size_t)n * 2);
        }
    for (int64_t y = 0; y < track->height; y++) {
        *moving_at(track, y, -1) = *moving_at(track, y, 0);
        *moving_at(track, y, track->width) = *moving_at(track, y, track->width - 1);
    }
    size_t row = (size_t)(track->width + 2) * 2;
    memcpy(moving_at(track, -1, -1), moving_at(track, 0, -1), row);
    memcpy(moving_at(track, track->height, -1), moving_at(track, track->height - 1, -1), row);
}

/* ---- pixels */

/* Codes one of `count` labels, all of them equally likely. */
static uint16_t code_any(Track *track, uint16_t label) {
    if (track->port.decoder) return (uint16_t)ans_uniform(track->port.decoder, track->count);
    uint32_t each = ANS_ONE / track->count, left = label * each;
    port_put(&track->port, left, label == track->count - 1 ? ANS_ONE - left : each);
    return label;
}

/* Codes a label that is not the predicted one. */
static uint16_t code_other(Track *track, const uint16_t *own, const uint16_t *above,
                           const uint16_t *last, int64_t stride, uint32_t agree, uint16_t label) {
    const uint16_t offered[CANDIDATES] = {own[-1],  above[0],     above[1],      above[-1],
                                          last[1],  last[stride], last[-stride], last[-1]};
    for (uint32_t k = 0; k < CANDIDATES; k++) {
        uint32_t alike = 0;
        int passed = offered[k] == last[0] || offered[k] == NO_LABEL;
        for (uint32_t j = 0; j < k; j++) passed |= offered[j] == offered[k];
        if (passed) continue;
        for (uint32_t j = k + 1; j < CANDIDATES; j++) alike += offered[j] == offered[k];
        uint32_t pattern = k << 6 | (agree & 15) << 2 | (alike > 3 ? 3 : alike);
        if (code_one(&track->tables, &track->port, track->others, pattern, label == offered[k]))
            return offered[k];
    }
    return code_any(track, label);
}

static uint16_t code_label(Track *track, const uint16_t *own, const uint16_t *last, uint16_t label) {
    const int64_t stride = track->width + 2;
    const uint16_t *above = own - (track->width + 4), *top = above - (track->width + 4);
    const uint16_t *over = last - stride, *under = last + stride;
    const uint16_t wanted = last[0], west = own[-1], north = above[0];
    uint32_t agree = (uint32_t)(west == last[-1]) | (uint32_t)(north == over[0]) << 1 |
                     (uint32_t)(above[1] == over[1]) << 2 | (uint32_t)(above[-1] == over[-1]) << 3;
    uint32_t like = (uint32_t)(west == wanted) | (uint32_t)(north == wanted) << 1;
    uint32_t first = agree | like << 4 | (uint32_t)(west == north) << 6 |
                     (uint32_t)(above[1] == wanted) << 7 | (uint32_t)(last[1] == wanted) << 8 |
                     (uint32_t)(under[0] == wanted) << 9;
    uint32_t shape = (uint32_t)(last[-1] == wanted) | (uint32_t)(last[1] == wanted) << 1 |
                     (uint32_t)(over[-1] == wanted) << 2 | (uint32_t)(over[0] == wanted) << 3 |
                     (uint32_t)(over[1] == wanted) << 4 | (uint32_t)(under[-1] == wanted) << 5 |
                     (uint32_t)(under[0] == wanted) << 6 | (uint32_t)(under[1] == wanted) << 7;
    uint32_t second = shape | agree << 8 | like << 12 | (uint32_t)(top[0] == wanted) << 14;
    int same;
    if (first == AGREED - 1 && second == SHAPED - 1) {
        same = code_one(&track->tables, &track->port, track->shaped, second, label == wanted);
    } else {
        uint32_t set = (agree & 7) | like << 3 | (uint32_t)(last[1] == wanted) << 5;
        same = code_two(&track->tables, &track->port, track->agreed, first, track->shaped, second,
                        track->weights + 2 * set, label == wanted);
    }
    if (same) return wanted;
    return code_other(track, own, above, last, stride, agree, label);
}

static void code_labels(Track *track, const uint16_t *truth) {
    for (int64_t y = 0; y < track->height && !track->port.failed; y++) {
        uint16_t *own = own_at(track, y, 0);
        const uint16_t *last = moving_at(track, y, 0);
        for (int64_t x = 0; x < track->width; x++)
            own[x] = code_label(track, own + x, last + x, truth ? *truth++ : 0);
    }
}

/* ---- the search for vectors */

/* Counts pixels of a block that are not what a vector moves there, up to `most`. */
static int64_t unlike(const Track *track, const uint16_t *labels, int64_t y, int64_t x,
                      const int32_t *vector, int64_t most) {
    int64_t rows = track->height - y < BLOCK ? track->height - y : BLOCK, found = 0;
    int64_t columns = track->width - x < BLOCK ? track->width - x : BLOCK;
    for (int64_t k = 0; k < rows && found < most; k++) {
        const uint16_t *own = labels + (y + k) * track->width + x;
        const uint16_t *other = earlier_at(track, y + k + vector[0], x + vector[1]);
        int differ = 0;
        if (columns == BLOCK)
            for (int j = 0; j < BLOCK; j++) differ += own[j] != other[j];
        else
            for (int64_t j = 0; j < columns; j++) differ += own[j] != other[j];
        found += differ;
    }
    return found;
}

/* Returns about how many bits a vector takes. */
static int64_t price_of(const int32_t *vector, const int32_t *before, const int32_t *above) {
    if (vector[0] == before[0] && vector[1] == before[1]) return 0;
    if (vector[0] == above[0] && vector[1] == above[1]) return TURN;
    return TURN + 2 * (length_of(vector[0] - before[0]) + length_of(vector[1] - before[1]));
}

static void search_block(Track *track, const uint16_t *labels, int64_t row, int64_t column) {
    int32_t *vector = track->vectors + 2 * (row * blocks_of(track->width) + column);
    const int32_t *before = vector_before(track, row, column);
    const int32_t *above = vector_above(track, row, column);
    int64_t y = row * BLOCK, x = column * BLOCK;
    int64_t best = MISMATCH * unlike(track, labels, y, x, before, BLOCK * BLOCK);
    int32_t chosen[2] = {before[0], before[1]}, tried[2];
    for (tried[0] = -FARTHEST_MOVE; tried[0] <= FARTHEST_MOVE && best; tried[0]++)
        for (tried[1] = -FARTHEST_MOVE; tried[1] <= FARTHEST_MOVE; tried[1]++) {
            int64_t price = price_of(tried, before, above);
            if (price >= best) continue;
            int64_t most = (best - price + MISMATCH - 1) / MISMATCH;
            int64_t cost = MISMATCH * unlike(track, labels, y, x, tried, most) + price;
            if (cost >= best) continue;
            best = cost;
            memcpy(chosen, tried, sizeof chosen);
        }
    memcpy(vector, chosen, sizeof chosen);
}

/* ---- what Python calls */

enum { STATE = 9 };

static int learned_open(Track *track, Array *a, PyObject **o) {
    static const char *const ELEMENTS[STATE] = {"u4", "u2", "u4", "u2", "u4",
                                                "u2", "u4", "u2", "i4"};
    static const int64_t COUNTS[STATE] = {AGREED, AGREED, SHAPED, SHAPED,     OTHERS,
                                          OTHERS, MOVED,  MOVED,  2 * WEIGHTS};
    for (int k = 0; k < STATE; k++)
        if (array_open(&a[k], o[k], "learned", ELEMENTS[k], 1, WRITE) < 0 ||
            array_expect(&a[k], "learned", COUNTS[k]) < 0)
            return -1;
    track->agreed = (Counts){a[0].data, a[1].data};
    track->shaped = (Counts){a[2].data, a[3].data};
    track->others = (Counts){a[4].data, a[5].data};
    track->moved = (Counts){a[6].data, a[7].data};
    track->weights = a[8].data;
    return 0;
}

enum { LABELS, EARLIER, VECTORS, MAPS };

static int maps_open(Track *track, Array *a, PyObject **o, int decoding) {
    if (array_open(&a[LABELS], o[LABELS], "labels", "u2", 2, decoding ? WRITE : READ) < 0 ||
        array_open(&a[EARLIER], o[EARLIER], "earlier", "u2", 2, READ) < 0 ||
        array_open(&a[VECTORS], o[VECTORS], "vectors", "i4", 3, WRITE) < 0)
        return -1;
    track->height = a[LABELS].shape[0];
    track->width = a[LABELS].shape[1];
    track->vectors = a[VECTORS].data;
    if (track->height < 1 || track->width < 1 || a[EARLIER].shape[0] != track->height ||
        a[EARLIER].shape[1] != track->width ||
        a[VECTORS].count != 2 * blocks_of(track->height) * blocks_of(track->width)) {
        PyErr_SetString(PyExc_TypeError, "maps and vectors do not fit together");
        return -1;
    }
    for (int64_t k = 0; !decoding && k < a[VECTORS].count; k++)
        if (track->vectors[k] < -FARTHEST_MOVE || track->vectors[k] > FARTHEST_MOVE) {
            PyErr_SetString(PyExc_TypeError, "a vector is too long");
            return -1;
        }
    return 0;
}

/* Sets an exception unless labels are below `count`, which divides what a coder has. */
static int count_open(Track *track, Py_ssize_t count) {
    if (count >= 1 && count <= NO_LABEL) {
        track->count = (uint32_t)count;
        return 0;
    }
    PyErr_SetString(PyExc_TypeError, "too many labels, or none");
    return -1;
}

static PyObject *track_search(PyObject *self, PyObject *args) {
    (void)self;
    PyObject *o[MAPS], *result = NULL;
    Array a[MAPS] = {0};
    Track track = {0};
    if (!PyArg_ParseTuple(args, "OOO", &o[0], &o[1], &o[2])) return NULL;
    if (maps_open(&track, a, o, 0) < 0) goto done;
    int failed;
    Py_BEGIN_ALLOW_THREADS
    failed = track_open(&track, a[EARLIER].data);
    for (int64_t row = 0; row < blocks_of(track.height) && !failed; row++)
        for (int64_t column = 0; column < blocks_of(track.width); column++)
            search_block(&track, a[LABELS].data, row, column);
    Py_END_ALLOW_THREADS
    result = failed ? PyErr_NoMemory() : Py_NewRef(Py_None);
done:
    track_close(&track);
    arrays_close(a, MAPS);
    return result;
}

static PyObject *track_encode(PyObject *self, PyObject *args) {
    (void)self;
    PyObject *o[MAPS], *s[STATE], *result = NULL;
    Array a[MAPS + STATE] = {0};
    Track track = {0};
    Py_ssize_t count;
    if (!PyArg_ParseTuple(args, "OOOn(OOOOOOOOO)", &o[0], &o[1], &o[2], &count, &s[0], &s[1], &s[2],
                          &s[3], &s[4], &s[5], &s[6], &s[7], &s[8]))
        return NULL;
    if (maps_open(&track, a, o, 0) < 0 || learned_open(&track, a + MAPS, s) < 0 ||
        count_open(&track, count) < 0)
        goto done;
    const uint16_t *labels = a[LABELS].data;
    for (int64_t k = 0; k < a[LABELS].count; k++)
        if (labels[k] >= track.count) {
            PyErr_SetString(PyExc_TypeError, "a label is not below the count");
            goto done;
        }
    Py_BEGIN_ALLOW_THREADS
    track.port.failed = track_open(&track, a[EARLIER].data);
    if (!track.port.failed) {
        code_vectors(&track);
        move_blocks(&track);
        code_labels(&track, labels);
    }
    Py_END_ALLOW_THREADS
    if (track.port.failed)
        PyErr_NoMemory();
    else
        result = PyBytes_FromStringAndSize((const char *)track.port.intervals,
                                           (Py_ssize_t)track.port.count * 8);
done:
    track_close(&track);
    arrays_close(a, MAPS + STATE);
    return result;
}

static PyObject *track_decode(PyObject *self, PyObject *args) {
    (void)self;
    PyObject *o[MAPS], *s[STATE], *c[2], *result = NULL;
    Array a[MAPS + STATE + 2] = {0}, *parts = a + MAPS + STATE;
    Track track = {0};
    AnsDecoder coder;
    Py_ssize_t count;
    if (!PyArg_ParseTuple(args, "OOOOOn(OOOOOOOOO)", &c[0], &c[1], &o[0], &o[1], &o[2], &count,
                          &s[0], &s[1], &s[2], &s[3], &s[4], &s[5], &s[6], &s[7], &s[8]))
        return NULL;
    if (maps_open(&track, a, o, 1) < 0 || learned_open(&track, a + MAPS, s) < 0 ||
        count_open(&track, count) < 0 || decoder_open(&coder, &parts[0], &parts[1], c) < 0)
        goto done;
    track.port.decoder = &coder;
    Py_BEGIN_ALLOW_THREADS
    track.port.failed = track_open(&track, a[EARLIER].data);
    if (!track.port.failed) {
        code_vectors(&track);
        if (!track.damage) {
            move_blocks(&track);
            code_labels(&track, NULL);
        }
        for (int64_t y = 0; y < track.height; y++)
            memcpy((uint16_t *)a[LABELS].data + y * track.width, own_at(&track, y, 0),
                   (size_t)track.width * 2);
    }
    Py_END_ALLOW_THREADS
    decoder_close(&coder, &parts[1]);
    if (track.port.failed)
        PyErr_NoMemory();
    else if (track.damage)
        PyErr_SetString(PyExc_ValueError, track.damage);
    else
        result = Py_NewRef(Py_None);
done:
    track_close(&track);
    arrays_close(a, MAPS + STATE + 2);
    return result;
}

PyMethodDef track_methods[] = {
    {"track_search", track_search, METH_VARARGS, NULL},
    {"track_encode", track_encode, METH_VARARGS, NULL},
    {"track_decode", track_decode, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};
