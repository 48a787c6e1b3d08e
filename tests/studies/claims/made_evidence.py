"""Evidence made by hand: for each claim what leads to each verdict that it can have."""

from deconvbench.records.schema import name_interval
from deconvbench.studies.claims import Verdict

MAIN, OTHER = "reconstruction_none_tuned", "super_resolution_none_tuned"
# the article's variant: it counts where it decides, and otherwise keeps nothing undecided
BESIDE = "reconstruction_instance_tuned"
S, P, R, U = Verdict.SUPPORTED, Verdict.PARTLY, Verdict.REFUTED, Verdict.UNDECIDED

Numbers = dict[str, float | None]


def around(name: str, value: float, half: float | None = 0.01) -> Numbers:
    """A number with an interval of this half width; None: from one seed."""
    ends = (None, None) if half is None else (value - half, value + half)
    return {name: value, **dict(zip(name_interval(name), ends, strict=True))}


def network(
    name: str = MAIN,
    *,
    seeds: int = 12,
    images: int = 12,
    steps: int = 1500,
    **values: float | tuple[float, float] | None,
) -> Numbers:
    """Evidence on one network: numbers that are certain to 0.01, or to the half width given beside them."""
    evidence: Numbers = {"seeds": seeds, "images": images, "steps": steps}
    for key, value in values.items():
        if value is not None:
            evidence |= around(key, *value) if isinstance(value, tuple) else around(key, value)
    return {f"{name}_{key}": value for key, value in evidence.items()}


TRANSPOSE: Numbers = {
    "combinations": 140,
    "convolution_largest_relative_error": 1e-15,
    "backward_largest_relative_error": 1e-15,
    "transposed_largest_relative_error": 1e-15,
    "figure_2_rows": 4,
    "figure_2_columns": 16,
}
REVERSAL: Numbers = {
    "combinations": 140,
    "matrices_restored": 140,
    "matrix_largest_relative_error": 1e-15,
    "shapes_restored": 140,
    "inputs_restored": 0,
    "least_relative_error": 0.2,
    "median_relative_error": 0.9,
    "figure_2_rank": 4,
    "figure_2_unknowns": 16,
    "figure_2_distance_from_identity": 0.87,
}
EQUIVALENCE: Numbers = {
    "combinations": 346,
    "zero_insertion_largest_relative_error": 1e-15,
    "nearest_random_kernels_least_residual": 0.5,
    "nearest_divisible_kernels_largest_residual": 1e-15,
    "nearest_as_transposed_largest_relative_error": 1e-15,
}
WASTE: Numbers = {
    "small_side_px": 2,
    "large_side_px": 256,
    "small_padding_waste_share": 0.89,
    "large_padding_waste_share": 0.03,
    "small_zero_insertion_waste_share": 0.89,
    "large_zero_insertion_waste_share": 0.75,
}
FADING: Numbers = {"large_zero_insertion_waste_share": 0.1}


def measured_sizes(large: float, half: float = 0.05) -> Numbers:
    """Latencies at two sizes."""
    return {
        "smallest_measured_height_px": 16,
        "largest_measured_height_px": 128,
        **around("zero_insert_latency_ratio_smallest", 3.0),
        **around("zero_insert_latency_ratio_largest", large, half),
    }


VISITS: Numbers = {
    "least_visits": 1,
    "most_visits": 4,
    "visited_1_times_share": 0.25,
    "visited_2_times_share": 0.5,
    "visited_3_times_share": 0.0,
    "visited_4_times_share": 0.25,
}


def ripple(even_zero: float = 0.75, difference: float = 0.2, half: float = 0.01) -> Numbers:
    """Ripples of constant inputs."""
    return {
        "largest_distance_from_1_minus_1_over_s2": 0.01,
        **around("even_overlap_zero_mean_phase_ripple", even_zero, half),
        **around("uneven_overlap_zero_mean_phase_ripple", 0.75),
        **around("even_overlap_positive_mean_phase_ripple", 0.04),
        **around("uneven_overlap_positive_mean_phase_ripple", 0.04 + difference),
        **around("overlap_positive_mean_phase_ripple_difference", difference, half),
    }


