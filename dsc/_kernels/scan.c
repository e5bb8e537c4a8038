/* Label maps row by row: each pixel is like the one on its left, or like another one near it, under
 * chances that are learnt on the way.
 *
 * `dsc._codecs.context.scan` is the reference.
 */
#include "mix.h"

#define ABOVE 4 /* rows above the map, and columns beside it, that are read */
#define LEFT 3
#define RIGHT 5
#define SIDE (LEFT + RIGHT)
#define NEIGHBOURS 26
#define NEAREST 11 /* of them: a pixel is calm where these are alike */
#define CANDIDATES 11
#define RUN 16 /* calm pixels that are coded as one */
#define BUSY 0xFF
#define MOST_LABELS 0xFFFE
#define NAME_BITS 16

/* Where the patterns of each kind begin. */
#define HASH_BITS 15
#define CALM 0
#define RUNS (CALM + 32)
#define PLACES (RUNS + 1)
#define FRESH (PLACES + RUN)
#define NEAR (FRESH + 2)
#define WIDE (NEAR + (1 << 12))
#define FAR (WIDE + (1 << 14))
#define PAIRS (FAR + (1 << HASH_BITS))
#define OFFERED (PAIRS + (1 << HASH_BITS))
#define TURNS (OFFERED + (1 << 13))
#define NAMES (TURNS + (1 << 9))
#define PATTERNS (NAMES + (1 << NAME_BITS))

#define MIXED 4
#define FIRST_SETS 16
#define SETS (FIRST_SETS + 32)
#define FIRST_WEIGHT 19000

typedef struct {
    MixTables tables;
    Port port;
    Counts counts;
    int32_t *weights;
    int64_t height, width, stride;
    uint16_t *grid;  /* the labels inside their margins, which hold label 0 at first */
    uint16_t *calm;  /* of a row: BUSY, or what is alike farther above */
    uint32_t *number; /* when writing, the number of each label so far, 0 for none, else + 1 */
    uint16_t *order;  /* and the label of each number */
    uint32_t known;
    const char *damage;
} Scan;

static uint16_t *row_at(const Scan *scan, int64_t y) {
    return scan->grid + (y + ABOVE) * scan->stride + LEFT;
}

static int scan_open(Scan *scan, int64_t height, int64_t width) {
    static const int32_t QUARTERS[TRUSTS] = {0, 2, 3, 4, 5, 6};
    scan->height = height;
    scan->width = width;
    scan->stride = width + SIDE;
    mix_open(&scan->tables);
    scan->counts.chance = malloc(PATTERNS * sizeof *scan->counts.chance);
    scan->counts.seen = calloc(PATTERNS, sizeof *scan->counts.seen);
    scan->weights = malloc(SETS * MIXED * TRUSTS * sizeof *scan->weights);
    scan->grid = calloc((size_t)(height + ABOVE) * (size_t)scan->stride, sizeof *scan->grid);
    scan->calm = malloc(((size_t)width + RUN) * sizeof *scan->calm);
    if (!scan->counts.chance || !scan->counts.seen || !scan->weights || !scan->grid || !scan->calm)
        return -1;
    for (int k = 0; k < PATTERNS; k++) scan->counts.chance[k] = ANS_ONE / 2;
    for (int k = 0; k < SETS * MIXED * TRUSTS; k++)
        scan->weights[k] = FIRST_WEIGHT * QUARTERS[k % TRUSTS] / 4;
    return 0;
}

static void scan_close(Scan *scan) {
    free(scan->counts.chance);
    free(scan->counts.seen);
    free(scan->weights);
    free(scan->grid);
    free(scan->calm);
    free(scan->number);
    free(scan->port.intervals);
}

static int code_pattern(Scan *scan, uint32_t pattern, int bit) {
    return code_one(&scan->tables, &scan->port, scan->counts, pattern, bit);
}

static int code_patterns(Scan *scan, const uint32_t *patterns, uint32_t set, int bit) {
    int32_t *weights = scan->weights + set * MIXED * TRUSTS;
    return code_mixed(&scan->tables, &scan->port, scan->counts, patterns, MIXED, weights, MOST_SEEN,
                      RATE, bit);
}

static uint32_t hashed(uint32_t key) {
    key *= UINT32_C(2654435761);
    key ^= key >> 15;
    return key * UINT32_C(2246822519) >> (32 - HASH_BITS);
}

