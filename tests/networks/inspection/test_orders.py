"""Orders of channels before a shuffle that are suspect."""

import pytest
import torch
from torch.nn import functional

from deconvbench.networks.inspection.layouts import list_orders
from deconvbench.networks.inspection.orders import find_smoother_order


def make_smooth(count: int, *sides: int) -> torch.Tensor:
    torch.manual_seed(0)
    coarse = torch.randn(1, count, *(side // 8 for side in sides))
    mode = "bilinear" if len(sides) == 2 else "linear"
    return functional.interpolate(coarse, sides, mode=mode)


@pytest.mark.parametrize("true", ["c i j", "c j i", "i j c", "j i c"])
@pytest.mark.parametrize("used", ["c i j", "i j c"])
def test_the_order_that_a_smooth_map_was_taken_apart_in_is_named(true: str, used: str) -> None:
    orders = dict(list_orders(5, (2, 2)))
    y = make_smooth(5, 64, 48)
    x = torch.empty(1, 20, 32, 24)
    for phase, (i, j) in enumerate((i, j) for i in range(2) for j in range(2)):
        x[:, orders[true][:, phase]] = y[:, :, i::2, j::2]
    assert find_smoother_order(x, orders[used], (2, 2)) == ("" if used == true else true)


def test_noise_has_no_order() -> None:
    torch.manual_seed(0)
    assert find_smoother_order(torch.randn(1, 20, 16, 16), dict(list_orders(5, (2, 2)))["c i j"], (2, 2)) == ""


def test_one_axis() -> None:
    y = make_smooth(4, 96)
    x = torch.cat([y[..., phase::3] for phase in range(3)], 1)
    orders = dict(list_orders(4, (3,)))
    assert find_smoother_order(x, orders["c i"], (3,)) == "i c"
    assert find_smoother_order(x, orders["i c"], (3,)) == ""
