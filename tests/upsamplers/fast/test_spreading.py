"""How far an infinite or NaN pixel spreads: the numbers that the documentation gives, measured."""

import math
import re
from pathlib import Path

import pytest
import torch

from deconvbench.upsamplers.fast import ResizeConv2d, forms
from deconvbench.upsamplers.fast.preparation import Geometry
from tests.upsamplers.fast.plain_form import FORMS, Layer, draw, over

DOCUMENT = Path(__file__).parents[3] / "docs" / "fast_layers.md"
SCALES = (2, 3, 4)
LAYERS = [
    layer
    for form in ("plain", *FORMS)
    for scale in SCALES
    if (layer := Layer(form=form, scale_factor=scale)).is_possible
]


def read_spread(layer: Layer) -> int:
    """Read the number of the documentation's table, kernel 3."""
    (row,) = re.findall(rf"^\| `{layer.form}` \| ([\d–| ]+) \|$", DOCUMENT.read_text("utf-8"), re.MULTILINE)
    return int(row.split(" | ")[SCALES.index(layer.scale_factor)])


def count_spoilt(layer: Layer, row: int, column: int, value: float) -> int:
    conv, x = layer.make_conv().float(), draw(1, 4, 12, 12).float()
    x[0, 1, row, column] = value
    with torch.no_grad():
        y = ResizeConv2d.from_conv(conv, layer.scale_factor, layer.form)(x)
    spoilt = ~y.isfinite()
    # in every output channel the same pixels
    assert torch.equal(spoilt.any(1), spoilt.all(1))
    return int(spoilt[0, 0].sum())


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@over(LAYERS)
def test_spoilt_pixels_are_as_many_as_documented(
    layer: Layer, value: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = read_spread(Layer(form="plain", scale_factor=layer.scale_factor))
    places = [(row, column) for row in (5, 6) for column in (5, 6)]
    # on the CPU the output is looked at
    assert {count_spoilt(layer, *place, value) for place in places} == {plain}
    # on accelerators it is not
    monkeypatch.setattr(forms, "has_finite_sum", lambda _: True)
    monkeypatch.setattr(Geometry, "find_native", lambda *_: None)
    assert {count_spoilt(layer, *place, value) for place in places} == {read_spread(layer)}


@over([Layer(form=form) for form in ("plain", *FORMS)])
def test_gradients_spread_as_far_as_those_of_the_plain_form_but_for_subpixel(layer: Layer) -> None:
    conv, x = layer.make_conv(), draw(1, 4, 8, 8).requires_grad_()
    gradient = torch.zeros(1, 6, 16, 16, dtype=torch.float64)
    gradient[0, 1, 6, 7] = math.nan
    found, expected = (
        torch.autograd.grad(f(x), x, gradient)[0] for f in (layer.make(conv), lambda x: layer.run_plain(conv, x))
    )
    spoilt = ~expected.isfinite()
    assert int(spoilt[0, 0].sum()) == 4
    if layer.form == "subpixel":
        assert int((~found.isfinite())[0, 0].sum()) == 9
    else:
        assert torch.equal(~found.isfinite(), spoilt)
