/* Backward of the tiled form: the same 25 products, transposed; see backward.py for what is computed.
 *
 * Per band of tile rows: gradients to 16 output pixels of a tile become gradients to its 25 products. Multiplied with
 * the transposed weights these are gradients to the 16 combinations, which are added up to those to the pixels;
 * multiplied with the combinations, tile by tile, they are gradients to the weights of the products, which are kept
 * to the end. Threads share the work of a band by rows, then by channels, so that no two of them write to one place,
 * and sums have the same order whatever their number. Allocates nothing, keeps nothing, float32 only.
 */
#include "tiles.h"

#if defined(_OPENMP)
int omp_get_thread_num(void);
#define WORKER omp_get_thread_num()
#else
#define WORKER 0
#endif

struct gradients {
    float *x; /* to the input, or null */
    int64_t xn, xc, xh, xw;
    float *w; /* to the weight, or null; contiguous */
};

/* where things are in the scratch memory, in values; `own` is each worker's */
struct backward_places {
    int64_t columns, tiles, ldx, ldy;      /* padded columns, tiles of a band, strides of gathered pixels */
    int64_t xchunk, xkind, ychunk, ykind;  /* of combinations and of gradients to products */
    int64_t step, pack;                    /* of products, and of a block's weights */
    int64_t blocks_in, blocks_out, sums;   /* blocks of channels, and sums of one product */
    int64_t pixels_x, pixels_y, combined, gradients, carry, weights, own, size, end;
    int64_t products, pixels, made;        /* within `own` */
};

static struct backward_places place_backward(
    int64_t c_in, int64_t c_out, int64_t w, int64_t rows, int64_t workers, int64_t to_input, int64_t to_weight)
{
    struct backward_places at;
    int64_t row_tiles = (w + 1) / 2;
    at.columns = 2 * row_tiles + 2;
    at.tiles = rows * row_tiles;
    at.ldx = round_up(c_in, LANES) + PAD, at.ldy = round_up(c_out, LANES) + PAD;
    at.xchunk = at.ychunk = at.tiles * DEPTH;
    at.xkind = round_up(c_in, DEPTH) * at.tiles + PAD;
    at.ykind = round_up(c_out, most(WIDTH, DEPTH)) * at.tiles + PAD;
    at.step = at.tiles * WIDTH + PAD;
    at.pack = PRODUCTS * (c_out * WIDTH + PAD);
    at.blocks_in = (c_in + WIDTH - 1) / WIDTH, at.blocks_out = (c_out + WIDTH - 1) / WIDTH;
    at.sums = at.blocks_out * c_in * WIDTH;
    at.pixels_x = 0;
    at.pixels_y = at.pixels_x + (to_weight ? (2 * rows + 2) * at.columns * at.ldx : 0);
    at.combined = at.pixels_y + 4 * rows * 4 * row_tiles * at.ldy;
    at.gradients = at.combined + (to_weight ? KINDS * at.xkind : 0);
    at.carry = at.gradients + PRODUCTS * at.ykind;
    at.weights = at.carry + (to_input ? at.blocks_in * 2 * at.columns * WIDTH : 0);
    at.own = at.weights + (to_weight ? PRODUCTS * at.sums : 0);
    at.products = 0;
    at.pixels = at.products + PRODUCTS * at.step;
    at.made = at.pixels + (2 * rows + 2) * at.columns * WIDTH;
    at.size = to_input ? at.made + at.pack : 0;
    at.end = at.own + workers * at.size;
    return at;
}

/* ---- gradients to the output become those to the products */

/* a row of the gradient, [4 tiles][ld]; zeros beyond the image */
static void gather_gradient(const struct job *q, int64_t image, int64_t row, float *p, int64_t ld)
{
    int64_t columns = 4 * ((q->w + 1) / 2), there = row < 2 * q->h ? 2 * q->w : 0;
    if (there) gather_pixels(q->y + image * q->yn + row * q->yh, q->yc, q->yw, q->c_out, there, p, ld);
    for (int64_t c = there; c < columns; c++) memset(p + c * ld, 0, 4 * q->c_out);
}

/* a b e f g of four values: what `assemble` does, transposed */
INLINE void spread(vec y0, vec y1, vec y2, vec y3, vec *to)
{
    to[0] = y0, to[1] = (y0 + y1) + (y2 + y3), to[2] = y3, to[3] = y2 - y0, to[4] = y3 - y1;
}

