/* From the planes that a video decoder gives to the arrays of a batch, in one pass.
 *
 * A plane is a buffer of rows that lie `stride` bytes apart; it may be longer than what is read of
 * it. Twins: libavif, by `dsc._codecs.classical.avif`; `dsc._codecs.canvas.look_up`.
 */
#include "clones.h"
#include "kernels.h"

/* A plane of height × width elements, as far as it is read. */
typedef struct {
    const uint8_t *data;
    int64_t stride; /* bytes */
} Plane;

/* Opens a plane of rows of `row_bytes`; sets TypeError where its buffer ends before they do. */
static int plane_open(Plane *plane, Array *array, PyObject *object, int64_t stride, int64_t height,
                      int64_t row_bytes) {
    if (array_open(array, object, "plane", "u1", 1, READ) < 0) return -1;
    int64_t gaps = height > 1 ? height - 1 : 0, spare = array->count - row_bytes;
    if (stride < row_bytes || spare < 0 || (gaps && stride > spare / gaps)) {
        PyErr_Format(PyExc_TypeError, "plane: %lld bytes hold no %lld rows of %lld, %lld apart",
                     (long long)array->count, (long long)height, (long long)row_bytes,
                     (long long)stride);
        return -1;
    }
    plane->data = array->data;
    plane->stride = stride;
    return 0;
}

enum { BLOCK = 128 };

static inline uint8_t clamped(int16_t scaled) {
    int16_t value = (int16_t)(scaled >> 6);
    return (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value);
}

/* BT.601 in full range, in 1/64, as libyuv rounds it: what libavif has always given here. */
CLONED static void colour_rows(const Plane *planes, int64_t height, int64_t width,
                               uint8_t *out) {
    uint8_t red[BLOCK], green[BLOCK], blue[BLOCK];
    for (int64_t row = 0; row < height; row++) {
        const uint8_t *y = planes[0].data + row * planes[0].stride;
        const uint8_t *u = planes[1].data + row * planes[1].stride;
        const uint8_t *v = planes[2].data + row * planes[2].stride;
        for (int64_t at = 0; at < width; at += BLOCK) {
            int n = width - at < BLOCK ? (int)(width - at) : BLOCK;
            for (int x = 0; x < n; x++) {
                uint16_t wide = (uint16_t)(y[at + x] * 257);
                int16_t luma = (int16_t)(((uint32_t)wide * 16320u) >> 16);
                int16_t cb = (int16_t)(u[at + x] - 128), cr = (int16_t)(v[at + x] - 128);
                red[x] = clamped((int16_t)(luma + 32 + 90 * cr));
                green[x] = clamped((int16_t)(luma + 32 - (22 * cb + 46 * cr)));
                blue[x] = clamped((int16_t)(luma + 32 + 113 * cb));
            }
            for (int x = 0; x < n; x++, out += 3) {
                out[0] = red[x];
                out[1] = green[x];
                out[2] = blue[x];
            }
        }
    }
}

/* Planes that are green, blue and red. */
CLONED static void plain_rows(const Plane *planes, int64_t height, int64_t width, uint8_t *out) {
    for (int64_t row = 0; row < height; row++) {
        const uint8_t *green = planes[0].data + row * planes[0].stride;
        const uint8_t *blue = planes[1].data + row * planes[1].stride;
        const uint8_t *red = planes[2].data + row * planes[2].stride;
        for (int64_t x = 0; x < width; x++, out += 3) {
            out[0] = red[x];
            out[1] = green[x];
            out[2] = blue[x];
        }
    }
}

static PyObject *planes_to_rgb(PyObject *self, PyObject *args) {
    (void)self;
    enum { Y, U, V, OUT, N };
    PyObject *o[N], *result = NULL;
    Array a[N] = {0};
    Plane planes[3];
    Py_ssize_t stride, chroma_stride;
    int colour;
    if (!PyArg_ParseTuple(args, "OOOnnpO", &o[Y], &o[U], &o[V], &stride, &chroma_stride, &colour,
                          &o[OUT]))
        return NULL;
    if (array_open(&a[OUT], o[OUT], "out", "u1", 3, WRITE) < 0) goto done;
    int64_t height = a[OUT].shape[0], width = a[OUT].shape[1];
    if (array_expect(&a[OUT], "out", height * width * 3) < 0) goto done;
    for (int k = 0; k < 3; k++)
        if (plane_open(&planes[k], &a[k], o[k], k ? chroma_stride : stride, height, width) < 0)
            goto done;
    Py_BEGIN_ALLOW_THREADS
    (colour ? colour_rows : plain_rows)(planes, height, width, a[OUT].data);
    Py_END_ALLOW_THREADS
    result = Py_NewRef(Py_None);
done:
    arrays_close(a, N);
    return result;
}

/* What the values of a plane become: `table` has an entry for each of `count`, and then the one of
 * pixels that are set in the mask, if there is one. */
