/* Label maps row by row: each pixel is like the one on its left, or like another one near it, under
 * chances that are learnt on the way.
 *
 * `dsc._coding.context.scan` is the reference.
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
#define WHOLE (NAMES + (1 << NAME_BITS))
#define PATTERNS (WHOLE + 1)

#define MIXED 4
#define FIRST_SETS 16
#define SETS (FIRST_SETS + 32)
#define FIRST_WEIGHT 19000

#define REGIONS_MOST (UINT16_MAX + 1)
enum { UNMET, ONE_CLASS, PARTED };

/* Regions within which labels lie: a label is of one region. */
typedef struct {
    uint16_t *grid;   /* the region of each pixel, inside the margins of the labels */
    uint8_t *state;   /* of each region, whether it is met, and whether it has one label */
    uint8_t *parted;  /* when writing, whether it has several */
    uint16_t *first;  /* the first of its labels */
    uint32_t *labels; /* how many labels of it are met */
    uint32_t *room;   /* and how many its list has room for */
    uint16_t **lists; /* of each region, its labels as they were met */
    uint16_t *place;  /* of each label, its place in the list of its region */
} Within;

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
    Within *within; /* NULL where nothing is known */
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

/* A tenth of the time is its call, where a compiler makes one. */
#if defined(__GNUC__)
__attribute__((always_inline))
#endif
static inline int
code_patterns(Scan *scan, const uint32_t *patterns, uint32_t set, int bit) {
    int32_t *weights = scan->weights + set * MIXED * TRUSTS;
    return code_mixed(&scan->tables, &scan->port, scan->counts, patterns, MIXED, weights, MOST_SEEN,
                      RATE, bit);
}

/* The place of a key among the patterns of its kind. */
static inline uint32_t hashed(uint32_t key) { return mix_hash(key, HASH_BITS); }

/* ---- regions */

static uint16_t region_at(const Scan *scan, const uint16_t *own) {
    return scan->within->grid[own - scan->grid];
}

/* Tells whether a place is of the region of a pixel. */
static int is_kin(const Scan *scan, const uint16_t *own, int64_t step) {
    const uint16_t *region = scan->within->grid + (own - scan->grid);
    return region[step] == region[0];
}

/* Takes a new label for a region. */
static uint16_t new_label(Scan *scan, uint16_t region) {
    Within *within = scan->within;
    if (scan->known == MOST_LABELS) {
        scan->damage = "too many labels";
        return 0;
    }
    uint16_t label = (uint16_t)scan->known++;
    if (!within) return label;
    uint32_t met = within->labels[region];
    if (met == within->room[region]) {
        uint32_t room = met ? 2 * met : 4;
        uint16_t *grown = realloc(within->lists[region], room * sizeof *grown);
        if (!grown) {
            scan->port.failed = 1;
            return 0;
        }
        within->lists[region] = grown;
        within->room[region] = room;
    }
    if (!met) within->first[region] = label;
    within->lists[region][met] = label;
    within->place[label] = (uint16_t)met;
    within->labels[region]++;
    return label;
}

/* Codes whether a region that is met has one label. */
static void meet(Scan *scan, uint16_t region) {
    Within *within = scan->within;
    int one = code_pattern(scan, WHOLE, !within->parted[region]);
    within->state[region] = one ? ONE_CLASS : PARTED;
}

/* Returns which neighbours are of the region of a pixel, as `neighbours_alike` numbers them. */
static uint32_t neighbours_kin(const Scan *scan, const uint16_t *own) {
    const uint16_t *o = scan->within->grid + (own - scan->grid), *a = o - scan->stride,
                   *t = a - scan->stride, *u = t - scan->stride, *v = u - scan->stride;
    const uint16_t around[NEIGHBOURS] = {a[0],  a[1],  a[-1], o[-2], t[0],  a[2], a[-2],
                                         t[1],  t[-1], t[2],  t[-2], a[3],  o[-3], a[-3],
                                         u[0],  u[1],  u[-1], a[4],  t[3],  u[2], u[-2],
                                         u[3],  a[5],  t[-3], v[0],  v[1]};
    uint32_t kin = 0;
    for (int k = 0; k < NEIGHBOURS; k++) kin |= (uint32_t)(around[k] == o[0]) << k;
    return kin;
}

