"""The names behind a step: found, short, and never at the cost of the case."""

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from deconvbench.measure import kernels
from deconvbench.measure.kernels import (
    MOST_CHARACTERS,
    join_names,
    merge_times,
    name_kernels,
    name_operator,
    shorten_kernel,
    sum_kernels,
)
from deconvbench.measure.onednn import Primitives
from deconvbench.measure.step import PreparedStep, prepare_step
from deconvbench.records.case import Case
from deconvbench.runner.process_state import read_process_state
from deconvbench.upsamplers.fast.choice import NATIVE
from tests.builders import make_case

needs_onednn = pytest.mark.skipif(
    not torch.backends.mkldnn.is_available(),  # type: ignore[no-untyped-call] # torch has no types here
    reason="torch was built without oneDNN",
)


def make_step(
    work: Callable[[], Tensor], case: Case | None = None, name_implementation: Callable[[], str] = str
) -> PreparedStep:
    """A step of any work, with nothing to check."""
    return PreparedStep(
        case or make_case(),
        lambda look: work(),
        input_bytes=1,
        output_bytes=2,
        parameter_bytes=3,
        gradient_bytes=4,
        name_implementation=name_implementation,
    )


def prepare(case_id: str) -> PreparedStep:
    step = prepare_step(Case.from_id(case_id), 0)
    step.run()
    return step


@needs_onednn
@pytest.mark.parametrize(
    ("case_id", "expected"),
    [
        ("nearest_conv-k3-s2-c64x32-32x32", "convolution "),
        ("transposed-k3-s2-c64x32-32x32-train", "deconvolution "),
    ],
)
def test_a_convolution_is_named_by_its_primitive(case_id: str, expected: str) -> None:
    state = read_process_state()
    threads = threading.active_count()
    # what is named took the time: interruptions may make something else the longest
    found = [name_kernels(prepare(case_id)) for _ in range(3)]
    assert any(part.startswith(expected) for names in found for part in names.split(" + "))
    assert max(map(len, found)) <= MOST_CHARACTERS
    changes = state.restore()
    assert (changes.disturbing, changes.lasting) == ((), ())
    assert threading.active_count() == threads


def test_where_onednn_takes_no_part_the_operator_is_named() -> None:
    x = torch.randn(1, 8, 64, 64)
    step = make_step(lambda: functional.interpolate(x, scale_factor=4.0, mode="bicubic"))
    assert name_kernels(step) == "aten::upsample_bicubic2d"


def test_code_of_a_layer_s_own_is_said_to_be_outside_of_torch() -> None:
    def work() -> Tensor:
        time.sleep(0.005)
        return torch.zeros(1)

    assert name_kernels(make_step(work)) == "outside torch's operators"


def test_the_compiled_form_has_its_own_name() -> None:
    calls: list[int] = []

    def work() -> Tensor:
        calls.append(1)
        time.sleep(0.002)
        return torch.zeros(1)

    step = make_step(work, name_implementation=lambda: NATIVE)
    assert name_kernels(step) == NATIVE
    # known, so it is not run for its name
    assert not calls
    assert name_kernels(make_step(work, make_case(step="train"), lambda: NATIVE)) == NATIVE
    assert calls


def test_a_type_that_the_cpu_has_not_is_said_behind_the_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        kernels, "explain_emulation", lambda dtype: f"computed in float32: this CPU has no {dtype}"
    )
    x = torch.randn(1, 8, 64, 64)
    step = make_step(
        lambda: functional.interpolate(x, scale_factor=4.0, mode="bicubic"), make_case(dtype="float16")
    )
    assert name_kernels(step) == "aten::upsample_bicubic2d; computed in float32: this CPU has no float16"


@pytest.mark.parametrize("error", [RuntimeError("at the second call"), MemoryError(), OSError("no space left")])
def test_whatever_fails_here_costs_nothing(error: Exception, capfd: pytest.CaptureFixture[str]) -> None:
    state = read_process_state()
    calls: list[int] = []

    def work() -> Tensor:
        calls.append(1)
        if len(calls) > 1:
            raise error
        return torch.zeros(1)

    assert name_kernels(make_step(work)) == ""
    assert len(calls) == 2
    # what fails once it is profiled, too
    assert name_kernels(make_step(lambda: fail_under_the_profiler(error))) == ""
    changes = state.restore()
    assert (changes.disturbing, changes.lasting) == ((), ())
    os.write(1, b"still there\n")
    assert capfd.readouterr().out == "still there\n"


