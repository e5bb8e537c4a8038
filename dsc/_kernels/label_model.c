/* The integer networks of `label-context`, the tables of their decisions, and who uses which. */
#include "label_model.h"

#include <stdatomic.h>
#include <stddef.h>

#include "ans.h"

#define NAME "dsc.label_model"
#define AREAS 3
#define NIBBLES ((NEIGHBOURS + NEIGHBOURS + NEAR) / 4)
#define FEATURES (4 * NIBBLES)
#define PAIRS (NEIGHBOURS / 5)
#define MOST_PARTS NIBBLES
#define SHIFT 5
#define HIGHEST 127
#define MOST_WIDTH 992 /* of a layer: 970, padded */
#define MOST_OUTPUTS 970
#define BIAS_LIMIT 20000 /* beyond it every sum of int8 weights of the first layer clamps */

struct Block {
    Block *next;
    _Alignas(max_align_t) char data[];
};

static void *keep(LabelModel *model, int64_t count, size_t size) {
    Block *block = calloc(1, sizeof *block + (size_t)count * size);
    if (!block) {
        PyErr_NoMemory();
        return NULL;
    }
    block->next = model->blocks;
    model->blocks = block;
    return block->data;
}

static void release(LabelModel *model) {
    while (model->blocks) {
        Block *next = model->blocks->next;
        free(model->blocks);
        model->blocks = next;
    }
    free(model);
}

static void destroy(PyObject *capsule) {
    release(PyCapsule_GetPointer(capsule, NAME));
}

const LabelModel *label_model_of(PyObject *capsule) {
    return PyCapsule_GetPointer(capsule, NAME);
}

static int refuse(const char *what) {
    PyErr_Format(PyExc_TypeError, "a label model's %s do not fit", what);
    return -1;
}

/* ---- networks */

static int64_t padded(int64_t n, int64_t unit) {
    return (n + unit - 1) / unit * unit;
}

static int first_layer(LabelModel *model, Network *network, const Array *weight,
                       const Array *bias) {
    int64_t outputs = weight->shape[0], width = padded(outputs, 32);
    const int8_t *w = weight->data;
    if (weight->shape[1] != FEATURES) return refuse("first layers");
    int16_t *columns = keep(model, NIBBLES * 16 * width, sizeof *columns);
    int16_t *pairs = keep(model, PAIRS * 32 * width, sizeof *pairs);
    int16_t *own = keep(model, LEVELS * width, sizeof *own);
    if (!columns || !pairs || !own) return -1;
    for (int64_t n = 0; n < PAIRS; n++)
        for (int64_t bits = 0; bits < 32; bits++)
            for (int64_t o = 0; o < outputs; o++) {
                int16_t sum = 0;
                for (int64_t k = 5 * n; k < 5 * n + 5; k++) {
                    int64_t feature = bits >> (k - 5 * n) & 1 ? k : NEIGHBOURS + k;
                    sum = (int16_t)(sum + w[o * FEATURES + feature]);
                }
                pairs[(32 * n + bits) * width + o] = sum;
            }
    for (int64_t n = 0; n < NIBBLES; n++)
        for (int64_t bits = 0; bits < 16; bits++)
            for (int64_t o = 0; o < outputs; o++) {
                int16_t sum = 0;
                for (int64_t k = 0; k < 4; k++)
                    if (bits >> k & 1) sum = (int16_t)(sum + w[o * FEATURES + 4 * n + k]);
                columns[(16 * n + bits) * width + o] = sum;
            }
    for (int64_t level = 0; level < LEVELS; level++) {
        const int32_t *b = (const int32_t *)bias->data;
        b += (level < bias->shape[0] ? level : bias->shape[0] - 1) * outputs;
        for (int64_t o = 0; o < outputs; o++) {
            /* features count 16: (16 sum + b + 16) >> 5 is (sum + ((b + 16) >> 4)) >> 1 */
            int64_t value = ((int64_t)b[o] + 16) >> 4;
            value = value > BIAS_LIMIT ? BIAS_LIMIT : value < -BIAS_LIMIT ? -BIAS_LIMIT : value;
            own[level * width + o] = (int16_t)value;
        }
        network->bias[level] = own + level * width;
    }
    network->width = width;
    network->columns = columns;
    network->pairs = pairs;
    return 0;
}

