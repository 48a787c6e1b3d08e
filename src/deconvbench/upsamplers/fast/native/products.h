#pragma once
/* The 25 products of the tiled form: their weights, and the multiplication in registers. */
#include <string.h>

#include "vectors.h"

enum {
    PRODUCTS = 25,
    KINDS = 16,
    WIDTH = 2 * LANES, /* output channels of a block */
    DEPTH = 16,        /* input channels that lie together */
    STRIP = 16,        /* input channels whose weights are transformed together */
    SEGMENT = 8,       /* tiles whose output is transposed together */
    PAD = 16,          /* lest strides be powers of two, which share few places in a cache */
};

/* ---- weights: blocks of WIDTH output channels, [25][c_in][lanes], rows of products first */

struct weights {
    const float *data;
    int64_t c_out, c_in, so, si, st; /* strides of channels and taps; of the last two one is 1 */
};

/* lanes that a block of so many output channels takes */
INLINE int count_vectors(int64_t channels) { return channels > LANES ? 2 : 1; }

static void pack_strip(const struct weights *w, int64_t block, int64_t from, float *packed)
{
    int64_t o = block * WIDTH, count = least(w->c_out - o, WIDTH), n = least(w->c_in - from, STRIP);
    int64_t lanes = count_vectors(count) * LANES, step = w->c_in * lanes + PAD, di, dt;
    float taps[9 * STRIP * WIDTH];
    const float *s = w->data + o * w->so + from * w->si;
    if (count < lanes) memset(taps, 0, sizeof taps);
    if (w->st == 1) {
        di = 9 * lanes, dt = lanes;
        transpose(s, w->so, taps, lanes, count, 9 * n, 1);
    } else {
        di = lanes, dt = STRIP * lanes;
        for (int t = 0; t < 9; t++) transpose(s + t * w->st, w->so, taps + t * dt, lanes, count, n, 1);
    }
    for (int64_t i = 0; i < n; i++)
        for (int64_t lane = 0; lane < lanes; lane += LANES) {
            const float *tap = taps + i * di + lane;
            float *d = packed + (from + i) * lanes + lane;
            vec r[3][5];
            UNROLL
            for (int row = 0; row < 3; row++) {
                vec w0 = *(vec *)(tap + 3 * row * dt), w1 = *(vec *)(tap + (3 * row + 1) * dt);
                vec w2 = *(vec *)(tap + (3 * row + 2) * dt), half = 0.5f * (w0 + w1 + w2);
                r[row][0] = w0, r[row][1] = half, r[row][2] = w2, r[row][3] = half - w0, r[row][4] = half - w2;
            }
            UNROLL
            for (int j = 0; j < 5; j++) {
                vec half = 0.5f * (r[0][j] + r[1][j] + r[2][j]);
                *(vec *)(d + j * step) = r[0][j];
                *(vec *)(d + (5 + j) * step) = half;
                *(vec *)(d + (10 + j) * step) = r[2][j];
                *(vec *)(d + (15 + j) * step) = half - r[0][j];
                *(vec *)(d + (20 + j) * step) = half - r[2][j];
            }
        }
}

static void pack_block(const struct weights *w, int64_t block, float *packed)
{
    for (int64_t from = 0; from < w->c_in; from += STRIP) pack_strip(w, block, from, packed);
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

/* of the products a b e f g, which combination A B E D they take */
static const int KIND[5] = {0, 1, 2, 3, 3};