/* ---- a pixel */

/* Codes a label that none of the pixels nearby has: a new one, or any by its number. */
static uint16_t code_name(Scan *scan, int calm, uint32_t label) {
    if (code_pattern(scan, FRESH + (uint32_t)calm, label == scan->known)) {
        if (scan->known == MOST_LABELS) {
            scan->damage = "too many labels";
            return 0;
        }
        return (uint16_t)scan->known++;
    }
    int bits = 0;
    uint32_t node = 1;
    while ((scan->known - 1) >> bits) bits++;
    for (int k = bits - 1; k >= 0; k--)
        node = node << 1 | (uint32_t)code_pattern(scan, NAMES + node, label >> k & 1);
    node -= UINT32_C(1) << bits;
    if (node < scan->known) return (uint16_t)node;
    scan->damage = "a label that was not met";
    return 0;
}

/* Codes a label that is not `first`; `alike` are the neighbours that are. */
static uint16_t code_other(Scan *scan, const uint16_t *own, uint32_t alike, int calm, uint32_t label) {
    const uint16_t *above = own - scan->stride, *top = above - scan->stride, first = own[-1];
    const uint16_t offered[CANDIDATES] = {above[0], above[1], above[-1], own[-2],   top[0], top[1],
                                          above[2], top[-1],  above[-2], top[2],    above[3]};
    uint32_t rank = 0;
    for (uint32_t k = 0; k < CANDIDATES; k++) {
        uint32_t same = 0;
        for (uint32_t j = 0; j < CANDIDATES; j++) same |= (uint32_t)(offered[j] == offered[k]) << j;
        if (offered[k] == first || same & ((UINT32_C(1) << k) - 1)) continue;
        uint32_t nearest = alike & ((1 << NEAREST) - 1);
        const uint32_t patterns[MIXED] = {
            OFFERED + (rank << 11 | (UINT32_C(1) << (CANDIDATES - 1 - k)) | same >> (k + 1)),
            FAR + hashed(UINT32_C(1) << 31 | rank << 22 | nearest << 11 | same),
            PAIRS + hashed(first * UINT32_C(40503) + offered[k] * UINT32_C(2246822507) + 1),
            TURNS + (k << 5 | rank << 3 | (alike & 7)),
        };
        if (code_patterns(scan, patterns, FIRST_SETS + rank * 8 + (same & 7), label == offered[k]))
            return offered[k];
        rank += rank < 3;
    }
    return code_name(scan, calm, label);
}

/* Returns which neighbours have the label on the left, the nearest in the lowest bits. */
static uint32_t neighbours_alike(const Scan *scan, const uint16_t *own) {
    const uint16_t *a = own - scan->stride, *t = a - scan->stride, *u = t - scan->stride,
                   *v = u - scan->stride, first = own[-1];
    const uint16_t around[NEIGHBOURS] = {a[0],   a[1],  a[-1], own[-2], t[0],  a[2], a[-2],
                                         t[1],   t[-1], t[2],  t[-2],   a[3],  own[-3], a[-3],
                                         u[0],   u[1],  u[-1], a[4],    t[3],  u[2], u[-2],
                                         u[3],   a[5],  t[-3], v[0],    v[1]};
    uint32_t alike = 0;
#pragma GCC unroll 26
    for (int k = 0; k < NEIGHBOURS; k++) alike |= (uint32_t)(around[k] == first) << k;
    return alike;
}

static uint16_t code_busy(Scan *scan, const uint16_t *own, uint32_t label) {
    const uint16_t *above = own - scan->stride, *top = above - scan->stride, first = own[-1];
    uint32_t alike = neighbours_alike(scan, own);
    uint32_t shape = (uint32_t)(above[0] == above[1]) | (uint32_t)(above[0] == above[-1]) << 1 |
                     (uint32_t)(above[0] == top[0]) << 2 | (uint32_t)(above[1] == above[2]) << 3 |
                     (uint32_t)(above[1] == top[1]) << 4 | (uint32_t)(own[-2] == above[-1]) << 5;
    uint32_t nearest = alike & ((1 << NEAREST) - 1);
    const uint32_t patterns[MIXED] = {
        NEAR + (shape << 6 | (alike & 63)),
        WIDE + ((shape & 7) << NEAREST | nearest),
        FAR + hashed(alike),
        PAIRS + hashed(first * UINT32_C(2654435769) + above[0] * UINT32_C(2246822507) +
                       above[1] * UINT32_C(3266489909) + nearest * UINT32_C(668265263)),
    };
    if (code_patterns(scan, patterns, (shape & 1) << 3 | (alike & 7), label == first)) return first;
    return code_other(scan, own, alike, 0, label);
}

