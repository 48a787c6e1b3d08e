/* The tiled form of nearest-neighbour upsampling and convolution, and of transposed convolutions, in one pass over the
 * cache; see tiled.py and axes.h for what is computed.
 *
 * Per band of tile rows: pixels are gathered and padded (any strides), combined to 16 kinds, multiplied with the
 * matrices of weights (25 for kernel 3 and scale 2) and assembled to the output pixels of a tile. Products never leave
 * the cache. In the product the channels of the output are the lanes of a vector and the tiles its rows, whatever the
 * memory formats are; what is stored otherwise is transposed on its way in and out. Allocates nothing, keeps nothing,
 * computes in float32, whatever input and output are stored in.
 */
#include "plans.h"
#include "tiles.h"

/* ---- from products to pixels */

enum { MOST_SIDE = 2 * MOST_SCALE };

/* pixels of a tile from its products in both directions, for one vector of channels */
INLINE void assemble_along(
    struct axis axis, const float *p, int64_t step, float *y, int64_t sh, int64_t sw, int rows, int columns)
{
    int products = count_products(axis), side = 2 * axis.scale;
    vec r[MOST_PRODUCTS][MOST_SIDE];
    UNROLL
    for (int i = 0; i < products; i++) {
        vec some[MOST_PRODUCTS];
        UNROLL
        for (int j = 0; j < products; j++) some[j] = *(vec *)(p + (products * i + j) * step);
        assemble_axis(axis, some, r[i]);
    }
    UNROLL
    for (int j = 0; j < side; j++) {
        if (j >= columns) break;
        vec some[MOST_PRODUCTS], made[MOST_SIDE];
        UNROLL
        for (int i = 0; i < products; i++) some[i] = r[i][j];
        assemble_axis(axis, some, made);
        float *d = y + j * sw;
        UNROLL
        for (int i = 0; i < side; i++)
            if (i < rows) *(vec *)(d + i * sh) = made[i];
    }
}

/* ---- plans */

/* what differs between the layers */
struct plan {
    struct axis axis;
    void (*pack_block)(const struct weights *w, int64_t block, float *packed);
    void (*assemble)(const float *p, int64_t step, float *y, int64_t sh, int64_t sw, int rows, int columns);
};

#define DEFINE(name, ...) \
    static void pack_block_##name(const struct weights *w, int64_t block, float *packed) \
    { \
        pack_block_along((struct axis){__VA_ARGS__}, w, block, packed); \
    } \
    static void assemble_##name( \
        const float *p, int64_t step, float *y, int64_t sh, int64_t sw, int rows, int columns) \
    { \
        assemble_along((struct axis){__VA_ARGS__}, p, step, y, sh, sw, rows, columns); \
    }
#define LIST(name, ...) {{__VA_ARGS__}, pack_block_##name, assemble_##name},

PLANS(DEFINE)
static const struct plan PLAN[] = {PLANS(LIST)};
enum { PLAN_COUNT = sizeof PLAN / sizeof *PLAN };
#undef DEFINE
#undef LIST

/* the combination and the kind of each product, of rows and columns */
struct products {
    int count, combination[MOST_PRODUCTS * MOST_PRODUCTS], is_sum[MOST_PRODUCTS * MOST_PRODUCTS];
};

static struct products list_products(const struct plan *plan)
{
    struct products all;
    int side = count_products(plan->axis), kinds[MOST_PRODUCTS];
    list_kinds(plan->axis, kinds);
    all.count = side * side;
    for (int i = 0; i < all.count; i++) {
        all.combination[i] = KINDS_OF_AXIS * kinds[i / side] + kinds[i % side];
        all.is_sum[i] = kinds[i / side] == SUM && kinds[i % side] == SUM;
    }
    return all;
}

/* ---- output */

/* tiles whose output is transposed together */
INLINE int64_t count_segment(int scale) { return scale == 2 ? 8 : scale == 3 ? 4 : 2; }

