/* Backward of the tiled form: the same products, transposed; see backward.py for what is computed.
 *
 * Per band of tile rows: gradients to the output pixels of a tile become gradients to its products. Multiplied with
 * the transposed weights these are gradients to the 16 combinations, which are added up to those to the pixels;
 * multiplied with the combinations, tile by tile, they are gradients to the weights of the products, which are kept
 * to the end; where there are too many of those, for some input channels at a time. Threads share the work of a band by rows, then by channels, so that no two of them write to one place,
 * and sums have the same order whatever their number. Allocates nothing, keeps nothing, computes in float32.
 */
#include "tiles.h"

#if defined(_OPENMP)
int omp_get_thread_num(void);
#define WORKER omp_get_thread_num()
#else
#define WORKER 0
#endif

struct gradients {
    void *x; /* to the input, or null; of the input's type */
    int64_t xn, xc, xh, xw;
    float *w; /* to the weight, or null; taps side by side, */
    int64_t wo, wi; /* and strides of its channels */
};

/* what differs between the layers */
struct backward_plan {
    void (*spread_row)(
        const float *p, int64_t row, int64_t ld, int64_t channels, int64_t tiles, float *a, int64_t chunk, int64_t kind);
    void (*add_tile)(const float *p, int64_t step, float *y, int64_t sh, int64_t sw);
    void (*write_taps)(
        const struct job *q, const struct gradients *to, const float *sums, int64_t step, int64_t held, int64_t block,
        int64_t start, int64_t from);
};

/* where things are in the scratch memory, in values; `own` is each worker's */
struct backward_places {
    int64_t columns, tiles, ldx, ldy;      /* padded columns, tiles of a band, strides of gathered pixels */
    int64_t xchunk, xkind, ychunk, ykind;  /* of combinations and of gradients to products */
    int64_t products, step, pack;          /* of a tile, their stride, and a block's weights */
    int64_t blocks_in, blocks_out;         /* blocks of channels */
    int64_t held, sums;                    /* input channels whose sums are held, and sums of one product */
    int64_t pixels_x, pixels_y, combined, gradients, carry, weights, own, size, end;
    int64_t multiplied, pixels, made;      /* within `own` */
};

static struct backward_places place_backward(
    const struct axis *axis, int64_t c_in, int64_t c_out, int64_t w, int64_t rows, int64_t workers, int64_t to_input,
    int64_t to_weight, int64_t held)
{
    struct backward_places at;
    int64_t row_tiles = (w + 1) / 2, side = 2 * axis->scale, products = count_products(*axis);
    at.products = products * products;
    at.columns = 2 * row_tiles + 2;
    at.tiles = rows * row_tiles;
    at.ldx = round_up(c_in, LANES) + PAD, at.ldy = round_up(c_out, LANES) + PAD;
    at.xchunk = at.ychunk = at.tiles * DEPTH;
    at.xkind = round_up(c_in, DEPTH) * at.tiles + PAD;
    at.ykind = round_up(c_out, most(WIDTH, DEPTH)) * at.tiles + PAD;
    at.step = at.tiles * WIDTH + PAD;
    at.pack = at.products * (c_out * WIDTH + PAD);
    at.blocks_in = (c_in + WIDTH - 1) / WIDTH, at.blocks_out = (c_out + WIDTH - 1) / WIDTH;
    at.held = least(round_up(held, DEPTH), c_in);
    at.sums = at.blocks_out * at.held * WIDTH;
    at.pixels_x = 0;
    at.pixels_y = at.pixels_x + (to_weight ? (2 * rows + 2) * at.columns * at.ldx : 0);
    at.combined = at.pixels_y + side * rows * side * row_tiles * at.ldy;
    at.gradients = at.combined + (to_weight ? KINDS * at.xkind : 0);
    at.carry = at.gradients + at.products * at.ykind;
    at.weights = at.carry + (to_input ? at.blocks_in * 2 * at.columns * WIDTH : 0);
    at.own = at.weights + (to_weight ? at.products * at.sums : 0);
    at.multiplied = 0;
    at.pixels = at.multiplied + at.products * at.step;
    at.made = at.pixels + (2 * rows + 2) * at.columns * WIDTH;
    at.size = to_input ? at.made + at.pack : 0;
    at.end = at.own + workers * at.size;
    return at;
}

