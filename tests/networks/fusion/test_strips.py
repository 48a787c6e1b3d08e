"""Containers in row strips: which modules, the same numbers, and when not."""

import copy
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from deconvbench.errors import UsageError
from deconvbench.networks.fusion import FuseReport, fuse, resizing, strips
from deconvbench.networks.fusion.peaks import measure_model_peak
from deconvbench.networks.fusion.strips import find_strip_chain, flatten
from deconvbench.upsamplers.fast import forms
from deconvbench.upsamplers.fast.strips import run_in_strips
from tests.networks.fusion.networks import VaeDecoder

MIB = 2**20


def conv(in_channels: int, out_channels: int, size: int = 3, **options: Any) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, size, **{"padding": size // 2, **options})


def make_decoder(dtype: torch.dtype = torch.float32) -> nn.Sequential:
    torch.manual_seed(0)
    up = nn.Sequential(nn.Upsample(scale_factor=2), nn.ReflectionPad2d(1), nn.Conv2d(8, 8, 3), nn.BatchNorm2d(8))
    model = nn.Sequential(
        *(conv(4, 8), nn.Upsample(scale_factor=2), conv(8, 8), nn.ReLU(inplace=True), up, nn.PReLU()),
        *(nn.Dropout(), conv(8, 12, 5, padding_mode="replicate"), nn.PixelShuffle(2), nn.Tanh()),
    )
    return model.to(dtype).eval()


def make_input(dtype: torch.dtype = torch.float32, height: int = 24, width: int = 20) -> Tensor:
    return torch.randn(1, 4, height, width, generator=torch.Generator().manual_seed(1)).to(dtype)


@pytest.fixture(autouse=True)
def forms_are_chosen(small_images_are_worth_it: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Choose forms as users get them: what the forced ones hold, and round in half precision, is not promised."""
    monkeypatch.setattr(resizing, "choose", forms.choose)


@pytest.fixture
def strip_rows(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """List the rows of the strips of all calls that work in strips."""
    rows: list[int] = []
    original = run_in_strips

    def watch(stages: Any, x: Tensor, count: int) -> Tensor:
        rows.append(count)
        return original(stages, x, count)

    monkeypatch.setattr(strips, "run_in_strips", watch)
    return rows


def relate(expected: Tensor, found: Tensor) -> float:
    return float((expected.double() - found.double()).abs().max() / expected.double().abs().max())


@pytest.mark.parametrize(
    ("dtype", "limit"),
    [(torch.float32, 2e-6), (torch.float64, 1e-13), (torch.bfloat16, 0.0), (torch.float16, 0.0)],
    ids=["float32", "float64", "bfloat16", "float16"],
)
def test_strips_are_the_whole_and_hold_less(dtype: torch.dtype, limit: float, strip_rows: list[int]) -> None:
    model, x = make_decoder(dtype), make_input(dtype)
    kib = 900 if dtype == torch.float64 else 512
    report = fuse(model, x, max_memory=f"{kib} KiB")
    assert len(report.in_strips) == 1
    assert str(report.in_strips[0]) == "(the model): Upsample to Tanh, 12 modules -> in row strips"
    assert report.max_memory_bytes == kib * 1024
    strip_rows.clear()
    with torch.no_grad():
        assert relate(model(x), report.model(x)) <= limit
        # at other sizes too, odd ones among them
        for height, width in ((33, 24), (24, 41), (1, 64)):
            other = make_input(dtype, height, width)
            assert relate(model(other), report.model(other)) <= limit
    assert len(strip_rows) >= 3
    assert all(rows < 8 * 41 for rows in strip_rows)


def test_the_limit_is_met_and_the_report_says_what_was_held() -> None:
    pytest.importorskip("memray")
    model, x = make_decoder(), make_input(height=64, width=64)
    report = fuse(model, x, max_memory=6 * MIB)
    before, after = report.peak_memory_bytes_before, report.peak_memory_bytes_after
    assert before is not None
    assert after is not None
    assert after <= 6 * MIB < 10 * MIB < before
    assert report.is_within_memory
    assert "peak memory for the example: " in str(report)
    assert "not met" not in str(report)


def test_a_limit_that_is_not_met_is_reported() -> None:
    pytest.importorskip("memray")
    # the first convolution alone holds more, and comes before the upsampling
    model = nn.Sequential(conv(4, 64), nn.Upsample(scale_factor=2), conv(64, 1)).eval()
    report = fuse(model, torch.randn(1, 4, 64, 64), max_memory="512KiB")
    assert report.is_within_memory is False
    assert "max_memory 512 KiB is not met" in str(report)


def test_what_has_nothing_to_cut_says_so() -> None:
    model = nn.Sequential(nn.Upsample(scale_factor=2, mode="bilinear"), conv(4, 4)).eval()
    report = fuse(model, max_memory="64 MiB")
    assert report.model is model
    assert "max_memory 64 MiB: nothing here can be computed in row strips" in str(report)


@pytest.mark.parametrize("limit", [0, -5, "much", float("nan"), "12 parsecs", True, [1]])
def test_limits_that_are_none(limit: Any) -> None:
    with pytest.raises(UsageError, match=r"^max_memory: .* is not a number of bytes above 0"):
        fuse(make_decoder(), make_input(), max_memory=limit)


def test_a_limit_below_the_output_is_refused() -> None:
    model, x = make_decoder(), make_input()
    expected = r"^max_memory: 10 KiB is less than the output for the example alone, 360 KiB$"
    with pytest.raises(UsageError, match=expected):
        fuse(model, x, max_memory="10KiB")


def test_without_need_there_are_no_strips(strip_rows: list[int]) -> None:
    fused = fuse(make_decoder(), max_memory="1 GiB").model
    with torch.no_grad():
        fused(make_input())
    assert strip_rows == []


def test_gradients_are_those_of_the_whole(strip_rows: list[int]) -> None:
    model, x = make_decoder(torch.float64), make_input(torch.float64)
    fused = fuse(model, max_memory="512 KiB").model
    parameters = list(model.parameters())
    expected = torch.autograd.grad(model(x).square().sum(), parameters)
    found = torch.autograd.grad(fused(x).square().sum(), parameters)
    assert strip_rows == []
    for one, other in zip(expected, found, strict=True):
        assert torch.allclose(one, other, rtol=1e-9, atol=1e-9 * float(one.abs().max()))


def test_training_mode_normalises_over_the_whole(strip_rows: list[int]) -> None:
    model, x = make_decoder(), make_input()
    fused = fuse(model, max_memory="512 KiB").model
    for network in (model, fused):
        network.train()
        for module in network.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
    with torch.no_grad():
        assert relate(model(x), fused(x)) <= 2e-6
    # as far as the normalisation, which takes the mean over all rows
    assert len(strip_rows) == 1


def test_copies_pickles_and_hooks(strip_rows: list[int]) -> None:
    model, x = make_decoder(), make_input()
    fused = fuse(model, max_memory="512 KiB").model
    assert list(fused.state_dict()) == list(model.state_dict())
    with torch.no_grad():
        expected = model(x)
        for other in (copy.deepcopy(fused), pickle.loads(pickle.dumps(fused))):
            strip_rows.clear()
            assert relate(expected, other(x)) <= 2e-6
            assert len(strip_rows) == 1
        seen: list[tuple[int, ...]] = []
        strip_rows.clear()
        fused.get_submodule("7").register_forward_hook(lambda _module, _args, y: seen.append(tuple(y.shape)))
        assert relate(expected, fused(x)) <= 2e-6
    # once, with the whole map: the strips end before it
    assert seen == [(1, 12, 96, 80)]
    assert len(strip_rows) == 1


def test_autocast_in_strips(strip_rows: list[int]) -> None:
    model, x = make_decoder(), make_input()
    fused = fuse(model, max_memory="512 KiB").model
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        expected, found = model(x), fused(x)
    assert found.dtype == expected.dtype
    assert torch.equal(found, expected)
    assert strip_rows


@pytest.mark.parametrize(
    ("dtype", "limit"), [(torch.float32, 5e-6), (torch.bfloat16, 0.0)], ids=["float32", "bfloat16"]
)
def test_forward_passes_cut_each_pair(dtype: torch.dtype, limit: float) -> None:
    torch.manual_seed(0)
    model = VaeDecoder().to(dtype).eval()
    x = torch.randn(1, 4, 12, 10).to(dtype)
    report: FuseReport = fuse(model, x, max_memory=100_000)
    assert report.in_strips
    assert report.changed
    with torch.no_grad():
        assert relate(model(x)["sample"], report.model(x)["sample"]) <= limit


STOPS: dict[str, tuple[list[nn.Module], int | None]] = {
    "no_convolution": ([nn.Upsample(scale_factor=2), nn.ReLU()], None),
    "no_upsampling": ([conv(4, 4), nn.Upsample(scale_factor=2), conv(4, 4)], None),
    "stride": ([nn.Upsample(scale_factor=2), conv(4, 4), conv(4, 4, stride=2), conv(4, 4)], 2),
    "circular": ([nn.Upsample(scale_factor=2), conv(4, 4, padding_mode="circular")], None),
    "valid": ([nn.Upsample(scale_factor=2), conv(4, 4, padding=0)], None),
    "norm": ([nn.Upsample(scale_factor=2), conv(4, 4), nn.GroupNorm(1, 4), conv(4, 4)], 2),
    "training_norm": ([nn.Upsample(scale_factor=2), conv(4, 4), nn.BatchNorm2d(4)], 2),
    "sizes_that_are_fixed": ([nn.Upsample(scale_factor=2), conv(4, 4), nn.Upsample(size=(9, 9))], 2),
    "dilation": ([nn.Upsample(scale_factor=2), conv(4, 4, dilation=2, padding=2), nn.ReLU()], 3),
    "oblong": ([nn.Upsample(scale_factor=2), nn.Conv2d(4, 4, (3, 5), padding=(1, 2))], 2),
    "constant": ([nn.Upsample(scale_factor=2), nn.ConstantPad2d(1, 3.0), conv(4, 4, padding=0)], 3),
}


@pytest.mark.parametrize("name", STOPS)
def test_where_strips_end(name: str) -> None:
    modules, stop = STOPS[name]
    chain = find_strip_chain(modules, 0)
    assert (None if chain is None else chain.stop) == stop
    if chain is not None:
        x = make_input(height=5, width=6)
        with torch.no_grad():
            expected = nn.Sequential(*modules[:stop])(x)
            found = strips.run_strip_chain(chain, x, 1)
        assert found is not None
        assert relate(expected, found) <= 2e-6


def test_containers_with_hooks_stay_closed() -> None:
    inner = nn.Sequential(nn.ReLU(), nn.Sequential(nn.Tanh()))
    outer = nn.Sequential(nn.Identity(), inner)
    assert [type(module) for module in flatten(outer)] == [nn.Identity, nn.ReLU, nn.Tanh]
    inner[1].register_forward_hook(lambda *_: None)
    assert [type(module) for module in flatten(outer)] == [nn.Identity, nn.ReLU, nn.Sequential]


def test_memory_is_measured_on_request() -> None:
    pytest.importorskip("memray")
    model, x = make_decoder(), make_input()
    assert fuse(model, x).peak_memory_bytes_before is None
    report = fuse(model, x, measure_memory=True)
    assert report.peak_memory_bytes_before == pytest.approx(measure_model_peak(model, x), rel=0.05)
    assert report.is_within_memory is None
    with pytest.raises(UsageError, match="measure_memory: True needs an example_input"):
        fuse(model, measure_memory=True)
    with pytest.raises(UsageError, match="measure_memory: 'yes' is not True or False"):
        fuse(model, x, measure_memory="yes")  # type: ignore[arg-type] # what is tested


def test_what_cannot_be_measured_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deconvbench.networks.fusion.peaks.measure_heap_peak", lambda _: None)
    report = fuse(make_decoder(), make_input(), measure_memory=True)
    assert report.peak_memory_bytes_after is None
    assert "peak memory was not measured: memray is not installed" in str(report)
