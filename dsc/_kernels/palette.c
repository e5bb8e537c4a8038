/* Labels numbered in the order in which coding meets them, and named again. */
#include "kernels.h"

#define NONE UINT16_MAX
#define MOST_LABELS 0xFFFE
#define CELL 8
#define PLACES (CELL * CELL - CELL * CELL / 4) /* of the pixels that a level adds to a cell */

/* The numbers of the values that have been seen: a table of 2^16, or a hash table that grows. */
typedef struct {
    uint64_t *values;
    uint16_t *numbers; /* NONE where nothing is */
    uint64_t mask;
    int64_t count;
    int is_direct;
} Numbers;

static int numbers_open(Numbers *numbers, uint64_t size, int is_direct) {
    *numbers = (Numbers){NULL, malloc(size * sizeof(uint16_t)), size - 1, 0, is_direct};
    if (!is_direct) numbers->values = malloc(size * sizeof(uint64_t));
    if (!numbers->numbers || !(is_direct || numbers->values)) return -1;
    memset(numbers->numbers, 0xFF, size * sizeof(uint16_t));
    return 0;
}

static void numbers_close(Numbers *numbers) {
    free(numbers->values);
    free(numbers->numbers);
}

static uint64_t find_slot(const Numbers *numbers, uint64_t value) {
    if (numbers->is_direct) return value;
    uint64_t slot = (value * UINT64_C(0x9E3779B97F4A7C15)) >> 20 & numbers->mask;
    while (numbers->numbers[slot] != NONE && numbers->values[slot] != value)
        slot = (slot + 1) & numbers->mask;
    return slot;
}

static int grow(Numbers *numbers) {
    Numbers larger;
    if (numbers_open(&larger, 2 * (numbers->mask + 1), 0) < 0) {
        numbers_close(&larger);
        return -1;
    }
    larger.count = numbers->count;
    for (uint64_t k = 0; k <= numbers->mask; k++)
        if (numbers->numbers[k] != NONE) {
            uint64_t slot = find_slot(&larger, numbers->values[k]);
            larger.values[slot] = numbers->values[k];
            larger.numbers[slot] = numbers->numbers[k];
        }
    numbers_close(numbers);
    *numbers = larger;
    return 0;
}

/* Returns the number of a value, a new one where it has none; -1 without memory, -2 when there are
 * too many. */
static int64_t number_of(Numbers *numbers, uint64_t value) {
    uint64_t slot = find_slot(numbers, value);
    if (numbers->numbers[slot] != NONE) return numbers->numbers[slot];
    if (numbers->count == MOST_LABELS) return -2;
    if (!numbers->is_direct) {
        numbers->values[slot] = value;
        numbers->numbers[slot] = (uint16_t)numbers->count;
        if ((uint64_t)numbers->count * 2 > numbers->mask && grow(numbers) < 0) return -1;
    } else {
        numbers->numbers[slot] = (uint16_t)numbers->count;
    }
    return numbers->count++;
}

static inline uint64_t value_at(const void *labels, int64_t k, int64_t size) {
    switch (size) {
    case 1: return ((const uint8_t *)labels)[k];
    case 2: return ((const uint16_t *)labels)[k];
    case 4: return ((const uint32_t *)labels)[k];
    default: return ((const uint64_t *)labels)[k];
    }
}

/* Numbers labels as they come, row by row; most are like the one before. */
static inline int64_t number_rows(const void *labels, int64_t n, int64_t size, uint16_t *ids) {
    Numbers numbers;
    int64_t last = -1;
    if (numbers_open(&numbers, size <= 2 ? 1 << 16 : 1 << 10, size <= 2) < 0) goto done;
    uint64_t before = 0;
    for (int64_t k = 0; k < n; k++) {
        uint64_t value = value_at(labels, k, size);
        if (value != before || k == 0) {
            last = number_of(&numbers, value);
            if (last < 0) goto done;
            before = value;
        }
        ids[k] = (uint16_t)last;
    }
    last = numbers.count;
done:
    numbers_close(&numbers);
    return last;
}

/* Meets labels until all have been met: writes the new number of each, and a pixel that has it. */
typedef struct {
    const uint16_t *ids;
    uint16_t *renamed;
    int64_t *first, n_met, count;
} Meeting;

static inline void meet(Meeting *meeting, int64_t pixel) {
    uint16_t *renamed = meeting->renamed + meeting->ids[pixel];
    if (*renamed != NONE) return;
    *renamed = (uint16_t)meeting->n_met;
    meeting->first[meeting->n_met++] = pixel;
}

static void meet_all(Meeting *meeting, int64_t height, int64_t width, const uint8_t *places) {
    int64_t step = 1;
    while (step < height || step < width) step *= 2;
    meet(meeting, 0);
    for (step /= 2; step >= 1; step /= 2)
        for (int k = 0; k < PLACES; k++)
            for (int64_t y = places[2 * k] * step; y < height; y += CELL * step) {
                if (meeting->n_met == meeting->count) return;
                for (int64_t x = places[2 * k + 1] * step; x < width; x += CELL * step)
                    meet(meeting, y * width + x);
            }
}