/* ---- gradients to the output become those to the products */

/* a row of the gradient, [columns][ld]; zeros beyond the image */
static void gather_gradient(
    const struct job *q, int64_t image, int64_t row, int64_t columns, float *p, int64_t ld)
{
    int64_t there = row < q->oh ? q->ow : 0;
    const void *s = move(q->y, image * q->yn + row * q->yh, q->type);
    if (there) gather_pixels(s, q->type, q->yc, q->yw, q->c_out, there, p, ld);
    for (int64_t c = there; c < columns; c++) memset(p + c * ld, 0, 4 * q->c_out);
}

/* for a row of tiles, [products][c_out / DEPTH][tile][DEPTH] */
INLINE void spread_row_along(
    struct axis axis, const float *p, int64_t row, int64_t ld, int64_t channels, int64_t tiles, float *a, int64_t chunk,
    int64_t kind)
{
    int products = count_products(axis), side = 2 * axis.scale;
    for (int64_t t = 0; t < tiles; t++)
        for (int64_t k = 0; k < channels; k += LANES) {
            float *d = a + k / DEPTH * chunk + t * DEPTH + k % DEPTH;
            vec r[MOST_SIDE][MOST_PRODUCTS];
            UNROLL
            for (int i = 0; i < side; i++) {
                const float *s = p + i * row + side * t * ld + k;
                vec some[MOST_SIDE];
                UNROLL
                for (int j = 0; j < side; j++) some[j] = *(vec *)(s + j * ld);
                spread_axis(axis, some, r[i]);
            }
            UNROLL
            for (int j = 0; j < products; j++) {
                vec some[MOST_SIDE], to[MOST_PRODUCTS];
                UNROLL
                for (int i = 0; i < side; i++) some[i] = r[i][j];
                spread_axis(axis, some, to);
                UNROLL
                for (int i = 0; i < products; i++) *(vec *)(d + (products * i + j) * kind) = to[i];
            }
        }
}

/* ---- to the input */

/* gradients to the four pixels that a tile sees, from those to its combinations: `combine_row` transposed */
INLINE void gather_kinds(const vec *kinds, vec *to)
{
    to[0] = kinds[BEFORE], to[1] = kinds[SUM] - kinds[AFTER] - kinds[DIFFERENCE];
    to[2] = kinds[SUM] - kinds[BEFORE] + kinds[DIFFERENCE], to[3] = kinds[AFTER];
}

/* adds a tile's share to 4x4 pixels */
INLINE void add_tile_along(struct axis axis, const float *p, int64_t step, float *y, int64_t sh, int64_t sw)
{
    int products = count_products(axis), kind[MOST_PRODUCTS];
    vec r[4][4];
    list_kinds(axis, kind);
    UNROLL
    for (int j = 0; j < KINDS_OF_AXIS; j++) {
        /* products of one combination are added up first */
        vec of[KINDS_OF_AXIS] = {{0}};
        UNROLL
        for (int i = 0; i < products; i++) {
            UNROLL
            for (int k = 0; k < products; k++)
                if (kind[k] == j) of[kind[i]] += *(vec *)(p + (products * i + k) * step);
        }
        gather_kinds(of, r[j]);
    }
    UNROLL
    for (int i = 0; i < 4; i++) {
        vec some[KINDS_OF_AXIS] = {r[0][i], r[1][i], r[2][i], r[3][i]}, to[4];
        gather_kinds(some, to);
        UNROLL
        for (int j = 0; j < 4; j++) *(vec *)(y + i * sh + j * sw) += to[j];
    }
}

