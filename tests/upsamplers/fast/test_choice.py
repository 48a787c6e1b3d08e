"""The rule of `auto`: what it chooses where, and that its choice never holds much more than the plain form."""

import gc
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import memray
import pytest
import torch
from torch import nn

from deconvbench.upsamplers.fast import ResizeConv2d
from deconvbench.upsamplers.fast.choice import IMPLEMENTATIONS, NATIVE, Workload, choose_implementation
from deconvbench.upsamplers.fast.peaks import Library

ALLOWED_SHARE = 1.1
MIDDLING = Workload(
    kernel_size=3,
    scale_factor=2,
    groups=1,
    in_channels=64,
    out_channels=32,
    batch=1,
    height=32,
    width=32,
    is_float32=True,
    is_cpu=True,
    threads=1,
    is_channels_last=False,
    is_prepared=True,
    is_training=False,
)
NATIVE_LOAD = replace(MIDDLING, is_native=True)
HALF_LOAD = replace(NATIVE_LOAD, is_float32=False)
HALF_LAST = replace(HALF_LOAD, is_channels_last=True)
MANY = replace(MIDDLING, in_channels=512, out_channels=256)


@pytest.mark.parametrize(
    ("load", "expected"),
    [
        pytest.param(MIDDLING, "transposed", id="middling"),
        pytest.param(replace(MIDDLING, height=4, width=4), "plain", id="few pixels"),
        pytest.param(replace(MIDDLING, height=4, width=4, batch=64), "transposed", id="few pixels, many images"),
        pytest.param(replace(MIDDLING, in_channels=2, out_channels=2), "plain", id="few channels"),
        pytest.param(replace(MIDDLING, height=12, width=12), "transposed", id="small map, weight kept"),
        pytest.param(replace(MIDDLING, height=12, width=12, is_prepared=False), "plain", id="small map, made"),
        pytest.param(
            replace(MIDDLING, height=16, width=16, is_prepared=False), "transposed", id="one thread, contiguous"
        ),
        pytest.param(
            replace(MIDDLING, height=16, width=16, is_prepared=False, threads=2, is_channels_last=True),
            "plain",
            id="two threads, channels last",
        ),
        pytest.param(MANY, "tiled", id="many channels"),
        pytest.param(replace(MANY, kernel_size=5), "transposed", id="many channels, kernel 5"),
        pytest.param(replace(MANY, scale_factor=4), "minimal", id="many channels, scale 4"),
        pytest.param(replace(MANY, is_float32=False), "transposed", id="not measured: float64"),
        pytest.param(replace(MANY, is_cpu=False), "transposed", id="not measured: device"),
        pytest.param(replace(MANY, groups=2), "transposed", id="groups"),
        pytest.param(replace(MANY, groups=512, out_channels=512), "plain", id="depthwise"),
        pytest.param(replace(MANY, groups=64), "plain", id="groups of few input channels"),
        pytest.param(replace(MANY, groups=64, in_channels=1024), "plain", id="groups of few output channels"),
        pytest.param(replace(MIDDLING, groups=2, height=6, width=6), "plain", id="groups, few pixels"),
        pytest.param(
            replace(MIDDLING, groups=2, height=14, width=14, is_prepared=False),
            "plain",
            id="groups, made, few pixels",
        ),
        pytest.param(replace(MANY, is_cpu=False, groups=512, out_channels=512), "transposed", id="groups, device"),
        pytest.param(replace(MIDDLING, kernel_size=1), "transposed", id="kernel 1, half the channels"),
        pytest.param(replace(MIDDLING, kernel_size=1, out_channels=64), "plain", id="kernel 1, as many channels"),
        pytest.param(
            replace(MIDDLING, kernel_size=1, is_channels_last=True), "plain", id="kernel 1, channels last"
        ),
        pytest.param(replace(MIDDLING, kernel_size=1, height=8, width=8), "plain", id="kernel 1, few pixels"),
        pytest.param(replace(MIDDLING, kernel_size=1, scale_factor=4), "transposed", id="kernel 1, scale 4"),
        pytest.param(
            replace(MANY, kernel_size=1, scale_factor=4, height=16, width=16, is_prepared=False),
            "plain",
            id="kernel 1, the kernel made outweighs the map",
        ),
        pytest.param(replace(MANY, is_cpu=False, height=2, width=2), "plain", id="the kernel outweighs the map"),
        pytest.param(replace(MANY, in_channels=256, out_channels=128, threads=2), "transposed", id="two threads"),
        pytest.param(
            replace(
                MANY, in_channels=256, out_channels=128, threads=2, height=16, width=16, is_channels_last=True
            ),
            "tiled",
            id="two threads, the kept kernel outweighs the map",
        ),
        pytest.param(
            replace(MANY, in_channels=256, out_channels=128, threads=2, is_channels_last=True, is_prepared=False),
            "plain",
            id="two threads, the kernel made outweighs the map",
        ),
        pytest.param(replace(MIDDLING, out_channels=64), "transposed", id="as many outputs"),
        pytest.param(replace(MIDDLING, out_channels=256, threads=2), "transposed", id="many outputs"),
        pytest.param(
            replace(MIDDLING, in_channels=16, out_channels=128, is_float32=False, library=Library.PATCHES),
            "plain",
            id="patches of many outputs",
        ),
        pytest.param(
            replace(MIDDLING, is_float32=False, library=Library.PATCHES), "transposed", id="patches of few outputs"
        ),
        pytest.param(
            replace(MIDDLING, out_channels=128, groups=4, is_channels_last=True),
            "plain",
            id="groups, channels last",
        ),
        pytest.param(NATIVE_LOAD, NATIVE, id="compiled"),
        pytest.param(replace(HALF_LOAD, in_channels=16), NATIVE, id="half precision"),
        pytest.param(replace(HALF_LOAD, in_channels=16, height=8), "plain", id="half precision, small map"),
        pytest.param(
            replace(HALF_LOAD, is_training=True, is_prepared=False), NATIVE, id="half precision, training"
        ),
        pytest.param(
            replace(HALF_LOAD, in_channels=16, height=64, is_training=True, is_prepared=False),
            "plain",
            id="half precision, training, few channels",
        ),
        pytest.param(HALF_LAST, NATIVE, id="half precision, channels last"),
        pytest.param(replace(HALF_LAST, height=8), "plain", id="half precision, channels last, small map"),
        pytest.param(replace(HALF_LAST, in_channels=32), "plain", id="half precision, channels last, few"),
        pytest.param(replace(HALF_LAST, threads=2), "plain", id="half precision, channels last, shared"),
        pytest.param(
            replace(HALF_LAST, in_channels=128, threads=2),
            NATIVE,
            id="half precision, channels last, shared, many",
        ),
        pytest.param(
            replace(HALF_LAST, in_channels=128, threads=2, is_prepared=False),
            "plain",
            id="half precision, channels last, shared, made",
        ),
        pytest.param(replace(NATIVE_LOAD, height=6, width=6), NATIVE, id="compiled, small map"),
        pytest.param(replace(NATIVE_LOAD, height=2, width=2), "plain", id="compiled, few values"),
        pytest.param(
            replace(NATIVE_LOAD, height=3, width=3, in_channels=512, is_prepared=False),
            "plain",
            id="compiled, few pixels, made",
        ),
        pytest.param(replace(NATIVE_LOAD, height=4, width=4, scale_factor=3), NATIVE, id="compiled, scale 3"),
        pytest.param(replace(NATIVE_LOAD, height=6, width=6, is_prepared=False), NATIVE, id="compiled, made"),
        pytest.param(
            replace(NATIVE_LOAD, in_channels=7, out_channels=7), "transposed", id="compiled, few input channels"
        ),
        pytest.param(
            replace(NATIVE_LOAD, in_channels=64, out_channels=64, groups=4),
            "transposed",
            id="compiled, small groups",
        ),
        pytest.param(replace(NATIVE_LOAD, groups=2), NATIVE, id="compiled, large groups"),
        pytest.param(replace(NATIVE_LOAD, out_channels=4), NATIVE, id="compiled, few output channels"),
        pytest.param(
            replace(NATIVE_LOAD, in_channels=128, out_channels=4),
            "subpixel",
            id="compiled, few output channels of many",
        ),
        pytest.param(
            replace(NATIVE_LOAD, in_channels=128, out_channels=4, is_prepared=False),
            NATIVE,
            id="compiled, few output channels of many, made",
        ),
        pytest.param(replace(MIDDLING, out_channels=4), "subpixel", id="few output channels"),
        pytest.param(replace(MIDDLING, out_channels=5), "transposed", id="output channels enough"),
        pytest.param(replace(MIDDLING, in_channels=7, out_channels=2), "plain", id="few channels in and out"),
        pytest.param(replace(MIDDLING, in_channels=7, out_channels=384), "plain", id="few channels to many"),
        pytest.param(
            replace(MIDDLING, in_channels=7, out_channels=32, is_channels_last=True),
            "transposed",
            id="few channels to many, channels last",
        ),
        pytest.param(
            replace(MIDDLING, in_channels=7, out_channels=32, kernel_size=5),
            "transposed",
            id="few channels to many, kernel 5",
        ),
        pytest.param(
            replace(NATIVE_LOAD, in_channels=48, out_channels=2, height=4, width=4, scale_factor=4),
            "plain",
            id="compiled, few output channels, small map",
        ),
        pytest.param(
            replace(MIDDLING, in_channels=7, out_channels=2, kernel_size=7),
            "subpixel",
            id="few channels in and out, kernel 7",
        ),
        pytest.param(
            replace(MIDDLING, out_channels=4, is_training=True, is_prepared=False),
            "transposed",
            id="few output channels, training",
        ),
        pytest.param(replace(MANY, out_channels=64), "transposed", id="many input, some output channels"),
        pytest.param(replace(NATIVE_LOAD, is_training=True, is_prepared=False), NATIVE, id="compiled, training"),
        pytest.param(
            replace(NATIVE_LOAD, height=15, width=15, is_training=True, is_prepared=False),
            "plain",
            id="compiled, training, small map",
        ),
        pytest.param(
            replace(NATIVE_LOAD, in_channels=256, height=12, width=12, is_training=True, is_prepared=False),
            NATIVE,
            id="compiled, training, small map of many channels",
        ),
        pytest.param(
            replace(NATIVE_LOAD, height=16, width=16, is_training=True, is_prepared=False, is_channels_last=True),
            NATIVE,
            id="compiled, training, channels last",
        ),
        pytest.param(
            replace(NATIVE_LOAD, in_channels=15, is_training=True, is_prepared=False, height=64, width=64),
            "transposed",
            id="compiled, training, few input channels",
        ),
    ],
)
def test_what_is_chosen(load: Workload, expected: str) -> None:
    assert choose_implementation(load) == expected
    assert expected in {*IMPLEMENTATIONS, NATIVE}


