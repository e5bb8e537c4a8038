/* Residuals of a bounded error, as entropy-coded planes of integers.
 *
 * The twin is in `dsc._codecs.residual.coder`, which says what is coded and why. Here a level's grid
 * is held as its four phases, each with a margin, so that all neighbours of a row of pixels lie side
 * by side.
 */
#include "ans.h"
#include "clones.h"
#include "kernels.h"

#define TOP_STEP 32
#define MARGIN 2 /* of a phase: its neighbourhoods reach two pixels, which are four of the level's */
#define CONTEXTS 43
#define ALONE (CONTEXTS - 1)
#define LEVELS 14
#define FRACTIONS 3
#define FLAT 500 /* a spread from here on is in the last class */
#define BLOCK 64

#if defined(__GNUC__) && !defined(__clang__)
#define NO_ALIASES _Pragma("GCC ivdep")
#else
#define NO_ALIASES
#endif
#define ALWAYS_INLINE __attribute__((always_inline))

/* Lower ends of the classes of spread but the first. */
static const int32_t SPREAD[LEVELS - 1] = {1, 3, 6, 10, 15, 22, 32, 46, 68, 100, 150, 250, FLAT};

/* The pixels of a level by parity of row and column. */
enum { EVEN_EVEN, EVEN_ODD, ODD_EVEN, ODD_ODD, PHASES };

typedef struct {
    int phase, down, right;
} Place;

/* A pass codes one phase; around its pixels lie the nearest known ones, then a ring of others. */
typedef struct {
    int phase, rings;
    Place near[4], ring[8];
} Pass;

#define EE(y, x) {EVEN_EVEN, y, x}
#define OE(y, x) {ODD_EVEN, y, x}
#define OO(y, x) {ODD_ODD, y, x}
static const Pass PASSES[3] = {
    {ODD_ODD,
     8,
     {EE(0, 0), EE(0, 1), EE(1, 0), EE(1, 1)},
     {EE(0, -1), EE(0, 2), EE(1, -1), EE(1, 2), EE(-1, 0), EE(-1, 1), EE(2, 0), EE(2, 1)}},
    {ODD_EVEN,
     8,
     {EE(0, 0), EE(1, 0), OO(0, -1), OO(0, 0)},
     {EE(0, -1), EE(0, 1), EE(1, -1), EE(1, 1), OO(-1, -1), OO(-1, 0), OO(1, -1), OO(1, 0)}},
    {EVEN_ODD,
     4,
     {OO(-1, 0), OO(0, 0), EE(0, 0), EE(0, 1)},
     {OE(-1, 0), OE(-1, 1), OE(0, 0), OE(0, 1)}},
};

typedef struct {
    int64_t channels, height, width; /* of the planes */
    const uint8_t *valid;            /* (height, width) */
    uint8_t level_of[FLAT];          /* class of a spread */
} Walk;

/* One level: every `step`-th pixel. Values are 0 where a pixel is not known; `known` is -1 or 0. */
typedef struct {
    int64_t step, height, width, stride, plane; /* of a phase: pixels, and with the margin */
    int32_t *values[PHASES], *known[PHASES];    /* at the first pixel of the first channel */
    int32_t *memory;
} Level;

static int64_t ceil_div(int64_t a, int64_t b) {
    return (a + b - 1) / b;
}

static void walk_open(Walk *walk, int64_t channels, int64_t height, int64_t width,
                      const uint8_t *valid) {
    *walk = (Walk){.channels = channels, .height = height, .width = width, .valid = valid};
    for (int32_t spread = 0; spread < FLAT; spread++)
        for (int k = 0; k < LEVELS - 1 && SPREAD[k] <= spread; k++) walk->level_of[spread]++;
}

/* Opens a level with nothing known of its values. Returns -1 when there is no memory for it. */
static int level_open(Level *level, const Walk *walk, int64_t step) {
    int64_t height = ceil_div(walk->height, step), width = ceil_div(walk->width, step);
    *level = (Level){.step = step, .height = ceil_div(height, 2), .width = ceil_div(width, 2)};
    level->stride = level->width + 2 * MARGIN;
    level->plane = (level->height + 2 * MARGIN) * level->stride;
    level->memory = calloc((size_t)(PHASES * (walk->channels + 1) * level->plane), sizeof(int32_t));
    if (!level->memory) return -1;
    for (int p = 0; p < PHASES; p++) {
        int32_t *first = level->memory + MARGIN * level->stride + MARGIN;
        level->values[p] = first + p * walk->channels * level->plane;
        level->known[p] = first + (PHASES * walk->channels + p) * level->plane;
        for (int64_t y = p / 2; y < height; y += 2)
            for (int64_t x = p % 2; x < width; x += 2)
                level->known[p][y / 2 * level->stride + x / 2] =
                    walk->valid[y * step * walk->width + x * step] ? -1 : 0;
    }
    return 0;
}

