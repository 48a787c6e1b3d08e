"""Convolutions that are ready to be run, of images and of videos."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from deconvbench.networks.fusion.calls import ConvolveCall
from deconvbench.networks.fusion.evaluation import evaluate
from deconvbench.networks.fusion.expressions import LazyExpression, Part
from deconvbench.networks.fusion.session import Session
from deconvbench.networks.fusion.signals import SignalTask
from deconvbench.networks.fusion.tasks import ConvolutionTask, plan_task


def plan(
    function: Any, source: Tensor, weight: Tensor, *, is_limited: bool = False, **options: Any
) -> ConvolutionTask | str:
    expression = LazyExpression(parts=(Part(source=source, channels=source.shape[1], scale=2),))
    axes = source.ndim - 2
    values = {"stride": (1,) * axes, "padding": (1,) * axes, "dilation": (1,) * axes, "groups": 1, **options}
    call = ConvolveCall(image=evaluate(expression), weight=weight, bias=None, **values)
    task = plan_task(function, call, expression, is_limited=is_limited)
    assert not isinstance(task, SignalTask)
    return task


@pytest.mark.parametrize("size", [1, 3])
def test_a_video_is_convolved_as_images(size: int) -> None:
    source = torch.randn(2, 4, 3, 4, 5, dtype=torch.float64)
    weight = torch.randn(6, 4, 2, size, size, dtype=torch.float64)
    task = plan(torch.conv3d, source, weight, padding=(1, size // 2, size // 2))
    assert isinstance(task, ConvolutionTask)
    answer = task.run(weight, None, Session(), None)
    found = evaluate(answer) if isinstance(answer, LazyExpression) else answer
    expected = torch.conv3d(evaluate(task.expression), weight, padding=(1, size // 2, size // 2))
    assert isinstance(answer, LazyExpression) is (size == 1)
    assert found is not None
    assert torch.allclose(found, expected, rtol=1e-12, atol=1e-12)


def test_torch_is_asked_for_what_is_not_finite() -> None:
    source, weight = torch.randn(1, 4, 3, 4, 5), torch.randn(6, 4, 3, 3, 3)
    source[0, 0, 1, 2, 2] = math.nan
    task = plan(torch.conv3d, source, weight)
    assert isinstance(task, ConvolutionTask)
    assert task.run(weight, None, Session(), None) is None


def test_reasons() -> None:
    image, video = torch.randn(1, 4, 4, 5), torch.randn(1, 4, 3, 4, 5)
    kernel, cube = torch.randn(6, 4, 3, 3), torch.randn(6, 4, 3, 3, 3)
    assert plan(torch.conv2d, video, kernel, padding=(1, 1)) == "its input has 5 dimensions, not 4 (N, C, H, W)"
    assert (
        plan(torch.conv2d, image, kernel, padding=(0, 0), is_limited=True)
        == "in row strips it keeps the size only"
    )
    assert isinstance(plan(torch.conv2d, image, kernel, is_limited=True), ConvolutionTask)
    assert plan(torch.conv3d, video, cube, is_limited=True) == "in row strips it is of images only"
    last = video.contiguous(memory_format=torch.channels_last_3d)
    assert plan(torch.conv3d, last, cube) == "its channels are last in memory"
    assert plan(torch.conv3d, video, cube, stride=(2, 1, 1)) == (
        "stride 2 and dilation 1 along the time are not 1"
    )
    assert plan(torch.conv3d, video, torch.randn(6, 4, 3, 3, 5)) == "kernel (3, 5) is not square"
    tall = torch.randn(6, 4, 9, 9)
    assert plan(torch.conv2d, image, tall, padding=(0, 1)) == "a kernel of 9 pixels may not fit into it"
