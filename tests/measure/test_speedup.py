"""Speed-ups of tiny layers: what is filled in, and what is refused."""

from typing import Any

import pytest
from torch import Tensor, nn

from deconvbench.errors import UnsupportedError, UsageError
from deconvbench.measure.latency import LatencyPolicy
from deconvbench.measure.speedup import measure_speedup
from deconvbench.records.record import SpeedupRecord, decode_record, encode_record
from deconvbench.upsamplers import register_upsampler, registry
from tests.builders import make_case

MILLISECOND = 1_000_000


def make_policy(**changes: Any) -> LatencyPolicy:
    return LatencyPolicy(**{"min_time_s": 0.0, "warmup_s": 0.0, "time_cap_s": 10.0, **changes})


CASE = make_case(in_channels=8, out_channels=4, height=4, width=6)


def make_job(**changes: Any) -> SpeedupRecord:
    case = changes.pop("case", CASE)
    ids = {name: case.case_id.replace("nearest_conv-", f"{name}-") for name in registry.list_upsamplers()}
    values: dict[str, Any] = {
        "case": case,
        "twins": tuple(ids[name] for name in changes.pop("twins", ("nearest_conv_fast", "nearest_conv_minimal"))),
        "rivals": tuple(ids[name] for name in changes.pop("rivals", ("transposed",))),
        "is_frozen": False,
        "replicate": 0,
        "seed": 5,
        "status": "error",
        "message": "not measured",
    }
    return SpeedupRecord(**{**values, **changes})


def finish(job: SpeedupRecord, **settings: Any) -> SpeedupRecord:
    return list(measure_speedup(job, LatencyPolicy(time_cap_s=0.0, warmup_s=0.0, min_time_s=0.0), **settings))[-1]


@pytest.mark.parametrize("memory_format", ["contiguous", "channels_last"])
@pytest.mark.parametrize(("step", "is_frozen"), [("forward", False), ("forward", True), ("train", False)])
def test_a_setting_is_filled_in(memory_format: str, step: str, is_frozen: bool) -> None:
    case = make_case(in_channels=8, out_channels=4, height=4, width=6, step=step, memory_format=memory_format)
    job = make_job(case=case, is_frozen=is_frozen)
    done = finish(job)
    names = {case.case_id, *job.twins, *job.rivals}
    assert (done.status, done.message, done.key) == ("ok", "", job.key)
    assert set(done.samples_s) == set(done.peak_memory_bytes) == names
    rounds = len(done.ceiling_flops_per_s)
    assert {len(samples) for samples in done.samples_s.values()} == {rounds}
    assert rounds >= LatencyPolicy().min_samples
    assert set(done.macs) == (names if step == "forward" else set())
    assert list(done.implementations) == [job.twins[0]]
    assert done.measuring_s > 0
    assert decode_record(encode_record(done), "here") == done


def test_macs_are_those_of_the_layer_as_it_runs() -> None:
    job = make_job(is_frozen=True, twins=("nearest_conv_transposed",))
    done = finish(job, measures_memory=False)
    assert done.macs[CASE.case_id] == 9 * 8 * 4 * 8 * 12
    assert done.macs[job.twins[0]] == 4 * 8 * 4 * 8 * 12
    live = finish(make_job(twins=("nearest_conv_transposed",)), measures_memory=False)
    assert live.macs[job.twins[0]] > done.macs[job.twins[0]]
    assert done.peak_memory_bytes == {}


def test_memory_is_measured_in_the_first_replicate() -> None:
    assert finish(make_job(replicate=1)).peak_memory_bytes == {}


class _Wrong(nn.Module):
    """Looks like a resize-convolution and computes something else, or learns something else."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, scale_factor: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size, padding=1)
        self.scale_factor = scale_factor

    def upsample(self, x: Tensor) -> Tensor:
        return nn.functional.interpolate(x, scale_factor=self.scale_factor)


class _Off(_Wrong):
    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(self.upsample(x))
        return y + 1e-3 * y.detach().abs().max()


class _Stops(_Wrong):
    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(self.upsample(x))
        return y + (x.sum() - x.sum().detach())


class _Deaf(_Wrong):
    def forward(self, x: Tensor) -> Tensor:
        large = self.upsample(x)
        y: Tensor = self.conv(large.detach())
        # the right value and gradient of the input, and half of the weight's
        return 0.5 * (y - y.detach()) + nn.functional.conv2d(
            large, self.conv.weight.detach(), self.conv.bias, padding=1
        )


class _Scaled(_Wrong):
    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(self.upsample(x))
        return y * (1 + 1e-3)


class _Larger(_Wrong):
    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, scale_factor: int) -> None:
        super().__init__(in_channels, out_channels, 5, scale_factor)

    def forward(self, x: Tensor) -> Tensor:
        raise AssertionError


@pytest.fixture
def own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_REGISTRY", dict(registry._REGISTRY))


@pytest.mark.usefixtures("own_registry")
@pytest.mark.parametrize(
    ("layer", "step", "message"),
    [
        (_Off, "forward", "its output differs by"),
        (_Scaled, "forward", "its output differs by 1.0e-03 of the largest value, more than 1e-05"),
        (_Stops, "train", "its gradient of the input differs by"),
        (_Deaf, "train", "its gradient of a parameter differs by"),
        (
            _Larger,
            "forward",
            r"has parameters of shapes \(4, 8, 5, 5\), \(4,\); those of the baseline are \(4, 8, 3, 3\)",
        ),
    ],
    ids=["output", "scale", "input", "weight", "shape"],
)
def test_a_wrong_equivalent_is_an_error_and_never_fast(layer: type[nn.Module], step: str, message: str) -> None:
    register_upsampler("wrong")(layer)
    case = make_case(in_channels=8, out_channels=4, step=step)
    steps = measure_speedup(make_job(case=case, twins=("wrong",)), make_policy())
    with pytest.raises(UsageError, match=message):
        list(steps)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"case": make_case(device="cuda")}, "on the cpu and eager only, not cuda and eager"),
        ({"case": make_case(execution="compile")}, "not cpu and compile"),
        ({"case": make_case(step="train"), "is_frozen": True}, "a frozen layer keeps its weight"),
        (
            {"case": make_case(kernel_size=5), "twins": ("nearest_conv_tiled",)},
            "kernel_size 3 and scale_factor 2 only",
        ),
    ],
    ids=["device", "execution", "frozen training", "layer"],
)
def test_what_cannot_be_timed_interleaved_is_unsupported(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UnsupportedError, match=message):
        finish(make_job(**changes))
