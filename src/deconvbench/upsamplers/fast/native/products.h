#pragma once
/* The products of a tile: their weights, and the multiplication in registers. */
#include <string.h>

#include "axes.h"

enum {
    KINDS = KINDS_OF_AXIS * KINDS_OF_AXIS,
    WIDTH = 2 * LANES, /* output channels of a block */
    DEPTH = 16,        /* input channels that lie together */
    STRIP = 16,        /* input channels whose weights are transformed together, of up to 3x3 taps; else half */
    PAD = 16,          /* lest strides be powers of two, which share few places in a cache */
    MOST_GATHERED = MOST_TAPS * MOST_TAPS * STRIP / 2 * WIDTH,
};

/* ---- weights: blocks of WIDTH output channels, [products][c_in][lanes], rows of products first */

struct weights {
    const float *data;
    int64_t c_out, c_in, so, si, st; /* strides of channels and taps; one of them is 1 */
};

/* lanes that a block of so many output channels takes */
INLINE int count_vectors(int64_t channels) { return channels > LANES ? 2 : 1; }

INLINE int64_t count_strip(int taps) { return taps > 3 ? STRIP / 2 : STRIP; }

/* taps of some channels, with the output channels side by side: [di] for each input channel, [dt] for each tap */
INLINE void gather_taps(
    const struct weights *w, int64_t all, const float *s, int64_t count, int64_t n, int64_t lanes, float *taps,
    int64_t *di, int64_t *dt)
{
    *di = all * lanes, *dt = lanes;
    if (w->st == 1 && w->si == all) {
        transpose(s, w->so, taps, lanes, count, all * n, 1);
    } else if (w->st == 1) {
        for (int64_t i = 0; i < n; i++) transpose(s + i * w->si, w->so, taps + i * *di, lanes, count, all, 1);
    } else if (w->si == 1) {
        *di = lanes, *dt = n * lanes;
        for (int64_t t = 0; t < all; t++) transpose(s + t * w->st, w->so, taps + t * *dt, lanes, count, n, 1);
    } else {
        for (int64_t i = 0; i < n; i++)
            for (int64_t t = 0; t < all; t++) memcpy(taps + i * *di + t * *dt, s + i * w->si + t * w->st, 4 * count);
    }
}

INLINE void pack_block_along(struct axis axis, const struct weights *w, int64_t block, float *packed)
{
    int products = count_products(axis), taps = axis.taps;
    int64_t o = block * WIDTH, count = least(w->c_out - o, WIDTH), lanes = count_vectors(count) * LANES;
    int64_t step = w->c_in * lanes + PAD, strip = count_strip(taps), di, dt;
    float gathered[MOST_GATHERED];
    if (count < lanes) memset(gathered, 0, 4 * taps * taps * strip * lanes);
    for (int64_t from = 0; from < w->c_in; from += strip) {
        int64_t n = least(w->c_in - from, strip);
        const float *s = w->data + o * w->so + from * w->si;
        gather_taps(w, taps * taps, s, count, n, lanes, gathered, &di, &dt);
        for (int64_t i = 0; i < n; i++)
            for (int64_t lane = 0; lane < lanes; lane += LANES) {
                const float *tap = gathered + i * di + lane;
                float *d = packed + (from + i) * lanes + lane;
                vec r[MOST_TAPS][MOST_PRODUCTS];
                UNROLL
                for (int row = 0; row < taps; row++) {
                    vec some[MOST_TAPS];
                    UNROLL
                    for (int t = 0; t < taps; t++) some[t] = *(vec *)(tap + (taps * row + t) * dt);
                    transform_taps(axis, some, r[row]);
                }
                UNROLL
                for (int j = 0; j < products; j++) {
                    vec some[MOST_TAPS], made[MOST_PRODUCTS];
                    UNROLL
                    for (int t = 0; t < taps; t++) some[t] = r[t][j];
                    transform_taps(axis, some, made);
                    UNROLL
                    for (int i = 0; i < products; i++) *(vec *)(d + (products * i + j) * step) = made[i];
                }
            }
    }
}

/* ---- products */

/* out[row][lane] = start[lane] + sum over k of a[row][k] b[k][lane] */
INLINE void multiply(
    int rows, int vectors, const float *a, int64_t chunk, const float *b, int64_t depth, const float *start, float *out)
{
    vec sum[ROWS][2];
    UNROLL
    for (int m = 0; m < rows; m++) {
        for (int v = 0; v < vectors; v++) sum[m][v] = *(const vec *)(start + v * LANES);
    }
    for (; depth > 0; depth -= DEPTH, a += chunk) {
        int64_t n = least(depth, DEPTH);
        for (int64_t k = 0; k < n; k++, b += vectors * LANES) {
            vec b0 = *(const vec *)b, b1 = vectors > 1 ? *(const vec *)(b + LANES) : b0;
            UNROLL
            for (int m = 0; m < rows; m++) {
                float value = a[m * DEPTH + k];
                sum[m][0] += value * b0;
                if (vectors > 1) sum[m][1] += value * b1;
            }
        }
    }
    UNROLL
    for (int m = 0; m < rows; m++) {
        for (int v = 0; v < vectors; v++) *(vec *)(out + (m * vectors + v) * LANES) = sum[m][v];
    }
}

/* a case for each number of rows that a product may have */
#define UP_TO_6(CASE) CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6)
#define UP_TO_12(CASE) UP_TO_6(CASE) CASE(7) CASE(8) CASE(9) CASE(10) CASE(11) CASE(12)
#if ROWS > 12
#define EACH_ROWS(CASE) UP_TO_12(CASE) CASE(13) CASE(14)
#elif ROWS > 6
#define EACH_ROWS UP_TO_12
#else
#define EACH_ROWS UP_TO_6
#endif

/* with the number of rows known to the compiler, which keeps the sums in registers */
static void multiply_rows(
    int rows, int vectors, const float *a, int64_t chunk, const float *b, int64_t depth, const float *start, float *out)
{
#define CASE(n) \
    case n: \
        if (vectors == 2) multiply(n, 2, a, chunk, b, depth, start, out); \
        else multiply(n, 1, a, chunk, b, depth, start, out); \
        return;
    switch (rows) { EACH_ROWS(CASE) }
#undef CASE
}

