/* Filters of an image by which other tasks follow from it. The twins are in
 * `dsc._codecs.derived.edge_texture` and `dsc._codecs.derived.keypoints2d`, which say what is
 * computed and why.
 *
 * All is of integers. Where one is in a double it is below 2^53, so that sums and products are
 * exact, in any order and with or without fused operations; a root is rounded as IEEE 754 says, and
 * the one product after it is rounded once and then cut off.
 */
#include <math.h>

#include "clones.h"
#include "kernels.h"

/* Gray values are thousandths of a level, at most 255,000: 18 bits. */
CLONED static void gray_row(const uint8_t *image, int64_t width, uint32_t *gray) {
    for (int64_t x = 0; x < width; x++)
        gray[x] = 299u * image[3 * x] + 587u * image[3 * x + 1] + 114u * image[3 * x + 2];
}

/* ---- edges of texture */

enum { WEIGHT_BITS = 24, COLUMN_BITS = 12, ROW_BITS = 6, MOST_RADIUS = 64 };

/* Gaussian weights at distances 0 to radius. */
typedef struct {
    const uint32_t *weights;
    int64_t radius;
} Gaussian;

/* Returns the sum of the weights that lie inside when one of `count` values is at the centre. */
static uint32_t weights_inside(const Gaussian *gaussian, int64_t at, int64_t count) {
    uint32_t sum = gaussian->weights[0];
    for (int64_t k = 1; k <= gaussian->radius; k++)
        sum += gaussian->weights[k] * (uint32_t)((at >= k) + (at + k < count));
    return sum;
}

/* Writes the weighted sums of values at distances: `before` and `after` (radius + 1) are the rows
 * that a pixel has its values at distance 0, 1 ... in. Values are at most 2^30, so that two of them
 * are 2^31 and sums at most 2^54. */
CLONED static void weigh(const Gaussian *gaussian, const uint32_t *const *before,
                         const uint32_t *const *after, int64_t width, uint64_t *sums) {
    const uint32_t *middle = before[0];
    uint64_t weight = gaussian->weights[0];
    for (int64_t x = 0; x < width; x++) sums[x] = weight * middle[x];
    for (int64_t k = 1; k <= gaussian->radius; k++) {
        const uint32_t *left = before[k], *right = after[k];
        weight = gaussian->weights[k];
        for (int64_t x = 0; x < width; x++) sums[x] += weight * (left[x] + right[x]);
    }
}

/* Divides by 2^shift, rounded half up. */
CLONED static void shift_down(const uint64_t *sums, int64_t width, int shift, uint32_t *found) {
    const uint64_t half = (uint64_t)1 << (shift - 1);
    for (int64_t x = 0; x < width; x++) found[x] = (uint32_t)((sums[x] + half) >> shift);
}

/* What smoothing needs beside the image: rows of `width` values. */
typedef struct {
    uint32_t *gray;    /* a ring of 2 radius + 1 rows, */
    uint32_t *nothing; /* a row of zeros, */
    uint32_t *padded;  /* a row with `radius` zeros on either side, */
    uint32_t *inside;  /* the weights inside, for each column, */
    uint32_t *smooth;  /* and a ring of three rows. */
    uint64_t *sums;
} Rows;

/* Smooths gray rows down the columns to row y, in 1/4096. Sums are at most 2^42. */
static void smooth_down(const Gaussian *gaussian, const Rows *rows, int64_t y, int64_t height,
                        int64_t width, uint32_t *found) {
    const uint32_t *before[MOST_RADIUS + 1], *after[MOST_RADIUS + 1];
    const int64_t ring = 2 * gaussian->radius + 1;
    for (int64_t k = 0; k <= gaussian->radius; k++) {
        before[k] = y >= k ? rows->gray + (y - k) % ring * width : rows->nothing;
        after[k] = y + k < height ? rows->gray + (y + k) % ring * width : rows->nothing;
    }
    weigh(gaussian, before, after, width, rows->sums);
    uint64_t inside = weights_inside(gaussian, y, height);
    if (inside == 1u << WEIGHT_BITS)
        shift_down(rows->sums, width, WEIGHT_BITS - COLUMN_BITS, found);
    else
        for (int64_t x = 0; x < width; x++)
            found[x] = (uint32_t)(((rows->sums[x] << COLUMN_BITS) + inside / 2) / inside);
}

