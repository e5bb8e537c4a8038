/* Rows of bits, 64 to a word, the first in the lowest bit; and rows of 16-bit labels compared. */
#ifndef DSC_BITS_H
#define DSC_BITS_H

#include <stdint.h>
#include <string.h>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#define WORD 64

static inline int64_t words_of(int64_t bits) {
    return (bits + WORD - 1) / WORD;
}

#if defined(__SSE2__)

/* Returns which of 16 labels are like those of `b`. */
static inline uint64_t same16(const uint16_t *a, __m128i low, __m128i high) {
    __m128i first = _mm_cmpeq_epi16(_mm_loadu_si128((const __m128i *)a), low);
    __m128i second = _mm_cmpeq_epi16(_mm_loadu_si128((const __m128i *)(a + 8)), high);
    return (uint64_t)(uint32_t)_mm_movemask_epi8(_mm_packs_epi16(first, second));
}

/* Returns which of 64 labels differ from those of `b`. */
static inline uint64_t differ64(const uint16_t *a, const uint16_t *b) {
    uint64_t same = 0;
    for (int k = 0; k < WORD; k += 16)
        same |= same16(a + k, _mm_loadu_si128((const __m128i *)(b + k)),
                       _mm_loadu_si128((const __m128i *)(b + k + 8)))
                << k;
    return ~same;
}

/* Returns which of 48 labels are `label`. */
static inline uint64_t same48(const uint16_t *a, uint16_t label) {
    __m128i wanted = _mm_set1_epi16((short)label);
    return same16(a, wanted, wanted) | same16(a + 16, wanted, wanted) << 16 |
           same16(a + 32, wanted, wanted) << 32;
}

#else

/* Returns the bits of 8 bytes that are 0 or 1. */
static inline uint64_t pack8(const uint8_t *bytes) {
    uint64_t found = 0;
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    memcpy(&found, bytes, 8);
    return (found * UINT64_C(0x0102040810204080)) >> 56;
#else
    for (int k = 0; k < 8; k++) found |= (uint64_t)bytes[k] << k;
    return found;
#endif
}

static inline uint64_t differ64(const uint16_t *a, const uint16_t *b) {
    uint8_t bytes[WORD];
    uint64_t found = 0;
    for (int k = 0; k < WORD; k++) bytes[k] = a[k] != b[k];
    for (int k = 0; k < WORD; k += 8) found |= pack8(bytes + k) << k;
    return found;
}

static inline uint64_t same48(const uint16_t *a, uint16_t label) {
    uint8_t bytes[48];
    uint64_t found = 0;
    for (int k = 0; k < 48; k++) bytes[k] = a[k] == label;
    for (int k = 0; k < 48; k += 8) found |= pack8(bytes + k) << k;
    return found;
}

#endif

static inline int count_bits(uint64_t bits) {
    return __builtin_popcountll(bits);
}

static inline int first_bit(uint64_t bits) {
    return __builtin_ctzll(bits);
}

static inline int last_bit(uint64_t bits) {
    return WORD - 1 - __builtin_clzll(bits);
}

#endif
