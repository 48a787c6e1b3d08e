#pragma once
/* Vectors as wide as the processor has them, in the language that gcc and clang share, and transposition. */
#include <stdint.h>

/* lanes of a vector, and the rows of a product whose two vectors each stay in registers */
#if defined(__AVX512F__)
#define LANES 16
#define ROWS 14
#elif defined(__AVX__)
#define LANES 8
#define ROWS 6
#elif defined(__aarch64__)
#define LANES 4
#define ROWS 12
#else
#define LANES 4
#define ROWS 6
#endif

#define INLINE static inline __attribute__((always_inline))
#if defined(__clang__)
#define UNROLL _Pragma("unroll")
#define SHUFFLE(a, b, i, j, k, l) __builtin_shufflevector(a, b, i, j, k, l)
#else
#define UNROLL _Pragma("GCC unroll 16")
#define SHUFFLE(a, b, i, j, k, l) __builtin_shuffle(a, b, (mask4){i, j, k, l})
typedef int mask4 __attribute__((vector_size(16)));
#endif

typedef float vec __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef float vec4 __attribute__((vector_size(16), aligned(4), may_alias));

INLINE int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
INLINE int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }
INLINE int64_t round_up(int64_t a, int64_t unit) { return (a + unit - 1) / unit * unit; }

/* ---- transposition */

INLINE void transpose4(const float *s, int64_t ss, float *d, int64_t ds)
{
    vec4 a = *(const vec4 *)s, b = *(const vec4 *)(s + ss);
    vec4 c = *(const vec4 *)(s + 2 * ss), e = *(const vec4 *)(s + 3 * ss);
    vec4 ab0 = SHUFFLE(a, b, 0, 4, 1, 5), ab1 = SHUFFLE(a, b, 2, 6, 3, 7);
    vec4 ce0 = SHUFFLE(c, e, 0, 4, 1, 5), ce1 = SHUFFLE(c, e, 2, 6, 3, 7);
    *(vec4 *)d = SHUFFLE(ab0, ce0, 0, 1, 4, 5);
    *(vec4 *)(d + ds) = SHUFFLE(ab0, ce0, 2, 3, 6, 7);
    *(vec4 *)(d + 2 * ds) = SHUFFLE(ab1, ce1, 0, 1, 4, 5);
    *(vec4 *)(d + 3 * ds) = SHUFFLE(ab1, ce1, 2, 3, 6, 7);
}

/* d[c * ds + r] = s[r * ss + c], four rows of s at a time, or four rows of d */
INLINE void transpose(
    const float *s, int64_t ss, float *d, int64_t ds, int64_t rows, int64_t columns, int by_source)
{
    int64_t whole_rows = rows & ~3, whole_columns = columns & ~3;
    if (by_source)
        for (int64_t r = 0; r < whole_rows; r += 4)
            for (int64_t c = 0; c < whole_columns; c += 4) transpose4(s + r * ss + c, ss, d + c * ds + r, ds);
    else
        for (int64_t c = 0; c < whole_columns; c += 4)
            for (int64_t r = 0; r < whole_rows; r += 4) transpose4(s + r * ss + c, ss, d + c * ds + r, ds);
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = r < whole_rows ? whole_columns : 0; c < columns; c++) d[c * ds + r] = s[r * ss + c];
}