static uint16_t code_calm(Scan *scan, const uint16_t *own, uint32_t farther, uint32_t label) {
    uint32_t pattern = CALM + (farther | (uint32_t)(own[-3] == own[-1]) << 4);
    if (code_pattern(scan, pattern, label == own[-1])) return own[-1];
    return code_other(scan, own, (1 << NEIGHBOURS) - 1, 1, label);
}

/* ---- rows */

/* Finds where pixels are calm, as far as the rows above tell. */
static void find_calm(const Scan *scan, int64_t y) {
    const uint16_t *a = row_at(scan, y - 1), *t = row_at(scan, y - 2), *u = row_at(scan, y - 3);
    uint16_t *restrict calm = scan->calm;
    for (int64_t x = 0; x < scan->width; x++) {
        uint16_t own = a[x];
        uint16_t near = (uint16_t)((a[x - 2] ^ own) | (a[x - 1] ^ own) | (a[x + 1] ^ own) |
                                   (a[x + 2] ^ own));
        uint16_t top = (uint16_t)((t[x - 2] ^ own) | (t[x - 1] ^ own) | (t[x] ^ own) |
                                  (t[x + 1] ^ own) | (t[x + 2] ^ own));
        uint16_t farther = (uint16_t)((a[x + 3] == own) | (u[x] == own) << 1 |
                                      (a[x + 4] == own) << 2 | (a[x - 3] == own) << 3);
        calm[x] = (uint16_t)(near | top) ? BUSY : farther;
    }
    for (int64_t x = scan->width; x < scan->width + RUN; x++) calm[x] = BUSY;
}

/* Tells whether a run of the calmest pixels begins here. */
static int is_run(const Scan *scan, const uint16_t *own, int64_t x) {
    static const uint16_t CALMEST_RUN[RUN] = {15, 15, 15, 15, 15, 15, 15, 15,
                                              15, 15, 15, 15, 15, 15, 15, 15};
    return own[-3] == own[-1] && !memcmp(scan->calm + x, CALMEST_RUN, sizeof CALMEST_RUN);
}

/* Returns the label's number; what is not known yet is numbered `known`. */
static uint32_t number_of(const Scan *scan, uint16_t label) {
    return scan->number[label] ? scan->number[label] - 1 : scan->known;
}

/* Codes pixels that are all alike but for one, at most, at which coding goes on; returns how many are
 * like the one on their left. */
static int64_t code_run(Scan *scan, uint16_t *own, const uint16_t *truth) {
    int alike = RUN;
    for (int k = 0; truth && k < RUN && alike == RUN; k++)
        if (number_of(scan, truth[k]) != own[-1]) alike = k;
    if (!code_pattern(scan, RUNS, alike == RUN)) {
        int k = 0;
        while (k < RUN - 1 && !code_pattern(scan, PLACES + (uint32_t)k, alike == k)) k++;
        alike = k;
    } else {
        alike = RUN;
    }
    for (int k = 0; k < alike; k++) own[k] = own[-1];
    return alike;
}

static void code_row(Scan *scan, int64_t y, const uint16_t *truth) {
    uint16_t *own = row_at(scan, y), *above = row_at(scan, y - 1);
    for (int k = 1; k <= LEFT; k++) own[-k] = above[0];
    find_calm(scan, y);
    for (int64_t x = 0; x < scan->width && !scan->damage; x++) {
        int calm = scan->calm[x] != BUSY && own[x - 1] == above[x] && own[x - 2] == above[x];
        uint32_t label = 0;
        if (calm && is_run(scan, own + x, x)) {
            int64_t alike = code_run(scan, own + x, truth ? truth + x : NULL);
            if (alike == RUN) {
                x += RUN - 1;
                continue;
            }
            x += alike;
            if (truth) label = number_of(scan, truth[x]);
            own[x] = code_other(scan, own + x, (1 << NEIGHBOURS) - 1, 1, label);
        } else {
            if (truth) label = number_of(scan, truth[x]);
            own[x] = calm ? code_calm(scan, own + x, scan->calm[x], label)
                          : code_busy(scan, own + x, label);
        }
        if (truth && !scan->number[truth[x]]) {
            scan->number[truth[x]] = own[x] + UINT32_C(1);
            scan->order[own[x]] = truth[x];
        }
    }
    for (int k = 1; k <= LEFT; k++) own[-k] = own[0];
    for (int k = 0; k < RIGHT; k++) own[scan->width + k] = own[scan->width - 1];
}