/* Copies a phase from planes, where it is known. */
static void level_take(Level *level, const Walk *walk, int phase, const int32_t *planes) {
    int64_t step = level->step;
    for (int64_t c = 0; c < walk->channels; c++)
        for (int64_t y = phase / 2 * step, i = 0; y < walk->height; y += 2 * step, i++) {
            const int32_t *from = planes + (c * walk->height + y) * walk->width;
            const int32_t *known = level->known[phase] + i * level->stride;
            int32_t *to = level->values[phase] + c * level->plane + i * level->stride;
            for (int64_t x = phase % 2 * step, j = 0; x < walk->width; x += 2 * step, j++)
                to[j] = from[x] & known[j];
        }
}

/* Writes all four phases of a level to planes of `height` by `width` pixels of it. */
static void level_give(const Level *level, const Walk *walk, int64_t height, int64_t width,
                       int64_t stride, int64_t plane, int32_t *planes) {
    for (int64_t c = 0; c < walk->channels; c++)
        for (int64_t y = 0; y < height; y++) {
            const int64_t row = c * level->plane + y / 2 * level->stride;
            const int32_t *even = level->values[y % 2 * 2] + row;
            const int32_t *odd = level->values[y % 2 * 2 + 1] + row;
            int32_t *to = planes + c * plane + y * stride;
            for (int64_t x = 0; x + 1 < width; x += 2) {
                to[x] = even[x / 2];
                to[x + 1] = odd[x / 2];
            }
            if (width % 2) to[width - 1] = even[width / 2];
        }
}

/* Pixels of a phase: rows and columns that the level has. */
static int64_t phase_height(const Level *level, const Walk *walk, int phase) {
    return (ceil_div(walk->height, level->step) + 1 - phase / 2) / 2;
}

static int64_t phase_width(const Level *level, const Walk *walk, int phase) {
    return (ceil_div(walk->width, level->step) + 1 - phase % 2) / 2;
}

/* What is known around the pixels of a row. */
typedef struct {
    const int32_t *values[12], *known[12];
} Row;

static void row_open(Row *row, const Level *level, const Pass *pass, int64_t channel, int64_t y) {
    for (int k = 0; k < 4 + pass->rings; k++) {
        const Place *place = k < 4 ? &pass->near[k] : &pass->ring[k - 4];
        int64_t at = (y + place->down) * level->stride + place->right;
        row->values[k] = level->values[place->phase] + channel * level->plane + at;
        row->known[k] = level->known[place->phase] + at;
    }
}

static inline int32_t distance(int32_t value, int32_t quarters) {
    int32_t difference = 4 * value - quarters;
    return difference < 0 ? -difference : difference;
}

/* Predicts n pixels from `x` on, all neighbours of which are known: mean in quarters, and spread. */
static inline ALWAYS_INLINE void predict_known(const Row *row, const int rings, int64_t x, int n,
                                               int32_t *restrict quarters,
                                               int32_t *restrict spread) {
    const int32_t *v[12];
    for (int k = 0; k < 4 + rings; k++) v[k] = row->values[k] + x;
    NO_ALIASES for (int i = 0; i < n; i++) {
        int32_t mean = v[0][i] + v[1][i] + v[2][i] + v[3][i], inner = 0, outer = 0;
        for (int k = 0; k < 4; k++) inner += distance(v[k][i], mean);
        for (int k = 4; k < 4 + rings; k++) outer += distance(v[k][i], mean);
        quarters[i] = mean;
        spread[i] = (int32_t)((uint32_t)(2 * inner + (rings == 8 ? outer >> 1 : outer)) / 3);
    }
}

/* Returns a / 3 rounded down, of -3 * 2^28 <= a < 2^30. */
static inline int32_t third(int32_t a) {
    return (int32_t)(((uint32_t)a + (3u << 28)) / 3) - (1 << 28);
}

