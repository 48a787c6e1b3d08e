"""The order in which a reader meets the layers."""

from deconvbench.plots.style import _ASSIGNED
from deconvbench.records.layers import FAST_ORIGINAL, FAST_UPSAMPLERS, READING_ORDER, rank_upsampler
from deconvbench.upsamplers import list_upsamplers


def test_known_names_rank_before_others() -> None:
    names = sorted(["zzz", "aaa", "nearest_conv", "transposed"], key=rank_upsampler)
    assert names == ["transposed", "nearest_conv", "aaa", "zzz"]


def test_every_layer_of_the_package_has_a_place_and_a_look() -> None:
    assert len(READING_ORDER) == len(set(READING_ORDER))
    assert set(READING_ORDER) == set(_ASSIGNED) == set(list_upsamplers())
    assert {FAST_ORIGINAL, *FAST_UPSAMPLERS} <= set(READING_ORDER)