/* Divides the sums of some columns by the weights inside and 2^down, rounded half up. */
static void divide(const Rows *rows, int64_t from, int64_t to, int down, uint32_t *found) {
    for (int64_t x = from; x < to; x++) {
        uint64_t divisor = (uint64_t)rows->inside[x] << down;
        found[x] = (uint32_t)((rows->sums[x] + divisor / 2) / divisor);
    }
}

/* Smooths the padded row, in 1/4096, along it, to 1/64. Sums are at most 2^54. */
static void smooth_along(const Gaussian *gaussian, const Rows *rows, int64_t width,
                         uint32_t *found) {
    const uint32_t *before[MOST_RADIUS + 1], *after[MOST_RADIUS + 1];
    const int64_t radius = gaussian->radius;
    const int down = COLUMN_BITS - ROW_BITS;
    for (int64_t k = 0; k <= radius; k++) {
        before[k] = rows->padded + radius - k;
        after[k] = rows->padded + radius + k;
    }
    weigh(gaussian, before, after, width, rows->sums);
    shift_down(rows->sums, width, WEIGHT_BITS + down, found);
    const int64_t left = radius < width ? radius : width;
    const int64_t right = width - radius > left ? width - radius : left;
    divide(rows, 0, left, down, found);
    divide(rows, right, width, down, found);
}

/* Writes the magnitudes of Sobel's gradient, in counts of 65535, between three smooth rows; the
 * first and last of a row are 0. Smooth values are at most 255,000 * 64 < 2^24, sums of them at most
 * 65,280,000 < 2^26, and the sum of two squares below 2^53. */
CLONED static void magnitudes(const int32_t *above, const int32_t *here, const int32_t *below,
                              int64_t width, int32_t *across, int32_t *down, uint16_t *found) {
    for (int64_t x = 0; x < width; x++) {
        across[x] = above[x] + 2 * here[x] + below[x];
        down[x] = below[x] - above[x];
    }
    for (int64_t x = 1; x < width - 1; x++) {
        double gx = across[x + 1] - across[x - 1];
        double gy = down[x - 1] + 2 * down[x] + down[x + 1];
        int32_t doubled = (int32_t)(sqrt(2 * (gx * gx + gy * gy)) * (257.0 / 256000.0));
        found[x] = (uint16_t)((doubled + 1) >> 1);
    }
    found[0] = found[width - 1] = 0;
}

/* Computes the edges of an image, row by row: one that is smoothed needs `radius` rows ahead. */
static void edge_rows(const Gaussian *gaussian, const Rows *rows, const uint8_t *image,
                      int64_t height, int64_t width, uint16_t *found) {
    const int64_t radius = gaussian->radius, ring = 2 * radius + 1;
    int64_t ready = 0;
    for (int64_t x = 0; x < width; x++) rows->inside[x] = weights_inside(gaussian, x, width);
    for (int64_t y = 0; y < height; y++) {
        for (; ready < height && ready <= y + radius; ready++)
            gray_row(image + ready * width * 3, width, rows->gray + ready % ring * width);
        smooth_down(gaussian, rows, y, height, width, rows->padded + radius);
        smooth_along(gaussian, rows, width, rows->smooth + y % 3 * width);
        if (y < 2) continue;
        const int32_t *smooth = (const int32_t *)rows->smooth;
        int32_t *spare = (int32_t *)rows->sums;
        magnitudes(smooth + (y - 2) % 3 * width, smooth + (y - 1) % 3 * width,
                   smooth + y % 3 * width, width, spare, spare + width, found + (y - 1) * width);
    }
    memset(found, 0, (size_t)width * sizeof *found);
    memset(found + (height - 1) * width, 0, (size_t)width * sizeof *found);
}

/* Allocates zeroed rows; returns 0, or -1 where memory is short. `sums` begins what is allocated. */
static int rows_open(Rows *rows, int64_t radius, int64_t width) {
    size_t w = (size_t)width, words = w * (size_t)(2 * radius + 7) + 2 * (size_t)radius;
    rows->sums = calloc(2 * w + words, sizeof(uint32_t));
    if (!rows->sums) return -1;
    rows->gray = (uint32_t *)(rows->sums + w);
    rows->nothing = rows->gray + w * (size_t)(2 * radius + 1);
    rows->inside = rows->nothing + w;
    rows->smooth = rows->inside + w;
    rows->padded = rows->smooth + 3 * w;
    return 0;
}

