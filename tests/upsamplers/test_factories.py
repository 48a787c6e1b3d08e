"""What a factory is called, and what is none."""

import functools
from collections.abc import Callable
from typing import Any

import pytest
from torch import nn

from deconvbench.errors import UsageError
from deconvbench.upsamplers.factories import (
    ARGUMENTS,
    check_factory,
    check_signature,
    find_source,
    import_factory,
    name_factory,
)


def build(in_channels: int, out_channels: int, kernel_size: int, scale_factor: int) -> nn.Module:
    return nn.Identity()


class Layer(nn.Module):
    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, scale_factor: int) -> None:
        super().__init__()


class Unsigned:
    """Stands for a callable written in C that does not say what it takes."""

    __signature__ = "(...)"

    def __call__(self) -> nn.Module:
        return nn.Identity()


def adapt(factory: Callable[..., nn.Module]) -> Callable[..., nn.Module]:
    @functools.wraps(factory)
    def call(*shape: int) -> nn.Module:
        return factory(shape[0])

    return call


only_channels = adapt(nn.InstanceNorm2d)
bound = functools.partial(build, 3)


def test_a_name_is_what_can_be_typed() -> None:
    assert name_factory(build) == f"{__name__}:build"
    assert name_factory(Layer) == f"{__name__}:Layer"
    assert name_factory(bound) == repr(bound)


@pytest.mark.parametrize(
    ("factory", "module", "source"),
    [
        (build, __name__, f"{__name__}:build"),
        (bound, __name__, f"{__name__}:bound"),
        (nn.Identity, "torch.nn", "torch.nn:Identity"),
        (lambda: None, __name__, None),
        (build, "torch.nn", None),
        (build, "no.such.module", None),
        (build, "__main__", None),
    ],
    ids=["function", "partial", "imported", "local", "elsewhere", "unknown", "main"],
)
def test_another_process_imports_it_by_an_attribute(factory: object, module: str, source: str | None) -> None:
    assert find_source(factory, module) == source
    if source is not None:
        assert import_factory(source)[0] is factory


@pytest.mark.parametrize(
    "factory",
    [
        build,
        Layer,
        only_channels,
        lambda *shape: nn.Identity(),
        lambda c_in, c_out, k, s, bias=True: nn.Identity(),
        lambda in_channels, out_channels, k, scale_factor: nn.Identity(),
        functools.partial(build),
        Unsigned(),
    ],
    ids=["function", "class", "wrapper", "any", "other_names", "some_names", "partial", "without_signature"],
)
def test_a_factory_that_takes_four_arguments_fits(factory: Callable[..., Any]) -> None:
    check_factory(factory, "mine")
    check_signature(factory, "mine")


@pytest.mark.parametrize(
    "factory",
    [
        lambda: None,
        lambda a, b, c, d, e: None,
        bound,
        lambda in_channels, out_channels, scale_factor, kernel_size: None,
    ],
    ids=["none", "five", "partial", "swapped"],
)
def test_a_factory_that_takes_others_does_not(factory: Callable[..., Any]) -> None:
    with pytest.raises(UsageError, match=rf"'mine': .* takes .*, but is called with \({', '.join(ARGUMENTS)}\)"):
        check_signature(factory, "mine")


@pytest.mark.parametrize(
    ("thing", "message"),
    [
        (None, "'mine' is NoneType, not a function or class"),
        (nn.Sequential(), "'mine' is a Sequential that is built already"),
    ],
    ids=["nothing", "layer"],
)
def test_what_builds_no_layer_is_no_factory(thing: object, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        check_factory(thing, "mine")