static int later_layer(LabelModel *model, Layer *layer, const Array *weight, const Array *bias) {
    int64_t outputs = weight->shape[0], inputs = weight->shape[1];
    layer->groups = padded(inputs, 8) / 4;
    layer->outputs = padded(outputs, 8);
    int8_t *w = keep(model, layer->groups * layer->outputs * 4, sizeof *w);
    int32_t *b = keep(model, LEVELS * layer->outputs, sizeof *b);
    if (!w || !b) return -1;
    for (int64_t o = 0; o < outputs; o++)
        for (int64_t k = 0; k < inputs; k++)
            w[(k / 4 * layer->outputs + o) * 4 + k % 4] =
                ((const int8_t *)weight->data)[o * inputs + k];
    for (int64_t level = 0; level < LEVELS; level++) {
        const int32_t *from = (const int32_t *)bias->data;
        from += (level < bias->shape[0] ? level : bias->shape[0] - 1) * outputs;
        memcpy(b + level * layer->outputs, from, (size_t)outputs * sizeof *b);
        layer->bias[level] = b + level * layer->outputs;
    }
    layer->weight = w;
    return 0;
}

/* Adds a layer, from a tuple (weight, bias). */
static int add_layer(LabelModel *model, Network *network, PyObject *pair, int64_t *inputs,
                     int is_last) {
    Array a[2] = {0};
    int failed = -1;
    int place = network->n_layers, low = is_last ? -HIGHEST : 0;
    if (!PyTuple_Check(pair) || PyTuple_Size(pair) != 2) return refuse("layers");
    if (array_open(&a[0], PyTuple_GetItem(pair, 0), "weight", "i1", 2, READ) < 0 ||
        array_open(&a[1], PyTuple_GetItem(pair, 1), "bias", "i4", 2, READ) < 0)
        goto done;
    int64_t outputs = a[0].shape[0];
    if (a[0].shape[1] != *inputs || a[1].shape[1] != outputs || !a[1].shape[0] || outputs < 1 ||
        outputs > MOST_OUTPUTS || (is_last && outputs != DECISIONS)) {
        refuse("layers");
        goto done;
    }
    if (!place) {
        network->low = low;
        failed = first_layer(model, network, &a[0], &a[1]);
    } else {
        network->layers[place - 1].low = low;
        failed = later_layer(model, &network->layers[place - 1], &a[0], &a[1]);
    }
    network->n_layers++;
    *inputs = outputs;
done:
    arrays_close(a, 2);
    return failed;
}

static int add_network(LabelModel *model, Network *network, PyObject *layers) {
    if (!PyTuple_Check(layers)) return refuse("networks");
    Py_ssize_t n = PyTuple_Size(layers);
    int64_t inputs = FEATURES;
    if (n < 1 || n > MOST_LAYERS) return refuse("networks");
    for (Py_ssize_t k = 0; k < n; k++)
        if (add_layer(model, network, PyTuple_GetItem(layers, k), &inputs, k == n - 1) < 0)
            return -1;
    return 0;
}

/* Activations are bytes: 0 to 127 between layers, -127 to 127 after the last. */

/* Adds the columns of n parts to the bias. */
static void plain_first(const Network *network, int level, const int16_t *const *parts, int n,
                        uint8_t *out) {
    for (int64_t start = 0; start < network->width; start += 16) {
        int16_t sums[16];
        memcpy(sums, network->bias[level] + start, sizeof sums);
        for (int part = 0; part < n; part++)
            for (int k = 0; k < 16; k++) sums[k] = (int16_t)(sums[k] + parts[part][start + k]);
        for (int k = 0; k < 16; k++) {
            int value = sums[k] >> 1;
            value = value < network->low ? network->low : value > HIGHEST ? HIGHEST : value;
            out[start + k] = (uint8_t)value;
        }
    }
}

