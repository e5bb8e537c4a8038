/* Functions of which the compiler makes a second version for processors with AVX2, from the same
 * lines; which one runs is decided when the module is loaded, by glibc's loader alone: musl's cannot,
 * and a compiler for it refuses such functions. */
#ifndef DSC_CLONES_H
#define DSC_CLONES_H

#include <limits.h> /* says whether this is glibc */

#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__SANITIZE_ADDRESS__)
#define CLONED __attribute__((target_clones("avx2", "default")))
#else
#define CLONED
#endif

#endif