DIMENSIONS: Numbers = {
    "combinations": 18,
    "squared_counts": 18,
    "most_over_least_visits_1d_ratio": 2,
    "most_over_least_visits_2d_ratio": 4,
    "overlap_cv_1d": 1 / 3,
    "overlap_cv_2d": 0.484,
    "overlap_cv_largest_distance_from_square": 0.39,
    "one_plus_cv2_largest_distance_from_square": 1e-16,
}
STACKS: Numbers = {"stack_of_1_overlap_cv": 0.48, "stack_of_2_overlap_cv": 0.54, "stack_of_3_overlap_cv": 0.57}


def gradients(conv: float = 0.48, pool: float = 0.01, half: float = 0.005) -> Numbers:
    """Unevenness of backward passes."""
    return {
        "conv_k3_s2_gradient_cv": conv,
        "conv_k7_s2_gradient_cv": conv / 2,
        "conv_k4_s2_gradient_cv": 0.0,
        "average_pool_k3_s2_gradient_cv": 0.48,
        **around("max_pool_k2_s2_gradient_cv", pool, half),
        **around("max_pool_k3_s2_gradient_cv", 0.5, half),
        "max_pool_k2_s2_no_gradient_share": 0.75,
    }


def costs(latency: float, memory: float, half: float = 0.05) -> Numbers:
    """What plain resize-convolution costs, over k3."""
    return {
        **around("latency_ratio_k3", latency, half),
        "latency_ratio_k3_least": latency - 0.1,
        "latency_ratio_k3_most": latency + 0.1,
        "latency_ratio_k3_cells": 4,
        "memory_ratio_k3": memory,
    }


COSTS_ROW = costs(3.0, 1.7)


def first_steps(step0: float | tuple[float, float], step1: float | tuple[float, float]) -> Numbers:
    """Excess of the checkerboard at the start of training."""
    return network(
        steps=1,
        step0_checkerboard_levels=10.0,
        step1_checkerboard_levels=10.0,
        step0_excess_levels=step0,
        step1_excess_levels=step1,
    )


def absent(name: str, excess: float | tuple[float, float] = -0.4) -> Numbers:
    """A network without a checkerboard before training."""
    return network(name, steps=1, step0_checkerboard_levels=0.1, step0_excess_levels=excess)


def change(ratio: float | tuple[float, float], excess: float | tuple[float, float], name: str = MAIN) -> Numbers:
    """What is left of the checkerboard at the end of training."""
    return network(
        name,
        first_checkerboard_levels=10.0,
        last_checkerboard_levels=5.0,
        last_over_first_ratio=ratio,
        last_excess_levels=excess,
    )


GAINS: Numbers = {
    f"{MAIN}_gains_seed_count": 6,
    **{f"{MAIN}_gains_{gain}_{end}_levels": 5.0 for gain in ("0.5", "2") for end in ("first", "last")},
    **around(f"{MAIN}_gains_exponent", -0.9),
}
SMOOTHING: Numbers = {**around("init_phase_ripple_ratio", 1.0), **around("init_noise_gain_cv_ratio", 0.1)}


def last_layer(
    excess: float | tuple[float, float] = 1.0, ratio: float | tuple[float, float] | None = 0.8, name: str = MAIN
) -> Numbers:
    """A network that ends in 9×9, against one that ends in 3×3."""
    return network(
        name,
        large_checkerboard_levels=2.0,
        large_excess_levels=excess,
        small_checkerboard_levels=3.0,
        small_less_large_levels=1.0,
        large_over_small_ratio=ratio,
    )


def divided(less: float | tuple[float, float], name: str = MAIN) -> Numbers:
    """Trained networks with k4, by how much less they have than with k3."""
    return network(
        name,
        remedied_checkerboard_levels=2.0,
        plain_checkerboard_levels=3.0,
        remedied_less_plain_levels=less,
    )


def divisibility(noise: float = 0.2, ripple_ratio: float = 1.0, half: float = 0.01) -> Numbers:
    """Kernels that the stride divides, at initialisation."""
    return {
        **around("init_noise_gain_cv_divisible", 0.05),
        **around("init_noise_gain_cv_other", 0.4),
        **around("init_noise_gain_cv_ratio", noise, half),
        **around("init_phase_ripple_ratio", ripple_ratio, half),
    }


