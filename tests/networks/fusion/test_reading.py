"""Reading code: upsamplings and questions about types, however they are written, and no code of the model runs."""

import functools
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.dlpack import from_dlpack, to_dlpack  # type: ignore[attr-defined] # torch says so

from deconvbench.networks.fusion.reading import explain_code, list_forwards, names_convolution, read_forward
from tests.networks.fusion.networks import Up, Upsample2D
from tests.networks.fusion.test_planning import ByMode, Calling, Tail, Upsampling, upsample_by_two


class Helper:
    def __call__(self, x: Tensor) -> Tensor:
        return upsample_by_two(x)


class Unassigned(nn.Module):
    def __init__(self) -> None:
        super().__init__()

        def step(x: Tensor) -> Any:
            return later(x)  # noqa: F821 -- what it closes over is gone again

        self.step = step
        later = step
        del later


class Inside(nn.Module):
    def forward(self, x: Tensor) -> Any:
        def step(image: Tensor) -> Tensor:
            return functional.interpolate(image, scale_factor=2, mode="nearest")

        return step(x)


class Mentioning(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.upsample: Any = None
        self.interpolate: Any = None

    def forward(self, x: Tensor) -> Tensor:
        return x if self.upsample is None and self.interpolate is None else -x


class Recursive(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return self.forward(x)


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        (Up(), "nearest"),
        (Calling(), "nearest"),
        (Upsampling(functional.interpolate), "nearest"),
        (ByMode(), "bilinear"),
        (Upsample2D(4, use_conv=False), "nearest"),
        (nn.Upsample(scale_factor=2), None),
        (nn.Conv2d(1, 1, 1), None),
        (Tail(), None),
        (Upsampling(Helper()), None),
        (Unassigned(), None),
        (Recursive(), None),
        (Inside(), "nearest"),
        (Mentioning(), None),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else str(value),
)
def test_code_is_read_for_upsamplings(module: nn.Module, expected: str | None) -> None:
    assert read_forward(module) == expected


class Wrapped(nn.Module):
    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        return upsample_by_two(x)


class Held(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.up = functools.partial(functional.interpolate, scale_factor=2)

    def forward(self, x: Tensor) -> Any:
        return self.up(x)


class Far(nn.Module):
    """Upsamples five helpers away, which is further than anybody looks."""

    def forward(self, x: Tensor) -> Tensor:
        return one(x)


def one(x: Tensor) -> Tensor:
    return two(x)


def two(x: Tensor) -> Tensor:
    return three(x)


def three(x: Tensor) -> Tensor:
    return four(x)


def four(x: Tensor) -> Tensor:
    return upsample_by_two(x)


@pytest.mark.parametrize(("module", "expected"), [(Wrapped(), "nearest"), (Held(), "nearest"), (Far(), None)])
def test_decorators_and_attributes_are_looked_through_and_helpers_for_a_while(
    module: nn.Module, expected: str | None
) -> None:
    assert read_forward(module) == expected


def test_a_graph_is_read_though_its_class_is_torchs() -> None:
    assert read_forward(torch.fx.symbolic_trace(Up())) == "nearest"


def test_no_code_of_the_model_runs() -> None:
    class Exploding(Up):
        def forward(self, x: Tensor) -> Any:
            raise AssertionError(functional.interpolate(x, scale_factor=2))

    assert read_forward(Exploding()) == "nearest"


class Asking(nn.Module):
    """Hands what it is given to a function."""

    def __init__(self, ask: Any) -> None:
        super().__init__()
        self.ask = ask

    def forward(self, x: Tensor) -> Any:
        return self.ask(x)


def ask_type(x: Tensor) -> bool:
    return type(x) is Tensor


def ask_by_helper(x: Tensor) -> bool:
    return ask_type(x)


def decorated(function: Any) -> Any:
    @functools.wraps(function)
    def run(x: Tensor) -> Any:
        return function(x) if type(x) is Tensor else x

    return run


class Caller:
    def __call__(self, x: Tensor) -> bool:
        return x.__class__ is Tensor


class Own(nn.Module):
    """Asks for its own type, and converts to one, which is nobody's exact type."""

    def forward(self, x: Tensor) -> Any:
        if type(self) is not Own or self.__class__.__name__ != "Own":
            raise TypeError
        return x.type(torch.float32).type_as(x)


class Property(nn.Module):
    @property
    def kind(self) -> Any:
        return ask_type

    def forward(self, x: Tensor) -> Any:
        return self.kind(x)


class Derived(Property):
    def forward(self, x: Tensor) -> Any:
        return super().forward(x)


class Shadowing(nn.Module):
    def forward(self, x: Tensor, type: Any = abs) -> Any:
        return type(x)


@pytest.mark.parametrize(
    ("module", "asks"),
    [
        (Asking(ask_type), True),
        (Asking(ask_by_helper), True),
        (Asking(functools.partial(ask_by_helper)), True),
        (Asking(lambda x: {Tensor: x}[type(x)]), True),
        (Asking(lambda x: list(map(type, [x]))), True),
        (Asking(Caller()), True),
        (Asking(decorated(torch.relu)), True),
        (nn.Sequential(nn.Identity(), Asking(ask_type)), True),
        (Property(), True),
        (Asking(torch.relu), False),
        (Asking(lambda x: isinstance(x, Tensor)), False),
        (Own(), False),
        (Shadowing(), False),
        (Derived(), True),
        (Up(), False),
        (nn.Conv2d(1, 1, 1), False),
    ],
)
def test_questions_about_exact_types_are_found(module: nn.Module, asks: bool) -> None:
    assert (explain_code(module) is not None) == asks


def export(x: Tensor) -> Any:
    return to_dlpack(x)


def export_versioned(x: Tensor) -> Any:
    return torch._C._to_dlpack_versioned(x)


def load(x: Tensor) -> Any:
    return from_dlpack(x)


export_as = to_dlpack


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        (Asking(export), "export calls to_dlpack"),
        (Asking(lambda x: load(x) if x.ndim else export(x)), "export calls to_dlpack"),
        (Asking(export_versioned), "export_versioned calls to_dlpack"),
        # by another name
        (Asking(lambda x: (export_as(x), x)), "calls to_dlpack"),
        (Asking(export_as), "Asking calls to_dlpack"),
        (nn.Sequential(Asking(export)), "export calls to_dlpack"),
        (Asking(load), None),
    ],
)
def test_code_that_hands_out_addresses_beneath_torchs_functions_is_found(
    module: nn.Module, expected: str | None
) -> None:
    reason = explain_code(module)
    assert (reason is None) == (expected is None)
    assert reason is None or str(expected) in reason


def test_hooks_may_ask_too() -> None:
    module = nn.Conv2d(1, 1, 1)
    forwards = list_forwards(module)
    handle = module.register_forward_hook(lambda m, args, y: y if type(y) is Tensor else None)
    assert explain_code(module) is not None
    assert list_forwards(module) != forwards
    handle.remove()
    assert list_forwards(module) == forwards


def convolve(x: Tensor) -> Tensor:
    return functional.conv2d(x, torch.ones(1, 1, 1, 1))


@pytest.mark.parametrize(
    ("module", "expected"), [(Asking(convolve), True), (Asking(torch.conv2d), True), (Asking(torch.relu), False)]
)
def test_code_that_convolves_by_a_function(module: nn.Module, expected: bool) -> None:
    assert names_convolution(module) == expected