def test_the_profiler_ends_where_a_layer_closed_its_output(capfd: pytest.CaptureFixture[str]) -> None:
    torch_c: Any = torch._C
    kept = os.dup(2)
    calls: list[int] = []

    def work() -> Tensor:
        if torch_c._autograd._profiler_enabled() and not calls:
            calls.append(1)
            os.close(2)
        time.sleep(0.02)
        return torch.zeros(1)

    try:
        # later calls cannot be profiled without their output
        assert name_kernels(make_step(work)) in {"", "outside torch's operators"}
    finally:
        os.dup2(kept, 2)
        os.close(kept)
    assert calls
    assert not torch_c._autograd._profiler_enabled()


def fail_under_the_profiler(error: Exception) -> Tensor:
    torch_c: Any = torch._C
    if torch_c._autograd._profiler_enabled():
        raise error
    return torch.zeros(1)


def test_nothing_is_caught_that_ends_the_process() -> None:
    def work() -> Tensor:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        name_kernels(make_step(work))


# choosing among what was found


def test_the_longest_comes_first_and_large_shares_follow() -> None:
    assert join_names({"a": 1.0, "b": 6.0, "c": 3.0}) == "b + c"
    assert join_names({"a": 3.0, "b": 3.0, "c": 3.0, "d": 3.0}) == "a + b + c"
    assert join_names({"a": 1.0}) == "a"
    assert join_names({}) == ""


def test_the_text_stays_short() -> None:
    long = "x" * 200
    assert join_names({long: 2.0, "a": 1.0}) == "x" * (MOST_CHARACTERS - 1) + "…"
    # what does not fit is left out whole
    wide = "y" * 50
    assert join_names({wide: 3.0, "z" * 40: 2.0}) == wide


def test_primitives_take_the_place_of_the_operators_that_call_them() -> None:
    operators = Primitives(
        spent_s={"aten::mkldnn_convolution": 5.0, "aten::bmm": 3.0, "aten::upsample_bilinear2d": 2.0}, wall_s=11.0
    )
    convolving = Primitives(spent_s={"convolution jit:avx2": 4.0}, wall_s=10.0)
    assert merge_times(convolving, operators) == {
        "convolution jit:avx2": 4.0,
        "aten::bmm": 3.0,
        "aten::upsample_bilinear2d": 2.0,
    }
    multiplying = Primitives(spent_s={"matmul gemm:jit": 3.0}, wall_s=10.0)
    assert merge_times(multiplying, operators) == {"matmul gemm:jit": 3.0, "aten::upsample_bilinear2d": 2.0}
    assert merge_times(Primitives(spent_s={}, wall_s=10.0), operators) == operators.spent_s


def test_time_outside_of_operators_counts_where_it_is_nearly_all() -> None:
    nothing = Primitives(spent_s={}, wall_s=1.0)
    assert merge_times(nothing, Primitives(spent_s={"aten::empty": 0.1}, wall_s=1.0)) == {
        "aten::empty": 0.1,
        "outside torch's operators": pytest.approx(0.9),
    }
    assert merge_times(nothing, Primitives(spent_s={"aten::copy_": 0.4}, wall_s=1.0)) == {"aten::copy_": 0.4}
    # of a step this short it is Python
    assert merge_times(nothing, Primitives(spent_s={"aten::copy_": 1e-5}, wall_s=5e-4)) == {"aten::copy_": 1e-5}


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        ("aten::copy_", "aten::copy_"),
        ("mine::upsample", "mine::upsample"),
        ("autograd::engine::evaluate_function: ConvolutionBackward0", None),
        ("torch::autograd::AccumulateGrad", None),
        ("ConvolutionBackward0", None),
        ("TorchDynamo Cache Lookup", None),
        ("## Call CompiledFxGraph f2nivtfm4hwq5lo2hl ##", "compiled graph"),
        ("Torch-Compiled Region: 0/0", "compiled graph"),
    ],
)
def test_events_that_are_operators(event: str, expected: str | None) -> None:
    assert name_operator(event) == expected


