#pragma once
/* One axis of a plan: what a tile of two pixels multiplies, and how its output is made of the products.
 *
 * Output pixel s n + i (phase i of pixel n) is a0 x[n - 1] + a1 x[n] + a2 x[n + 1], with taps a of the phase that
 * are sums of taps of the kernel. Two pixels at once take, by minimal filtering,
 *
 *     A = a0 (x[-1] - x[1])   B = (a0 + a1 + a2) / 2 (x[0] + x[1])
 *     G = a2 (x[2] - x[0])    D = (a0 - a1 + a2) / 2 (x[1] - x[0])
 *
 * y[0] = A + B + D and y[1] = B - D + G. A and G fall away where a0 or a2 has no tap. After nearest-neighbour
 * upsampling all phases have the same sum of taps, so they share B, and equal phases share everything.
 *
 * An axis is known to the compiler wherever these functions are used: loops vanish and sums stay in registers.
 */
#include "vectors.h"

enum { MOST_TAPS = 6, MOST_SCALE = 4, MOST_PRODUCTS = 9 };

/* which pixels a product multiplies: A, B, G, D */
enum { BEFORE, SUM, AFTER, DIFFERENCE, KINDS_OF_AXIS };

struct axis {
    /* `first`: taps before the pixel itself for resizing, cropped output for a transposed convolution */
    int taps, scale, first, is_resize;
};

/* taps [from, to) of the kernel that are tap `which` of a phase */
INLINE int tap_from(struct axis a, int phase, int which)
{
    int from = a.is_resize ? a.first - phase + (which - 1) * a.scale : phase + a.first + (1 - which) * a.scale;
    if (a.is_resize && which == 0) return 0;
    return from < 0 ? 0 : from > a.taps ? a.taps : from;
}

INLINE int tap_to(struct axis a, int phase, int which)
{
    int from = a.is_resize ? a.first - phase + (which - 1) * a.scale : phase + a.first + (1 - which) * a.scale;
    int to = a.is_resize ? from + a.scale : from + 1;
    if (a.is_resize && which == 2) return a.taps;
    return to < 0 ? 0 : to > a.taps ? a.taps : to;
}

INLINE int has_tap(struct axis a, int phase, int which) { return tap_from(a, phase, which) < tap_to(a, phase, which); }

/* whether a phase is that before it: all taps fall on one pixel in both */
INLINE int is_repeated(struct axis a, int phase)
{
    if (!a.is_resize || phase == 0) return 0;
    return !has_tap(a, phase, 0) && !has_tap(a, phase, 2) && !has_tap(a, phase - 1, 0) && !has_tap(a, phase - 1, 2);
}

INLINE int count_products(struct axis a)
{
    int n = a.is_resize;
    UNROLL
    for (int i = 0; i < a.scale; i++)
        if (!is_repeated(a, i)) n += has_tap(a, i, 0) + !a.is_resize + 1 + has_tap(a, i, 2);
    return n;
}

/* which pixels each product takes, in the order of the functions below */
INLINE void list_kinds(struct axis a, int *kinds)
{
    int n = 0;
    if (a.is_resize) kinds[n++] = SUM;
    UNROLL
    for (int i = 0; i < a.scale; i++) {
        if (is_repeated(a, i)) continue;
        if (has_tap(a, i, 0)) kinds[n++] = BEFORE;
        if (!a.is_resize) kinds[n++] = SUM;
        kinds[n++] = DIFFERENCE;
        if (has_tap(a, i, 2)) kinds[n++] = AFTER;
    }
}

INLINE vec sum_taps(struct axis a, int phase, int which, const vec *w)
{
    int from = tap_from(a, phase, which), to = tap_to(a, phase, which);
    if (from >= to) return (vec){0};
    vec sum = w[from];
    UNROLL
    for (int t = from + 1; t < to; t++) sum += w[t];
    return sum;
}