/* Predicts n pixels, some of whose neighbours are not known. The spread is -1 where no near one is.
 * The mean of `count` near ones is (8 total + count) / (2 count), rounded down. */
static inline ALWAYS_INLINE void predict_some(const Row *row, const int rings, int64_t x, int n,
                                              int32_t *restrict quarters,
                                              int32_t *restrict spread) {
    const int32_t *v[12], *known[12];
    for (int k = 0; k < 4 + rings; k++) {
        v[k] = row->values[k] + x;
        known[k] = row->known[k] + x;
    }
    NO_ALIASES for (int i = 0; i < n; i++) {
        int32_t total = v[0][i] + v[1][i] + v[2][i] + v[3][i], inner = 0, outer = 0, ring = 0;
        int32_t count = -(known[0][i] + known[1][i] + known[2][i] + known[3][i]);
        /* sums of what is chosen: the compiler makes no vectors of branches */
        int32_t is_4 = -(count == 4), is_3 = -(count == 3), is_2 = -(count == 2);
        int32_t is_1 = -(count == 1), alone = -(count == 0);
        int32_t mean = (total & is_4) | (third(4 * total + 1) & is_3) | (2 * total & is_2) |
                       (4 * total & is_1);
        for (int k = 0; k < 4; k++) inner += distance(v[k][i], mean) & known[k][i];
        for (int k = 4; k < 4 + rings; k++) {
            outer += distance(v[k][i], mean) & known[k][i];
            ring -= known[k][i];
        }
        inner = (inner & is_4) | ((int32_t)((uint32_t)(4 * inner) / 3) & is_3) | (2 * inner & is_2);
        /* half more than 4 * outer, so that no rounding leads across a whole number */
        outer = (int32_t)((4.0 * outer + 0.5) / (ring + (ring == 0)));
        int32_t both = (int32_t)((uint32_t)(2 * inner + outer) / 3), no_ring = -(ring == 0);
        quarters[i] = mean;
        spread[i] = alone | (inner & no_ring) | (both & ~no_ring);
    }
}

#define PREDICT(NAME, RINGS)                                                                       \
    CLONED static void NAME##_##RINGS(const Row *row, int64_t x, int n, int32_t *quarters,         \
                                      int32_t *spread) {                                           \
        NAME(row, RINGS, x, n, quarters, spread);                                                  \
    }
PREDICT(predict_known, 8)
PREDICT(predict_known, 4)
PREDICT(predict_some, 8)
PREDICT(predict_some, 4)

static int all_known(const Row *row, int rings, int64_t x, int n) {
    int32_t all = -1;
    for (int k = 0; k < 4 + rings; k++)
        for (int i = 0; i < n; i++) all &= row->known[k][x + i];
    return all;
}

/* Predicts n pixels, at most BLOCK, of a row. */
static void predict(const Row *row, int rings, int64_t x, int n, int32_t *quarters,
                    int32_t *spread) {
    int known = all_known(row, rings, x, n);
    if (rings == 8)
        (known ? predict_known_8 : predict_some_8)(row, x, n, quarters, spread);
    else
        (known ? predict_known_4 : predict_some_4)(row, x, n, quarters, spread);
}

/* What a mean has over the nearest integer: -2 to 1 quarters. */
static inline int32_t fraction_of(int32_t quarters) {
    return ((quarters + 2) & 3) - 2;
}

static inline uint8_t context_of(const Walk *walk, int32_t quarters, int32_t spread) {
    if (spread < 0) return ALONE;
    int32_t level = spread < FLAT ? walk->level_of[spread] : LEVELS - 1, f = fraction_of(quarters);
    return (uint8_t)(level * FRACTIONS + (f < 0 ? -f : f));
}

/* Lists the pixels of a pass in coding order: means in quarters, contexts, and, unless `values` is
 * NULL, their values. Returns how many there are; the arrays have room for BLOCK more. */