@pytest.mark.compile
def test_a_traced_layer_takes_the_form_that_is_one_operation() -> None:
    chosen = []

    class Telling(ResizeConv2d):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            chosen.append(self.choose(x))
            return super().forward(x)

    layer, x = Telling(256, 128).eval(), torch.zeros(1, 256, 32, 32)
    with torch.no_grad():
        layer(x)
        torch.compiler.reset()
        torch.compile(layer, backend="eager", fullgraph=True)(x)
    assert chosen == ["tiled", "transposed"]


def measure_peak(call: Callable[[], object], folder: Path) -> int:
    for _ in range(2):
        call()
    gc.collect()
    capture = folder / "capture.bin"
    capture.unlink(missing_ok=True)
    memray.set_log_level(logging.ERROR)  # type: ignore[attr-defined] # missing from its stubs
    try:
        with memray.Tracker(capture, file_format=memray.FileFormat.AGGREGATED_ALLOCATIONS):
            call()
    finally:
        memray.set_log_level(logging.WARNING)  # type: ignore[attr-defined] # the same
    with memray.FileReader(capture) as reader:
        metadata = reader.metadata
    return int(metadata.peak_memory)


@pytest.mark.slow
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=["nchw", "nhwc"])
@pytest.mark.parametrize("mode", ["frozen", "live", "train"])
@pytest.mark.parametrize(
    ("channels", "size", "out_channels", "kernel_size", "scale_factor"),
    [
        *(
            (channels, size, channels // 2, 3, 2)
            for channels, size in (
                *((32, 16), (64, 16), (64, 64), (128, 16), (128, 32), (256, 16), (256, 32), (512, 16)),
            )
        ),
        # more outputs than inputs
        (16, 48, 64, 5, 2),
        (16, 32, 128, 3, 3),
        (8, 32, 64, 3, 4),
        (48, 32, 384, 3, 2),
        (32, 12, 128, 7, 4),
        # as many
        (32, 48, 32, 5, 2),
        # a heavy kernel
        (128, 12, 256, 5, 3),
    ],
)
def test_auto_holds_little_more_than_the_plain_form(
    channels: int,
    size: int,
    out_channels: int,
    kernel_size: int,
    scale_factor: int,
    mode: str,
    layout: Any,
    tmp_path: Path,
) -> None:
    conv = nn.Conv2d(channels, out_channels, kernel_size, padding=kernel_size // 2).to(memory_format=layout)  # type: ignore[call-overload] # an overload torch leaves out
    x = torch.randn(1, channels, size, size).to(memory_format=layout)
    plain, auto = (ResizeConv2d.from_conv(conv, scale_factor, form) for form in ("plain", "auto"))
    if mode == "train":
        x.requires_grad_()
        gradient = torch.ones_like(plain(x))
        calls = [
            lambda layer=layer: torch.autograd.grad(layer(x), [x, conv.weight, conv.bias], gradient)
            for layer in (plain, auto)
        ]
    else:
        conv.requires_grad_(requires_grad=False)
        auto.eval()
        if mode == "frozen":
            auto.cache_weight()
        calls = [lambda layer=layer: layer(x) for layer in (plain, auto)]
    expected, found = (measure_peak(call, tmp_path) for call in calls)
    assert found <= ALLOWED_SHARE * expected
