"""Views of a deferred tensor share its memory, as far as any code can tell."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from deconvbench.networks.fusion.modules import FusedScope, attach
from tests.networks.fusion.comparing import LIMITS, differentiate_both, run_both


class Net(nn.Module):
    """A convolution, and what is done with it and an upsampled tensor."""

    def __init__(self, forward: Callable[[Any, Tensor], Any]) -> None:
        super().__init__()
        self.call = forward
        self.conv = nn.Conv2d(4, 5, 3, padding=1)

    def forward(self, x: Tensor) -> Any:
        # what is upsampled is no input, so that gradients may be asked for
        return self.call(self, functional.interpolate(x * 1, scale_factor=2))


def write_into_a_view(own: Any, up: Tensor) -> Any:
    view = up.reshape(1, -1, *up.shape[2:])
    view.mul_(2)
    return own.conv(up) + own.conv(view.reshape(up.shape))


def write_into_what_is_viewed(own: Any, up: Tensor) -> Any:
    view = up[:, 1:3]
    up.add_(1)
    return own.conv(torch.cat([view, view], 1)) + up.sum()


def write_into_a_sibling(own: Any, up: Tensor) -> Any:
    whole = up.transpose(0, 1)
    del up
    first, second = whole[:3], whole[1:]
    del whole
    first.relu_()
    return own.conv(torch.cat([first, second[:1]]).transpose(0, 1)) + second.sum()


def write_into_all_that_is_left(own: Any, up: Tensor) -> Any:
    view = up.unsqueeze(0).squeeze(0)
    del up
    return own.conv(view.relu_())


def write_after_a_copy(own: Any, up: Tensor) -> Any:
    copied = up.permute(1, 0, 2, 3).reshape(-1, *up.shape[2:])
    copied.mul_(3)
    return own.conv(up) + copied.sum()


def write_through_a_function_that_is_not_known(own: Any, up: Tensor) -> Any:
    view = up.select(0, 0)
    view.clamp_(-0.5, 0.5).index_fill_(0, torch.tensor([1]), 2.0)
    return own.conv(up)


def return_all(own: Any, up: Tensor) -> Any:
    view = up[:, :2]
    return own.conv(up), up, view


def view_before_and_after(own: Any, up: Tensor) -> Any:
    before = up.flatten(0, 1)
    up.view(-1)[0] = 7.0
    after = up.flatten(0, 1)
    return own.conv(up), before, after


def ask_first(own: Any, up: Tensor) -> Any:
    view = up[0]
    total = view.sum() + up.mean()
    up.sub_(1)
    return own.conv(up) + view[None].sum() + total


def change_what_is_upsampled(own: Any, up: Tensor) -> Any:
    small = up[..., ::2, ::2].clone()
    again = functional.interpolate(small, scale_factor=2)
    view = again.transpose(0, 1)
    small.mul_(5)
    return own.conv(view.transpose(0, 1)) + again.sum()


FORWARDS: list[Callable[[Any, Tensor], Any]] = [
    write_into_a_view,
    write_into_what_is_viewed,
    write_into_a_sibling,
    write_into_all_that_is_left,
    write_after_a_copy,
    write_through_a_function_that_is_not_known,
    return_all,
    view_before_and_after,
    ask_first,
    change_what_is_upsampled,
]


@pytest.mark.parametrize("forward", FORWARDS, ids=lambda forward: str(forward.__name__))
def test_a_write_into_one_reaches_the_others(forward: Callable[[Any, Tensor], Any]) -> None:
    torch.manual_seed(0)
    net, fused = Net(forward).double(), Net(forward).double()
    fused.load_state_dict(net.state_dict())
    attach(fused, FusedScope)
    x = torch.randn(2, 4, 3, 4, dtype=torch.float64)
    with torch.no_grad():
        assert run_both(net, fused, x) < LIMITS[torch.float64]
    with torch.inference_mode():
        assert run_both(net, fused, x.clone()) < LIMITS[torch.float64]
    assert run_both(net, fused, x) < LIMITS[torch.float64]
    assert differentiate_both(net, fused, x) < LIMITS[torch.float64]


def test_outputs_share_memory_afterwards() -> None:
    for kind in (None, FusedScope):
        net = Net(return_all)
        if kind is not None:
            attach(net, kind)
        for context in (torch.no_grad, torch.enable_grad):
            with context():
                _, whole, view = net(torch.randn(2, 4, 3, 4))
            assert type(whole) is type(view) is Tensor
            assert view.data_ptr() == whole.data_ptr()
            assert view.stride() == whole.stride()
            with torch.no_grad():
                whole.fill_(3)
            assert bool((view == 3).all())


def test_nothing_is_computed_while_one_is_left(fast_calls: list[tuple[int, ...]]) -> None:
    net = Net(write_into_all_that_is_left).double()
    attach(net, FusedScope)
    net(torch.randn(2, 4, 3, 4, dtype=torch.float64))
    assert fast_calls == [(2, 4, 3, 4)]
