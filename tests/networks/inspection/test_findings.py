"""Each code, by a network that has it and one that has not."""

import math
import re
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import deconvbench
from deconvbench.networks.inspection import audit
from deconvbench.networks.inspection.findings import list_findings
from deconvbench.networks.onnx.operators.resizing import onnx_resize
from deconvbench.records.findings import RULES
from deconvbench.records.sites import SiteReport
from tests.networks.inspection.networks import Fcn, level_gains, make_subpixel
from tests.networks.inspection.test_views import make_site


def find_codes(model: nn.Module, example: Any = None) -> set[str]:
    return {
        finding.code for finding in audit(model, torch.rand(1, 4, 32, 32) if example is None else example).findings
    }


class _Pooled(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        y, indices = functional.max_pool2d(x, 2, return_indices=True)
        return functional.max_unpool2d(y, indices, (2, 2))


class _Cast(nn.Module):
    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype
        self.conv = nn.Conv2d(4, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(functional.interpolate(x.to(self.dtype), scale_factor=2.0).to(x.dtype))
        return y


class _Asymmetric(nn.Module):
    """Resizes as a graph of ONNX does, where torch does not do the same."""

    def __init__(self, mode: str, differences: str) -> None:
        super().__init__()
        self.mode, self.differences = mode, differences
        self.conv = nn.Conv2d(4, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = onnx_resize(x, self.mode, self.differences, lambda: functional.interpolate(x, scale_factor=2.0))
        z: Tensor = self.conv(y)
        return z


def _resize(**options: Any) -> nn.Module:
    return nn.Sequential(nn.Upsample(**options), nn.Conv2d(4, 4, 3, padding=1))


def _level(size: int) -> nn.Module:
    return level_gains(nn.ConvTranspose2d(4, 4, size, 2, (size - 1) // 2, size % 2))


SMALL = nn.Conv2d(4, 3, 3, padding=1)


@pytest.mark.parametrize(
    ("code", "bad", "good"),
    [
        pytest.param("DB001", _level(3), _level(4), id="DB001"),
        pytest.param("DB002", nn.ConvTranspose2d(4, 4, 4, 2, 1), _level(4), id="DB002"),
        pytest.param("DB003", _resize(scale_factor=2), _resize(scale_factor=2, mode="bilinear"), id="DB003"),
        pytest.param("DB004", Fcn(), nn.ConvTranspose2d(4, 4, 4, 2, 1, groups=4), id="DB004"),
        pytest.param("DB005", make_subpixel(4, left=0.0, order="ijc"), make_subpixel(4, left=0.0), id="DB005"),
        pytest.param(
            "DB006",
            _resize(scale_factor=2, mode="bilinear", align_corners=True),
            _resize(scale_factor=2, mode="bilinear"),
            id="DB006 corners",
        ),
        pytest.param("DB006", _resize(size=50), _resize(size=96), id="DB006 factor"),
        pytest.param(
            "DB006", _resize(scale_factor=2, mode="bicubic"), _resize(scale_factor=2), id="DB006 bicubic"
        ),
        pytest.param("DB007", _Cast(torch.float64), _Cast(torch.float32), id="DB007"),
        pytest.param("DB008", _Pooled(), nn.ConvTranspose2d(4, 4, 2, 2), id="DB008 unpooling"),
        pytest.param("DB008", nn.ConvTranspose2d(4, 4, 1, 2), nn.ConvTranspose2d(4, 4, 2, 2), id="DB008 kernel"),
        pytest.param("DB009", _level(4), nn.Sequential(_level(4), SMALL), id="DB009"),
        pytest.param("DB010", _Asymmetric("linear", "asymmetric"), _resize(scale_factor=2), id="DB010"),
    ],
)
def test_a_code_is_given_where_it_holds_and_only_there(code: str, bad: nn.Module, good: nn.Module) -> None:
    torch.manual_seed(0)
    smooth = functional.interpolate(torch.rand(1, 4, 6, 6), (48, 48), mode="bilinear")
    example = torch.rand(1, 3, 64, 64) if isinstance(bad, Fcn) else smooth
    assert code in find_codes(bad, example)
    assert code not in find_codes(good, smooth)


@pytest.mark.parametrize("code", RULES)
def test_rules_are_documented(code: str) -> None:
    rule = RULES[code]
    assert re.fullmatch(r"DB\d{3}", code)
    assert rule.code == code
    assert len(rule.explanation) > 40
    assert len(rule.remedy) > 20
    for name in re.findall(r"deconvbench\.(nn\.)?(\w+)", rule.remedy):
        assert hasattr(deconvbench.nn if name[0] else deconvbench, name[1])


@pytest.mark.parametrize(
    ("mode", "attributes", "message"),
    [
        ("cubic", "cubic_coeff_a=-0.5", "Resize of mode cubic with cubic_coeff_a=-0.5"),
        (
            "nearest",
            "half_pixel, round_prefer_floor",
            "Resize of mode nearest with half_pixel, round_prefer_floor, which at a whole factor takes the pixels"
            " that torch's nearest takes",
        ),
        ("nearest", "asymmetric, ceil", "Resize of mode nearest with asymmetric, ceil"),
    ],
)
def test_attributes_of_a_resize_are_named(mode: str, attributes: str, message: str) -> None:
    found = audit(_Asymmetric(mode, attributes), torch.rand(1, 4, 32, 32))
    assert [one.message for one in found.findings if one.code == "DB010"] == [message]
    assert found.sites[0].site.operation == f"Resize(mode={mode}: {attributes})"
    assert found.sites[0].site.kind == "resize_convolution"


def test_findings_say_where_and_what() -> None:
    (first, *_) = audit(nn.Sequential(_level(3), SMALL), torch.rand(1, 4, 32, 32)).findings
    assert str(first).startswith("DB001 0: kernel 3 is not divisible by stride 2: overlap varies by 48%")
    assert first.is_risk
    assert first.remedy == RULES["DB001"].remedy


@pytest.mark.parametrize(
    ("flat", "real", "detection", "is_risk"),
    [
        (0.01, 0.06, 0.08, False),
        (0.01, 0.06, 0.05, True),
        (0.01, None, 0.0, False),
        (0.2, 0.06, 0.08, True),
        (None, 0.06, 0.08, True),
        (0.01, 0.06, math.nan, True),
    ],
    ids=["below the level", "above it", "no images", "in plain colours", "no plain colours", "no level"],
)
def test_ripple_that_is_not_detected_in_the_output_is_no_risk(
    flat: float | None, real: float | None, detection: float, is_risk: bool
) -> None:
    report = SiteReport(site=make_site(), relative_ripple=0.2, flat_levels=flat, real_levels=real)
    (found,) = (one for one in list_findings([report], detection) if one.code == "DB002")
    assert found.is_risk is is_risk
    assert ("does not reach the network's output" in found.message) is not is_risk
