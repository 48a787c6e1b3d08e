"""The lists of functions: what they say of each is true of torch."""

import torch
from torch.nn import functional

from deconvbench.networks.fusion.functions import (
    ATEN_RESIZING,
    BINARY_FUNCTIONS,
    INPLACE,
    NUMBER_FUNCTIONS,
    POINTWISE_FUNCTIONS,
    SUMS,
)


def test_each_pixel_alone_may_act_before_the_upsampling() -> None:
    x = torch.rand(1, 3, 4, 5) + 0.5
    y = functional.interpolate(x, scale_factor=2)
    for function, numbers in [
        *((function, ()) for function in POINTWISE_FUNCTIONS),
        *((function, (2,)) for function in NUMBER_FUNCTIONS),
    ]:
        found = functional.interpolate(function(x, *numbers), scale_factor=2)
        # torch rounds the last few values of a row in another way than those that fill a vector
        assert torch.allclose(found, function(y, *numbers), rtol=1e-6), function


def test_each_that_writes_has_one_that_does_not() -> None:
    x = torch.rand(1, 3, 4, 5) + 0.5
    for written, named in INPLACE.items():
        options = (0.7,) if named in {*BINARY_FUNCTIONS, *NUMBER_FUNCTIONS} else ()
        expected = named(x, *options)
        image = x.clone()
        found = written(image, *options)
        assert torch.equal(found, expected), written
        assert torch.equal(image, expected), written
        assert found.data_ptr() == image.data_ptr(), written


def test_sums_are_of_two_operands() -> None:
    assert SUMS < BINARY_FUNCTIONS


def test_resizing_beneath_interpolate_repeats_pixels() -> None:
    x = torch.rand(1, 3, 4, 5)
    expected = x.repeat_interleave(2, 2).repeat_interleave(2, 3)
    for function in ATEN_RESIZING:
        is_listed = getattr(function, "_overloadname", "") == "vec"
        found = function(x, None, [2.0, 2.0]) if is_listed else function(x, [8, 10])
        assert torch.equal(found, expected), function
