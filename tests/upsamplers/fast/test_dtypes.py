"""What half precision is, with autocast and without, and what its sums are taken in."""

import pytest
import torch

from deconvbench.upsamplers.fast.dtypes import find_autocast_dtype, is_half_precision, widen

DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
over_dtypes = pytest.mark.parametrize("dtype", DTYPES, ids=str)


@over_dtypes
def test_autocast_is_followed_as_convolutions_follow_it(dtype: torch.dtype) -> None:
    x, weight = torch.ones(1, 1, 2, 2, dtype=dtype), torch.ones(1, 1, 1, 1, dtype=dtype)
    assert find_autocast_dtype(x) is None
    for cast in (torch.bfloat16, torch.float16):
        with torch.autocast("cpu", dtype=cast):
            expected = torch.conv2d(x, weight).dtype
            assert (find_autocast_dtype(x) or dtype) == expected
            assert is_half_precision(x) == (expected != torch.float64)
            with torch.autocast("cpu", enabled=False):
                assert find_autocast_dtype(x) is None


def test_devices_without_autocast_have_none() -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert find_autocast_dtype(torch.ones(1, device="meta")) is None


@over_dtypes
def test_one_operand_of_half_precision_is_enough(dtype: torch.dtype) -> None:
    is_half = dtype in {torch.float16, torch.bfloat16}
    assert is_half_precision(torch.ones(1, dtype=dtype)) == is_half
    assert is_half_precision(torch.ones(1), None, "nearest", torch.ones(1, dtype=dtype)) == is_half
    assert not is_half_precision()


@over_dtypes
def test_sums_are_taken_in_at_least_float32(dtype: torch.dtype) -> None:
    values = torch.ones(1, dtype=dtype)
    assert widen(values).dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert (widen(values) is values) == (dtype in {torch.float32, torch.float64})