/* ---- a pixel */

/* Codes a label that none of the pixels nearby has: a new one, or any by its number. */
static uint16_t code_name(Scan *scan, int calm, uint32_t label) {
    if (code_pattern(scan, FRESH + (uint32_t)calm, label == scan->known)) {
        return new_label(scan, 0);
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

/* The same of labels of a region, of which so many were asked for in vain. */
static uint16_t code_name_within(Scan *scan, uint16_t region, uint32_t asked, uint32_t label) {
    Within *within = scan->within;
    uint32_t met = within->labels[region], at = 0, node = 1;
    if (asked >= met || code_pattern(scan, FRESH, label == scan->known))
        return new_label(scan, region);
    int bits = 0;
    while ((met - 1) >> bits) bits++;
    if (scan->number) at = within->place[label];
    for (int k = bits - 1; k >= 0; k--)
        node = node << 1 | (uint32_t)code_pattern(scan, NAMES + node, at >> k & 1);
    node -= UINT32_C(1) << bits;
    if (node >= met) {
        scan->damage = "a label that was not met";
        return 0;
    }
    return within->lists[region][node];
}

/* Codes a label that is not that on the left, if it is of the region. */
static uint16_t code_other_within(Scan *scan, const uint16_t *own, uint32_t alike,
                                  uint32_t label) {
    const int64_t s = scan->stride;
    const int64_t steps[CANDIDATES] = {-s, 1 - s, -1 - s, -2, -2 * s, 1 - 2 * s,
                                         2 - s, -1 - 2 * s, -2 - s, 2 - 2 * s, 3 - s};
    const int is_left = is_kin(scan, own, -1);
    const uint16_t first = own[-1];
    uint32_t rank = 0, asked = (uint32_t)is_left, there = 0;
    for (uint32_t k = 0; k < CANDIDATES; k++) there |= (uint32_t)is_kin(scan, own, steps[k]) << k;
    for (uint32_t k = 0; k < CANDIDATES; k++) {
        if (!(there >> k & 1)) continue;
        const uint16_t one = own[steps[k]];
        uint32_t same = 0;
        for (uint32_t j = 0; j < CANDIDATES; j++) same |= (uint32_t)(own[steps[j]] == one) << j;
        if ((is_left && one == first) || same & ((UINT32_C(1) << k) - 1)) continue;
        uint32_t nearest = alike & ((1 << NEAREST) - 1), of = (there & 127) << 1 | (uint32_t)is_left;
        const uint32_t patterns[MIXED] = {
            FAR + hashed(UINT32_C(2654435769) * (rank << 11 | same) + of * 40503 + 5),
            FAR + hashed((UINT32_C(1) << 31 | rank << 22 | nearest << 11 | same) ^ of * UINT32_C(668265263)),
            PAIRS + hashed(first * UINT32_C(40503) + one * UINT32_C(2246822507) + of + 1),
            TURNS + (k << 5 | rank << 3 | (of & 7)),
        };
        asked++;
        if (code_patterns(scan, patterns, FIRST_SETS + rank * 8 + (same & 7), label == one))
            return one;
        rank += rank < 3;
    }
    return code_name_within(scan, region_at(scan, own), asked, label);
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

/* The same within regions; the pixel on the left may be of another one. */
static uint16_t code_busy_within(Scan *scan, const uint16_t *own, uint32_t label) {
    const uint16_t *above = own - scan->stride, *top = above - scan->stride, first = own[-1];
    uint32_t kin = neighbours_kin(scan, own);
    if (!is_kin(scan, own, -1)) return code_other_within(scan, own, 0, label);
    uint32_t alike = neighbours_alike(scan, own);
    uint32_t shape = (uint32_t)(above[0] == above[1]) | (uint32_t)(above[0] == above[-1]) << 1 |
                     (uint32_t)(above[0] == top[0]) << 2 | (uint32_t)(above[1] == above[2]) << 3 |
                     (uint32_t)(above[1] == top[1]) << 4 | (uint32_t)(own[-2] == above[-1]) << 5;
    uint32_t nearest = alike & ((1 << NEAREST) - 1), near = kin & ((1 << NEAREST) - 1);
    uint32_t of = (kin & 7) << 1 | (uint32_t)is_kin(scan, own, 1);
    const uint32_t patterns[MIXED] = {
        FAR + hashed((shape << 6 | (alike & 63)) << 4 | of),
        FAR + hashed(((shape & 7) << NEAREST | nearest) * UINT32_C(2654435769) + near + 7),
        FAR + hashed(alike + kin * UINT32_C(2246822507)),
        PAIRS + hashed(first * UINT32_C(2654435769) + above[0] * UINT32_C(2246822507) +
                       above[1] * UINT32_C(3266489909) + nearest * UINT32_C(668265263) + of),
    };
    if (code_patterns(scan, patterns, (kin & 1) << 3 | (alike & 7), label == first)) return first;
    return code_other_within(scan, own, alike, label);
}

/* Codes a label that is not that on the left of a calm pixel. */
static uint16_t code_unlike(Scan *scan, const uint16_t *own, uint32_t label) {
    const uint32_t all = (1 << NEIGHBOURS) - 1;
    return scan->within ? code_other_within(scan, own, all, label)
                        : code_other(scan, own, all, 1, label);
}

static uint16_t code_calm(Scan *scan, const uint16_t *own, uint32_t farther, uint32_t label) {
    uint32_t pattern = CALM + (farther | (uint32_t)(own[-3] == own[-1]) << 4);
    if (code_pattern(scan, pattern, label == own[-1])) return own[-1];
    return code_unlike(scan, own, label);
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
    for (int k = 0; scan->within && k < RUN; k++)
        if (x + k >= scan->width || !is_kin(scan, own, k)) return 0;
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
    uint16_t *region = scan->within ? scan->within->grid + (own - scan->grid) : NULL;
    for (int k = 1; region && k <= LEFT; k++) region[-k] = region[-scan->stride];
    find_calm(scan, y);
    for (int64_t x = 0; x < scan->width && !scan->damage; x++) {
        int calm = scan->calm[x] != BUSY && own[x - 1] == above[x] && own[x - 2] == above[x];
        uint32_t label = 0;
        if (region) {
            Within *within = scan->within;
            if (within->state[region[x]] == UNMET) {
                meet(scan, region[x]);
                own[x] = new_label(scan, region[x]);
                if (truth && !scan->damage) {
                    scan->number[truth[x]] = own[x] + UINT32_C(1);
                    scan->order[own[x]] = truth[x];
                }
                continue;
            }
            if (within->state[region[x]] == ONE_CLASS) {
                own[x] = within->first[region[x]];
                continue;
            }
            calm = calm && region[x - 1] == region[x];
        }
        if (calm && is_run(scan, own + x, x)) {
            int64_t alike = code_run(scan, own + x, truth ? truth + x : NULL);
            if (alike == RUN) {
                x += RUN - 1;
                continue;
            }
            x += alike;
            if (truth) label = number_of(scan, truth[x]);
            own[x] = code_unlike(scan, own + x, label);
        } else {
            if (truth) label = number_of(scan, truth[x]);
            own[x] = calm ? code_calm(scan, own + x, scan->calm[x], label)
                   : region ? code_busy_within(scan, own + x, label)
                            : code_busy(scan, own + x, label);
        }
        if (truth && !scan->number[truth[x]]) {
            scan->number[truth[x]] = own[x] + UINT32_C(1);
            scan->order[own[x]] = truth[x];
        }
    }
    for (int k = 1; k <= LEFT; k++) own[-k] = own[0];
    for (int k = 1; region && k <= LEFT; k++) region[-k] = region[0];
    for (int k = 0; k < RIGHT; k++) own[scan->width + k] = own[scan->width - 1];
}

static void code_rows(Scan *scan, const uint16_t *truth) {
    scan->known = 1;
    if (truth) {
        scan->number[truth[0]] = 1;
        scan->order[0] = truth[0];
    }
    if (scan->within) {
        uint16_t region = region_at(scan, row_at(scan, 0));
        scan->known = 0;
        meet(scan, region);
        new_label(scan, region);
    }
    for (int64_t y = 0; y < scan->height && !scan->damage && !scan->port.failed; y++)
        code_row(scan, y, truth ? truth + y * scan->width : NULL);
}

/* ---- what Python calls */

/* Opens levels, if there are any, of the size of labels. */
static int levels_open(Array *levels, PyObject *given, const Array *labels) {
    if (!given) return 0;
    if (array_open(levels, given, "levels", "u2", 3, READ) < 0) return -1;
    if (levels->shape[0] > 0 && levels->shape[1] == labels->shape[0] &&
        levels->shape[2] == labels->shape[1])
        return 0;
    PyErr_SetString(PyExc_TypeError, "levels of another size than labels, or none");
    return -1;
}

static void within_close(Within *within) {
    free(within->grid);
    free(within->state);
    free(within->parted);
    free(within->labels);
    free(within->first);
    free(within->room);
    for (int64_t k = 0; within->lists && k < REGIONS_MOST; k++) free(within->lists[k]);
    free(within->lists);
    free(within->place);
}

/* Lays the regions (height, width) out as the labels are, one where none are given, and tells which
 * have several, when there is a truth. */
static void lay(Scan *scan, const uint16_t *regions, const uint16_t *truth) {
    static const uint16_t NONE = 0;
    Within *within = scan->within;
    const int64_t width = scan->width;
    for (int64_t y = -ABOVE; y < scan->height; y++) {
        uint16_t *row = within->grid + (y + ABOVE) * scan->stride + LEFT;
        for (int64_t x = -LEFT; x < width + RIGHT; x++)
            row[x] = regions ? regions[y < 0 ? 0 : y * width + (x < 0 ? 0 : x < width ? x : width - 1)]
                             : NONE;
    }
    memset(within->state, UNMET, REGIONS_MOST);
    memset(within->parted, 0, REGIONS_MOST);
    memset(within->labels, 0, REGIONS_MOST * sizeof *within->labels);
    for (int64_t k = 0; truth && k < scan->height * width; k++) {
        uint16_t region = regions ? regions[k] : NONE;
        if (!within->labels[region]++)
            within->first[region] = truth[k];
        else if (within->first[region] != truth[k])
            within->parted[region] = 1;
    }
    memset(within->labels, 0, REGIONS_MOST * sizeof *within->labels);
}

/* Codes a map within the last of n levels (n, height, width), after it has learnt from how each of
 * these lies within the one before. */
static void code_within(Scan *scan, Within *within, const uint16_t *levels, int64_t n,
                        const uint16_t *truth) {
    const int64_t size = scan->height * scan->width;
    const size_t grid = (size_t)(scan->height + ABOVE) * (size_t)scan->stride;
    const Scan own = *scan;
    scan->within = within;
    scan->port = (Port){0};
    scan->number = calloc(REGIONS_MOST, sizeof *scan->number);
    scan->order = calloc(REGIONS_MOST, sizeof *scan->order);
    within->grid = malloc(grid * sizeof *within->grid);
    within->state = malloc(REGIONS_MOST);
    within->parted = malloc(REGIONS_MOST);
    within->labels = malloc(REGIONS_MOST * sizeof *within->labels);
    within->first = calloc(REGIONS_MOST, sizeof *within->first);
    within->room = calloc(REGIONS_MOST, sizeof *within->room);
    within->lists = calloc(REGIONS_MOST, sizeof *within->lists);
    within->place = calloc(REGIONS_MOST, sizeof *within->place);
    int failed = !scan->number || !scan->order || !within->grid || !within->state ||
                 !within->parted || !within->labels || !within->first || !within->room ||
                 !within->lists || !within->place;
    for (int64_t k = 0; k < n && !failed && !scan->damage; k++) {
        lay(scan, k ? levels + (k - 1) * size : NULL, levels + k * size);
        code_rows(scan, levels + k * size);
        failed = scan->port.failed;
        scan->port.count = 0;
        memset(scan->grid, 0, grid * sizeof *scan->grid);
        memset(scan->number, 0, REGIONS_MOST * sizeof *scan->number);
    }
    free(scan->number);
    free(scan->order);
    free(scan->port.intervals);
    scan->port = own.port;
    scan->number = own.number;
    scan->order = own.order;
    scan->port.failed = failed;
    if (failed || scan->damage) return;
    lay(scan, levels + (n - 1) * size, truth);
    code_rows(scan, truth);
}

static PyObject *scan_encode(PyObject *self, PyObject *args) {
    (void)self;
    enum { LABELS, ORDER, LEVELS, N };
    PyObject *o[N] = {0}, *result = NULL;
    Array a[N] = {0};
    Scan scan = {0};
    Within within = {0};
    if (!PyArg_ParseTuple(args, "OO|O", &o[LABELS], &o[ORDER], &o[LEVELS])) return NULL;
    if (array_open(&a[LABELS], o[LABELS], "labels", "u2", 2, READ) < 0 ||
        array_open(&a[ORDER], o[ORDER], "order", "u2", 1, WRITE) < 0 ||
        array_expect(&a[ORDER], "order", MOST_LABELS) < 0 ||
        levels_open(&a[LEVELS], o[LEVELS], &a[LABELS]) < 0)
        goto done;
    if (!a[LABELS].count) {
        PyErr_SetString(PyExc_TypeError, "a map without pixels");
        goto done;
    }
    Py_BEGIN_ALLOW_THREADS
    scan.order = a[ORDER].data;
    scan.number = calloc(UINT16_MAX + 1, sizeof *scan.number);
    scan.port.failed = scan_open(&scan, a[LABELS].shape[0], a[LABELS].shape[1]) || !scan.number;
    if (!scan.port.failed && o[LEVELS])
        code_within(&scan, &within, a[LEVELS].data, a[LEVELS].shape[0], a[LABELS].data);
    else if (!scan.port.failed)
        code_rows(&scan, a[LABELS].data);
    Py_END_ALLOW_THREADS
    if (scan.damage)
        PyErr_SetString(PyExc_ValueError, scan.damage);
    else if (scan.port.failed)
        PyErr_NoMemory();
    else
        result = Py_BuildValue("y#I", (const char *)scan.port.intervals,
                               (Py_ssize_t)scan.port.count * 8, (unsigned)scan.known);
done:
    within_close(&within);
    scan_close(&scan);
    arrays_close(a, N);
    return result;
}

static PyObject *scan_decode(PyObject *self, PyObject *args) {
    (void)self;
    enum { WORDS, STATE, LABELS, LEVELS, N };
    PyObject *o[N] = {0}, *result = NULL;
    Array a[N] = {0};
    Scan scan = {0};
    Within within = {0};
    AnsDecoder coder;
    if (!PyArg_ParseTuple(args, "OOO|O", &o[WORDS], &o[STATE], &o[LABELS], &o[LEVELS])) return NULL;
    if (decoder_open(&coder, &a[WORDS], &a[STATE], &o[WORDS]) < 0 ||
        array_open(&a[LABELS], o[LABELS], "labels", "u2", 2, WRITE) < 0 ||
        levels_open(&a[LEVELS], o[LEVELS], &a[LABELS]) < 0)
        goto done;
    if (!a[LABELS].count) {
        PyErr_SetString(PyExc_TypeError, "a map without pixels");
        goto done;
    }
    Py_BEGIN_ALLOW_THREADS
    scan.port.decoder = &coder;
    scan.port.failed = scan_open(&scan, a[LABELS].shape[0], a[LABELS].shape[1]);
    if (!scan.port.failed) {
        if (o[LEVELS])
            code_within(&scan, &within, a[LEVELS].data, a[LEVELS].shape[0], NULL);
        else
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
    within_close(&within);
    scan_close(&scan);
    arrays_close(a, N);
    return result;
}

PyMethodDef scan_methods[] = {
    {"scan_encode", scan_encode, METH_VARARGS, NULL},
    {"scan_decode", scan_decode, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};