/* for a row of tiles, [25][c_out / DEPTH][tile][DEPTH] */
static void spread_row(
    const float *p, int64_t row, int64_t ld, int64_t channels, int64_t tiles, float *a, int64_t chunk, int64_t kind)
{
    for (int64_t t = 0; t < tiles; t++)
        for (int64_t k = 0; k < channels; k += LANES) {
            float *d = a + k / DEPTH * chunk + t * DEPTH + k % DEPTH;
            vec r[4][5];
            UNROLL
            for (int i = 0; i < 4; i++) {
                const float *s = p + i * row + 4 * t * ld + k;
                spread(*(vec *)s, *(vec *)(s + ld), *(vec *)(s + 2 * ld), *(vec *)(s + 3 * ld), r[i]);
            }
            UNROLL
            for (int j = 0; j < 5; j++) {
                vec to[5];
                spread(r[0][j], r[1][j], r[2][j], r[3][j], to);
                UNROLL
                for (int i = 0; i < 5; i++) *(vec *)(d + (5 * i + j) * kind) = to[i];
            }
        }
}

/* ---- to the input */

/* gradients to the four pixels that a tile sees, from those to its combinations: `combine_row` transposed */
INLINE void gather_kinds(vec a, vec b, vec e, vec d, vec *to)
{
    to[0] = a, to[1] = b - e - d, to[2] = b - a + d, to[3] = e;
}

/* adds a tile's share to 4x4 pixels */
INLINE void add_tile(const float *p, int64_t step, float *y, int64_t sh, int64_t sw)
{
    vec r[4][4];
    UNROLL
    for (int i = 0; i < 4; i++) {
        vec of[5];
        UNROLL
        for (int j = 0; j < 5; j++) {
            const float *s = p + (5 * i + j) * step;
            of[j] = *(vec *)s;
            /* f and g take the same combination */
            if (i == 3) of[j] += *(vec *)(s + 5 * step);
        }
        gather_kinds(of[0], of[1], of[2], of[3] + of[4], r[i]);
    }
    UNROLL
    for (int j = 0; j < 4; j++) {
        vec to[4];
        gather_kinds(r[0][j], r[1][j], r[2][j], r[3][j], to);
        UNROLL
        for (int i = 0; i < 4; i++) *(vec *)(y + i * sh + j * sw) += to[i];
    }
}

static void add_pixels(float *to, const float *from, int64_t count)
{
    for (int64_t k = 0; k < count; k += LANES) *(vec *)(to + k) += *(vec *)(from + k);
}

/* a row of padded pixels [columns][lanes] to the image, from the channel on */
static void write_pixels(
    const struct job *q, const struct gradients *to, int64_t image, int64_t row, int64_t channel, int64_t count,
    int64_t lanes, const float *p)
{
    float *d = to->x + image * to->xn + row * to->xh + channel * to->xc;
    p += lanes;
    if (to->xc == 1)
        for (int64_t c = 0; c < q->w; c++) memcpy(d + c * to->xw, p + c * lanes, 4 * count);
    else if (to->xw == 1)
        transpose(p, lanes, d, to->xc, q->w, count, 0);
    else
        for (int64_t c = 0; c < q->w; c++)
            for (int64_t j = 0; j < count; j++) d[c * to->xw + j * to->xc] = p[c * lanes + j];
}

/* what lies beyond the border goes to the outermost pixels, or nowhere */
static void fold_columns(const struct job *q, float *p, int64_t lanes)
{
    add_pixels(p + lanes, p, lanes);
    add_pixels(p + q->w * lanes, p + (q->w + 1) * lanes, lanes);
}

/* a block of input channels in a band */
static void send_to_input(
    const struct job *q, const struct gradients *to, const struct weights *turned, const float *packed,
    const struct backward_places *at, int64_t image, int64_t block, int64_t first, int64_t last, float *scratch)
{
    int64_t row_tiles = (q->w + 1) / 2, tiles = (last - first) * row_tiles, parts = (tiles + ROWS - 1) / ROWS;
    int64_t count = least(q->c_in - block * WIDTH, WIDTH), rows = 2 * (last - first) + 2;
    int vectors = count_vectors(count), lanes = vectors * LANES;
    int64_t row = at->columns * lanes, is_last = last == (q->h + 1) / 2;
    float *own = scratch + at->own + WORKER * at->size, *pixels = own + at->pixels;
    float *carry = scratch + at->carry + block * 2 * at->columns * WIDTH, zeros[WIDTH] = {0};
    const float *there = packed ? packed + block * at->pack : own + at->made;
    if (!packed) pack_block(turned, block, own + at->made);
    for (int i = 0; i < PRODUCTS; i++) {
        const float *a = scratch + at->gradients + i * at->ykind, *b = there + i * (q->c_out * lanes + PAD);
        float *out = own + at->products + i * at->step;
        for (int64_t part = 0; part < parts; part++) {
            int64_t from = part * tiles / parts, end = (part + 1) * tiles / parts;
            multiply_rows(
                (int)(end - from), vectors, a + from * DEPTH, at->ychunk, b, q->c_out, zeros, out + from * lanes);
        }
    }
    /* the last two rows of a band are the first two of the next */
    memset(pixels, 0, 4 * rows * row);
    if (first) memcpy(pixels, carry, 8 * row);
    for (int64_t r = 0; r < last - first; r++)
        for (int64_t t = 0; t < row_tiles; t++)
            for (int64_t lane = 0; lane < lanes; lane += LANES)
                add_tile(own + at->products + (r * row_tiles + t) * lanes + lane, at->step,
                         pixels + 2 * r * row + 2 * t * lanes + lane, row, lanes);
    if (!is_last) memcpy(carry, pixels + (rows - 2) * row, 8 * row);
    /* padded row p is row p - 1 of the image */
    int64_t base = 2 * first;
    if (q->replicates) {
        if (!first) add_pixels(pixels + row, pixels, row);
        if (is_last) add_pixels(pixels + (q->h - base) * row, pixels + (q->h + 1 - base) * row, row);
    }
    for (int64_t p = most(base, 1); p <= (is_last ? q->h : base + rows - 3); p++) {
        if (q->replicates) fold_columns(q, pixels + (p - base) * row, lanes);
        write_pixels(q, to, image, p - 1, block * WIDTH, count, lanes, pixels + (p - base) * row);
    }
}