static int64_t list_pass(const Walk *walk, const Level *level, const Pass *pass, int32_t *quarters,
                         uint8_t *contexts, int32_t *values) {
    int64_t height = phase_height(level, walk, pass->phase);
    int64_t width = phase_width(level, walk, pass->phase), count = 0;
    int32_t means[BLOCK], spreads[BLOCK];
    for (int64_t c = 0; c < walk->channels; c++)
        for (int64_t y = 0; y < height; y++) {
            const int32_t *known = level->known[pass->phase] + y * level->stride;
            const int32_t *own = level->values[pass->phase] + c * level->plane + y * level->stride;
            Row row;
            row_open(&row, level, pass, c, y);
            for (int64_t x = 0; x < width; x += BLOCK) {
                int n = (int)(width - x < BLOCK ? width - x : BLOCK);
                predict(&row, pass->rings, x, n, means, spreads);
                for (int i = 0; i < n; i++) {
                    quarters[count] = means[i];
                    contexts[count] = context_of(walk, means[i], spreads[i]);
                    if (values) values[count] = own[x + i];
                    count -= known[x + i];
                }
            }
        }
    return count;
}

/* Lists the pixels of the top grid, which have no neighbours. */
static int64_t list_top(const Walk *walk, int32_t *quarters, uint8_t *contexts,
                        const int32_t *planes, int32_t *values) {
    int64_t count = 0;
    for (int64_t c = 0; c < walk->channels; c++)
        for (int64_t y = 0; y < walk->height; y += TOP_STEP)
            for (int64_t x = 0; x < walk->width; x += TOP_STEP) {
                if (!walk->valid[y * walk->width + x]) continue;
                quarters[count] = 0;
                contexts[count] = ALONE;
                if (values) values[count] = planes[(c * walk->height + y) * walk->width + x];
                count++;
            }
    return count;
}

/* Returns values less their prediction, mirrored so that the mean lies at 0 or above. */
static void fold(int32_t *values, const int32_t *quarters, int64_t n) {
    for (int64_t k = 0; k < n; k++) {
        int32_t difference = values[k] - ((quarters[k] + 2) >> 2);
        values[k] = fraction_of(quarters[k]) < 0 ? -difference : difference;
    }
}

/* Counts the symbols of each context: those from -reach to reach, and, before and behind them, those
 * beyond. */
static void count_symbols(const int32_t *symbols, const uint8_t *contexts, int64_t n, int64_t reach,
                          int64_t *counts) {
    for (int64_t k = 0; k < n; k++) {
        int64_t symbol = symbols[k];
        symbol = symbol < -reach ? -reach - 1 : symbol > reach ? reach + 1 : symbol;
        counts[contexts[k] * (2 * reach + 3) + symbol + reach + 1]++;
    }
}

enum { VISITS = 16 }; /* the top grid, and three passes of five levels */

/* Lists the symbols and contexts of planes in coding order; `ends` of each visit. */
static int contexts_of(const Walk *walk, const int32_t *planes, int32_t *quarters, int32_t *symbols,
                       uint8_t *contexts, int64_t *ends) {
    int64_t count = list_top(walk, quarters, contexts, planes, symbols);
    fold(symbols, quarters, count);
    *ends++ = count;
    for (int64_t step = TOP_STEP / 2; step; step /= 2) {
        Level level;
        if (level_open(&level, walk, step) < 0) return -1;
        for (int phase = 0; phase < PHASES; phase++) level_take(&level, walk, phase, planes);
        for (int k = 0; k < 3; k++) {
            int64_t n = list_pass(walk, &level, &PASSES[k], quarters, contexts + count,
                                  symbols + count);
            fold(symbols + count, quarters, n);
            count += n;
            *ends++ = count;
        }
        free(level.memory);
    }
    return 0;
}

/* ---- decoding */

/* A table, and where its most likely entry lies, which most symbols are. */
typedef struct {
    const uint32_t *bounds;
    uint32_t size, likely;
    int32_t low;
} Table;

typedef struct {
    AnsDecoder coder;
    const uint8_t *table_of, *used; /* by context */
    const Table *tables;
    uint32_t *order;
    int32_t *quarters, *symbols;
    uint8_t *contexts;
} Reader;

/* Reads the symbols of n listed pixels, those of one table together, then what escaped. Returns -1
 * for a context without a table. */
