/* A walk through a label map, and what it needs. */
#ifndef DSC_WALK_H
#define DSC_WALK_H

#include "ans.h"
#include "label_model.h"

#define NO_LABEL 0xFFFF
#define MOST_LABELS 0xFFFE
#define MEMO (1 << 12)
#define SPARE 128 /* labels behind a grid that may be read, and mean nothing */

enum { FINE, NO_MEMORY, NEITHER, NO_SUCH_LABEL, TOO_MANY, NOT_IN_ORDER, TOO_LONG };

#define LOGS (1 << 10) /* logarithms of sizes of intervals that are told apart between powers of two */

typedef struct {
    uint32_t place; /* in the padded grid */
    uint16_t label, candidates[DECISIONS];
    uint8_t index[DECISIONS], found;
} Busy;

typedef struct {
    uint64_t first, second;
    uint8_t index[DECISIONS];
} Known;

typedef struct {
    uint64_t *items;
    int64_t count, room;
} List;

/* A pixel that none of its candidates is like. */
typedef struct {
    uint32_t place;
    int64_t busy; /* which of the busy ones; -1 for a calm one */
    int64_t label;
} Missed;

typedef struct {
    const LabelModel *model;
    AnsDecoder *decoder; /* NULL when the map is to be written */
    List intervals;      /* what has been written, as `ans_encode` takes it */
    List outside;        /* values that escape in this group */
    const uint16_t *truth;
    int64_t truth_stride, n_known;
    int64_t finest; /* the step of the last level that is coded */
    int failure;
    double spent, most; /* bits, at least; where they are more than `most`, writing ends */
    const float *logs;  /* NULL where it does not end */
    /* the level */
    int64_t step, height, width, stride;
    int level, phase;
    uint16_t *grid, *other; /* padded by MARGIN */
    int64_t n_differ;       /* words of a padded row */
    uint64_t *differ;       /* (height + 2 MARGIN - 1): where a label is unlike the next or the one below */
    int64_t n_words;        /* words of a row */
    uint64_t *calm[CALM];   /* rows: where the windows hold more than one label */
    uint64_t *wrong;        /* rows: where the truth is not what the new grid has */
    uint64_t *missed;       /* rows: pixels of the phase that none of their candidates is like */
    int any_missed;
    /* the phase */
    Busy *busy;
    int64_t n_busy;
    Missed *items;
    int64_t n_items;
    uint32_t *places, *order; /* scratch, one a pixel of a phase */
    uint64_t *scratch;        /* two rows of `differ` */
    Known *memo;
    /* labels by how often they occur */
    uint64_t *counts;
    uint32_t *rank, *by_rank;
} Walk;

/* Codes or decodes all levels of a map; `failure` then says whether that went well. There is a second
 * version for processors with AVX2, from the same lines. */
void walk_levels(Walk *walk, int64_t height, int64_t width);
void walk_levels_avx2(Walk *walk, int64_t height, int64_t width);

#endif
