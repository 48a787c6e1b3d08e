#pragma once
/* The layers that are compiled: name, taps and scale of an axis (both axes have the same), taps before the pixel or
 * cropped output, and whether it is resizing or a transposed convolution.
 */
#define FIRST_PLAN(CASE) CASE(resize_k3_s2, 3, 2, 1, 1)
#define OTHER_PLANS(CASE) \
    CASE(resize_k3_s3, 3, 3, 1, 1) \
    CASE(resize_k3_s4, 3, 4, 1, 1) \
    CASE(resize_k5_s2, 5, 2, 2, 1) \
    CASE(resize_k5_s3, 5, 3, 2, 1) \
    CASE(resize_k5_s4, 5, 4, 2, 1) \
    CASE(resize_k4_s2, 4, 2, 1, 1) \
    CASE(resize_k2_s2, 2, 2, 0, 1) \
    CASE(transposed_k3_s2, 3, 2, 1, 0) \
    CASE(transposed_k4_s2, 4, 2, 1, 0) \
    CASE(transposed_k5_s2, 5, 2, 2, 0) \
    CASE(transposed_k6_s2, 6, 2, 2, 0)

/* the first alone is compiled in a third of the time */
#if defined(DECONVBENCH_FIRST_PLAN)
#define PLANS(CASE) FIRST_PLAN(CASE)
#else
#define PLANS(CASE) FIRST_PLAN(CASE) OTHER_PLANS(CASE)
#endif