static void plain_layer(const Layer *layer, int level, const uint8_t *x, uint8_t *out) {
    for (int64_t start = 0; start < layer->outputs; start += 8) {
        int32_t sums[8];
        memcpy(sums, layer->bias[level] + start, sizeof sums);
        for (int64_t g = 0; g < layer->groups; g++) {
            const int8_t *w = layer->weight + (g * layer->outputs + start) * 4;
            for (int o = 0; o < 8; o++)
                for (int k = 0; k < 4; k++) sums[o] += w[4 * o + k] * x[4 * g + k];
        }
        for (int o = 0; o < 8; o++) {
            int32_t value = (sums[o] + (1 << (SHIFT - 1))) >> SHIFT;
            value = value < layer->low ? layer->low : value > HIGHEST ? HIGHEST : value;
            out[start + o] = (uint8_t)value;
        }
    }
}

#if WITH_AVX2

#include <immintrin.h>

AVX2 static void avx2_first(const Network *network, int level, const int16_t *const *parts, int n,
                            uint8_t *out) {
    __m256i low = _mm256_set1_epi16((short)network->low), high = _mm256_set1_epi16(HIGHEST);
    for (int64_t start = 0; start < network->width; start += 32) {
        const __m256i *from = (const __m256i *)(network->bias[level] + start);
        __m256i a = _mm256_loadu_si256(from), b = _mm256_loadu_si256(from + 1);
        for (int part = 0; part < n; part++) {
            from = (const __m256i *)(parts[part] + start);
            a = _mm256_add_epi16(a, _mm256_loadu_si256(from));
            b = _mm256_add_epi16(b, _mm256_loadu_si256(from + 1));
        }
        a = _mm256_min_epi16(_mm256_max_epi16(_mm256_srai_epi16(a, 1), low), high);
        b = _mm256_min_epi16(_mm256_max_epi16(_mm256_srai_epi16(b, 1), low), high);
        a = _mm256_permute4x64_epi64(_mm256_packs_epi16(a, b), 0xD8);
        _mm256_storeu_si256((__m256i *)(out + start), a);
    }
}

/* Rounds and clamps the sums of eight outputs. */
AVX2 static inline void avx2_clamp(const Layer *layer, __m256i sums, uint8_t *out) {
    sums = _mm256_srai_epi32(_mm256_add_epi32(sums, _mm256_set1_epi32(1 << (SHIFT - 1))), SHIFT);
    sums = _mm256_min_epi32(sums, _mm256_set1_epi32(HIGHEST));
    sums = _mm256_max_epi32(sums, _mm256_set1_epi32(layer->low));
    __m128i half = _mm_packs_epi32(_mm256_castsi256_si128(sums), _mm256_extracti128_si256(sums, 1));
    _mm_storel_epi64((__m128i *)out, _mm_packs_epi16(half, half));
}

static inline int32_t four_inputs(const uint8_t *x) {
    int32_t four;
    memcpy(&four, x, sizeof four);
    return four;
}

/* Sums n times eight outputs by a multiplication `MULTIPLY` of four inputs, in two halves, so that
 * one need not wait for the other. */
