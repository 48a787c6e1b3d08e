"""What oneDNN prints is caught, whole and nowhere else, and read whatever its version."""

import contextlib
import ctypes
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from deconvbench.measure import onednn
from deconvbench.measure.onednn import (
    Primitives,
    capture_output,
    explain_emulation,
    parse_verbose,
    take_least,
    watch_primitives,
)

needs_onednn = pytest.mark.skipif(
    not torch.backends.mkldnn.is_available(),  # type: ignore[no-untyped-call] # torch has no types here
    reason="torch was built without oneDNN",
)
# as each version printed them; the last field of a line is in milliseconds
SAMPLES = {
    "3.12": """\
onednn_verbose,v1,info,oneDNN v3.12.0 (commit 80afa71049cd69a3df32adcccb623b12cd7baa22)
onednn_verbose,v1,info,cpu,isa:Intel AVX2
onednn_verbose,v1,primitive,info,template:operation,engine,primitive,implementation,prop_kind,problem_desc,exec_time
onednn_verbose,v1,primitive,create_nested:cache_miss,cpu,convolution,jit:avx2,forward_training,,,mb1_ic64oc32,0.5
onednn_verbose,v1,primitive,exec,cpu,reorder,jit:blk,undef,src:f32::blocked:abcd::f0,attr-scratchpad:user,,1x64x128x128,0.25
onednn_verbose,v1,primitive,exec,cpu,convolution,jit:avx2,forward_training,src:f32:a:blocked:aBcd8b::f0,,alg:x,mb1_ic64oc32,1.5
""",
    "3.4": """\
onednn_verbose,info,oneDNN v3.4.0 (commit N/A)
onednn_verbose,primitive,exec,cpu,reorder,jit:blk,undef,src:f32::blocked:abcd::f0,,,1x64x128x128,0.25
onednn_verbose,primitive,exec,cpu,convolution,jit:avx2,forward_training,src:f32:a:blocked:aBcd8b::f0,,alg:x,mb1,1.5
onednn_verbose,graph,exec,cpu,1,conv_post_ops,conv0,,in0_f32,,fpm:strict,sparse,dnnl_backend,9
""",
    "2.7 with time stamps": """\
onednn_verbose,1693533460193.346924,exec,cpu,reorder,jit:blk,undef,src_f32::blocked:abcd:f0,,,1x64x128x128,0.25
onednn_verbose,1693533460200.5,exec,cpu,convolution,jit:avx2,forward_training,src_f32::blocked:aBcd8b:f0,,alg:x,mb1,1.5
""",
    "1.6": """\
dnnl_verbose,info,DNNL v1.6.0
dnnl_verbose,exec,cpu,reorder,jit:blk,undef,src_f32::blocked:abcd:f0,,,1x64x128x128,0.25
dnnl_verbose,exec,cpu,convolution,jit:avx2,forward_training,src_f32::blocked:aBcd8b:f0,,alg:x,mb1,1.5
""",
    "0.18": """\
mkldnn_verbose,exec,reorder,jit:blk,undef,in:f32_nchw out:f32_nChw8c,num:1,1x64x128x128,0.25
mkldnn_verbose,exec,convolution,jit:avx2,forward_training,fsrc:nChw8c,alg:convolution_direct,mb1,1.5
""",
}


def print_from_c(text: str) -> None:
    """Print as C does: into its own buffer."""
    ctypes.CDLL(None).printf(b"%s\n", text.encode())


@pytest.mark.parametrize("sample", SAMPLES.values(), ids=list(SAMPLES))
def test_lines_of_every_version_are_read(sample: str) -> None:
    expected = {"reorder jit:blk": 0.25e-3, "convolution jit:avx2": 1.5e-3}
    assert parse_verbose(sample) == pytest.approx(expected)
    # what a layer prints meanwhile is not oneDNN's
    assert parse_verbose(f"exec,cpu,convolution,mine,7\n{sample}onednn_verbose\n") == pytest.approx(expected)


def test_primitives_of_one_kind_are_added() -> None:
    assert parse_verbose(SAMPLES["3.12"] * 3)["convolution jit:avx2"] == pytest.approx(4.5e-3)


@pytest.mark.parametrize(
    "line",
    [
        "onednn_verbose,v1,primitive,exec",
        "onednn_verbose,v1,primitive,exec,cpu",
        "onednn_verbose,v1,primitive,exec,cpu,convolution",
        "onednn_verbose,v1,primitive,exec,cpu,convolution,jit:avx2,forward,none",
        "onednn_verbose,v1,primitive,create:cache_hit,cpu,convolution,jit:avx2,forward,,,mb1,0.5",
        "",
    ],
)
def test_lines_on_anything_else_are_skipped(line: str) -> None:
    assert parse_verbose(line + "\n") == {}


