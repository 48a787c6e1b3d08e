#pragma once
/* Numbers as they are stored, of half or of single precision, and as they are computed with: float32. */
#include <string.h>

#include "vectors.h"

/* of input and output; the compiler has no vectors of two of them on every processor, so bits are moved */
enum { FLOAT32, BFLOAT16, FLOAT16 };

typedef uint32_t bits __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef uint16_t halves __attribute__((vector_size(2 * LANES), aligned(2), may_alias));

INLINE int64_t count_bytes(int type) { return type == FLOAT32 ? 4 : 2; }

/* a value some places further on */
INLINE const void *move(const void *to, int64_t values, int type) { return (const char *)to + values * count_bytes(type); }
INLINE void *move_to(void *to, int64_t values, int type) { return (char *)to + values * count_bytes(type); }

INLINE bits select_bits(bits mask, bits a, bits b) { return (mask & a) | (~mask & b); }
INLINE bits fill_bits(uint32_t value) { return value - (bits){0}; }

/* float16 has its exponent 112 lower than float32 and 13 bits less; the smallest are differences from 2^-14 */
INLINE bits widen_float16(bits h)
{
    bits moved = (h & 0x7fff) << 13, exponent = moved & 0x0f800000, number = moved + (112u << 23);
    bits tiny = number + (1u << 23);
    tiny = (bits)((vec)tiny - (vec)fill_bits(113u << 23));
    number = select_bits((bits)(exponent == 0), tiny, number);
    number = select_bits((bits)(exponent == 0x0f800000), number + (112u << 23), number);
    return number | (h & 0x8000) << 16;
}

/* to the nearest, of two equally near to the even one */
INLINE bits narrow_float16(bits f)
{
    bits sign = f & 0x80000000, size = f ^ sign, odd = size >> 13 & 1;
    bits number = (size - (112u << 23) + 0xfff + odd) >> 13;
    /* what is lost below 2^-14 is rounded by an addition, whose last digit is that of float16 */
    bits tiny = (bits)((vec)size + (vec)fill_bits(126u << 23)) - (126u << 23);
    number = select_bits((bits)(size < 113u << 23), tiny, number);
    number = select_bits((bits)(size >= 143u << 23), fill_bits(0x7c00), number);
    number = select_bits((bits)(size > 0x7f800000), fill_bits(0x7e00), number);
    return number | sign >> 16;
}

INLINE bits narrow_bfloat16(bits f)
{
    bits number = (f + 0x7fff + (f >> 16 & 1)) >> 16;
    return select_bits((bits)((f & 0x7fffffff) > 0x7f800000), fill_bits(0x7fc0), number);
}

/* 16 bits to 32 and back; gcc has a word for it from version 9 on */
#if defined(__clang__) || __GNUC__ >= 9
INLINE bits lengthen(halves h) { return __builtin_convertvector(h, bits); }
INLINE halves shorten(bits f) { return __builtin_convertvector(f, halves); }
#else
INLINE bits lengthen(halves h)
{
    bits f;
    for (int i = 0; i < LANES; i++) f[i] = h[i];
    return f;
}
INLINE halves shorten(bits f)
{
    halves h;
    for (int i = 0; i < LANES; i++) h[i] = (uint16_t)f[i];
    return h;
}
#endif

INLINE void widen_vector(const void *s, int type, float *d)
{
    bits h = lengthen(*(const halves *)s);
    *(bits *)d = type == BFLOAT16 ? h << 16 : widen_float16(h);
}

INLINE void narrow_vector(const float *s, int type, void *d)
{
    bits f = *(const bits *)s;
    *(halves *)d = shorten(type == BFLOAT16 ? narrow_bfloat16(f) : narrow_float16(f));
}

/* values side by side to float32 */
INLINE void widen_row(const void *s, int type, int64_t n, float *d)
{
    if (type == FLOAT32) {
        memcpy(d, s, 4 * n);
        return;
    }
    int64_t k = 0;
    for (; k + LANES <= n; k += LANES) widen_vector(move(s, k, type), type, d + k);
    if (k < n) {
        uint16_t rest[LANES] = {0};
        float wide[LANES];
        memcpy(rest, move(s, k, type), 2 * (n - k));
        widen_vector(rest, type, wide);
        memcpy(d + k, wide, 4 * (n - k));
    }
}

