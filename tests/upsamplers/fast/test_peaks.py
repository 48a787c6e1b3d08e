"""The counts are those that were measured, and what is chosen by them keeps the promise about memory."""

from dataclasses import replace

import pytest

from deconvbench.upsamplers.fast.peaks import (
    Library,
    Sizes,
    count_plain,
    count_transposed,
    goes_with_channels_last,
)

# MiB of float32 that were measured on the CPU with the channels first, zeros beyond the border: kernel, scale,
# channels in and out, batch, height, width, mode, plain, transposed
MEASURED_FIRST = [
    (3, 4, 8, 512, 1, 48, 48, "live", 145.2, None),
    (5, 2, 384, 128, 8, 32, 32, "live", 116.6, 54.6),
    (7, 2, 512, 96, 1, 24, 24, "live", 19.0, 25.9),
    (5, 2, 512, 384, 1, 24, 24, "kept", 31.0, 31.6),
    (3, 2, 128, 96, 8, 12, 64, "live", 33.2, 27.6),
    (7, 3, 64, 64, 1, 64, 64, "live", 27.6, 28.2),
    (3, 3, 16, 256, 1, 128, 128, "live", 297.0, 288.0),
    (5, 2, 64, 128, 1, 64, 128, "live", 40.0, 32.0),
    (3, 2, 384, 32, 1, 64, 64, "live", 50.4, 9.5),
]
MEASURED_LAST = [
    (3, 3, 8, 16, 1, 128, 256, "live", 27.0, 18.0),
    (7, 2, 96, 192, 4, 64, 64, "kept", 78.9, 52.5),
    (5, 3, 64, 192, 1, 64, 64, "live", 38.3, 31.6),
    (3, 2, 64, 512, 2, 24, 24, "live", 12.4, 13.1),
]
# the same in float64
MEASURED_DOUBLE = [
    (3, 2, 64, 32, 1, 64, 64, "live", 83.9, 20.1),
    (3, 2, 16, 128, 1, 48, 48, "live", 20.2, 45.0),
    (5, 2, 64, 64, 1, 48, 48, "live", 121.5, 46.1),
]
SIZES = Sizes(
    pixels=4096,
    image_pixels=4096,
    in_channels=32,
    out_channels=16,
    kernel_size=3,
    scale_factor=2,
    is_channels_last=False,
)


@pytest.mark.parametrize(
    ("cell", "is_channels_last", "library"),
    [
        *((cell, False, Library.ONEDNN) for cell in MEASURED_FIRST),
        *((cell, True, Library.ONEDNN) for cell in MEASURED_LAST),
        *((cell, False, Library.PATCHES) for cell in MEASURED_DOUBLE),
    ],
    ids=str,
)
def test_counts_are_what_was_measured(
    cell: tuple[int, int, int, int, int, int, int, str, float, float | None],
    is_channels_last: bool,
    library: Library,
) -> None:
    kernel_size, scale_factor, in_channels, out_channels, batch, height, width, mode, plain, transposed = cell
    sizes = Sizes(
        pixels=batch * height * width,
        image_pixels=height * width,
        in_channels=in_channels,
        out_channels=out_channels,
        kernel_size=kernel_size,
        scale_factor=scale_factor,
        is_channels_last=is_channels_last,
        library=library,
    )
    mib = (8 if library is Library.PATCHES else 4) / 2**20
    assert count_plain(sizes) * mib <= 1.025 * plain
    if transposed is not None:
        assert count_transposed(sizes, is_prepared=mode == "kept") * mib >= 0.975 * transposed


@pytest.mark.parametrize(("groups", "expected"), [(1, 1), (4, 2), (32, 2)])
def test_groups_with_the_channels_last_are_re_ordered(groups: int, expected: int) -> None:
    # 18.1 MiB were measured of 2 · 9 for 4 groups of 32 to 128, 11.2 in the plain form
    sizes = replace(
        SIZES, in_channels=32, out_channels=128, groups=groups, is_channels_last=True, pixels=2 * 48**2
    )
    held = count_transposed(sizes, is_prepared=True) / sizes.outputs
    assert expected <= held < expected + 0.5


@pytest.mark.parametrize("library", Library)
@pytest.mark.parametrize("is_channels_last", [False, True])
def test_what_is_held_grows_with_the_work(library: Library, is_channels_last: bool) -> None:
    sizes = replace(SIZES, library=library, is_channels_last=is_channels_last)
    for name in ("pixels", "in_channels", "out_channels", "kernel_size", "scale_factor"):
        more = replace(sizes, **{name: 2 * getattr(sizes, name)})
        assert count_plain(more) > count_plain(sizes)
        assert count_transposed(more, is_prepared=False) > count_transposed(sizes, is_prepared=False)
    kept, live = (count_transposed(sizes, is_prepared=is_prepared) for is_prepared in (True, False))
    assert kept <= live
    assert count_transposed(sizes, is_prepared=False, is_shared=True) >= live
    half = count_transposed(replace(sizes, is_float32=False), is_prepared=False)
    assert half >= live


def test_training_does_not_count_what_both_forms_hold_in_their_backward_passes() -> None:
    many = replace(SIZES, out_channels=32)
    assert count_transposed(many, is_prepared=False, is_training=True) < count_transposed(many, is_prepared=False)


@pytest.mark.parametrize(
    ("in_channels", "out_channels", "expected"), [(8, 8, False), (8, 9, True), (16, 8, False)]
)
def test_more_outputs_than_inputs_go_with_the_channels_last(
    in_channels: int, out_channels: int, expected: bool
) -> None:
    assert goes_with_channels_last(in_channels, out_channels) == expected