static int read_symbols(Reader *reader, int64_t n) {
    int64_t counts[256] = {0}, next[256], total = 0, at = 0, n_escaped = 0;
    for (int64_t k = 0; k < n; k++) {
        if (!reader->used[reader->contexts[k]]) return -1;
        counts[reader->table_of[reader->contexts[k]]]++;
    }
    for (int t = 0; t < 256; t++) {
        next[t] = total;
        total += counts[t];
    }
    uint32_t *order = reader->order;
    for (int64_t k = 0; k < n; k++)
        order[next[reader->table_of[reader->contexts[k]]]++] = (uint32_t)k;
    AnsDecoder coder = reader->coder;
    for (int t = 0; t < 256; t++) {
        if (!counts[t]) continue;
        const Table table = reader->tables[t];
        const uint32_t left = table.bounds[table.likely];
        const uint32_t size = table.bounds[table.likely + 1] - left;
        for (int64_t stop = at + counts[t]; at < stop; at++) {
            uint32_t quantile = ans_peek(&coder), place = order[at], entry = table.likely;
            if (quantile - left < size) {
                ans_advance(&coder, left, size);
            } else {
                entry = ans_find(table.bounds, table.size, quantile);
                ans_advance(&coder, table.bounds[entry],
                            table.bounds[entry + 1] - table.bounds[entry]);
            }
            reader->symbols[place] = table.low + (int32_t)entry;
            if (entry == table.size - 1) order[n_escaped++] = place; /* never beyond `at` */
        }
    }
    for (int64_t k = 0; k < n_escaped; k++) reader->symbols[order[k]] = ans_escape(&coder);
    reader->coder = coder;
    return 0;
}

/* Returns the value of a symbol. */
static inline int32_t unfold(int32_t symbol, int32_t quarters) {
    return (fraction_of(quarters) < 0 ? -symbol : symbol) + ((quarters + 2) >> 2);
}

/* Puts the values of a pass's symbols in their places. */
static void place_pass(const Walk *walk, Level *level, int phase, const Reader *reader) {
    int64_t height = phase_height(level, walk, phase), width = phase_width(level, walk, phase);
    int64_t at = 0;
    for (int64_t c = 0; c < walk->channels; c++)
        for (int64_t y = 0; y < height; y++) {
            const int32_t *known = level->known[phase] + y * level->stride;
            int32_t *own = level->values[phase] + c * level->plane + y * level->stride;
            for (int64_t x = 0; x < width; x++)
                if (known[x]) {
                    own[x] = unfold(reader->symbols[at], reader->quarters[at]);
                    at++;
                }
        }
}

static void place_top(const Walk *walk, Level *level, const Reader *reader) {
    int64_t at = 0;
    for (int64_t c = 0; c < walk->channels; c++)
        for (int64_t y = 0; y < level->height; y++)
            for (int64_t x = 0; x < level->width; x++)
                if (level->known[EVEN_EVEN][y * level->stride + x])
                    level->values[EVEN_EVEN][c * level->plane + y * level->stride + x] =
                        reader->symbols[at++];
}

enum { DECODED, NO_TABLE, NO_MEMORY };

static int decode(const Walk *walk, Reader *reader, int32_t *planes) {
    Level level, finer;
    if (level_open(&level, walk, TOP_STEP / 2) < 0) return NO_MEMORY;
    int64_t n = list_top(walk, reader->quarters, reader->contexts, NULL, NULL);
    int result = read_symbols(reader, n) < 0 ? NO_TABLE : DECODED;
    if (result == DECODED) place_top(walk, &level, reader);
    while (result == DECODED) {
        for (int k = 0; k < 3 && result == DECODED; k++) {
            n = list_pass(walk, &level, &PASSES[k], reader->quarters, reader->contexts, NULL);
            if (read_symbols(reader, n) < 0)
                result = NO_TABLE;
            else
                place_pass(walk, &level, PASSES[k].phase, reader);
        }
        if (result != DECODED || level.step == 1) break;
        if (level_open(&finer, walk, level.step / 2) < 0) {
            result = NO_MEMORY;
            break;
        }
        level_give(&level, walk, finer.height, finer.width, finer.stride, finer.plane,
                   finer.values[EVEN_EVEN]);
        free(level.memory);
        level = finer;
    }
    if (result == DECODED)
        level_give(&level, walk, walk->height, walk->width, walk->width,
                   walk->height * walk->width, planes);
    free(level.memory);
    return result;
}

/* ---- functions of the module */