/* ---- to the weight */

/* some input channels of a block of output channels; sums are held from the input channel `start` on */
INLINE void write_taps_along(
    struct axis axis, const struct job *q, const struct gradients *to, const float *sums, int64_t step, int64_t held,
    int64_t block, int64_t start, int64_t from)
{
    int products = count_products(axis), taps = axis.taps, all = taps * taps;
    int64_t count = least(q->c_out - block * WIDTH, WIDTH), n = least(q->c_in - from, count_strip(taps));
    int64_t lanes = count_vectors(count) * LANES;
    float made[MOST_GATHERED];
    for (int64_t i = 0; i < n; i++)
        for (int64_t lane = 0; lane < lanes; lane += LANES) {
            const float *s = sums + block * held * WIDTH + (from - start + i) * lanes + lane;
            vec r[MOST_PRODUCTS][MOST_TAPS];
            UNROLL
            for (int row = 0; row < products; row++) {
                vec some[MOST_PRODUCTS];
                UNROLL
                for (int j = 0; j < products; j++) some[j] = *(vec *)(s + (products * row + j) * step);
                collect_taps(axis, some, r[row]);
            }
            UNROLL
            for (int j = 0; j < taps; j++) {
                vec some[MOST_PRODUCTS], column[MOST_TAPS];
                UNROLL
                for (int row = 0; row < products; row++) some[row] = r[row][j];
                collect_taps(axis, some, column);
                UNROLL
                for (int t = 0; t < taps; t++) *(vec *)(made + (all * i + taps * t + j) * lanes + lane) = column[t];
            }
        }
    float *d = to->w + block * WIDTH * to->wo + from * to->wi;
    if (to->wi == all)
        transpose(made, lanes, d, to->wo, all * n, count, 1);
    else
        for (int64_t i = 0; i < n; i++) transpose(made + i * all * lanes, lanes, d + i * to->wi, to->wo, all, count, 1);
}

/* ---- plans */

#define DEFINE(name, ...) \
    static void spread_row_##name( \
        const float *p, int64_t row, int64_t ld, int64_t channels, int64_t tiles, float *a, int64_t chunk, \
        int64_t kind) \
    { \
        spread_row_along((struct axis){__VA_ARGS__}, p, row, ld, channels, tiles, a, chunk, kind); \
    } \
    static void add_tile_##name(const float *p, int64_t step, float *y, int64_t sh, int64_t sw) \
    { \
        add_tile_along((struct axis){__VA_ARGS__}, p, step, y, sh, sw); \
    } \
    static void write_taps_##name( \
        const struct job *q, const struct gradients *to, const float *sums, int64_t step, int64_t held, int64_t block, \
        int64_t start, int64_t from) \
    { \
        write_taps_along((struct axis){__VA_ARGS__}, q, to, sums, step, held, block, start, from); \
    }
#define LIST(name, ...) {spread_row_##name, add_tile_##name, write_taps_##name},

PLANS(DEFINE)
static const struct backward_plan BACKWARD[] = {PLANS(LIST)};
#undef DEFINE
#undef LIST

/* ---- to the input */

static void add_pixels(float *to, const float *from, int64_t count)
{
    for (int64_t k = 0; k < count; k += LANES) *(vec *)(to + k) += *(vec *)(from + k);
}

/* a row of padded pixels [columns][lanes] to the image, from the channel on */
static void write_pixels(
    const struct job *q, const struct gradients *to, int64_t image, int64_t row, int64_t channel, int64_t count,
    int64_t lanes, const float *p)
{
    void *d = move_to(to->x, image * to->xn + row * to->xh + channel * to->xc, q->type);
    scatter_pixels(p + lanes, lanes, q->w, count, d, q->type, to->xc, to->xw);
}

