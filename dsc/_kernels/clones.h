/* Functions of which the compiler makes a second version for processors with AVX2, from the same
 * lines; which one runs is decided when the module is loaded. */
#ifndef DSC_CLONES_H
#define DSC_CLONES_H

#if defined(__x86_64__) && defined(__linux__) && defined(__GNUC__) && !defined(__SANITIZE_ADDRESS__)
#define CLONED __attribute__((target_clones("avx2", "default")))
#else
#define CLONED
#endif

#endif