/* a row of tiles, for the output channels from o on */
static void write_row(
    const struct plan *plan, const struct job *q, const float *p, int64_t step, int64_t o, int64_t row, float *stage)
{
    int64_t side = 2 * plan->axis.scale, segment = count_segment(plan->axis.scale), staged = side * segment;
    int64_t tile_rows = (q->h + 1) / 2, tiles = (q->w + 1) / 2, r = row % tile_rows;
    int64_t count = least(q->c_out - o, WIDTH), lanes = count_vectors(count) * LANES;
    int rows = (int)least(q->oh - side * r, side);
    void *there = move_to(q->y, row / tile_rows * q->yn + side * r * q->yh + o * q->yc, q->type);
    float *y = there;
    if (q->yc == 1 && count == lanes && q->type == FLOAT32) {
        for (int64_t t = 0; t < tiles; t++)
            for (int64_t lane = 0; lane < lanes; lane += LANES) {
                int columns = (int)least(q->ow - side * t, side);
                plan->assemble(p + t * lanes + lane, step, y + side * t * q->yw + lane, q->yh, q->yw, rows, columns);
            }
        return;
    }
    for (int64_t first = 0; first < tiles; first += segment, y += staged * q->yw) {
        int64_t n = least(tiles - first, segment), columns = least(q->ow - side * first, side * n);
        for (int64_t t = 0; t < n; t++)
            for (int64_t lane = 0; lane < lanes; lane += LANES) {
                float *d = stage + side * t * lanes + lane;
                plan->assemble(p + (first + t) * lanes + lane, step, d, staged * lanes, lanes, (int)side, (int)side);
            }
        if (q->type != FLOAT32) {
            for (int i = 0; i < rows; i++)
                scatter_pixels(
                    stage + i * staged * lanes, lanes, columns, count, move_to(there, i * q->yh + side * first * q->yw, q->type),
                    q->type, q->yc, q->yw);
            continue;
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
                const float *s = stage + i * staged * lanes + k;
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

static struct places place(const struct axis *axis, int64_t c_in, int64_t w, int64_t rows)
{
    struct places at;
    int64_t tiles = rows * ((w + 1) / 2), side = 2 * axis->scale, products = count_products(*axis);
    at.columns = 2 * ((w + 1) / 2) + 2;
    at.ld = round_up(c_in, LANES) + PAD;
    at.chunk = tiles * DEPTH;
    at.kind = round_up(c_in, DEPTH) * tiles + PAD;
    at.step = tiles * WIDTH + PAD;
    /* pixels are gathered where later the output is staged */
    at.combined = most(4 * at.columns * at.ld, side * side * count_segment(axis->scale) * WIDTH);
    at.products = at.combined + KINDS * at.kind;
    at.end = at.products + products * products * at.step;
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
    const struct plan *plan, const struct products *all, const struct job *q, const struct places *at,
    const float *packed, int64_t o, int64_t first, int64_t last, float *scratch)
{
    int64_t row_tiles = (q->w + 1) / 2, tiles = (last - first) * row_tiles, parts = (tiles + ROWS - 1) / ROWS;
    int64_t count = least(q->c_out - o, WIDTH);
    int vectors = count_vectors(count), lanes = vectors * LANES;
    float bias[WIDTH] = {0}, zeros[WIDTH] = {0};
    if (q->bias) memcpy(bias, q->bias + o, 4 * count);
    for (int i = 0; i < all->count; i++) {
        const float *a = scratch + at->combined + all->combination[i] * at->kind;
        const float *b = packed + i * (q->c_in * lanes + PAD);
        float *out = scratch + at->products + i * at->step;
        /* the sum in both directions goes to every pixel of its phases, and the bias with it */
        const float *start = all->is_sum[i] ? bias : zeros;
        for (int64_t part = 0; part < parts; part++) {
            int64_t from = part * tiles / parts, to = (part + 1) * tiles / parts;
            const float *some = a + from * DEPTH;
            multiply_rows((int)(to - from), vectors, some, at->chunk, b, q->c_in, start, out + from * lanes);
        }
    }
    for (int64_t row = first; row < last; row++)
        write_row(plan, q, scratch + at->products + (row - first) * row_tiles * lanes, at->step, o, row, scratch);
}

/* ---- what is called */

/* how the work is cut: each worker has some blocks of output channels and some rows of tiles, in bands of `rows`;
 * where the weight is to be transformed, `blocks` at a time */
struct cut {
    int64_t splits, groups, rows, blocks, scratch;
};

int64_t deconvbench_block_channels(void) { return WIDTH; }

int64_t deconvbench_plan_count(void) { return PLAN_COUNT; }

/* what a plan is: its axis, and the products of a tile */
void deconvbench_describe_plan(int64_t plan, int64_t *to)
{
    struct axis a = PLAN[plan].axis;
    to[0] = a.taps, to[1] = a.scale, to[2] = a.first, to[3] = a.is_resize, to[4] = list_products(PLAN + plan).count;
}

/* values of the transformed weight of a block of output channels */
int64_t deconvbench_block_values(int64_t plan, int64_t c_in)
{
    return list_products(PLAN + plan).count * (c_in * WIDTH + PAD);
}

/* values that a worker needs for bands of so many rows of tiles */
int64_t deconvbench_band_values(int64_t plan, int64_t c_in, int64_t w, int64_t rows)
{
    return place(&PLAN[plan].axis, c_in, w, rows).end;
}

/* whether it was compiled for several threads */
int64_t deconvbench_is_threaded(void)
{
#if defined(_OPENMP)
    return 1;
#else
    return 0;
#endif
}

void deconvbench_pack(int64_t plan, const struct weights *w, float *packed)
{
    for (int64_t block = 0; block * WIDTH < w->c_out; block++)
        PLAN[plan].pack_block(w, block, packed + block * deconvbench_block_values(plan, w->c_in));
}

static void work(
    const struct plan *plan, const struct job *q, const struct weights *w, const float *packed, const struct cut *cut,
    int64_t worker, float *scratch)
{
    struct products products = list_products(plan);
    int64_t size = products.count * (q->c_in * WIDTH + PAD);
    int64_t all_rows = q->n * ((q->h + 1) / 2), all = (q->c_out + WIDTH - 1) / WIDTH;
    int64_t split = worker % cut->splits, group = worker / cut->splits;
    int64_t from = split * all / cut->splits, to = (split + 1) * all / cut->splits;
    int64_t row = group * all_rows / cut->groups, rows = (group + 1) * all_rows / cut->groups - row;
    int64_t bands = (rows + cut->rows - 1) / cut->rows;
    struct places at = place(&plan->axis, q->c_in, q->w, cut->rows);
    float *own = scratch + worker * cut->scratch, *made = own + at.end;
    for (int64_t first = from; first < to; first += cut->blocks) {
        int64_t last = least(first + cut->blocks, to);
        if (!packed)
            for (int64_t block = first; block < last; block++) plan->pack_block(w, block, made + (block - first) * size);
        const float *there = packed ? packed + first * size : made;
        for (int64_t band = 0; band < bands; band++) {
            int64_t start = row + band * rows / bands, stop = row + (band + 1) * rows / bands;
            /* a single band is still combined when the next blocks come */
            if (bands > 1 || first == from) combine_band(q, &at, start, stop, own);
            for (int64_t block = first; block < last; block++)
                multiply_band(plan, &products, q, &at, there + (block - first) * size, block * WIDTH, start, stop, own);
        }
    }
}

void deconvbench_run(
    int64_t plan, const struct job *q, const struct weights *w, const float *packed, const struct cut *cut, int threads,
    float *scratch)
{
    int64_t workers = cut->splits * cut->groups;
#if defined(_OPENMP)
    if (workers > 1) {
        /* all of torch's threads, even those with nothing to do: another number would end and start them anew */
#pragma omp parallel for num_threads(threads) schedule(static, 1)
        for (int64_t worker = 0; worker < workers; worker++) work(PLAN + plan, q, w, packed, cut, worker, scratch);
        return;
    }
#endif
    (void)threads;
    for (int64_t worker = 0; worker < workers; worker++) work(PLAN + plan, q, w, packed, cut, worker, scratch);
}
