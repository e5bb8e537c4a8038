/* Binary decisions under chances that learn, and several chances mixed into one.
 *
 * `dsc._coding.mixing` is the reference, and says where the numbers come from.
 */
#ifndef DSC_MIX_H
#define DSC_MIX_H

#include "ans.h"

#define MOST_SEEN 1023
#define MIX_BITS 12 /* of a chance that is mixed */
#define MIX_ONE (1 << MIX_BITS)
#define FARTHEST 2047 /* of a chance on the scale of logits, 256 to a unit */
#define WEIGHT_BITS 16
#define MOST_WEIGHT (8 << WEIGHT_BITS)
#define RATE 80

#define MOST_MIXED 7
#define TRUSTS 6 /* a weight of each chance for each of so many ranges of what was seen */

typedef struct {
    uint32_t share[MOST_SEEN + 1];
    uint8_t trust[MOST_SEEN + 1];
    int16_t logit[MIX_ONE];
} MixTables;

/* What was learned of patterns: the chance of a set bit, of 2^24, and how often each was seen. */
typedef struct {
    uint32_t *chance;
    uint16_t *seen;
} Counts;

/* Where decisions go to (`decoder` is NULL) or come from. */
typedef struct {
    AnsDecoder *decoder;
    uint32_t *intervals; /* two numbers a decision */
    size_t count, room;
    int failed; /* no memory */
} Port;

static inline int chance_of_logit(int logit) {
    static const int16_t KNOTS[34] = {1,    2,    3,    6,    10,   16,   27,   45,   73,
                                      120,  194,  310,  488,  747,  1101, 1546, 2047, 2549,
                                      2994, 3348, 3607, 3785, 3901, 3975, 4022, 4050, 4068,
                                      4079, 4085, 4089, 4092, 4093, 4094, 4094};
    int at = logit + FARTHEST + 1, part = at & 127;
    const int16_t *knot = KNOTS + (at >> 7);
    return (knot[0] * (128 - part) + knot[1] * part + 64) >> 7;
}

static inline void mix_open(MixTables *tables) {
    static const int FROM[TRUSTS] = {0, 1, 3, 8, 24, 100};
    for (uint32_t k = 0; k <= MOST_SEEN; k++) tables->share[k] = 655360 / (10 * k + 18);
    for (int k = 0; k <= MOST_SEEN; k++)
        for (int trust = 0; trust < TRUSTS && FROM[trust] <= k; trust++)
            tables->trust[k] = (uint8_t)trust;
    int next = 0;
    for (int logit = -FARTHEST; logit <= FARTHEST; logit++)
        for (int last = chance_of_logit(logit); next <= last; next++)
            tables->logit[next] = (int16_t)logit;
    for (; next < MIX_ONE; next++) tables->logit[next] = FARTHEST;
}

/* Spreads keys over 2^bits places. */
static inline uint32_t mix_hash(uint32_t key, int bits) {
    key *= UINT32_C(2654435761);
    key ^= key >> 15;
    return key * UINT32_C(2246822519) >> (32 - bits);
}

/* Moves the chance of a pattern towards what was seen. */
static inline void counts_learn_until(const MixTables *tables, Counts counts, uint32_t pattern,
                                      int bit, int most) {
    uint64_t chance = counts.chance[pattern], share = tables->share[counts.seen[pattern]];
    uint32_t step = (uint32_t)((bit ? ANS_ONE - chance : chance) * share >> 16);
    counts.chance[pattern] = (uint32_t)chance + (bit ? step : 0 - step);
    counts.seen[pattern] += counts.seen[pattern] < most;
}

static inline void counts_learn(const MixTables *tables, Counts counts, uint32_t pattern, int bit) {
    counts_learn_until(tables, counts, pattern, bit, MOST_SEEN);
}

