"""The rule for transposed convolutions: where it takes the compiled form, in words and at its limits."""

from dataclasses import replace
from typing import Any

import pytest

from deconvbench.upsamplers.fast.deconvolution.choice import (
    Load,
    may_prefer_minimal,
    prefers_minimal,
    prefers_minimal_backward,
)

USUAL = Load(
    kernel_size=4,
    in_channels=64,
    out_channels=32,
    groups=1,
    batch=1,
    height=64,
    width=64,
    is_channels_last=False,
    is_cropped=False,
    is_prepared=False,
    threads=1,
    is_training=False,
)
LAST: dict[str, Any] = {"is_channels_last": True}


@pytest.mark.parametrize(
    ("changes", "is_faster"),
    [
        ({}, True),
        ({"height": 4, "width": 4}, False),
        ({"height": 8, "width": 32}, False),
        ({"height": 8, "width": 32, "is_prepared": True}, True),
        ({"height": 16, "width": 32}, True),
        ({"height": 16, "width": 32, "threads": 2}, False),
        ({"height": 16, "width": 32, "threads": 2, "batch": 2}, True),
        ({"groups": 2}, False),
        ({"in_channels": 3}, False),
        ({"out_channels": 3}, False),
        ({"in_channels": 4, "out_channels": 4, "height": 16, "width": 32}, False),
        ({"kernel_size": 3, "height": 16, "width": 24}, False),
        ({"kernel_size": 3}, True),
        ({"kernel_size": 3, "in_channels": 512}, False),
        ({"kernel_size": 3, "height": 16, "width": 24, "is_cropped": True}, True),
        ({"kernel_size": 6, "height": 8, "width": 16}, True),
        ({"kernel_size": 5, "height": 8, "width": 15}, False),
        (LAST, True),
        ({**LAST, "height": 16}, False),
        ({**LAST, "height": 16, "is_prepared": True}, True),
        ({**LAST, "in_channels": 48}, False),
        ({**LAST, "kernel_size": 3}, False),
        ({**LAST, "kernel_size": 3, "is_cropped": True}, True),
        ({**LAST, "kernel_size": 6, "in_channels": 32, "out_channels": 16}, True),
        ({**LAST, "kernel_size": 6, "out_channels": 8}, False),
        ({**LAST, "kernel_size": 6, "height": 4}, False),
    ],
    ids=str,
)
def test_forward(changes: dict[str, Any], is_faster: bool) -> None:
    assert prefers_minimal(replace(USUAL, **changes)) is is_faster


@pytest.mark.parametrize(
    ("changes", "is_faster"),
    [
        ({}, True),
        ({"height": 16}, True),
        ({"height": 8}, False),
        ({"height": 32, "threads": 2}, False),
        ({"threads": 2}, True),
        ({"in_channels": 128, "height": 16, "threads": 2}, False),
        ({"kernel_size": 5, "in_channels": 512, "out_channels": 256, "height": 4, "threads": 2}, True),
        ({**LAST}, False),
        ({**LAST, "in_channels": 256, "out_channels": 128, "height": 4}, True),
        ({**LAST, "in_channels": 256, "out_channels": 128, "height": 3}, False),
        ({**LAST, "kernel_size": 5, "in_channels": 128, "out_channels": 64}, True),
        ({"kernel_size": 3, "height": 16}, True),
        ({"kernel_size": 3, "height": 8}, False),
        ({"in_channels": 256, "out_channels": 128, "height": 4}, True),
        ({"kernel_size": 3, "in_channels": 256, "out_channels": 128, "height": 4}, False),
        ({**LAST, "kernel_size": 3, "in_channels": 256, "out_channels": 128, "height": 4}, False),
        ({**LAST, "kernel_size": 3, "in_channels": 512, "out_channels": 256, "height": 4, "threads": 2}, True),
        ({"kernel_size": 3, "in_channels": 512, "out_channels": 256, "height": 4, "threads": 2}, False),
        ({**LAST, "in_channels": 256, "out_channels": 128, "threads": 2}, False),
        ({"out_channels": 8}, False),
        ({"in_channels": 8}, False),
        ({"in_channels": 512, "out_channels": 32}, False),
        ({"groups": 2}, False),
    ],
    ids=str,
)
def test_backward(changes: dict[str, Any], is_faster: bool) -> None:
    assert prefers_minimal_backward(replace(USUAL, **changes)) is is_faster


@pytest.mark.parametrize("size", [3, 4, 5, 6])
def test_layers_that_are_never_faster(size: int) -> None:
    assert may_prefer_minimal(size, 64, 32, 1)
    assert not may_prefer_minimal(size, 64, 3, 1)
    assert not may_prefer_minimal(size, 64, 32, 2)