/* Opens an image (H, W, 3) and the map (H, W) that is made of it; neither is empty. */
static int image_open(Array *image, Array *found, PyObject *image_object, PyObject *found_object) {
    if (array_open(image, image_object, "image", "u1", 3, READ) < 0 ||
        array_open(found, found_object, "found", "u2", 2, WRITE) < 0)
        return -1;
    if (image->shape[2] != 3 || found->shape[0] != image->shape[0] ||
        found->shape[1] != image->shape[1] || found->count < 1) {
        PyErr_SetString(PyExc_TypeError, "image and found: not (H, W, 3) and (H, W)");
        return -1;
    }
    return 0;
}

/* Checks that weights are those of a Gaussian: they sum to 2^24. */
static int gaussian_check(const Gaussian *gaussian) {
    uint64_t sum = 0;
    if (gaussian->radius >= 0 && gaussian->radius <= MOST_RADIUS) {
        sum = gaussian->weights[0];
        for (int64_t k = 1; k <= gaussian->radius; k++) sum += 2 * (uint64_t)gaussian->weights[k];
    }
    if (sum == (uint64_t)1 << WEIGHT_BITS) return 0;
    PyErr_SetString(PyExc_TypeError, "weights: not those of a Gaussian");
    return -1;
}

static PyObject *edge_texture(PyObject *self, PyObject *args) {
    (void)self;
    enum { IMAGE, WEIGHTS, FOUND, N };
    PyObject *o[N], *result = NULL;
    Array a[N] = {0};
    Rows rows = {0};
    if (!PyArg_ParseTuple(args, "OOO", &o[IMAGE], &o[WEIGHTS], &o[FOUND])) return NULL;
    if (image_open(&a[IMAGE], &a[FOUND], o[IMAGE], o[FOUND]) < 0 ||
        array_open(&a[WEIGHTS], o[WEIGHTS], "weights", "u4", 1, READ) < 0)
        goto done;
    const Gaussian gaussian = {a[WEIGHTS].data, a[WEIGHTS].count - 1};
    if (gaussian_check(&gaussian) < 0) goto done;
    const int64_t height = a[FOUND].shape[0], width = a[FOUND].shape[1];
    if (rows_open(&rows, gaussian.radius, width) < 0) {
        PyErr_NoMemory();
        goto done;
    }
    Py_BEGIN_ALLOW_THREADS
    if (height < 3 || width < 3)
        memset(a[FOUND].data, 0, (size_t)a[FOUND].count * sizeof(uint16_t));
    else
        edge_rows(&gaussian, &rows, a[IMAGE].data, height, width, a[FOUND].data);
    Py_END_ALLOW_THREADS
    result = Py_NewRef(Py_None);
done:
    free(rows.sums);
    arrays_close(a, N);
    return result;
}

/* ---- keypoints */

enum { MOST_SIZE = 90, FACTOR_BITS = 22, PARTS = 16, FILTER_FIELDS = 5 };

/* A filter of so many pixels: its lobe, and the integers over powers of two that its sums are
 * multiplied by, which a double holds exactly. */
typedef struct {
    int64_t size, lobe;
    double straight, mixed;
} Filter;

/* A box along one axis: it begins `start` further than the pixel, and is `length` long. */
typedef struct {
    int64_t start, length;
} Box;

static inline int64_t within(int64_t place, int64_t count) {
    return place < 0 ? 0 : place < count ? place : count - 1;
}

/* Sums wrap around 2^32; that of a box does not: 59 * 90 pixels of 255,000 are 1.36e9 < 2^31, and
 * so is thrice one of a third of them. */
static inline uint32_t box_sum(const uint32_t *sums, Box box, int64_t at, int64_t count) {
    int64_t first = within(at + box.start, count);
    return sums[within(first + box.length, count)] - sums[first];
}

/* Returns how far apart rows of sums lie: an odd number of cache lines, so that rows of an image
 * whose width is a power of two do not all fall into the same ones. */
static int64_t stride_of(int64_t width) {
    return ((width + 15) / 16 | 1) * 16;
}

/* Writes sums of an image's gray values above and left of each pixel, and with it. */
static void integral(const uint8_t *image, int64_t height, int64_t width, uint32_t *sums) {
    const int64_t stride = stride_of(width);
    for (int64_t y = 0; y < height; y++, sums += stride) {
        gray_row(image + y * width * 3, width, sums);
        uint32_t sum = 0;
        for (int64_t x = 0; x < width; x++) {
            sum += sums[x];
            sums[x] = sum + (y ? sums[x - stride] : 0);
        }
    }
}