#define SUM_OUTPUTS(n)                                                                           \
    do {                                                                                         \
        __m256i even[n], odd[n];                                                                 \
        for (int k = 0; k < (n); k++) {                                                          \
            even[k] = _mm256_loadu_si256((const __m256i *)(layer->bias[level] + start) + k);     \
            odd[k] = _mm256_setzero_si256();                                                     \
        }                                                                                        \
        for (int64_t g = 0; g < layer->groups; g += 2) {                                         \
            const __m256i *w = (const __m256i *)(layer->weight + (g * layer->outputs + start) * 4); \
            const __m256i *v = (const __m256i *)((const int8_t *)w + layer->outputs * 4);        \
            __m256i first = _mm256_set1_epi32(four_inputs(x + 4 * g));                           \
            __m256i second = _mm256_set1_epi32(four_inputs(x + 4 * g + 4));                      \
            for (int k = 0; k < (n); k++) {                                                      \
                even[k] = MULTIPLY(even[k], first, _mm256_loadu_si256(w + k));                   \
                odd[k] = MULTIPLY(odd[k], second, _mm256_loadu_si256(v + k));                    \
            }                                                                                    \
        }                                                                                        \
        for (int k = 0; k < (n); k++)                                                            \
            avx2_clamp(layer, _mm256_add_epi32(even[k], odd[k]), out + start + 8 * k);           \
    } while (0)

#define SUM_LAYER()                                                          \
    do {                                                                     \
        int64_t start = 0;                                                   \
        for (; start + 32 <= layer->outputs; start += 32) SUM_OUTPUTS(4);    \
        for (; start < layer->outputs; start += 8) SUM_OUTPUTS(1);           \
    } while (0)

