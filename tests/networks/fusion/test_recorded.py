"""Calls that are made again, with other tensors or without memory."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from deconvbench.networks.fusion import functions
from deconvbench.networks.fusion.recorded import Layout, describe, record_call, record_operation


def test_a_call_is_made_again_with_other_tensors() -> None:
    x, y = torch.ones(1, 2), torch.zeros(1, 3)
    call, tensors = record_call(torch.cat, ([x, y],), {"dim": 1}, "cpu")
    assert [id(tensor) for tensor in tensors] == [id(x), id(y)]
    assert torch.equal(call.run([y, x]), torch.cat([y, x], 1))


def test_it_holds_no_tensor_wherever_that_was() -> None:
    def pick(first: Any, more: Any, *, named: Any) -> Any:
        return first + more[1][0] + named["deep"]

    tensors = [torch.full((1,), float(number)) for number in range(3)]
    call, found = record_call(pick, (tensors[0], (4, [tensors[1]])), {"named": {"deep": tensors[2]}}, "cpu")
    assert found == tensors
    assert "tensor" not in repr((call.args, call.kwargs))
    assert call.run([torch.ones(1)] * 3) == 3


def test_tensors_may_come_first_and_options_after() -> None:
    x, weight = torch.randn(1, 2, 4, 4), torch.randn(3, 2, 3, 3)
    call = record_operation(torch.conv2d, 2, (None, (1, 1), (1, 1)), "cpu")
    assert torch.equal(call.run([x, weight]), torch.conv2d(x, weight, None, (1, 1), (1, 1)))


@pytest.mark.parametrize("is_enabled", [False, True])
def test_it_is_made_under_the_autocast_of_the_first_time(is_enabled: bool) -> None:
    x = torch.randn(1, 1, 4, 4)
    weight = torch.randn(1, 1, 3, 3)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=is_enabled):
        call, _ = record_call(torch.conv2d, (x, weight), {}, "cpu")
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=not is_enabled):
        assert call.run([x, weight]).dtype == (torch.bfloat16 if is_enabled else torch.float32)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last], ids=str)
def test_the_order_in_memory_is_found_without_memory(memory_format: torch.memory_format) -> None:
    x = torch.randn(2, 3, 4, 4).contiguous(memory_format=memory_format)
    call, _ = record_call(functional.interpolate, (x,), {"scale_factor": 2}, "cpu")
    first = Layout(call, (describe(x),))
    again, _ = record_call(torch.cat, ([x, x], 1), {}, "cpu")
    second = Layout(again, (first, first))
    expected = torch.cat([functional.interpolate(x, scale_factor=2)] * 2, 1)
    assert second.trace().stride() == expected.stride()
    assert second.trace().device.type == "meta"
    assert first.is_first
    assert not second.is_first


@pytest.mark.parametrize(
    ("function", "args", "is_certain"),
    [
        (functional.pad, ((1, 1, 1, 1),), True),
        (functional.pad, ((1, 1, 1, 1), "reflect"), False),
        (functional.pad, ((0, 0, 0, 0), "replicate"), False),
        (torch.conv2d, (torch.ones(2, 3, 1, 1),), False),
        (torch.relu, (), True),
    ],
)
def test_where_a_device_has_a_say_it_is_not_certain(function: Any, args: Any, is_certain: bool) -> None:
    call, tensors = record_call(function, (torch.ones(1, 3, 4, 4), *args), {}, "cpu")
    layout = Layout(call, tuple(describe(tensor) for tensor in tensors))
    again, _ = record_call(torch.relu, (torch.ones(1),), {}, "cpu")
    assert layout.is_certain == Layout(again, (layout,)).is_certain == is_certain


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last], ids=str)
@pytest.mark.parametrize("shape", [(2, 3, 4, 6), (2, 1, 4, 6), (1, 1, 2, 2), (2, 4, 2, 6)], ids=str)
def test_what_is_certain_is_true(shape: tuple[int, ...], memory_format: torch.memory_format) -> None:
    x = torch.randn(shape).contiguous(memory_format=memory_format)
    channels = shape[1]
    made: list[tuple[Any, tuple[Any, ...]]] = [
        *((function, (x,)) for function in functions.POINTWISE_FUNCTIONS),
        *((function, (x, torch.rand(1, channels, 1, 1))) for function in functions.BINARY_FUNCTIONS),
        *((function, (x, 2.0)) for function in functions.BINARY_FUNCTIONS),
        *((function, (x, 2)) for function in functions.NUMBER_FUNCTIONS),
        (functional.prelu, (x, torch.rand(channels))),
        (functional.batch_norm, (x, torch.zeros(channels), torch.ones(channels))),
        (functional.interpolate, (x, None, 2)),
        (functional.pad, (x, (1, 1, 1, 1))),
        (functional.pad, (x, (0, 0, 0, 0))),
        (torch.cat, ([x, torch.randn(shape)], 1)),
        (torch.cat, ([x], 1)),
        (Tensor.double, (x,)),
        (Tensor.contiguous, (x,)),
    ]
    for function, args in made:
        call, tensors = record_call(function, args, {}, "cpu")
        layout = Layout(call, tuple(describe(tensor) for tensor in tensors))
        assert layout.is_certain
        assert layout.trace().stride() == function(*args).stride(), function
