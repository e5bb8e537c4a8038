/* The model of `label-context` as the walk uses it. */
#ifndef DSC_LABEL_MODEL_H
#define DSC_LABEL_MODEL_H

#include "kernels.h"

#define NEIGHBOURS 40
#define NEAR 12
#define MARGIN 9 /* beyond every neighbour and window */
#define CELL 8
#define PHASES 7
#define LEVELS 6
#define DECISIONS 3
#define CALM 3
#define LOGITS 64
#define BUCKETS 32 /* of escape tables, by the number of labels */
#define LEVEL_CLASSES 3
#define MOST_LAYERS 4

/* A table of n entries, the last its escape: n + 1 bounds. */
typedef struct {
    const uint32_t *bounds;
    uint32_t n;
} Table;

/* A layer after the first. Four inputs are multiplied at once, of eight outputs. */
typedef struct {
    int64_t groups, outputs; /* an even number of four inputs each; a multiple of 8 */
    const int8_t *weight;    /* (groups, outputs, 4) */
    const int32_t *bias[LEVELS];
    int low;
} Layer;

/* The first layer is a sum of columns of its weights, looked up for some features at once: `columns`
 * for four; `pairs` for five neighbours of a pixel that has but two labels around it. */
typedef struct {
    int64_t width; /* outputs of the first layer, padded to a multiple of 32 */
    const int16_t *columns, *pairs;
    const int16_t *bias[LEVELS];
    int low, n_layers;
    Layer layers[MOST_LAYERS]; /* those after the first */
} Network;

typedef struct Block Block;

typedef struct {
    int n_places[PHASES];
    uint8_t places[PHASES][CELL * CELL][2]; /* (y, x) within a cell */
    int8_t moves[PHASES][NEIGHBOURS][2];    /* (down, right), nearest first */
    int radii[PHASES][CALM];
    Table calm[PHASES * LEVELS * CALM], decisions[DECISIONS][LOGITS];
    Table escapes[BUCKETS * LEVEL_CLASSES];
    Network networks[PHASES];
    uint64_t number; /* no two models in a process have the same */
    Block *blocks;   /* all memory that the above points to */
} LabelModel;

/* What is equal around a pixel: which neighbours have its first candidate, which the second, and
 * which of the nearest the third. */
typedef struct {
    uint64_t first, second;
    uint32_t third;
} Pattern;

/* Returns the model of a capsule, or NULL with an exception set. */
const LabelModel *label_model_of(PyObject *capsule);

/* Writes the table of each decision. */
void label_logits(const LabelModel *model, int phase, int level, Pattern pattern, uint8_t *index);

#endif
