/* The ANS coder: a stack of 32-bit words and a 64-bit state, probabilities of 24 bits.
 *
 * A symbol is an interval [left, left + size) of 2^24. Bitstreams are those of constriction's
 * AnsCoder, to the bit. `dsc._coding.entropy` has the same in Python.
 */
#ifndef DSC_ANS_H
#define DSC_ANS_H

#include "kernels.h"

#define ANS_BITS 24
#define ANS_ONE (UINT32_C(1) << ANS_BITS)

typedef struct {
    uint64_t state;
    const uint32_t *words; /* the stack: the last one is read next */
    uint64_t left;         /* words that are not read yet */
} AnsDecoder;

static inline uint32_t ans_peek(const AnsDecoder *coder) {
    return (uint32_t)coder->state & (ANS_ONE - 1);
}

/* Goes on after a symbol whose interval holds `ans_peek`. A stack that has run out gives zeros: that
 * is no error here, the state then does not end at zero. */
static inline void ans_advance(AnsDecoder *coder, uint32_t left, uint32_t size) {
    uint64_t rest = ((uint32_t)coder->state & (ANS_ONE - 1)) - left;
    coder->state = (coder->state >> ANS_BITS) * size + rest;
    if (coder->state >> 32 == 0 && coder->left)
        coder->state = coder->state << 32 | coder->words[--coder->left];
}

/* Returns the entry of a table of n bounds (the first 0) in whose interval `quantile` lies. */
static inline uint32_t ans_find(const uint32_t *bounds, uint32_t n, uint32_t quantile) {
    uint32_t first = 0;
    while (n > 1) {
        uint32_t half = n / 2;
        first += bounds[first + half] <= quantile ? half : 0;
        n -= half;
    }
    return first;
}

/* Reads an integer from 0 to below `size`, at most 2^24, all of them equally likely. */
static inline uint32_t ans_uniform(AnsDecoder *coder, uint32_t size) {
    uint32_t each = ANS_ONE / size, value = ans_peek(coder) / each;
    if (value >= size) value = size - 1; /* the last one has what is left over */
    ans_advance(coder, value * each, value == size - 1 ? ANS_ONE - value * each : each);
    return value;
}

/* A symbol beyond its table is its value in plain bits, as two uniform integers. */
#define ESCAPE_BITS 20
#define CHUNK_BITS (ESCAPE_BITS / 2)

/* Reads the value of a symbol beyond its table. */
static inline int32_t ans_escape(AnsDecoder *coder) {
    int32_t high = (int32_t)ans_uniform(coder, 1 << CHUNK_BITS);
    int32_t low = (int32_t)ans_uniform(coder, 1 << CHUNK_BITS);
    return (high << CHUNK_BITS | low) - (1 << (ESCAPE_BITS - 1));
}

typedef struct {
    uint64_t state;
    uint32_t *words; /* room for one word a symbol and two more */
    size_t count;
} AnsEncoder;

/* Puts a symbol of an interval whose size is not 0. */
static inline void ans_put(AnsEncoder *coder, uint32_t left, uint32_t size) {
    if (coder->state >> (64 - ANS_BITS) >= size) {
        coder->words[coder->count++] = (uint32_t)coder->state;
        coder->state >>= 32;
    }
    coder->state = (coder->state / size) << ANS_BITS | (left + coder->state % size);
}

/* Puts a symbol so many times; a division by one number is a multiplication. */
static inline void ans_put_times(AnsEncoder *coder, uint32_t left, uint32_t size, uint32_t times) {
#if defined(__SIZEOF_INT128__)
    if (size > 1) {
        uint64_t inverse = UINT64_MAX / size, limit = (uint64_t)size << (64 - ANS_BITS);
        for (; times; times--) {
            if (size < ANS_ONE && coder->state >= limit) {
                coder->words[coder->count++] = (uint32_t)coder->state;
                coder->state >>= 32;
            }
            uint64_t prefix = (uint64_t)((unsigned __int128)coder->state * inverse >> 64);
            uint64_t rest = coder->state - prefix * size;
            if (rest >= size) { /* the product is at most 1 too small */
                prefix++;
                rest -= size;
            }
            coder->state = prefix << ANS_BITS | (left + rest);
        }
    }
#endif
    for (; times; times--) ans_put(coder, left, size);
}

/* Puts the state itself; after it, `words` are the stream. */
static inline void ans_finish(AnsEncoder *coder) {
    for (; coder->state; coder->state >>= 32) coder->words[coder->count++] = (uint32_t)coder->state;
}

/* Opens a decoder from its (words, state), state being (state, words left); closes it, which keeps
 * the state for the next call. Opening returns 0, or -1 with an exception set. */
int decoder_open(AnsDecoder *coder, Array *words, Array *state, PyObject **objects);
void decoder_close(const AnsDecoder *coder, Array *state);

#endif
