/* The tiled form of nearest x2 + convolution 3 in one pass over the cache; see tiled.py for what is computed.
 *
 * Per band of tile rows: pixels are gathered and padded (any strides), combined to 16 kinds, multiplied with 25
 * matrices of weights and assembled to 16 output pixels a tile. Products never leave the cache. In the product the
 * channels of the output are the lanes of a vector and the tiles its rows, whatever the memory formats are; what
 * is stored otherwise is transposed on its way in and out. Allocates nothing, keeps nothing, float32 only.
 */
#include "tiles.h"

/* ---- output */

/* 16 pixels of a tile from its products a b e f g in both directions, for one vector of channels */
INLINE void assemble(const float *p, int64_t step, float *y, int64_t sh, int64_t sw, int rows, int columns)
{
    vec r[5][4];
    UNROLL
    for (int i = 0; i < 5; i++) {
        const float *s = p + 5 * i * step;
        vec a = *(vec *)s, b = *(vec *)(s + step), e = *(vec *)(s + 2 * step);
        vec f = *(vec *)(s + 3 * step), g = *(vec *)(s + 4 * step);
        r[i][0] = (b - f) + a, r[i][1] = b - g, r[i][2] = b + f, r[i][3] = (b + g) + e;
    }
    UNROLL
    for (int j = 0; j < 4; j++) {
        if (j >= columns) break;
        float *d = y + j * sw;
        *(vec *)d = (r[1][j] - r[3][j]) + r[0][j];
        *(vec *)(d + sh) = r[1][j] - r[4][j];
        if (rows > 2) {
            *(vec *)(d + 2 * sh) = r[1][j] + r[3][j];
            *(vec *)(d + 3 * sh) = (r[1][j] + r[4][j]) + r[2][j];
        }
    }
}

/* a row of tiles, for the output channels from o on */
static void write_row(const struct job *q, const float *p, int64_t step, int64_t o, int64_t row, float *stage)
{
    int64_t tile_rows = (q->h + 1) / 2, tiles = (q->w + 1) / 2, r = row % tile_rows;
    int64_t count = least(q->c_out - o, WIDTH), lanes = count_vectors(count) * LANES;
    int rows = (int)least(2 * q->h - 4 * r, 4);
    float *y = q->y + row / tile_rows * q->yn + 4 * r * q->yh + o * q->yc;
    if (q->yc == 1 && count == lanes) {
        for (int64_t t = 0; t < tiles; t++)
            for (int64_t lane = 0; lane < lanes; lane += LANES) {
                const float *s = p + t * lanes + lane;
                float *d = y + 4 * t * q->yw + lane;
                if (rows == 4 && t < q->w / 2) assemble(s, step, d, q->yh, q->yw, 4, 4);
                else assemble(s, step, d, q->yh, q->yw, rows, t < q->w / 2 ? 4 : 2);
            }
        return;
    }
    for (int64_t first = 0; first < tiles; first += SEGMENT, y += 4 * SEGMENT * q->yw) {
        int64_t n = least(tiles - first, SEGMENT), columns = least(2 * q->w - 4 * first, 4 * n);
        for (int64_t t = 0; t < n; t++)
            for (int64_t lane = 0; lane < lanes; lane += LANES) {
                float *d = stage + 4 * t * lanes + lane;
                assemble(p + (first + t) * lanes + lane, step, d, 4 * SEGMENT * lanes, lanes, 4, 4);
            }
        for (int64_t k = 0; k < count; k += 4) {
            int64_t some = least(count - k, 4);
            /* planes lie far apart, so that no processor foresees which comes next */
            for (int64_t j = k + 4; j < least(k + 8, count); j++)
                for (int i = 0; i < rows; i++) {
                    const float *d = y + j * q->yc + i * q->yh;
                    for (int64_t c = 0; c < columns; c += 16) __builtin_prefetch(d + c * q->yw, 1);
                }
            for (int i = 0; i < rows; i++) {
                const float *s = stage + i * 4 * SEGMENT * lanes + k;
                float *d = y + i * q->yh + k * q->yc;
                if (q->yw == 1)
                    transpose(s, lanes, d, q->yc, columns, some, 0);
                else
                    for (int64_t c = 0; c < columns; c++)
                        for (int64_t j = 0; j < some; j++) d[c * q->yw + j * q->yc] = s[c * lanes + j];
            }
        }
    }
}

/* ---- bands */

/* where a band has what, in values */
struct places {
    int64_t columns, ld, chunk, kind, step; /* padded columns and strides */
    int64_t combined, products, end;
};

static struct places place(int64_t c_in, int64_t w, int64_t rows)
{
    struct places at;
    int64_t tiles = rows * ((w + 1) / 2);
    at.columns = 2 * ((w + 1) / 2) + 2;
    at.ld = round_up(c_in, LANES) + PAD;
    at.chunk = tiles * DEPTH;
    at.kind = round_up(c_in, DEPTH) * tiles + PAD;
    at.step = tiles * WIDTH + PAD;
    /* pixels are gathered where later the output is staged */
    at.combined = most(4 * at.columns * at.ld, 16 * SEGMENT * WIDTH);
    at.products = at.combined + KINDS * at.kind;
    at.end = at.products + PRODUCTS * at.step;
    return at;
}