def resizing(ripple_share: float = 0.0, images_db: float = -16.0, border: float = 0.4) -> Numbers:
    """A resize-convolution at initialisation."""
    return {
        "init_largest_phase_ripple": ripple_share,
        **around("init_image_rejection_db", images_db),
        **around("init_border_error", border),
    }


def resized(excess: float | tuple[float, float] = -0.3, border: float | None = 1.0) -> Numbers:
    """A trained network with resize-convolutions."""
    return network(
        nearest_checkerboard_levels=0.2,
        transposed_checkerboard_levels=3.0,
        target_checkerboard_levels=-0.1,
        nearest_excess_levels=excess,
        nearest_border_over_interior_ratio=border,
    )


def subpixel(plain: float = 0.75, icnr: float = 0.0) -> Numbers:
    """Sub-pixel convolution at initialisation."""
    return {
        **around("init_subpixel_phase_ripple", plain),
        **around("init_transposed_phase_ripple", 0.75),
        "init_icnr_largest_phase_ripple": icnr,
    }


def shuffled(plain: float | tuple[float, float], icnr: float | tuple[float, float]) -> Numbers:
    """Trained networks with sub-pixel convolution, by the excess of each."""
    return network(
        subpixel_checkerboard_levels=3.0,
        icnr_checkerboard_levels=2.0,
        subpixel_excess_levels=plain,
        icnr_excess_levels=icnr,
        icnr_less_subpixel_levels=-1.0,
        icnr_step0_flat_field_ripple_levels=0.0,
        icnr_last_flat_field_ripple_levels=1.5,
    )


def interpolations(
    psnr: float | tuple[float, float], levels: float | tuple[float, float], name: str = MAIN
) -> Numbers:
    """Nearest less bilinear."""
    return network(name, nearest_less_bilinear_psnr_db=psnr, nearest_less_bilinear_checkerboard_levels=levels)


def scales(more: float | tuple[float, float]) -> Numbers:
    """Two trained layers, by how much more they leave than one."""
    return network(
        both_layers_checkerboard_levels=3.0,
        last_layer_checkerboard_levels=2.0,
        earlier_layer_checkerboard_levels=1.0,
        both_less_larger_part_levels=more,
    )


def correlation(value: float | tuple[float, float], name: str = MAIN) -> Numbers:
    """Rank correlation of grid and colour, over that of a network without a grid."""
    return network(
        name,
        transposed_rank_correlation=value,
        nearest_rank_correlation=0.0,
        transposed_less_nearest_rank_correlation=value,
    )