/* float32 to values side by side */
INLINE void narrow_row(const float *s, int type, int64_t n, void *d)
{
    if (type == FLOAT32) {
        memcpy(d, s, 4 * n);
        return;
    }
    int64_t k = 0;
    for (; k + LANES <= n; k += LANES) narrow_vector(s + k, type, move_to(d, k, type));
    if (k < n) {
        float rest[LANES] = {0};
        uint16_t narrow[LANES];
        memcpy(rest, s + k, 4 * (n - k));
        narrow_vector(rest, type, narrow);
        memcpy(move_to(d, k, type), narrow, 2 * (n - k));
    }
}

/* ---- pixels: [columns][ld], channels side by side, from and to any strides */

enum { STAGED_ROWS = 16, STAGED_COLUMNS = 64, STAGED = STAGED_COLUMNS + LANES };

/* channels that lie in rows, some of them at a time */
static void gather_channels(
    const void *s, int type, int64_t sc, int64_t channels, int64_t columns, float *p, int64_t ld)
{
    float stage[STAGED_ROWS * STAGED];
    for (int64_t k = 0; k < channels; k += STAGED_ROWS)
        for (int64_t c = 0; c < columns; c += STAGED_COLUMNS) {
            int64_t rows = least(channels - k, STAGED_ROWS), n = least(columns - c, STAGED_COLUMNS);
            for (int64_t r = 0; r < rows; r++) widen_row(move(s, (k + r) * sc + c, type), type, n, stage + r * STAGED);
            transpose(stage, STAGED, p + c * ld + k, ld, rows, n, 1);
        }
}

static void scatter_channels(
    const float *p, int64_t ld, int64_t columns, int64_t channels, void *d, int type, int64_t dc)
{
    float stage[STAGED_ROWS * STAGED];
    for (int64_t k = 0; k < channels; k += STAGED_ROWS)
        for (int64_t c = 0; c < columns; c += STAGED_COLUMNS) {
            int64_t rows = least(channels - k, STAGED_ROWS), n = least(columns - c, STAGED_COLUMNS);
            transpose(p + c * ld + k, ld, stage, STAGED, n, rows, 0);
            for (int64_t r = 0; r < rows; r++) narrow_row(stage + r * STAGED, type, n, move_to(d, (k + r) * dc + c, type));
        }
}

INLINE void gather_pixels(
    const void *s, int type, int64_t sc, int64_t sw, int64_t channels, int64_t columns, float *p, int64_t ld)
{
    if (sc == 1)
        for (int64_t c = 0; c < columns; c++) widen_row(move(s, c * sw, type), type, channels, p + c * ld);
    else if (sw == 1 && type == FLOAT32)
        transpose(s, sc, p, ld, channels, columns, 1);
    else if (sw == 1)
        gather_channels(s, type, sc, channels, columns, p, ld);
    else
        for (int64_t c = 0; c < columns; c++)
            for (int64_t k = 0; k < channels; k++) widen_row(move(s, c * sw + k * sc, type), type, 1, p + c * ld + k);
}

INLINE void scatter_pixels(
    const float *p, int64_t ld, int64_t columns, int64_t channels, void *d, int type, int64_t dc, int64_t dw)
{
    if (dc == 1)
        for (int64_t c = 0; c < columns; c++) narrow_row(p + c * ld, type, channels, move_to(d, c * dw, type));
    else if (dw == 1 && type == FLOAT32)
        transpose(p, ld, d, dc, columns, channels, 0);
    else if (dw == 1)
        scatter_channels(p, ld, columns, channels, d, type, dc);
    else
        for (int64_t c = 0; c < columns; c++)
            for (int64_t k = 0; k < channels; k++) narrow_row(p + c * ld + k, type, 1, move_to(d, c * dw + k * dc, type));
}
