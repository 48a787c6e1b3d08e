"""Size formulas against torch, their round trip, and the exact padding."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from deconvbench.errors import UsageError
from deconvbench.theory import conv_output_size, exact_padding, transposed_conv_output_size

size_ = st.integers(1, 12)
kernel_size_ = st.integers(1, 7)
stride_ = st.integers(1, 4)
padding_ = st.integers(0, 4)
dilation_ = st.integers(1, 3)
few = settings(deadline=None, max_examples=200)


def _size_or_none(
    function: Callable[..., Any], refusal: type[Exception], *args: Any, **options: Any
) -> int | None:
    """Return the size that a function finds, or None where it refuses."""
    try:
        result = function(*args, **options)
    except refusal:
        return None
    return result if isinstance(result, int) else int(result.shape[-1])


@few
@given(size=size_, kernel_size=kernel_size_, stride=stride_, padding=padding_, dilation=dilation_)
def test_conv_size_is_that_of_torch_refusals_included(
    size: int, kernel_size: int, stride: int, padding: int, dilation: int
) -> None:
    options = {"stride": stride, "padding": padding, "dilation": dilation}
    expected = _size_or_none(
        torch.nn.functional.conv1d,
        RuntimeError,
        torch.zeros(1, 1, size),
        torch.zeros(1, 1, kernel_size),
        **options,
    )
    assert _size_or_none(conv_output_size, UsageError, size, kernel_size, **options) == expected


@few
@given(
    size=size_,
    kernel_size=kernel_size_,
    stride=stride_,
    padding=padding_,
    output_padding=st.integers(0, 4),
    dilation=dilation_,
)
def test_transposed_size_is_that_of_torch_refusals_included(
    size: int, kernel_size: int, stride: int, padding: int, output_padding: int, dilation: int
) -> None:
    options = {"stride": stride, "padding": padding, "output_padding": output_padding, "dilation": dilation}
    x, weight = torch.zeros(1, 1, size), torch.zeros(1, 1, kernel_size)
    expected = _size_or_none(torch.nn.functional.conv_transpose1d, RuntimeError, x, weight, **options)
    assert _size_or_none(transposed_conv_output_size, UsageError, size, kernel_size, **options) == expected


@few
@given(data=st.data(), size=size_, kernel_size=kernel_size_, stride=stride_, dilation=dilation_)
def test_a_convolution_undoes_the_shape_of_its_transpose(
    data: st.DataObject, size: int, kernel_size: int, stride: int, dilation: int
) -> None:
    reach = dilation * (kernel_size - 1)
    options = {"stride": stride, "padding": data.draw(st.integers(0, reach // 2)), "dilation": dilation}
    output_padding = data.draw(st.integers(0, stride - 1))
    large = transposed_conv_output_size(size, kernel_size, output_padding=output_padding, **options)
    assert conv_output_size(large, kernel_size, **options) == size


def test_sizes_of_the_articles_figures() -> None:
    assert conv_output_size(4, 3) == 2  # Figure 2
    assert transposed_conv_output_size(2, 3) == 4  # Figure 3, left
    assert transposed_conv_output_size(2, 3, stride=2) == 5  # Figure 3, right


@pytest.mark.parametrize("scale_factor", [1, 2, 3, 4], ids="s{}".format)
@pytest.mark.parametrize("kernel_size", range(1, 10), ids="k{}".format)
def test_exact_padding_upsamples_by_the_scale_or_says_why_not(kernel_size: int, scale_factor: int) -> None:
    if kernel_size < scale_factor or (scale_factor == 1 and kernel_size % 2 == 0):
        with pytest.raises(UsageError, match=f"kernel_size: {kernel_size} is "):
            exact_padding(kernel_size, scale_factor)
        return
    padding, output_padding = exact_padding(kernel_size, scale_factor)
    for size in (1, 2, 5, 16):
        found = transposed_conv_output_size(
            size, kernel_size, stride=scale_factor, padding=padding, output_padding=output_padding
        )
        assert found == scale_factor * size


@pytest.mark.parametrize(
    ("kernel_size", "scale_factor", "expected"),
    [(2, 2, (0, 0)), (3, 2, (1, 1)), (4, 2, (1, 0)), (5, 2, (2, 1)), (8, 4, (2, 0)), (3, 1, (1, 0))],
    ids=str,
)
def test_exact_padding_by_hand(kernel_size: int, scale_factor: int, expected: tuple[int, int]) -> None:
    assert exact_padding(kernel_size, scale_factor) == expected


def test_a_kernel_below_the_scale_is_told_what_is_allowed() -> None:
    with pytest.raises(UsageError, match=r"^kernel_size: 2 is below scale_factor 3 .*at least 3 is allowed$"):
        exact_padding(2, 3)


@pytest.mark.parametrize(
    ("function", "name"),
    [(conv_output_size, "stride"), (transposed_conv_output_size, "dilation"), (conv_output_size, "padding")],
    ids=["conv-stride", "transposed-dilation", "conv-padding"],
)
def test_values_out_of_range_are_named(function: Callable[..., int], name: str) -> None:
    with pytest.raises(UsageError, match=f"^{name}: -1 is not a whole number"):
        function(4, 3, **{name: -1})


def test_messages_name_what_does_not_fit() -> None:
    with pytest.raises(UsageError, match=r"kernel_size: 3 with dilation 2 spans 5 pixels; .* only 4"):
        conv_output_size(4, 3, dilation=2)
    with pytest.raises(UsageError, match=r"output_padding: 2 is not below stride 2 or dilation 1"):
        transposed_conv_output_size(4, 3, stride=2, output_padding=2)
    with pytest.raises(UsageError, match=r"padding: 2 leaves an output of -1 pixels"):
        transposed_conv_output_size(1, 3, padding=2)