/* ---- to the weight */

/* sums[row][lane] = or += sum over tiles of a[tile][row] b[tile][lane] */
INLINE void gather_sums(
    int rows, int vectors, const float *a, const float *b0, const float *b1, int64_t tiles, int adds, float *sums)
{
    int64_t lanes = vectors * LANES;
    vec sum[ROWS][2];
    UNROLL
    for (int m = 0; m < rows; m++)
        for (int v = 0; v < vectors; v++) sum[m][v] = adds ? *(vec *)(sums + m * lanes + v * LANES) : (vec){0};
    for (int64_t t = 0; t < tiles; t++, a += DEPTH, b0 += DEPTH, b1 += DEPTH) {
        vec first = *(const vec *)b0, second = vectors > 1 ? *(const vec *)b1 : first;
        UNROLL
        for (int m = 0; m < rows; m++) {
            sum[m][0] += a[m] * first;
            if (vectors > 1) sum[m][1] += a[m] * second;
        }
    }
    UNROLL
    for (int m = 0; m < rows; m++)
        for (int v = 0; v < vectors; v++) *(vec *)(sums + m * lanes + v * LANES) = sum[m][v];
}

static void gather_rows(
    int rows, int vectors, const float *a, const float *b0, const float *b1, int64_t tiles, int adds, float *sums)
{
#define SUMS(n) \
    case n: \
        if (vectors == 2) gather_sums(n, 2, a, b0, b1, tiles, adds, sums); \
        else gather_sums(n, 1, a, b0, b1, tiles, adds, sums); \
        return;
    switch (rows) { EACH_ROWS(SUMS) }
#undef SUMS
}

/* one product and DEPTH input channels, over the tiles of a band */
static void send_to_weight(
    const struct job *q, const struct backward_places *at, int64_t product, int64_t chunk, int64_t tiles, int adds,
    float *scratch)
{
    int kind = 4 * KIND[product / 5] + KIND[product % 5];
    const float *a = scratch + at->combined + kind * at->xkind + chunk * at->xchunk;
    const float *b = scratch + at->gradients + product * at->ykind;
    int64_t channels = least(q->c_in - chunk * DEPTH, DEPTH), parts = (channels + ROWS - 1) / ROWS;
    for (int64_t block = 0; block < at->blocks_out; block++) {
        int vectors = count_vectors(least(q->c_out - block * WIDTH, WIDTH));
        int64_t lane = block * WIDTH, other = lane + (vectors - 1) * LANES;
        float *sums = scratch + at->weights + product * at->sums + block * q->c_in * WIDTH;
        for (int64_t part = 0; part < parts; part++) {
            int64_t from = part * channels / parts, end = (part + 1) * channels / parts;
            gather_rows((int)(end - from), vectors, a + from, b + lane / DEPTH * at->ychunk + lane % DEPTH,
                        b + other / DEPTH * at->ychunk + other % DEPTH, tiles, adds,
                        sums + (chunk * DEPTH + from) * vectors * LANES);
        }
    }
}

/* from gradients to the weights of the 25 products to those of the 9 taps: `pack_strip` transposed */
INLINE void collect(vec a, vec b, vec e, vec f, vec g, vec *to)
{
    vec half = 0.5f * ((b + f) + g);
    to[0] = half + (a - f), to[1] = half, to[2] = half + (e - g);
}