# on accelerators


@dataclass(frozen=True)
class FakeEvent:
    """An event as torch's profiler gives it."""

    told: str
    nanoseconds: int
    device: str = "CUDA"
    is_range: bool = False

    def name(self) -> str:
        return self.told

    def device_type(self) -> Any:
        return SimpleNamespace(name=self.device)

    def duration_ns(self) -> int:
        return self.nanoseconds

    def is_user_annotation(self) -> bool:
        return self.is_range


def test_kernels_of_the_device_are_summed_without_the_host_and_without_ranges() -> None:
    kernel = "void at::native::vectorized_elementwise_kernel<4, at::native::FillFunctor<float>>(int, float)"
    events = [
        FakeEvent("aten::conv2d", 90_000, device="CPU"),
        FakeEvent("ProfilerStep#1", 80_000, is_range=True),
        FakeEvent("sm80_xmma_fprop_implicit_gemm_f32f32", 30_000),
        FakeEvent(kernel, 6_000),
        FakeEvent(kernel.replace("FillFunctor", "AddFunctor"), 6_000),
        FakeEvent("Memcpy DtoD (Device -> Device)", 1_000),
    ]
    found = sum_kernels(events)
    assert found == pytest.approx(
        {
            "sm80_xmma_fprop_implicit_gemm_f32f32": 30e-6,
            "at::native::vectorized_elementwise_kernel": 12e-6,
            "Memcpy DtoD": 1e-6,
        }
    )
    assert join_names(found) == "sm80_xmma_fprop_implicit_gemm_f32f32 + at::native::vectorized_elementwise_kernel"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("void cudnn::ops::nchwToNhwcKernel<float, float, true>(cudnn::P<float>)", "cudnn::ops::nchwToNhwcKernel"),
        ("void (anonymous namespace)::softmax<float>(int)", "softmax"),
        ("void at::native::(anonymous namespace)::upsample_nearest2d_out_frame<float, &(f)>(float const*)",
         "at::native::upsample_nearest2d_out_frame"),
        ("triton_poi_fused_convolution_0", "triton_poi_fused_convolution_0"),
        ("Memset (Device)", "Memset"),
        ("<lambda>", "<lambda>"),
    ],
)  # fmt: skip
def test_kernels_are_named_without_their_templates(name: str, expected: str) -> None:
    assert shorten_kernel(name) == expected


def test_the_profiler_is_asked_for_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    class FakeProfiler:
        def __init__(self, **settings: Any) -> None:
            asked.append(settings)
            self.kineto_results = SimpleNamespace(events=lambda: [FakeEvent("a_kernel", 5)])

        def __enter__(self) -> "FakeProfiler":
            asked.append("on")
            return self

        def __exit__(self, *_: object) -> None:
            asked.append("off")

    activity = torch.profiler.ProfilerActivity.CUDA
    monkeypatch.setattr(kernels, "_profile", FakeProfiler)
    monkeypatch.setattr(torch.profiler, "supported_activities", lambda: {activity})
    monkeypatch.setattr(torch.accelerator, "synchronize", lambda device: asked.append(str(device)))

    def work() -> Tensor:
        asked.append("run")
        return torch.zeros(1)

    step = make_step(work, make_case(device="cuda:0", dtype="float16"))
    # no note: it is of the CPU
    assert name_kernels(step) == "a_kernel"
    assert asked == [{"use_cpu": False, "use_device": "cuda", "use_kineto": True}, "on", "run", "cuda:0", "off"]


@pytest.mark.parametrize("device", ["cuda:0", "mps"])
def test_a_device_that_the_profiler_does_not_see_has_no_names(
    device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.profiler, "supported_activities", lambda: {torch.profiler.ProfilerActivity.CPU})
    assert name_kernels(make_step(lambda: torch.zeros(1), make_case(device=device))) == ""


@pytest.mark.cuda
def test_a_convolution_on_the_device_has_kernels() -> None:
    found = name_kernels(prepare("nearest_conv-k3-s2-c64x32-64x64-cuda"))
    assert found
    assert "aten::" not in found