static PyObject *residual_contexts(PyObject *self, PyObject *args) {
    (void)self;
    enum { PLANES, VALID, SYMBOLS, CONTEXT, ENDS, COUNTS, N };
    PyObject *o[N], *result = NULL;
    Array a[N] = {0};
    Walk walk;
    int32_t *quarters = NULL;
    int failed;
    if (!PyArg_ParseTuple(args, "OOOOOO", &o[0], &o[1], &o[2], &o[3], &o[4], &o[5])) return NULL;
    if (array_open(&a[PLANES], o[PLANES], "planes", "i4", 3, READ) < 0 ||
        array_open(&a[VALID], o[VALID], "valid", "b1", 2, READ) < 0 ||
        array_open(&a[SYMBOLS], o[SYMBOLS], "symbols", "i4", 1, WRITE) < 0 ||
        array_open(&a[CONTEXT], o[CONTEXT], "contexts", "u1", 1, WRITE) < 0 ||
        array_open(&a[ENDS], o[ENDS], "ends", "i8", 1, WRITE) < 0 ||
        array_expect(&a[VALID], "valid", a[PLANES].shape[1] * a[PLANES].shape[2]) < 0 ||
        array_expect(&a[SYMBOLS], "symbols", a[PLANES].count + BLOCK) < 0 ||
        array_expect(&a[CONTEXT], "contexts", a[PLANES].count + BLOCK) < 0 ||
        array_expect(&a[ENDS], "ends", VISITS) < 0 ||
        array_open(&a[COUNTS], o[COUNTS], "counts", "i8", 2, WRITE) < 0)
        goto done;
    int64_t reach = (a[COUNTS].shape[1] - 3) / 2;
    if (a[COUNTS].shape[0] != CONTEXTS || reach < 0 || 2 * reach + 3 != a[COUNTS].shape[1]) {
        PyErr_SetString(PyExc_TypeError, "counts: no table of contexts and symbols");
        goto done;
    }
    quarters = malloc((size_t)(a[PLANES].count + BLOCK) * sizeof *quarters);
    if (!quarters) {
        PyErr_NoMemory();
        goto done;
    }
    Py_BEGIN_ALLOW_THREADS
    walk_open(&walk, a[PLANES].shape[0], a[VALID].shape[0], a[VALID].shape[1], a[VALID].data);
    failed = contexts_of(&walk, a[PLANES].data, quarters, a[SYMBOLS].data, a[CONTEXT].data,
                         a[ENDS].data);
    if (!failed)
        count_symbols(a[SYMBOLS].data, a[CONTEXT].data, ((int64_t *)a[ENDS].data)[VISITS - 1], reach,
                      a[COUNTS].data);
    Py_END_ALLOW_THREADS
    if (failed)
        PyErr_NoMemory();
    else
        result = Py_NewRef(Py_None);
done:
    free(quarters);
    arrays_close(a, N);
    return result;
}

/* Opens tables as `dsc._coding.entropy.Tables` has them; the caller frees. */
static Table *tables_open(const Array *bounds, const Array *offsets, const Array *lows) {
    const int64_t *starts = offsets->data, n = lows->count;
    int fits = n > 0 && n <= 256 && offsets->count == n + 1 && starts[0] == 0;
    for (int64_t t = 0; fits && t < n; t++) {
        int64_t size = starts[t + 1] - starts[t];
        fits = size >= 1 && size <= ANS_ONE && starts[t + 1] + t < bounds->count;
    }
    if (!fits) {
        PyErr_SetString(PyExc_TypeError, "offsets: they do not cut bounds into tables");
        return NULL;
    }
    Table *tables = calloc(256, sizeof *tables);
    if (!tables) {
        PyErr_NoMemory();
        return NULL;
    }
    for (int64_t t = 0; t < n; t++) {
        const uint32_t *own = (const uint32_t *)bounds->data + starts[t] + t;
        tables[t] = (Table){own, (uint32_t)(starts[t + 1] - starts[t]), 0,
                            ((const int32_t *)lows->data)[t]};
        for (uint32_t k = 1; k < tables[t].size; k++)
            if (own[k + 1] - own[k] > own[tables[t].likely + 1] - own[tables[t].likely])
                tables[t].likely = k;
    }
    return tables;
}

/* Returns how many pixels a visit has at most: those of one phase of the finest level. */
static int64_t most_listed(const int64_t shape[3]) {
    return shape[0] * ceil_div(shape[1], 2) * ceil_div(shape[2], 2);
}