/* The rows of sums between which a row of pixels has its boxes along columns. */
typedef struct {
    const uint32_t *first, *last;
} Span;

static Span span_of(const uint32_t *sums, Box box, int64_t y, int64_t height, int64_t stride) {
    int64_t first = within(y + box.start, height);
    return (Span){sums + first * stride, sums + within(first + box.length, height) * stride};
}

/* Writes what boxes along rows are taken of: `straight` for dxx, `mixed` for dxy, `upright` for dyy. */
CLONED static void subtract_rows(Span middle, Span near, Span far, Span wide, Span narrow,
                                 int64_t width, uint32_t *restrict straight,
                                 uint32_t *restrict mixed, uint32_t *restrict upright) {
    for (int64_t x = 0; x < width; x++) {
        straight[x] = middle.last[x] - middle.first[x];
        mixed[x] = near.last[x] - near.first[x] - far.last[x] + far.first[x];
        upright[x] = wide.last[x] - wide.first[x] - 3 * (narrow.last[x] - narrow.first[x]);
    }
}

/* Returns the determinant in 1/2^32 of a count. Its parts are exact products, cut off to integers
 * below 2^24, so that their squares are below 2^48. */
static inline double determinant(const Filter *filter, uint32_t dxx, uint32_t dyy, uint32_t dxy) {
    double a = (int32_t)((int32_t)dxx * filter->straight);
    double b = (int32_t)((int32_t)dyy * filter->straight);
    double c = (int32_t)((int32_t)dxy * filter->mixed);
    return a * b - c * c;
}

/* The boxes of a filter, and a row of what they are taken of. */
typedef struct {
    Box near, far, middle, wide, narrow;
    const uint32_t *straight, *mixed, *upright;
} Boxes;

/* Raises `most` to the determinants of some columns, where all boxes lie in the image. */
CLONED static void inner_columns(const Filter *filter, const Boxes *boxes, int64_t from, int64_t to,
                                 double *most) {
#define ENDS(NAME, ROW, BOX)                                                                       \
    const uint32_t *NAME##_first = boxes->ROW + boxes->BOX.start;                                  \
    const uint32_t *NAME##_last = NAME##_first + boxes->BOX.length
    const Filter own = *filter;
    ENDS(wide, straight, wide);
    ENDS(narrow, straight, narrow);
    ENDS(near, mixed, near);
    ENDS(far, mixed, far);
    ENDS(middle, upright, middle);
    for (int64_t x = from; x < to; x++) {
        uint32_t dxx = wide_last[x] - wide_first[x] - 3 * (narrow_last[x] - narrow_first[x]);
        uint32_t dyy = middle_last[x] - middle_first[x];
        uint32_t dxy = far_last[x] - far_first[x] - near_last[x] + near_first[x];
        double found = determinant(&own, dxx, dyy, dxy);
        most[x] = found > most[x] ? found : most[x];
    }
#undef ENDS
}

/* The same for columns where boxes may begin or end outside. */
static void outer_columns(const Filter *filter, const Boxes *boxes, int64_t from, int64_t to,
                          int64_t width, double *most) {
    for (int64_t x = from; x < to; x++) {
        uint32_t dxx = box_sum(boxes->straight, boxes->wide, x, width) -
                       3 * box_sum(boxes->straight, boxes->narrow, x, width);
        uint32_t dyy = box_sum(boxes->upright, boxes->middle, x, width);
        uint32_t dxy = box_sum(boxes->mixed, boxes->far, x, width) -
                       box_sum(boxes->mixed, boxes->near, x, width);
        double found = determinant(filter, dxx, dyy, dxy);
        most[x] = found > most[x] ? found : most[x];
    }
}

/* Raises `most` to the determinants of row y by one filter; `spare` has three rows. */
static void filter_row(const Filter *filter, const uint32_t *sums, int64_t y, int64_t height,
                       int64_t width, uint32_t *spare, double *most) {
    const int64_t size = filter->size, lobe = filter->lobe, stride = stride_of(width);
    uint32_t *straight = spare, *mixed = spare + stride, *upright = spare + 2 * stride;
    const Boxes boxes = {
        .near = {-lobe, lobe},
        .far = {1, lobe},
        .middle = {1 - lobe, 2 * lobe - 1},
        .wide = {-(size - 1) / 2, size},
        .narrow = {-(lobe / 2), lobe},
        .straight = straight,
        .mixed = mixed,
        .upright = upright,
    };
    subtract_rows(span_of(sums, boxes.middle, y, height, stride),
                  span_of(sums, boxes.near, y, height, stride),
                  span_of(sums, boxes.far, y, height, stride),
                  span_of(sums, boxes.wide, y, height, stride),
                  span_of(sums, boxes.narrow, y, height, stride), width, straight, mixed, upright);
    const int64_t before = (size - 1) / 2, after = size - before; /* what the widest box spans */
    const int64_t from = before < width ? before : width;
    const int64_t to = width - after > from ? width - after : from;
    outer_columns(filter, &boxes, 0, from, width, most);
    inner_columns(filter, &boxes, from, to, most);
    outer_columns(filter, &boxes, to, width, width, most);
}

