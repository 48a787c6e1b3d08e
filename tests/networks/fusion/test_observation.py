"""Running a model once, seeing what meets what, and leaving no trace."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from deconvbench.errors import UsageError
from deconvbench.networks.fusion.observation import Fusion, copy_input, keep_state, observe, run_once, split_input
from tests.networks.fusion.networks import DecoderBlock, UNet, Up


class Counting(nn.Module):
    """Changes itself and draws numbers whenever it runs."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(2)
        self.calls: Tensor
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        x.add_(1)
        y: Tensor = self.norm(x) + torch.rand(())
        return y


def test_what_meets_what_and_where() -> None:
    model = nn.Sequential(nn.Identity(), Up(4, 3)).double().eval()
    seen, output = observe(model, torch.randn(1, 4, 3, 3, dtype=torch.float64))
    assert output.shape == (1, 3, 6, 6)
    (upsampling,) = seen.upsamplings
    assert (upsampling.scale, upsampling.is_fused, upsampling.reasons) == (2, True, [])
    assert [frame.path for frame in upsampling.frames] == ["", "1"]
    (fusion,) = seen.fusions
    assert 0 <= fusion.relative_error <= 1e-12
    assert fusion == Fusion(
        around=("", "1"),
        upsampled=(("1", 2),),
        path="1.conv",
        kernel_size=3,
        is_joined=False,
        dtype=torch.float64,
        relative_error=fusion.relative_error,
    )


def test_joined_channels_are_seen_in_their_block() -> None:
    model = DecoderBlock(4, 2, 3).eval()
    seen, _ = observe(model, (torch.randn(1, 4, 3, 3), torch.randn(1, 2, 6, 6)))
    (fusion,) = seen.fusions
    assert (fusion.is_joined, fusion.around, fusion.path) == (True, ("",), "conv1.0")


def test_a_model_without_upsamplings_shows_nothing() -> None:
    seen, _ = observe(nn.Conv2d(1, 1, 1), torch.ones(1, 1, 2, 2))
    assert (seen.upsamplings, seen.fusions) == ([], [])


def test_reasons_are_collected_once_each() -> None:
    class Reading(nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor, ...]:
            h = functional.interpolate(x, scale_factor=2)
            bilinear = functional.interpolate(x, scale_factor=2, mode="bilinear")
            return h.mean(), h.mean(), h.flatten(), bilinear

    seen, _ = observe(Reading(), torch.ones(1, 1, 2, 2))
    assert [(found.scale, found.reasons, found.is_fused) for found in seen.upsamplings] == [
        (2, ["its output is read by mean"], False),
        (None, ["mode bilinear is not nearest"], False),
    ]


def test_a_module_that_is_called_twice_is_two_calls() -> None:
    up = Up(4, 4)
    seen, _ = observe(nn.Sequential(up, up).eval(), torch.randn(1, 4, 2, 2))
    numbers = [found.frames[-1].number for found in seen.upsamplings]
    assert len(seen.fusions) == len(set(numbers)) == 2


def test_hooks_are_gone_afterwards_even_after_an_error() -> None:
    model = UNet().eval()
    observe(model, torch.randn(1, 3, 8, 8))
    with pytest.raises(RuntimeError):
        observe(model, torch.randn(1, 5, 8, 8))
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_a_run_leaves_no_trace() -> None:
    model = Counting().train()
    x = torch.ones(1, 2, 2, 2)
    random, state = torch.get_rng_state(), {name: value.clone() for name, value in model.state_dict().items()}
    first = run_once(model, x)
    assert torch.equal(run_once(model, x), first)
    assert torch.equal(x, torch.ones_like(x))
    assert torch.equal(torch.get_rng_state(), random)
    assert model.training
    assert model.norm.training
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


class Failing(Counting):
    def forward(self, x: Tensor) -> Tensor:
        super().forward(x)
        assert not self.norm.training
        raise ArithmeticError


def test_state_is_put_back_after_an_error() -> None:
    model = Failing().train()
    with pytest.raises(ArithmeticError):
        run_once(model, torch.ones(1, 2, 2, 2))
    assert model.norm.training
    assert model.calls == 0


def test_evaluation_mode_lasts_as_long_as_the_context() -> None:
    model = Counting().train()
    with keep_state(model):
        assert not model.norm.training
    assert model.norm.training


def test_an_unwritten_buffer_is_not_written_back() -> None:
    model = nn.BatchNorm2d(2)
    mean = model.running_mean
    assert mean is not None
    version = mean._version
    run_once(model, torch.ones(1, 2, 2, 2))
    assert mean._version == version


@pytest.mark.parametrize(
    ("example", "expected"),
    [
        ((1, 2), ((1, 2), {})),
        ([1, 2], ((1, 2), {})),
        ({"x": 1}, ((), {"x": 1})),
    ],
    ids=["tuple", "list", "dict"],
)
def test_examples_are_arguments(example: Any, expected: Any) -> None:
    assert split_input(example) == expected


def test_a_tensor_is_the_only_argument() -> None:
    x = torch.ones(1)
    (found,), named = split_input(x)
    assert found is x
    assert named == {}


def test_other_examples_are_refused() -> None:
    with pytest.raises(UsageError, match="example_input: str is not a tensor, a tuple of arguments or a dict"):
        split_input("text")


def test_a_copied_input_is_another_with_the_same_needs() -> None:
    given = {"x": [torch.ones(2, requires_grad=True)], "words": ["a"], "number": math.pi}
    copied = copy_input(given)
    assert copied["x"][0] is not given["x"]
    assert copied["x"][0].requires_grad
    assert copied["x"][0].is_leaf
    assert copied["words"] == ["a"]
    assert copied["number"] == math.pi