/* Checks the arrays of `residual_decode` and opens its reader. Returns 0 or -1. */
static int reader_open(Reader *reader, const Array *words, const Array *state, const Array *used,
                       const Array *table_of, int64_t n_tables, int64_t most_listed) {
    if (array_expect(state, "state", 2) < 0 || array_expect(used, "used", CONTEXTS) < 0 ||
        array_expect(table_of, "table_of", CONTEXTS) < 0)
        return -1;
    reader->coder = (AnsDecoder){((uint64_t *)state->data)[0], words->data,
                                 ((uint64_t *)state->data)[1]};
    reader->used = used->data;
    reader->table_of = table_of->data;
    for (int k = 0; k < CONTEXTS; k++)
        if (reader->table_of[k] >= n_tables) {
            PyErr_SetString(PyExc_TypeError, "table_of: a table that is not there");
            return -1;
        }
    if (reader->coder.left > (uint64_t)words->count || most_listed > UINT32_MAX) {
        PyErr_SetString(PyExc_TypeError, "state: more words are left than there are");
        return -1;
    }
    size_t room = (size_t)most_listed + BLOCK;
    reader->order = malloc(room * sizeof *reader->order);
    reader->quarters = malloc(room * sizeof *reader->quarters);
    reader->symbols = malloc(room * sizeof *reader->symbols);
    reader->contexts = malloc(room);
    if (reader->order && reader->quarters && reader->symbols && reader->contexts) return 0;
    PyErr_NoMemory();
    return -1;
}

static void reader_close(Reader *reader) {
    free(reader->order);
    free(reader->quarters);
    free(reader->symbols);
    free(reader->contexts);
}

static PyObject *residual_decode(PyObject *self, PyObject *args) {
    (void)self;
    enum { WORDS, STATE, USED, TABLE_OF, BOUNDS, OFFSETS, LOWS, VALID, PLANES, N };
    PyObject *o[N], *result = NULL;
    Array a[N] = {0};
    Walk walk;
    Reader reader = {0};
    Table *tables = NULL;
    int found;
    if (!PyArg_ParseTuple(args, "OOOOOOOOO", &o[0], &o[1], &o[2], &o[3], &o[4], &o[5], &o[6],
                          &o[7], &o[8]))
        return NULL;
    if (array_open(&a[WORDS], o[WORDS], "words", "u4", 1, READ) < 0 ||
        array_open(&a[STATE], o[STATE], "state", "u8", 1, WRITE) < 0 ||
        array_open(&a[USED], o[USED], "used", "b1", 1, READ) < 0 ||
        array_open(&a[TABLE_OF], o[TABLE_OF], "table_of", "u1", 1, READ) < 0 ||
        array_open(&a[BOUNDS], o[BOUNDS], "bounds", "u4", 1, READ) < 0 ||
        array_open(&a[OFFSETS], o[OFFSETS], "offsets", "i8", 1, READ) < 0 ||
        array_open(&a[LOWS], o[LOWS], "lows", "i4", 1, READ) < 0 ||
        array_open(&a[VALID], o[VALID], "valid", "b1", 2, READ) < 0 ||
        array_open(&a[PLANES], o[PLANES], "planes", "i4", 3, WRITE) < 0 ||
        array_expect(&a[VALID], "valid", a[PLANES].shape[1] * a[PLANES].shape[2]) < 0)
        goto done;
    tables = tables_open(&a[BOUNDS], &a[OFFSETS], &a[LOWS]);
    if (!tables || reader_open(&reader, &a[WORDS], &a[STATE], &a[USED], &a[TABLE_OF], a[LOWS].count,
                               most_listed(a[PLANES].shape)) < 0)
        goto done;
    reader.tables = tables;
    Py_BEGIN_ALLOW_THREADS
    walk_open(&walk, a[PLANES].shape[0], a[VALID].shape[0], a[VALID].shape[1], a[VALID].data);
    found = decode(&walk, &reader, a[PLANES].data);
    Py_END_ALLOW_THREADS
    ((uint64_t *)a[STATE].data)[0] = reader.coder.state;
    ((uint64_t *)a[STATE].data)[1] = reader.coder.left;
    if (found == NO_MEMORY)
        PyErr_NoMemory();
    else if (found == NO_TABLE)
        PyErr_SetString(PyExc_ValueError, "a context without a table");
    else
        result = Py_NewRef(Py_None);
done:
    reader_close(&reader);
    free(tables);
    arrays_close(a, N);
    return result;
}

PyMethodDef residual_methods[] = {
    {"residual_contexts", residual_contexts, METH_VARARGS, NULL},
    {"residual_decode", residual_decode, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};
