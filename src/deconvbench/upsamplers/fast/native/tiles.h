#pragma once
/* From pixels to the combinations of a tile that the products take. */
#include "numbers.h"
#include "products.h"

struct job {
    const void *x;
    const float *bias;
    void *y;
    int64_t n, c_in, h, w, xn, xc, xh, xw; /* of x */
    int64_t c_out, oh, ow, yn, yc, yh, yw; /* of y */
    int replicates, type; /* of numbers of x and y */
};

/* a row of the padded image, [columns][ld] */
static void gather_row(const struct job *q, int64_t image, int64_t row, int64_t columns, float *p, int64_t ld)
{
    int64_t source = row - 1, pixel = 4 * q->c_in;
    if ((source < 0 || source >= q->h) && !q->replicates) {
        for (int64_t c = 0; c < columns; c++) memset(p + c * ld, 0, pixel);
        return;
    }
    source = source < 0 ? 0 : least(source, q->h - 1);
    const void *s = move(q->x, image * q->xn + source * q->xh, q->type);
    gather_pixels(s, q->type, q->xc, q->xw, q->c_in, q->w, p + ld, ld);
    for (int64_t c = 0; c < columns; c = c ? c + 1 : q->w + 1) {
        if (q->replicates) memcpy(p + c * ld, p + (c ? q->w : 1) * ld, pixel);
        else memset(p + c * ld, 0, pixel);
    }
}

/* combinations A B E D of columns and rows for a row of tiles, [16][c_in / DEPTH][tile][DEPTH] */
static void combine_row(
    float *const p[4], int64_t ld, int64_t c_in, int64_t tiles, float *a, int64_t chunk, int64_t kind)
{
    for (int64_t t = 0; t < tiles; t++)
        for (int64_t k = 0; k < c_in; k += LANES) {
            float *d = a + k / DEPTH * chunk + t * DEPTH + k % DEPTH;
            vec r[4][4];
            UNROLL
            for (int i = 0; i < 4; i++) {
                const float *s = p[i] + 2 * t * ld + k;
                vec before = *(vec *)s, first = *(vec *)(s + ld);
                vec second = *(vec *)(s + 2 * ld), after = *(vec *)(s + 3 * ld);
                r[i][0] = before - second, r[i][1] = first + second;
                r[i][2] = after - first, r[i][3] = second - first;
            }
            UNROLL
            for (int j = 0; j < 4; j++) {
                *(vec *)(d + j * kind) = r[0][j] - r[2][j];
                *(vec *)(d + (4 + j) * kind) = r[1][j] + r[2][j];
                *(vec *)(d + (8 + j) * kind) = r[3][j] - r[1][j];
                *(vec *)(d + (12 + j) * kind) = r[2][j] - r[1][j];
            }
        }
}