/* Writes an interval. */
static inline void port_put(Port *port, uint32_t left, uint32_t size) {
    if (port->count == port->room) {
        size_t room = port->room ? 2 * port->room : 4096;
        uint32_t *grown = realloc(port->intervals, 2 * room * sizeof *grown);
        if (!grown) {
            port->failed = 1;
            return;
        }
        port->intervals = grown;
        port->room = room;
    }
    port->intervals[2 * port->count] = left;
    port->intervals[2 * port->count + 1] = size;
    port->count++;
}

/* Writes a decision, or reads one; `chance` is that of 1. */
static inline int port_code(Port *port, uint32_t chance, int bit) {
    if (port->decoder) bit = ans_peek(port->decoder) < chance;
    uint32_t left = bit ? 0 : chance, size = bit ? chance : ANS_ONE - chance;
    if (port->decoder)
        ans_advance(port->decoder, left, size);
    else
        port_put(port, left, size);
    return bit;
}

/* Codes a decision under what one pattern has learned. */
static inline int code_one(const MixTables *tables, Port *port, Counts counts, uint32_t pattern,
                           int bit) {
    bit = port_code(port, counts.chance[pattern], bit);
    counts_learn(tables, counts, pattern, bit);
    return bit;
}

static inline int32_t mix_within(int64_t value, int32_t most) {
    return value > most ? most : value < -most ? -most : (int32_t)value;
}

/* Codes a decision under what two patterns have learned, mixed by two weights that learn. */
static inline int code_two(const MixTables *tables, Port *port, Counts first, uint32_t pattern,
                           Counts second, uint32_t other, int32_t *weights, int bit) {
    int32_t a = tables->logit[first.chance[pattern] >> (ANS_BITS - MIX_BITS)];
    int32_t b = tables->logit[second.chance[other] >> (ANS_BITS - MIX_BITS)];
    int64_t sum = ((int64_t)a * weights[0] + (int64_t)b * weights[1]) >> WEIGHT_BITS;
    int32_t chance = chance_of_logit(mix_within(sum, FARTHEST));
    bit = port_code(port, (uint32_t)chance << (ANS_BITS - MIX_BITS), bit);
    int32_t error = ((bit << MIX_BITS) - chance) * RATE;
    weights[0] = mix_within(weights[0] + ((a * (int64_t)error) >> WEIGHT_BITS), MOST_WEIGHT);
    weights[1] = mix_within(weights[1] + ((b * (int64_t)error) >> WEIGHT_BITS), MOST_WEIGHT);
    counts_learn(tables, first, pattern, bit);
    counts_learn(tables, second, other, bit);
    return bit;
}

/* Codes a decision under what n patterns have learned, mixed by the weights that each has for what it
 * has seen, `TRUSTS` a pattern, which learn at `rate`; a pattern that has seen `most` decisions no
 * longer learns more slowly. */
static inline int code_mixed(const MixTables *tables, Port *port, Counts counts,
                             const uint32_t *patterns, int n, int32_t *weights, int most,
                             int rate, int bit) {
    int32_t logits[MOST_MIXED], *own[MOST_MIXED];
    int64_t sum = 0;
    for (int k = 0; k < n; k++) {
        logits[k] = tables->logit[counts.chance[patterns[k]] >> (ANS_BITS - MIX_BITS)];
        own[k] = weights + k * TRUSTS + tables->trust[counts.seen[patterns[k]]];
        sum += (int64_t)logits[k] * *own[k];
    }
    int32_t chance = chance_of_logit(mix_within(sum >> WEIGHT_BITS, FARTHEST));
    bit = port_code(port, (uint32_t)chance << (ANS_BITS - MIX_BITS), bit);
    int32_t error = ((bit << MIX_BITS) - chance) * rate;
    for (int k = 0; k < n; k++) {
        *own[k] = mix_within(*own[k] + ((logits[k] * (int64_t)error) >> WEIGHT_BITS), MOST_WEIGHT);
        counts_learn_until(tables, counts, patterns[k], bit, most);
    }
    return bit;
}

#endif