typedef struct {
    const void *entries;
    int64_t count;
    const uint8_t *mask;
} Table;

/* Defines a loop over a plane that writes the entries, and returns the largest value. */
#define LOOK_UP(NAME, VALUE, ENTRY)                                                               \
    CLONED static uint32_t NAME(const Plane *plane, int64_t height, int64_t width,             \
                                   const Table *table, void *written) {                           \
        const ENTRY *entries = table->entries;                                                    \
        const uint8_t *mask = table->mask;                                                        \
        const ENTRY masked = entries[table->count];                                               \
        const uint32_t last = (uint32_t)(table->count - 1);                                       \
        uint32_t most = 0;                                                                        \
        ENTRY *out = written;                                                                     \
        for (int64_t row = 0; row < height; row++, out += width) {                                \
            const VALUE *values = (const VALUE *)(plane->data + row * plane->stride);             \
            for (int64_t x = 0; x < width; x++) {                                                 \
                uint32_t value = values[x];                                                       \
                most = value > most ? value : most;                                               \
                out[x] = entries[value < last ? value : last];                                    \
            }                                                                                     \
            if (!mask) continue;                                                                  \
            for (int64_t x = 0; x < width; x++) out[x] = mask[x] ? masked : out[x];               \
            mask += width;                                                                        \
        }                                                                                         \
        return most;                                                                              \
    }

LOOK_UP(look_up_8_8, uint8_t, uint8_t)
LOOK_UP(look_up_8_16, uint8_t, uint16_t)
LOOK_UP(look_up_8_32, uint8_t, uint32_t)
LOOK_UP(look_up_16_8, uint16_t, uint8_t)
LOOK_UP(look_up_16_16, uint16_t, uint16_t)
LOOK_UP(look_up_16_32, uint16_t, uint32_t)

typedef uint32_t LookUp(const Plane *, int64_t, int64_t, const Table *, void *);

static LookUp *const LOOK_UPS[2][3] = {
    {look_up_8_8, look_up_8_16, look_up_8_32},
    {look_up_16_8, look_up_16_16, look_up_16_32},
};
static const char *const ENTRIES[3] = {"u1", "u2", "u4"};

static PyObject *plane_look_up(PyObject *self, PyObject *args) {
    (void)self;
    enum { PLANE, TABLE, MASK, OUT, N };
    PyObject *o[N], *result = NULL;
    Array a[N] = {0};
    Plane plane;
    Table table = {0};
    Py_ssize_t stride;
    int value_bytes, entry_bytes;
    uint32_t most;
    if (!PyArg_ParseTuple(args, "OniOiOO", &o[PLANE], &stride, &value_bytes, &o[TABLE],
                          &entry_bytes, &o[MASK], &o[OUT]))
        return NULL;
    int size = entry_bytes == 4 ? 2 : entry_bytes - 1;
    if (value_bytes < 1 || value_bytes > 2 || size < 0 || size > 2) {
        PyErr_SetString(PyExc_TypeError, "values of 1 or 2 bytes, entries of 1, 2 or 4");
        return NULL;
    }
    if (array_open(&a[TABLE], o[TABLE], "table", ENTRIES[size], 1, READ) < 0 ||
        array_open(&a[OUT], o[OUT], "out", ENTRIES[size], 2, WRITE) < 0)
        goto done;
    int64_t height = a[OUT].shape[0], width = a[OUT].shape[1];
    if (plane_open(&plane, &a[PLANE], o[PLANE], stride, height, width * value_bytes) < 0) goto done;
    if (((uintptr_t)plane.data | (uintptr_t)stride) % (uintptr_t)value_bytes) {
        PyErr_SetString(PyExc_TypeError, "plane: its values are not aligned");
        goto done;
    }
    if (o[MASK] != Py_None &&
        (array_open(&a[MASK], o[MASK], "mask", "b1", 2, READ) < 0 ||
         array_expect(&a[MASK], "mask", a[OUT].count) < 0))
        goto done;
    if (a[TABLE].count < 2) {
        PyErr_SetString(PyExc_TypeError, "table: fewer than two entries");
        goto done;
    }
    table.entries = a[TABLE].data;
    table.count = a[TABLE].count - 1;
    table.mask = a[MASK].data;
    Py_BEGIN_ALLOW_THREADS
    most = LOOK_UPS[value_bytes - 1][size](&plane, height, width, &table, a[OUT].data);
    Py_END_ALLOW_THREADS
    if (most >= table.count)
        PyErr_Format(PyExc_ValueError, "value %u of %lld", most, (long long)table.count);
    else
        result = Py_NewRef(Py_None);
done:
    arrays_close(a, N);
    return result;
}

PyMethodDef pixels_methods[] = {
    {"planes_to_rgb", planes_to_rgb, METH_VARARGS, NULL},
    {"plane_look_up", plane_look_up, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};