/* Two products of a weight and an activation are below 2^15: nothing saturates. */
AVX2 static inline __m256i multiply_add(__m256i sums, __m256i inputs, __m256i weights) {
    __m256i pairs = _mm256_maddubs_epi16(inputs, weights);
    return _mm256_add_epi32(sums, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}

AVX2 static void avx2_layer(const Layer *layer, int level, const uint8_t *x, uint8_t *out) {
#define MULTIPLY multiply_add
    SUM_LAYER();
#undef MULTIPLY
}

static inline int has_vnni(void) {
    return __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512vl");
}

__attribute__((target("avx2,avx512vnni,avx512vl"))) static void vnni_layer(
    const Layer *layer, int level, const uint8_t *x, uint8_t *out) {
#define MULTIPLY _mm256_dpbusd_epi32
    SUM_LAYER();
#undef MULTIPLY
}

#endif

/* Lists the columns of the features that a pattern sets; returns how many parts that are. */
static int find_parts(const Network *network, Pattern pattern, const int16_t **parts) {
    const uint64_t all = (UINT64_C(1) << NEIGHBOURS) - 1;
    int64_t width = network->width;
    int n = 0;
    if (!pattern.third && pattern.first == (~pattern.second & all)) {
        for (; n < PAIRS; n++)
            parts[n] = network->pairs + (32 * n + (int64_t)(pattern.first >> 5 * n & 31)) * width;
        return n;
    }
    for (int k = 0; k < NEIGHBOURS / 4; k++, n++)
        parts[n] = network->columns + (16 * n + (int64_t)(pattern.first >> 4 * k & 15)) * width;
    for (int k = 0; k < NEIGHBOURS / 4; k++, n++)
        parts[n] = network->columns + (16 * n + (int64_t)(pattern.second >> 4 * k & 15)) * width;
    for (int k = 0; k < NEAR / 4; k++, n++)
        parts[n] = network->columns + (16 * n + (int64_t)(pattern.third >> 4 * k & 15)) * width;
    return n;
}

typedef void FirstLayer(const Network *, int, const int16_t *const *, int, uint8_t *);
typedef void LaterLayer(const Layer *, int, const uint8_t *, uint8_t *);

static inline void run_network(const Network *network, int level, Pattern pattern, uint8_t *index,
                               FirstLayer *first, LaterLayer *later) {
    uint8_t one[MOST_WIDTH], two[MOST_WIDTH], *x = one, *next = two;
    const int16_t *parts[MOST_PARTS];
    int n = find_parts(network, pattern, parts);
    first(network, level, parts, n, x);
    for (int k = 1; k < network->n_layers; k++) {
        later(&network->layers[k - 1], level, x, next);
        uint8_t *last = x;
        x = next;
        next = last;
    }
    for (int k = 0; k < DECISIONS; k++) index[k] = (uint8_t)(((int8_t)x[k] + HIGHEST + 1) >> 2);
}

void label_logits(const LabelModel *model, int phase, int level, Pattern pattern, uint8_t *index) {
    const Network *network = &model->networks[phase];
#if WITH_AVX2
    if (has_avx2()) {
        LaterLayer *later = has_vnni() ? vnni_layer : avx2_layer;
        run_network(network, level, pattern, index, avx2_first, later);
        return;
    }
#endif
    run_network(network, level, pattern, index, plain_first, plain_layer);
}

/* ---- tables and places */

/* Fills `count` tables from a tuple (bounds, offsets). */
static int add_tables(LabelModel *model, Table *tables, int64_t count, PyObject *pair) {
    Array a[2] = {0};
    int failed = -1;
    if (!PyTuple_Check(pair) || PyTuple_Size(pair) != 2) return refuse("tables");
    if (array_open(&a[0], PyTuple_GetItem(pair, 0), "bounds", "u4", 1, READ) < 0 ||
        array_open(&a[1], PyTuple_GetItem(pair, 1), "offsets", "i8", 1, READ) < 0 ||
        array_expect(&a[1], "offsets", count + 1) < 0)
        goto done;
    const int64_t *offsets = a[1].data;
    uint32_t *bounds = keep(model, a[0].count, sizeof *bounds);
    if (!bounds) goto done;
    memcpy(bounds, a[0].data, (size_t)a[0].count * sizeof *bounds);
    int64_t start = 0;
    for (int64_t t = 0; t < count; t++) {
        int64_t n = offsets[t + 1] - offsets[t];
        if (n < 2 || n > a[0].count - start - 1) goto unfit;
        for (int64_t k = 0; k < n; k++)
            if (bounds[start + k] >= bounds[start + k + 1]) goto unfit;
        if (bounds[start] != 0 || bounds[start + n] != ANS_ONE) goto unfit;
        tables[t] = (Table){bounds + start, (uint32_t)n};
        start += n + 1;
    }
    failed = 0;
    goto done;
unfit:
    refuse("tables");
done:
    arrays_close(a, 2);
    return failed;
}

static int add_places(LabelModel *model, int phase, PyObject *object) {
    Array a[1] = {0};
    int failed = array_open(a, object, "places", "u1", 2, READ);
    int64_t n = failed ? 0 : a->shape[0];
    const uint8_t *places = a->data;
    if (!failed && (a->shape[1] != 2 || n < 1 || n > CELL * CELL)) failed = refuse("places");
    for (int64_t k = 0; !failed && k < 2 * n; k++)
        if (places[k] >= CELL) failed = refuse("places");
    if (!failed) memcpy(model->places[phase], places, (size_t)(2 * n));
    model->n_places[phase] = (int)n;
    arrays_close(a, 1);
    return failed;
}

static int add_moves(LabelModel *model, PyObject *object) {
    Array a[1] = {0};
    int failed = array_open(a, object, "moves", "i1", 3, READ);
    if (!failed) failed = array_expect(a, "moves", (int64_t)sizeof model->moves);
    for (int64_t k = 0; !failed && k < a->count; k++) {
        int move = ((const int8_t *)a->data)[k];
        if (move <= -MARGIN || move >= MARGIN) failed = refuse("moves");
    }
    if (!failed) memcpy(model->moves, a->data, sizeof model->moves);
    arrays_close(a, 1);
    return failed;
}

static int add_radii(LabelModel *model, PyObject *object) {
    Array a[1] = {0};
    int failed = array_open(a, object, "radii", "u1", 2, READ);
    if (!failed) failed = array_expect(a, "radii", PHASES * CALM);
    for (int k = 0; !failed && k < PHASES * CALM; k++) {
        int radius = ((const uint8_t *)a->data)[k];
        int least = k % CALM ? model->radii[k / CALM][k % CALM - 1] + 1 : 1;
        if (radius < least || radius >= MARGIN) failed = refuse("radii");
        model->radii[k / CALM][k % CALM] = radius;
    }
    arrays_close(a, 1);
    return failed;
}

static int fill_model(LabelModel *model, PyObject **o) {
    enum { NETWORKS, CALMS, CHOICES, RARE, PLACES, MOVES, RADII };
    for (int k = 0; k < 5; k++)
        if (!PyTuple_Check(o[k])) return refuse("parts");
    if (PyTuple_Size(o[NETWORKS]) != PHASES || PyTuple_Size(o[PLACES]) != PHASES ||
        PyTuple_Size(o[CHOICES]) != DECISIONS)
        return refuse("parts");
    for (int phase = 0; phase < PHASES; phase++)
        if (add_network(model, &model->networks[phase], PyTuple_GetItem(o[NETWORKS], phase)) < 0 ||
            add_places(model, phase, PyTuple_GetItem(o[PLACES], phase)) < 0)
            return -1;
    for (int k = 0; k < DECISIONS; k++)
        if (add_tables(model, model->decisions[k], LOGITS, PyTuple_GetItem(o[CHOICES], k)) < 0)
            return -1;
    if (add_tables(model, model->calm, PHASES * LEVELS * CALM, o[CALMS]) < 0 ||
        add_tables(model, model->escapes, BUCKETS * LEVEL_CLASSES, o[RARE]) < 0)
        return -1;
    return add_moves(model, o[MOVES]) < 0 || add_radii(model, o[RADII]) < 0 ? -1 : 0;
}

static PyObject *label_model(PyObject *self, PyObject *args) {
    (void)self;
    static atomic_uint_fast64_t numbers;
    PyObject *o[7], *capsule;
    if (!PyArg_ParseTuple(args, "OOOOOOO", &o[0], &o[1], &o[2], &o[3], &o[4], &o[5], &o[6]))
        return NULL;
    LabelModel *model = calloc(1, sizeof *model);
    if (!model) return PyErr_NoMemory();
    model->number = atomic_fetch_add(&numbers, 1) + 1;
    if (fill_model(model, o) < 0 || !(capsule = PyCapsule_New(model, NAME, destroy))) {
        release(model);
        return NULL;
    }
    return capsule;
}

/* Gives the tables of patterns one by one, for tests and self-tests. */
static PyObject *label_tables(PyObject *self, PyObject *args) {
    (void)self;
    PyObject *o[3], *result = NULL;
    Array a[2] = {0};
    int phase, level;
    if (!PyArg_ParseTuple(args, "OiiOO", &o[0], &phase, &level, &o[1], &o[2])) return NULL;
    const LabelModel *model = label_model_of(o[0]);
    if (!model || array_open(&a[0], o[1], "patterns", "u8", 2, READ) < 0 ||
        array_open(&a[1], o[2], "index", "u1", 2, WRITE) < 0)
        goto done;
    if (phase < 0 || phase >= PHASES || level < 0 || level >= LEVELS ||
        a[0].shape[1] != AREAS || a[1].shape[0] != a[0].shape[0] || a[1].shape[1] != DECISIONS) {
        refuse("patterns");
        goto done;
    }
    Py_BEGIN_ALLOW_THREADS
    for (int64_t k = 0; k < a[0].shape[0]; k++) {
        const uint64_t *row = (const uint64_t *)a[0].data + AREAS * k;
        Pattern pattern = {row[0], row[1], (uint32_t)row[2]};
        label_logits(model, phase, level, pattern, (uint8_t *)a[1].data + DECISIONS * k);
    }
    Py_END_ALLOW_THREADS
    result = Py_NewRef(Py_None);
done:
    arrays_close(a, 2);
    return result;
}

PyMethodDef label_model_methods[] = {
    {"label_model", label_model, METH_VARARGS, NULL},
    {"label_tables", label_tables, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};