/* what lies beyond the border goes to the outermost pixels, or nowhere */
static void fold_columns(const struct job *q, float *p, int64_t lanes)
{
    add_pixels(p + lanes, p, lanes);
    add_pixels(p + q->w * lanes, p + (q->w + 1) * lanes, lanes);
}

/* a block of input channels in a band */
static void send_to_input(
    int64_t plan, const struct job *q, const struct gradients *to, const struct weights *turned, const float *packed,
    const struct backward_places *at, int64_t image, int64_t block, int64_t first, int64_t last, float *scratch)
{
    int64_t row_tiles = (q->w + 1) / 2, tiles = (last - first) * row_tiles, parts = (tiles + ROWS - 1) / ROWS;
    int64_t count = least(q->c_in - block * WIDTH, WIDTH), rows = 2 * (last - first) + 2;
    int vectors = count_vectors(count), lanes = vectors * LANES;
    int64_t row = at->columns * lanes, is_last = last == (q->h + 1) / 2;
    float *own = scratch + at->own + WORKER * at->size, *pixels = own + at->pixels;
    float *carry = scratch + at->carry + block * 2 * at->columns * WIDTH, zeros[WIDTH] = {0};
    const float *there = packed ? packed + block * at->pack : own + at->made;
    if (!packed) PLAN[plan].pack_block(turned, block, own + at->made);
    for (int i = 0; i < at->products; i++) {
        const float *a = scratch + at->gradients + i * at->ykind, *b = there + i * (q->c_out * lanes + PAD);
        float *out = own + at->multiplied + i * at->step;
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
                BACKWARD[plan].add_tile(
                    own + at->multiplied + (r * row_tiles + t) * lanes + lane, at->step,
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
    const struct job *q, const struct backward_places *at, int64_t product, int64_t combination, int64_t chunk,
    int64_t start, int64_t tiles, int adds, float *scratch)
{
    const float *a = scratch + at->combined + combination * at->xkind + chunk * at->xchunk;
    const float *b = scratch + at->gradients + product * at->ykind;
    int64_t channels = least(q->c_in - chunk * DEPTH, DEPTH), parts = (channels + ROWS - 1) / ROWS;
    for (int64_t block = 0; block < at->blocks_out; block++) {
        int vectors = count_vectors(least(q->c_out - block * WIDTH, WIDTH));
        int64_t lane = block * WIDTH, other = lane + (vectors - 1) * LANES;
        float *sums = scratch + at->weights + product * at->sums + block * at->held * WIDTH;
        for (int64_t part = 0; part < parts; part++) {
            int64_t from = part * channels / parts, end = (part + 1) * channels / parts;
            gather_rows((int)(end - from), vectors, a + from, b + lane / DEPTH * at->ychunk + lane % DEPTH,
                        b + other / DEPTH * at->ychunk + other % DEPTH, tiles, adds,
                        sums + (chunk * DEPTH - start + from) * vectors * LANES);
        }
    }
}

/* ---- what is called */

/* values that all workers need together for bands of so many rows of tiles, and the sums of so many input channels */
int64_t deconvbench_backward_values(
    int64_t plan, int64_t c_in, int64_t c_out, int64_t w, int64_t rows, int64_t workers, int64_t to_input,
    int64_t to_weight, int64_t held)
{
    return place_backward(&PLAN[plan].axis, c_in, c_out, w, rows, workers, to_input, to_weight, held).end;
}

/* a band: its pixels and gradients, and what is made of them */
static void go_back_through_band(
    int64_t plan, const struct job *q, const struct gradients *to, const struct weights *turned, const float *packed,
    const struct backward_places *at, const struct products *all, int64_t turn, int64_t bands, int64_t start,
    float *scratch)
{
    int side = 2 * PLAN[plan].axis.scale;
    int64_t tile_rows = (q->h + 1) / 2, row_tiles = (q->w + 1) / 2, pixel_row = side * row_tiles * at->ldy;
    int64_t image = turn / bands, band = turn % bands;
    int64_t first = band * tile_rows / bands, last = (band + 1) * tile_rows / bands, there = last - first;
    /* a single band is still there when the next sums come */
    int is_new = !start || q->n * bands > 1;
#if defined(_OPENMP)
#pragma omp for
#endif
    for (int64_t row = 0; row < is_new * side * there; row++)
        gather_gradient(
            q, image, side * first + row, side * row_tiles, scratch + at->pixels_y + row * pixel_row, at->ldy);
    if (to->w && is_new) {
#if defined(_OPENMP)
#pragma omp for
#endif
        for (int64_t row = 0; row < 2 * there + 2; row++)
            gather_row(
                q, image, 2 * first + row, at->columns, scratch + at->pixels_x + row * at->columns * at->ldx, at->ldx);
    }
#if defined(_OPENMP)
#pragma omp for
#endif
    for (int64_t row = 0; row < is_new * there; row++) {
        BACKWARD[plan].spread_row(
            scratch + at->pixels_y + side * row * pixel_row, pixel_row, at->ldy, q->c_out, row_tiles,
            scratch + at->gradients + row * row_tiles * DEPTH, at->ychunk, at->ykind);
        if (to->w) {
            float *p[4];
            for (int i = 0; i < 4; i++) p[i] = scratch + at->pixels_x + (2 * row + i) * at->columns * at->ldx;
            combine_row(p, at->ldx, q->c_in, row_tiles, scratch + at->combined + row * row_tiles * DEPTH, at->xchunk,
                        at->xkind);
        }
    }
    if (to->x && !start) {
#if defined(_OPENMP)
#pragma omp for schedule(static, 1)
#endif
        for (int64_t block = 0; block < at->blocks_in; block++)
            send_to_input(plan, q, to, turned, packed, at, image, block, first, last, scratch);
    }
    if (to->w) {
        int64_t chunks = (least(q->c_in - start, at->held) + DEPTH - 1) / DEPTH;
#if defined(_OPENMP)
#pragma omp for
#endif
        for (int64_t unit = 0; unit < all->count * chunks; unit++)
            send_to_weight(
                q, at, unit / chunks, all->combination[unit / chunks], start / DEPTH + unit % chunks, start,
                there * row_tiles, turn > 0, scratch);
    }
}

/* `q` has the input and, as its output, the gradient to it; `turned` is the weight with its channels exchanged, and
 * `packed` what `deconvbench_pack` makes of that, or null: made anew for each band */
void deconvbench_backward(
    int64_t plan, const struct job *q, const struct gradients *to, const struct weights *turned, const float *packed,
    int64_t rows, int64_t held, int workers, float *scratch)
{
    const struct axis *axis = &PLAN[plan].axis;
    struct products all = list_products(PLAN + plan);
    struct backward_places at =
        place_backward(axis, q->c_in, q->c_out, q->w, rows, workers, to->x != 0, to->w != 0, held);
    int64_t bands = ((q->h + 1) / 2 + rows - 1) / rows, strip = count_strip(axis->taps);
#if defined(_OPENMP)
#pragma omp parallel num_threads(workers)
#endif
    for (int64_t start = 0; start < (to->w ? q->c_in : 1); start += at.held) {
        for (int64_t turn = 0; turn < q->n * bands; turn++)
            go_back_through_band(plan, q, to, turned, packed, &at, &all, turn, bands, start, scratch);
        if (!to->w) continue;
        int64_t strips = (least(q->c_in - start, at.held) + strip - 1) / strip;
#if defined(_OPENMP)
#pragma omp for
#endif
        for (int64_t unit = 0; unit < at.blocks_out * strips; unit++)
            BACKWARD[plan].write_taps(
                q, to, scratch + at.weights, at.sums, at.held, unit / strips, start, start + unit % strips * strip);
    }
}