/* weights of the products from the taps */
INLINE void transform_taps(struct axis a, const vec *w, vec *u)
{
    int n = 0;
    vec half = {0};
    if (a.is_resize) {
        half = w[0];
        UNROLL
        for (int t = 1; t < a.taps; t++) half += w[t];
        u[n++] = half *= 0.5f;
    }
    UNROLL
    for (int i = 0; i < a.scale; i++) {
        if (is_repeated(a, i)) continue;
        int has_before = has_tap(a, i, 0), has_after = has_tap(a, i, 2);
        vec before = sum_taps(a, i, 0, w), after = sum_taps(a, i, 2, w);
        if (has_before) u[n++] = before;
        if (!a.is_resize) {
            half = sum_taps(a, i, 1, w);
            if (has_before) half += before;
            if (has_after) half += after;
            u[n++] = half *= 0.5f;
        }
        if (has_before && has_after) u[n++] = (before - half) + after;
        else if (has_before) u[n++] = before - half;
        else if (has_after) u[n++] = after - half;
        else u[n++] = -half;
        if (has_after) u[n++] = after;
    }
}

/* two pixels of each phase from the products: y[i] of the first, y[s + i] of the second */
INLINE void assemble_axis(struct axis a, const vec *p, vec *y)
{
    int n = a.is_resize;
    UNROLL
    for (int i = 0; i < a.scale; i++) {
        if (is_repeated(a, i)) {
            y[i] = y[i - 1], y[a.scale + i] = y[a.scale + i - 1];
            continue;
        }
        int has_before = has_tap(a, i, 0), has_after = has_tap(a, i, 2);
        int at_sum = a.is_resize ? 0 : n + has_before, at_difference = n + has_before + !a.is_resize;
        y[i] = p[at_sum] + p[at_difference], y[a.scale + i] = p[at_sum] - p[at_difference];
        if (has_before) y[i] += p[n];
        if (has_after) y[a.scale + i] += p[at_difference + 1];
        n = at_difference + 1 + has_after;
    }
}

/* gradients to the products from those to the output: `assemble_axis` transposed */
INLINE void spread_axis(struct axis a, const vec *y, vec *p)
{
    int n = a.is_resize;
    vec all = {0};
    UNROLL
    for (int i = 0; i < a.scale; i++) {
        vec first = y[i], second = y[a.scale + i];
        if (is_repeated(a, i)) continue;
        UNROLL
        for (int j = i + 1; j < a.scale; j++) {
            if (!is_repeated(a, j)) break;
            first += y[j], second += y[a.scale + j];
        }
        if (has_tap(a, i, 0)) p[n++] = first;
        if (!a.is_resize) p[n++] = first + second;
        else all = i == 0 ? first + second : all + (first + second);
        p[n++] = first - second;
        if (has_tap(a, i, 2)) p[n++] = second;
    }
    if (a.is_resize) p[0] = all;
}

/* gradients to the taps from those to the weights of the products: `transform_taps` transposed */
INLINE void collect_taps(struct axis a, const vec *u, vec *w)
{
    int n = a.is_resize;
    vec all = {0};
    if (a.is_resize) all = 0.5f * u[0];
    UNROLL
    for (int t = 0; t < a.taps; t++) w[t] = all;
    UNROLL
    for (int i = 0; i < a.scale; i++) {
        if (is_repeated(a, i)) continue;
        int has_before = has_tap(a, i, 0), has_after = has_tap(a, i, 2);
        int at_sum = n + has_before, at_difference = at_sum + !a.is_resize;
        vec difference = 0.5f * u[at_difference], sum = {0};
        if (!a.is_resize) sum = 0.5f * u[at_sum];
        vec to[3] = {sum + difference, sum - difference, sum + difference};
        if (has_before) to[0] += u[n];
        if (has_after) to[2] += u[at_difference + 1];
        UNROLL
        for (int which = 0; which < 3; which++)
            for (int t = tap_from(a, i, which); t < tap_to(a, i, which); t++) w[t] += to[which];
        n = at_difference + 1 + has_after;
    }
}