/* some input channels of a block of output channels */
static void write_taps(
    const struct job *q, const struct gradients *to, const struct backward_places *at, int64_t block, int64_t from,
    const float *scratch)
{
    int64_t count = least(q->c_out - block * WIDTH, WIDTH), n = least(q->c_in - from, STRIP);
    int64_t lanes = count_vectors(count) * LANES;
    float taps[9 * STRIP * WIDTH];
    for (int64_t i = 0; i < n; i++)
        for (int64_t lane = 0; lane < lanes; lane += LANES) {
            const float *s = scratch + at->weights + (block * q->c_in * WIDTH + (from + i) * lanes + lane);
            vec r[5][3];
            UNROLL
            for (int row = 0; row < 5; row++) {
                const float *p = s + 5 * row * at->sums;
                collect(*(vec *)p, *(vec *)(p + at->sums), *(vec *)(p + 2 * at->sums), *(vec *)(p + 3 * at->sums),
                        *(vec *)(p + 4 * at->sums), r[row]);
            }
            UNROLL
            for (int j = 0; j < 3; j++) {
                vec column[3];
                collect(r[0][j], r[1][j], r[2][j], r[3][j], r[4][j], column);
                UNROLL
                for (int row = 0; row < 3; row++) *(vec *)(taps + (9 * i + 3 * row + j) * lanes + lane) = column[row];
            }
        }
    transpose(taps, lanes, to->w + (block * WIDTH * q->c_in + from) * 9, 9 * q->c_in, 9 * n, count, 1);
}

/* ---- what is called */

/* values that all workers need together for bands of so many rows of tiles */
int64_t deconvbench_backward_values(
    int64_t c_in, int64_t c_out, int64_t w, int64_t rows, int64_t workers, int64_t to_input, int64_t to_weight)
{
    return place_backward(c_in, c_out, w, rows, workers, to_input, to_weight).end;
}

/* `q` has the input and, as its output, the gradient to it; `turned` is the weight with its channels exchanged, and
 * `packed` what `deconvbench_pack` makes of that, or null: made anew for each band */
void deconvbench_backward(
    const struct job *q, const struct gradients *to, const struct weights *turned, const float *packed, int64_t rows,
    int workers, float *scratch)
{
    struct backward_places at = place_backward(q->c_in, q->c_out, q->w, rows, workers, to->x != 0, to->w != 0);
    int64_t tile_rows = (q->h + 1) / 2, row_tiles = (q->w + 1) / 2, bands = (tile_rows + rows - 1) / rows;
    int64_t chunks = (q->c_in + DEPTH - 1) / DEPTH, pixel_row = 4 * row_tiles * at.ldy;
#if defined(_OPENMP)
#pragma omp parallel num_threads(workers)
#endif
    for (int64_t turn = 0; turn < q->n * bands; turn++) {
        int64_t image = turn / bands, band = turn % bands;
        int64_t first = band * tile_rows / bands, last = (band + 1) * tile_rows / bands, there = last - first;
#if defined(_OPENMP)
#pragma omp for
#endif
        for (int64_t row = 0; row < 4 * there; row++)
            gather_gradient(q, image, 4 * first + row, scratch + at.pixels_y + row * pixel_row, at.ldy);
        if (to->w) {
#if defined(_OPENMP)
#pragma omp for
#endif
            for (int64_t row = 0; row < 2 * there + 2; row++)
                gather_row(
                    q, image, 2 * first + row, at.columns, scratch + at.pixels_x + row * at.columns * at.ldx, at.ldx);
        }
#if defined(_OPENMP)
#pragma omp for
#endif
        for (int64_t row = 0; row < there; row++) {
            spread_row(scratch + at.pixels_y + 4 * row * pixel_row, pixel_row, at.ldy, q->c_out, row_tiles,
                       scratch + at.gradients + row * row_tiles * DEPTH, at.ychunk, at.ykind);
            if (to->w) {
                float *p[4];
                for (int i = 0; i < 4; i++) p[i] = scratch + at.pixels_x + (2 * row + i) * at.columns * at.ldx;
                combine_row(p, at.ldx, q->c_in, row_tiles, scratch + at.combined + row * row_tiles * DEPTH, at.xchunk,
                            at.xkind);
            }
        }
        if (to->x) {
#if defined(_OPENMP)
#pragma omp for schedule(static, 1)
#endif
            for (int64_t block = 0; block < at.blocks_in; block++)
                send_to_input(q, to, turned, packed, &at, image, block, first, last, scratch);
        }
        if (to->w) {
#if defined(_OPENMP)
#pragma omp for
#endif
            for (int64_t unit = 0; unit < PRODUCTS * chunks; unit++)
                send_to_weight(q, &at, unit / chunks, unit % chunks, there * row_tiles, turn > 0, scratch);
        }
    }
    if (!to->w) return;
    int64_t strips = (q->c_in + STRIP - 1) / STRIP;
#if defined(_OPENMP)
#pragma omp parallel for num_threads(workers)
#endif
    for (int64_t unit = 0; unit < at.blocks_out * strips; unit++)
        write_taps(q, to, &at, unit / strips, unit % strips * STRIP, scratch);
}