@pytest.mark.skipif(sys.platform == "win32", reason="prints from C")
def test_what_c_and_python_print_is_caught_and_nothing_else(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # as Python's own, which pytest replaces: with a buffer, on descriptor 1
    monkeypatch.setattr(sys, "stdout", open(1, "w", closefd=False))  # noqa: SIM115 -- a descriptor
    print("before")
    print_from_c("before, from C")
    with capture_output() as captured:
        print("within")
        print_from_c("within, from C")
        os.write(2, b"an error\n")
    print_from_c("behind, from C")
    with capture_output((1,)) as first:
        os.write(2, b"not caught\n")
    sys.stdout.close()
    told = capfd.readouterr()
    assert {*captured.text.split("\n")} == {"within", "within, from C", "an error", ""}
    assert first.text == ""
    assert {*told.out.splitlines()} == {"before", "before, from C", "behind, from C"}
    assert told.err == "not caught\n"


def list_descriptors() -> dict[str, str]:
    found = {}
    for path in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):  # that of the listing itself
            found[path.name] = str(path.readlink())
    return found


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="reads /proc")
@pytest.mark.parametrize("error", [RuntimeError("in the layer"), KeyboardInterrupt(), SystemExit(3)])
def test_descriptors_are_put_back_whatever_happens(error: BaseException) -> None:
    before = list_descriptors()
    with pytest.raises(type(error)), capture_output():
        raise error
    assert list_descriptors() == before


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="reads /proc")
def test_a_descriptor_that_is_closed_is_an_error_that_leaves_nothing_changed() -> None:
    before = list_descriptors()
    with pytest.raises(OSError, match="Bad file descriptor"), capture_output((1, 999)):
        pass
    assert list_descriptors() == before


def test_streams_that_a_layer_took_away_do_no_harm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    with capture_output() as captured:
        os.write(1, b"said\n")
    assert captured.text == "said\n"


def forget_calls(layer: nn.Module, x: torch.Tensor) -> Callable[[], object]:
    def run() -> object:
        with torch.inference_mode():
            return layer(x)

    run()
    return run


@needs_onednn
def test_a_convolution_is_found_with_its_time(capfd: pytest.CaptureFixture[str]) -> None:
    run = forget_calls(nn.Conv2d(64, 32, 3, padding=1), torch.randn(1, 64, 64, 64))
    found = watch_primitives(run, 2)
    (name,) = [name for name in found.spent_s if name.startswith("convolution ")]
    assert 0 < found.spent_s[name] < found.wall_s
    # switched off again, and nothing reached the log
    run()
    told = capfd.readouterr()
    assert "verbose" not in told.out + told.err


@needs_onednn
def test_what_raises_leaves_it_silent(capfd: pytest.CaptureFixture[str]) -> None:
    run = forget_calls(nn.Conv2d(64, 32, 3, padding=1), torch.randn(1, 64, 64, 64))

    def fail() -> object:
        raise RuntimeError("the second call")

    with pytest.raises(RuntimeError, match="the second call"):
        watch_primitives(fail, 1)
    run()
    assert capfd.readouterr().out == ""


def test_without_primitives_there_are_none() -> None:
    assert watch_primitives(lambda: None, 1).spent_s == {}


@needs_onednn
def test_who_set_the_mode_keeps_it(monkeypatch: pytest.MonkeyPatch) -> None:
    levels: list[int] = []
    monkeypatch.setattr(torch.backends.mkldnn, "verbose", levels.append)
    monkeypatch.setenv("ONEDNN_VERBOSE", "1")
    watch_primitives(lambda: None, 1)
    assert levels == []


def test_torch_without_onednn_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    assert watch_primitives(lambda: None, 1).spent_s == {}


def test_an_interrupted_call_does_not_count() -> None:
    calm = Primitives(spent_s={"a": 1.0, "b": 3.0}, wall_s=5.0)
    interrupted = Primitives(spent_s={"a": 9.0, "b": 2.0, "c": 1.0}, wall_s=13.0)
    assert take_least([calm, interrupted]) == Primitives(spent_s={"a": 1.0, "b": 2.0, "c": 1.0}, wall_s=5.0)


X86 = "processor\t: 0\nmodel name\t: A CPU\nflags\t\t: fpu sse avx2 {}\n\nprocessor\t: 1\nflags\t\t: fpu\n"
ARM = "processor\t: 0\nFeatures\t: fp asimd {}\n"


@pytest.mark.parametrize(
    ("dtype", "facts", "is_native"),
    [
        ("float32", X86.format(""), True),
        ("float64", X86.format(""), True),
        ("bfloat16", X86.format("avx512_bf16"), True),
        ("bfloat16", X86.format("amx_bf16 amx_tile"), True),
        ("bfloat16", X86.format("avx512f avx_ne_convert"), False),
        ("float16", X86.format("f16c avx512f"), False),
        ("float16", X86.format("avx512_fp16"), True),
        ("bfloat16", ARM.format("asimdhp bf16"), True),
        ("bfloat16", ARM.format("asimdhp"), False),
        ("float16", ARM.format("fphp asimdhp"), True),
        ("float16", "a file of another system\n", True),
    ],
)
def test_a_type_without_instructions_carries_a_note(dtype: str, facts: str, is_native: bool) -> None:
    note = "" if is_native else f"computed in float32: this CPU has no {dtype}"
    assert explain_emulation(dtype, facts) == note


def test_a_system_that_tells_nothing_of_its_cpu_has_no_note(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onednn, "_CPU_FACTS", tmp_path / "cpuinfo")
    assert explain_emulation("bfloat16") == ""
    (tmp_path / "cpuinfo").write_text(X86.format(""))
    assert explain_emulation("bfloat16") == "computed in float32: this CPU has no bfloat16"
