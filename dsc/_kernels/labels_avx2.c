/* The walk for processors with AVX2. */
#include "walk.h"

#if WITH_AVX2

#include <immintrin.h>

#define WALK_LEVELS walk_levels_avx2
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,popcnt,bmi"))), apply_to = function)
#include "walk_levels.h"
#pragma clang attribute pop
#else
#pragma GCC target("avx2,popcnt,bmi")
#include "walk_levels.h"
#endif

#endif