static void code_rows(Scan *scan, const uint16_t *truth) {
    scan->known = 1;
    if (truth) {
        scan->number[truth[0]] = 1;
        scan->order[0] = truth[0];
    }
    for (int64_t y = 0; y < scan->height && !scan->damage && !scan->port.failed; y++)
        code_row(scan, y, truth ? truth + y * scan->width : NULL);
}

/* ---- what Python calls */

static PyObject *scan_encode(PyObject *self, PyObject *args) {
    (void)self;
    enum { LABELS, ORDER, N };
    PyObject *o[N], *result = NULL;
    Array a[N] = {0};
    Scan scan = {0};
    if (!PyArg_ParseTuple(args, "OO", &o[LABELS], &o[ORDER])) return NULL;
    if (array_open(&a[LABELS], o[LABELS], "labels", "u2", 2, READ) < 0 ||
        array_open(&a[ORDER], o[ORDER], "order", "u2", 1, WRITE) < 0 ||
        array_expect(&a[ORDER], "order", MOST_LABELS) < 0)
        goto done;
    if (!a[LABELS].count) {
        PyErr_SetString(PyExc_TypeError, "a map without pixels");
        goto done;
    }
    Py_BEGIN_ALLOW_THREADS
    scan.order = a[ORDER].data;
    scan.number = calloc(UINT16_MAX + 1, sizeof *scan.number);
    scan.port.failed = scan_open(&scan, a[LABELS].shape[0], a[LABELS].shape[1]) || !scan.number;
    if (!scan.port.failed) code_rows(&scan, a[LABELS].data);
    Py_END_ALLOW_THREADS
    if (scan.damage)
        PyErr_SetString(PyExc_ValueError, scan.damage);
    else if (scan.port.failed)
        PyErr_NoMemory();
    else
        result = Py_BuildValue("y#I", (const char *)scan.port.intervals,
                               (Py_ssize_t)scan.port.count * 8, (unsigned)scan.known);
done:
    scan_close(&scan);
    arrays_close(a, N);
    return result;
}

static PyObject *scan_decode(PyObject *self, PyObject *args) {
    (void)self;
    enum { WORDS, STATE, LABELS, N };
    PyObject *o[N], *result = NULL;
    Array a[N] = {0};
    Scan scan = {0};
    AnsDecoder coder;
    if (!PyArg_ParseTuple(args, "OOO", &o[WORDS], &o[STATE], &o[LABELS])) return NULL;
    if (decoder_open(&coder, &a[WORDS], &a[STATE], &o[WORDS]) < 0 ||
        array_open(&a[LABELS], o[LABELS], "labels", "u2", 2, WRITE) < 0)
        goto done;
    if (!a[LABELS].count) {
        PyErr_SetString(PyExc_TypeError, "a map without pixels");
        goto done;
    }
    Py_BEGIN_ALLOW_THREADS
    scan.port.decoder = &coder;
    scan.port.failed = scan_open(&scan, a[LABELS].shape[0], a[LABELS].shape[1]);
    if (!scan.port.failed) {
        code_rows(&scan, NULL);
        for (int64_t y = 0; y < scan.height; y++)
            memcpy((uint16_t *)a[LABELS].data + y * scan.width, row_at(&scan, y),
                   (size_t)scan.width * sizeof(uint16_t));
    }
    Py_END_ALLOW_THREADS
    decoder_close(&coder, &a[STATE]);
    if (scan.damage)
        PyErr_SetString(PyExc_ValueError, scan.damage);
    else if (scan.port.failed)
        PyErr_NoMemory();
    else
        result = PyLong_FromUnsignedLong(scan.known);
done:
    scan_close(&scan);
    arrays_close(a, N);
    return result;
}

PyMethodDef scan_methods[] = {
    {"scan_encode", scan_encode, METH_VARARGS, NULL},
    {"scan_decode", scan_decode, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};