/* Turns 1/2^32 of a count into counts, rounded half up; a determinant is at most 29,419 counts. */
CLONED static void counts_of(const double *most, int64_t width, uint16_t *found) {
    for (int64_t x = 0; x < width; x++) {
        int32_t doubled = (int32_t)(most[x] * (1.0 / ((int64_t)1 << (2 * PARTS - 1))));
        found[x] = (uint16_t)((doubled + 1) >> 1);
    }
}

static void keypoint_rows(const Filter *filters, int64_t count, const uint32_t *sums, int64_t height,
                          int64_t width, uint32_t *spare, double *most, uint16_t *found) {
    for (int64_t y = 0; y < height; y++, found += width) {
        for (int64_t x = 0; x < width; x++) most[x] = 0;
        for (int64_t k = 0; k < count; k++)
            filter_row(&filters[k], sums, y, height, width, spare, most);
        counts_of(most, width, found);
    }
}

/* Reads the fields of a filter; those that are too large for sums to be exact are refused. */
static int filter_read(Filter *filter, const int64_t *fields) {
    if (fields[0] < 3 || fields[0] > MOST_SIZE) return -1;
    for (int k = 1; k < FILTER_FIELDS; k += 2)
        if (fields[k] < 0 || fields[k] >> FACTOR_BITS || fields[k + 1] < 0 || fields[k + 1] > 62)
            return -1;
    filter->size = fields[0];
    filter->lobe = fields[0] / 3;
    filter->straight = (double)fields[1] / (double)((int64_t)1 << fields[2]);
    filter->mixed = (double)fields[3] / (double)((int64_t)1 << fields[4]);
    return 0;
}

static PyObject *keypoints2d(PyObject *self, PyObject *args) {
    (void)self;
    enum { IMAGE, FILTERS, FOUND, N, MOST_FILTERS = 16 };
    PyObject *o[N], *result = NULL;
    Array a[N] = {0};
    Filter filters[MOST_FILTERS];
    double *most = NULL;
    if (!PyArg_ParseTuple(args, "OOO", &o[IMAGE], &o[FILTERS], &o[FOUND])) return NULL;
    if (image_open(&a[IMAGE], &a[FOUND], o[IMAGE], o[FOUND]) < 0 ||
        array_open(&a[FILTERS], o[FILTERS], "filters", "i8", 2, READ) < 0)
        goto done;
    const int64_t count = a[FILTERS].shape[0], *fields = a[FILTERS].data;
    int wrong = a[FILTERS].shape[1] != FILTER_FIELDS || count > MOST_FILTERS;
    for (int64_t k = 0; !wrong && k < count; k++)
        wrong = filter_read(&filters[k], fields + k * FILTER_FIELDS) < 0;
    if (wrong) {
        PyErr_SetString(PyExc_TypeError, "filters: not sizes and factors");
        goto done;
    }
    const int64_t height = a[FOUND].shape[0], width = a[FOUND].shape[1];
    const int64_t stride = stride_of(width);
    most = malloc((size_t)stride * (sizeof *most + (3 + (size_t)height) * sizeof(uint32_t)));
    if (!most) {
        PyErr_NoMemory();
        goto done;
    }
    uint32_t *spare = (uint32_t *)(most + stride), *sums = spare + 3 * stride;
    Py_BEGIN_ALLOW_THREADS
    integral(a[IMAGE].data, height, width, sums);
    keypoint_rows(filters, count, sums, height, width, spare, most, a[FOUND].data);
    Py_END_ALLOW_THREADS
    result = Py_NewRef(Py_None);
done:
    free(most);
    arrays_close(a, N);
    return result;
}

PyMethodDef filters_methods[] = {
    {"edge_texture", edge_texture, METH_VARARGS, NULL},
    {"keypoints2d", keypoints2d, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};
