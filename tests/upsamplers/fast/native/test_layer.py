"""The layer that is the compiled form: compiled where it is asked for, and timed as nothing else."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from deconvbench.errors import UnsupportedError
from deconvbench.measure.kernels import name_kernels
from deconvbench.measure.quality import measure_quality
from deconvbench.measure.step import prepare_step
from deconvbench.records.case import Case
from deconvbench.upsamplers import build_upsampler
from deconvbench.upsamplers.fast import NativeResizeConv2d
from deconvbench.upsamplers.fast.choice import NATIVE
from deconvbench.upsamplers.fast.native import Library, ensure_native, find_library
from deconvbench.upsamplers.fast.native.form import NUMBER_TYPES
from deconvbench.upsamplers.fast.native.library import SWITCH, locate_library
from tests.builders import make_case

CASE = make_case(upsampler="nearest_conv_native", in_channels=8, out_channels=4, height=16, width=16)


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """Each test is a process that was not asked yet."""
    ensure_native.cache_clear()
    yield
    ensure_native.cache_clear()


def refuse(case: Case = CASE) -> str:
    with pytest.raises(UnsupportedError) as caught:
        prepare_step(case, 0)
    reason = str(caught.value)
    assert "\n" not in reason
    return reason


def test_without_a_compiler_it_is_unsupported(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", "")
    assert refuse() == "no C compiler"
    # neither a folder nor a file was left
    assert not cache.exists()


def test_a_compiler_that_was_named_and_is_not_there_is_named(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "no-such-compiler")
    assert "CC: 'no-such-compiler' is not a working C compiler" in refuse()


def test_a_compiler_that_fails_is_one_line_and_is_not_tried_again(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = tmp_path / "calls"
    script = tmp_path / "cc"
    script.write_text(f"#!/bin/sh\necho call >> '{calls}'\necho 'error: this is\nno compiler' >&2\nexit 1\n")
    script.chmod(0o755)
    monkeypatch.setenv("CC", str(script))
    reason = refuse()
    assert "cannot compile the native form: error: this is" in reason
    count = len(calls.read_text().splitlines())
    assert refuse() == reason
    assert len(calls.read_text().splitlines()) == count
    assert not list(cache.rglob("*.so"))


def test_a_folder_that_others_can_write_is_not_used(compiler: str, cache: Path) -> None:
    cache.mkdir()
    (cache / "deconvbench").mkdir()
    (cache / "deconvbench").chmod(0o777)
    assert "the cache folder is not safe" in refuse()
    assert not list(cache.rglob("*.so"))


def test_switched_off_it_is_not_compiled(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SWITCH, "0")
    find_library.cache_clear()
    assert refuse() == "the compiled form is switched off by DECONVBENCH_NATIVE=0"
    assert not cache.exists()


@pytest.mark.slow
def test_a_good_compiler_is_asked_once(compiler: str, cache: Path) -> None:
    step = prepare_step(CASE, 0)
    assert step.name_implementation() == NATIVE
    made = locate_library().stat()
    ensure_native.cache_clear()
    find_library.cache_clear()
    prepare_step(CASE, 1)
    assert locate_library().stat() == made


@pytest.mark.parametrize("step", ["forward", "train"])
def test_it_computes_what_nearest_conv_does_and_is_named(native: Library, step: str) -> None:
    case = make_case(**{**vars_of(CASE), "step": step})
    prepared = prepare_step(case, 0)
    y = prepared.run()
    assert tuple(y.shape) == case.output_shape
    assert NATIVE in name_kernels(prepared) or step == "train"
    layer = build_upsampler("nearest_conv_native", 8, 4, 3, 2).eval()
    assert isinstance(layer, NativeResizeConv2d)
    plain = build_upsampler("nearest_conv", 8, 4, 3, 2).eval()
    plain.load_state_dict({f"conv.{name}": value for name, value in layer.state_dict().items()})
    x = torch.randn(1, 8, 6, 5)
    with torch.inference_mode():
        torch.testing.assert_close(layer(x), plain(x), rtol=0, atol=1e-5)


@pytest.mark.compile
@pytest.mark.slow
def test_a_compiler_s_graph_runs_it(native: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[object] = []
    run = Library.run

    def note(self: Library, *arguments: Any) -> None:
        calls.append(self)
        run(self, *arguments)

    monkeypatch.setattr(Library, "run", note)
    prepared = prepare_step(make_case(**{**vars_of(CASE), "execution": "compile"}), 0)
    assert tuple(prepared.run().shape) == CASE.output_shape
    assert calls


def vars_of(case: Case) -> dict[str, object]:
    return {name: getattr(case, name) for name in Case.__dataclass_fields__}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"dtype": "float64"}, "is for float32, bfloat16, float16 on the CPU: not float64 on cpu"),
        ({"kernel_size": 5}, "for kernel_size 3 and scale_factor 2 only: not 5 and 2"),
    ],
)
def test_what_it_cannot_compute_is_not_timed_as_something_else(
    native: Library, changes: dict[str, object], reason: str
) -> None:
    assert reason in refuse(make_case(**{**vars_of(CASE), **changes}))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_is_timed(native: Library, monkeypatch: pytest.MonkeyPatch, dtype: str) -> None:
    calls: list[int] = []
    run = Library.run

    def note(self: Library, *arguments: Any) -> None:
        calls.append(arguments[1].type)
        run(self, *arguments)

    monkeypatch.setattr(Library, "run", note)
    prepared = prepare_step(make_case(**{**vars_of(CASE), "dtype": dtype}), 0)
    assert str(prepared.run().dtype) == f"torch.{dtype}"
    assert set(calls) == {NUMBER_TYPES[getattr(torch, dtype)]}


def test_its_artifacts_need_no_compiler(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", "")
    record = measure_quality("nearest_conv_native", 3, 2, 0, 4)
    assert record.status == "ok"
    assert record.metrics["phase_ripple"] == pytest.approx(0, abs=1e-20)
    assert os.environ["PATH"] == ""