static void combine_band(const struct job *q, const struct places *at, int64_t first, int64_t last, float *scratch)
{
    int64_t tile_rows = (q->h + 1) / 2, tiles = (q->w + 1) / 2, there = 0;
    for (int64_t row = first; row < last; row++) {
        int64_t r = 2 * (row % tile_rows);
        float *p[4];
        /* of four padded rows the last two are the first two of the next row of tiles */
        if (row == first || r == 0) there = r;
        for (int i = 0; i < 4; i++) p[(there + i) % 4] = scratch + (there + i) % 4 * at->columns * at->ld;
        for (; there < r + 4; there++) gather_row(q, row / tile_rows, there, at->columns, p[there % 4], at->ld);
        float *turned[4] = {p[r % 4], p[(r + 1) % 4], p[(r + 2) % 4], p[(r + 3) % 4]};
        float *combined = scratch + at->combined + (row - first) * tiles * DEPTH;
        combine_row(turned, at->ld, q->c_in, tiles, combined, at->chunk, at->kind);
    }
}

static void multiply_band(
    const struct job *q, const struct places *at, const float *packed, int64_t o, int64_t first, int64_t last,
    float *scratch)
{
    int64_t row_tiles = (q->w + 1) / 2, tiles = (last - first) * row_tiles, parts = (tiles + ROWS - 1) / ROWS;
    int64_t count = least(q->c_out - o, WIDTH);
    int vectors = count_vectors(count), lanes = vectors * LANES;
    float bias[WIDTH] = {0}, zeros[WIDTH] = {0};
    if (q->bias) memcpy(bias, q->bias + o, 4 * count);
    for (int i = 0; i < PRODUCTS; i++) {
        const float *a = scratch + at->combined + (4 * KIND[i / 5] + KIND[i % 5]) * at->kind;
        const float *b = packed + i * (q->c_in * lanes + PAD);
        float *out = scratch + at->products + i * at->step;
        /* the product b in both directions goes to every pixel, and the bias with it */
        const float *start = i == 6 ? bias : zeros;
        for (int64_t part = 0; part < parts; part++) {
            int64_t from = part * tiles / parts, to = (part + 1) * tiles / parts;
            const float *some = a + from * DEPTH;
            multiply_rows((int)(to - from), vectors, some, at->chunk, b, q->c_in, start, out + from * lanes);
        }
    }
    for (int64_t row = first; row < last; row++)
        write_row(q, scratch + at->products + (row - first) * row_tiles * lanes, at->step, o, row, scratch);
}

/* ---- what is called */

/* how the work is cut: each worker has some blocks of output channels and some rows of tiles, in bands of `rows`;
 * where the weight is to be transformed, `blocks` at a time */
struct cut {
    int64_t splits, groups, rows, blocks, scratch;
};

int64_t deconvbench_block_channels(void) { return WIDTH; }

/* values of the transformed weight of a block of output channels */
int64_t deconvbench_block_values(int64_t c_in) { return PRODUCTS * (c_in * WIDTH + PAD); }

/* values that a worker needs for bands of so many rows of tiles */
int64_t deconvbench_band_values(int64_t c_in, int64_t w, int64_t rows) { return place(c_in, w, rows).end; }

/* whether it was compiled for several threads */
int64_t deconvbench_is_threaded(void)
{
#if defined(_OPENMP)
    return 1;
#else
    return 0;
#endif
}

void deconvbench_pack(const struct weights *w, float *packed)
{
    for (int64_t block = 0; block * WIDTH < w->c_out; block++)
        pack_block(w, block, packed + block * deconvbench_block_values(w->c_in));
}

static void work(
    const struct job *q, const struct weights *w, const float *packed, const struct cut *cut, int64_t worker,
    float *scratch)
{
    int64_t size = deconvbench_block_values(q->c_in);
    int64_t all_rows = q->n * ((q->h + 1) / 2), all = (q->c_out + WIDTH - 1) / WIDTH;
    int64_t split = worker % cut->splits, group = worker / cut->splits;
    int64_t from = split * all / cut->splits, to = (split + 1) * all / cut->splits;
    int64_t row = group * all_rows / cut->groups, rows = (group + 1) * all_rows / cut->groups - row;
    int64_t bands = (rows + cut->rows - 1) / cut->rows;
    struct places at = place(q->c_in, q->w, cut->rows);
    float *own = scratch + worker * cut->scratch, *made = own + at.end;
    for (int64_t first = from; first < to; first += cut->blocks) {
        int64_t last = least(first + cut->blocks, to);
        if (!packed)
            for (int64_t block = first; block < last; block++) pack_block(w, block, made + (block - first) * size);
        const float *there = packed ? packed + first * size : made;
        for (int64_t band = 0; band < bands; band++) {
            int64_t start = row + band * rows / bands, stop = row + (band + 1) * rows / bands;
            /* a single band is still combined when the next blocks come */
            if (bands > 1 || first == from) combine_band(q, &at, start, stop, own);
            for (int64_t block = first; block < last; block++)
                multiply_band(q, &at, there + (block - first) * size, block * WIDTH, start, stop, own);
        }
    }
}

void deconvbench_run(
    const struct job *q, const struct weights *w, const float *packed, const struct cut *cut, int threads,
    float *scratch)
{
    int64_t workers = cut->splits * cut->groups;
#if defined(_OPENMP)
    if (workers > 1) {
        /* all of torch's threads, even those with nothing to do: another number would end and start them anew */
#pragma omp parallel for num_threads(threads) schedule(static, 1)
        for (int64_t worker = 0; worker < workers; worker++) work(q, w, packed, cut, worker, scratch);
        return;
    }
#endif
    (void)threads;
    for (int64_t worker = 0; worker < workers; worker++) work(q, w, packed, cut, worker, scratch);
}