ONE_SEED = {f"{MAIN}_seeds": 1}
# by claim: a name, the evidence, the verdict that follows
FLIPS: dict[int, list[tuple[str, Numbers, Verdict]]] = {
    1: [
        ("exact", TRANSPOSE, S),
        ("no_backward", TRANSPOSE | {"backward_largest_relative_error": 1e-3}, P),
        ("nothing", {name: 0.1 if "error" in name else value for name, value in TRANSPOSE.items()}, R),
        ("missing", {**TRANSPOSE, "combinations": None}, U),
    ],
    2: [
        ("matrix_alone", REVERSAL, P),
        ("neither", REVERSAL | {"matrices_restored": 139}, R),
        ("some_restored", REVERSAL | {"inputs_restored": 20}, P),
        ("all_restored", REVERSAL | {"inputs_restored": 140, "least_relative_error": 0.0}, S),
        ("missing", {}, U),
    ],
    3: [
        ("nearest_only_if_divisible", EQUIVALENCE, S),
        ("nearest_always", EQUIVALENCE | {"nearest_random_kernels_least_residual": 1e-15}, S),
        ("nearest_never", EQUIVALENCE | {"nearest_divisible_kernels_largest_residual": 0.3}, P),
        ("nearest_is_none", EQUIVALENCE | {"nearest_as_transposed_largest_relative_error": 0.3}, P),
        ("zeros_never", EQUIVALENCE | {"zero_insertion_largest_relative_error": 0.3}, P),
        (
            "nothing",
            EQUIVALENCE
            | {"zero_insertion_largest_relative_error": 1.0, "nearest_divisible_kernels_largest_residual": 1.0},
            R,
        ),
        ("missing", {"combinations": 3}, U),
    ],
    4: [
        ("zeros_stay", WASTE, P),
        ("both_fade", WASTE | FADING, S),
        ("both_fade_in_time_too", WASTE | FADING | measured_sizes(1.0), S),
        ("both_fade_but_not_in_time", WASTE | FADING | measured_sizes(3.0), P),
        ("both_fade_time_unclear", WASTE | FADING | measured_sizes(1.1), U),
        ("zeros_stay_whatever_time_says", WASTE | measured_sizes(1.1), P),
        ("little_waste", WASTE | {"small_padding_waste_share": 0.1}, R),
        ("missing", {}, U),
    ],
    5: [
        ("one_to_four", VISITS, S),
        ("one_to_two", VISITS | {"most_visits": 2}, P),
        ("two_to_nine", VISITS | {"least_visits": 2, "most_visits": 9}, R),
        ("missing", {"least_visits": 1}, U),
    ],
    6: [
        ("ripple_stays", ripple(), P),
        ("only_overlap", ripple(even_zero=0.0), S),
        ("overlap_adds_nothing", ripple(difference=0.0), R),
        ("overlap_may_add", ripple(difference=0.05), U),
        ("ripple_may_stay", ripple(even_zero=0.05), U),
        ("missing", {}, U),
    ],
    7: [
        ("always", first_steps(9.0, 5.0), S),
        ("only_untrained", first_steps(9.0, -5.0), P),
        ("only_untrained_for_sure", first_steps(9.0, (0.0, 5.0)), U),
        ("never", first_steps(-1.0, -2.0), R),
        ("not_in_both_networks", first_steps(9.0, 5.0) | absent(OTHER), P),
        ("not_with_instance_norm", first_steps(9.0, 5.0) | absent(BESIDE), P),
        ("unclear_with_instance_norm", first_steps(9.0, 5.0) | absent(BESIDE, (-0.4, 1.0)), S),
        ("one_seed", first_steps(9.0, 5.0) | ONE_SEED, U),
        ("no_curves", network(), U),
        ("missing", {}, U),
    ],
    8: [
        ("as_before", change(0.9, 4.0), S),
        ("less_but_there", change(0.2, 1.0), P),
        ("less_as_it_began", change(0.2, 1.0) | GAINS, P),
        ("gone", change(0.02, -0.3), R),
        ("less_at_the_limit", change(0.2, (0.0, 1.0)), U),
        ("far_more", change(3.0, 9.0), R),
        ("unclear", change((0.5, 0.3), 4.0), U),
        ("not_in_both_networks", change(0.9, 4.0) | change(0.02, -0.3, OTHER), P),
        ("not_there_at_first", network(), U),
        ("missing", {}, U),
    ],
    9: [
        ("stays", SMOOTHING | last_layer(), S),
        ("halved_but_there", SMOOTHING | last_layer(ratio=0.3), S),
        ("cured_in_one_network", SMOOTHING | last_layer() | last_layer(-0.2, 0.1, OTHER), P),
        ("cured", SMOOTHING | last_layer(-0.2, 0.1), R),
        ("nothing_to_cure", SMOOTHING | last_layer(-0.2, None), R),
        ("at_the_limit", SMOOTHING | last_layer((0.0, 0.3), (0.5, 0.1)), U),
        ("without_random_weights", last_layer(), S),
        ("untrained", SMOOTHING, U),
        ("one_seed", SMOOTHING | last_layer() | ONE_SEED, U),
        ("missing", {}, U),
    ],
    10: [
        ("all_fall", divisibility(0.1, 0.1) | divided(-1.0), S),
        ("ripple_stays", divisibility() | divided(-1.0), P),
        ("ripple_stays_untrained", divisibility(), P),
        ("nothing_falls", divisibility(1.0, 1.0) | divided(0.0), R),
        ("nothing_falls_much", divisibility(1.0, 1.0) | divided((-0.2, 0.2)), R),
        ("falls_in_one_network", divisibility(0.1, 0.1) | divided(-1.0) | divided(0.2, OTHER), P),
        ("trained_unclear", divisibility(0.1, 0.1) | divided((-0.4, 0.5)), U),
        ("grows", divisibility(1.0, 1.0) | divided((1.0, 0.9)), R),
        ("untrained", divisibility(0.1, 0.1), U),
        ("missing", {}, U),
    ],
    11: [
        ("ripple_only", resizing() | resized(), P),
        ("untrained", resizing(), P),
        ("all_clean", resizing(0.0, -60.0, 0.0) | resized(), S),
        ("all_clean_no_borders", resizing(0.0, -60.0, 0.0) | resized(border=None), S),
        ("borders_after_training", resizing(0.0, -60.0, 0.0) | resized(border=2.0), P),
        ("clean_but_untrained", resizing(0.0, -60.0, 0.0), U),
        ("trained_at_the_limit", resizing(0.0, -60.0, 0.0) | resized((0.0, 0.1)), U),
        ("nothing_is_clean", resizing(0.7, -1.0, 0.4) | resized(4.0, 2.0), R),
        ("missing", resized(), U),
    ],
    12: [
        ("dearer", costs(3.0, 1.7), R),
        ("slightly", costs(1.1, 1.0), S),
        ("only_in_time", costs(1.1, 1.7), P),
        ("unclear", costs(1.25, 1.0), U),
        ("one_replicate", costs(3.0, 1.0) | around("latency_ratio_k3", 3.0, None), U),
        ("not_with_either_kernel", costs(3.0, 1.7) | around("latency_ratio_k4", 1.1), P),
        ("missing", {}, U),
    ],
    13: [
        ("both", DIMENSIONS, S),
        ("variation_too", DIMENSIONS | {"overlap_cv_largest_distance_from_square": 0.0}, S),
        ("counts_only", DIMENSIONS | {"one_plus_cv2_largest_distance_from_square": 0.1}, P),
        ("neither", DIMENSIONS | {"squared_counts": 3, "one_plus_cv2_largest_distance_from_square": 0.1}, R),
        ("missing", {}, U),
    ],
    14: [
        ("both", STACKS | scales(0.9), S),
        ("there_but_not_half_a_level", STACKS | scales(0.3), P),
        ("neither", STACKS | {"stack_of_3_overlap_cv": 0.54} | scales(0.0), R),
        ("at_the_limit", STACKS | scales((0.5, 0.1)), U),
        ("one_upsampler", STACKS | network(OTHER), U),
        ("untrained", STACKS, U),
        ("missing", {}, U),
    ],
    15: [
        ("both_better", interpolations(0.5, -1.0), S),
        ("fidelity_only", interpolations(0.5, 0.0), S),
        ("sharper_and_dirtier", interpolations(0.5, 1.0), P),
        ("equal", interpolations(0.0, 0.0), R),
        ("worse", interpolations(-0.5, 0.0), R),
        ("not_better_by_the_margin", interpolations((-0.2, 0.3), (0.2, 0.6)), R),
        ("unclear", interpolations((0.0, 0.5), -1.0), U),
        ("not_in_both_networks", interpolations(0.5, -1.0) | interpolations(-0.5, 0.0, OTHER), P),
        ("one_seed", interpolations(0.5, -1.0) | ONE_SEED, U),
        ("missing", {}, U),
    ],
    16: [
        ("cured_for_good", subpixel() | shuffled(2.0, -0.3), S),
        ("cured_at_first", subpixel() | shuffled(2.0, 1.0), P),
        ("no_problem_no_cure", subpixel(0.0, 0.7) | shuffled(-0.3, 2.0), R),
        ("at_the_limit", subpixel() | shuffled(2.0, (0.0, 0.4)), U),
        ("untrained", subpixel(), U),
        ("missing", shuffled(2.0, 1.0), U),
    ],
    17: [
        ("strided_only", gradients(), P),
        ("both", gradients(pool=0.4), S),
        ("neither", gradients(conv=0.0), R),
        ("pooling_unclear", gradients(pool=0.05), U),
        ("missing", {}, U),
    ],
    18: [
        ("clear", correlation(0.4), S),
        ("weak", correlation(0.1), P),
        ("none", correlation(-0.01), R),
        ("opposite", correlation(-0.4), R),
        ("unclear", correlation((0.1, 0.2)), U),
        ("clear_in_one_network", correlation(0.4) | correlation(-0.4, OTHER), P),
        ("not_told", network(), U),
        ("missing", {}, U),
    ],
}