static int64_t number_all(const void *labels, int64_t height, int64_t width, int64_t size,
                          const uint8_t *places, uint16_t *ids, int64_t *first) {
    int64_t n = height * width, count;
    switch (size) {
    case 1: count = number_rows(labels, n, 1, ids); break;
    case 2: count = number_rows(labels, n, 2, ids); break;
    case 4: count = number_rows(labels, n, 4, ids); break;
    default: count = number_rows(labels, n, 8, ids); break;
    }
    if (count < 0) return count;
    uint16_t *renamed = malloc((size_t)count * sizeof *renamed);
    if (!renamed) return -1;
    memset(renamed, 0xFF, (size_t)count * sizeof *renamed);
    Meeting meeting = {ids, renamed, first, 0, count};
    meet_all(&meeting, height, width, places);
    for (int64_t k = 0; k < n; k++) ids[k] = renamed[ids[k]];
    free(renamed);
    return count;
}

static PyObject *label_number(PyObject *self, PyObject *args) {
    (void)self;
    PyObject *o[5], *result = NULL;
    Array a[4] = {0};
    char element[] = "u0";
    int size;
    if (!PyArg_ParseTuple(args, "OiOOO", &o[0], &size, &o[1], &o[2], &o[3])) return NULL;
    element[1] = (char)('0' + (size == 1 || size == 2 || size == 4 ? size : 8));
    if (array_open(&a[0], o[0], "labels", element, 2, READ) < 0 ||
        array_open(&a[1], o[1], "places", "u1", 2, READ) < 0 ||
        array_open(&a[2], o[2], "ids", "u2", 2, WRITE) < 0 ||
        array_open(&a[3], o[3], "first", "i8", 1, WRITE) < 0 ||
        array_expect(&a[1], "places", 2 * PLACES) < 0 ||
        array_expect(&a[2], "ids", a[0].count) < 0 || array_expect(&a[3], "first", MOST_LABELS) < 0)
        goto done;
    int fits = a[0].count > 0 && a[0].count < INT32_MAX;
    for (int k = 0; k < 2 * PLACES; k++) fits &= ((const uint8_t *)a[1].data)[k] < CELL;
    if (!fits) {
        PyErr_SetString(PyExc_TypeError, "labels: too many pixels, or none, or places beyond a cell");
        goto done;
    }
    int64_t count;
    Py_BEGIN_ALLOW_THREADS
    count = number_all(a[0].data, a[0].shape[0], a[0].shape[1], a[0].view.itemsize, a[1].data,
                       a[2].data, a[3].data);
    Py_END_ALLOW_THREADS
    if (count == -1)
        PyErr_NoMemory();
    else if (count < 0)
        PyErr_Format(PyExc_ValueError, "more than %d different labels; no more can be modelled",
                     MOST_LABELS);
    else
        result = PyLong_FromLongLong(count);
done:
    arrays_close(a, 4);
    return result;
}

/* Names n pixels; returns whether all numbers have a name. */
static int name_all(const uint16_t *ids, int64_t n, const uint8_t *names, int64_t count, int64_t size,
                    uint8_t *named) {
    uint16_t largest = 0;
    for (int64_t k = 0; k < n; k++) largest = ids[k] > largest ? ids[k] : largest;
    if (n && largest >= count) return 0;
    switch (size) {
    case 1:
        for (int64_t k = 0; k < n; k++) named[k] = names[ids[k]];
        break;
    case 2:
        for (int64_t k = 0; k < n; k++) memcpy(named + 2 * k, names + 2 * ids[k], 2);
        break;
    case 3: /* bytes one by one: calls of memcpy would take most of the time */
        for (int64_t k = 0; k < n; k++)
            for (int c = 0; c < 3; c++) named[3 * k + c] = names[3 * ids[k] + c];
        break;
    case 4:
        for (int64_t k = 0; k < n; k++) memcpy(named + 4 * k, names + 4 * ids[k], 4);
        break;
    case 12: /* unit vectors */
        for (int64_t k = 0; k < n; k++) memcpy(named + 12 * k, names + 12 * ids[k], 12);
        break;
    default:
        for (int64_t k = 0; k < n; k++)
            memcpy(named + size * k, names + size * ids[k], (size_t)size);
    }
    return 1;
}

static PyObject *label_name(PyObject *self, PyObject *args) {
    (void)self;
    PyObject *o[3], *result = NULL;
    Array a[3] = {0};
    int named;
    if (!PyArg_ParseTuple(args, "OOO", &o[0], &o[1], &o[2])) return NULL;
    if (array_open(&a[0], o[0], "ids", "u2", 1, READ) < 0 ||
        array_open(&a[1], o[1], "names", "u1", 2, READ) < 0 ||
        array_open(&a[2], o[2], "named", "u1", 2, WRITE) < 0 ||
        array_expect(&a[2], "named", a[0].count * a[1].shape[1]) < 0)
        goto done;
    Py_BEGIN_ALLOW_THREADS
    named = name_all(a[0].data, a[0].count, a[1].data, a[1].shape[0], a[1].shape[1], a[2].data);
    Py_END_ALLOW_THREADS
    if (named)
        result = Py_NewRef(Py_None);
    else
        PyErr_SetString(PyExc_IndexError, "a number has no name");
done:
    arrays_close(a, 3);
    return result;
}

PyMethodDef palette_methods[] = {
    {"label_number", label_number, METH_VARARGS, NULL},
    {"label_name", label_name, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};
