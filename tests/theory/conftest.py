"""Fixtures of the theory's tests: the geometries that every identity must hold for, and seeded numbers."""

import itertools

import numpy as np
import pytest

from deconvbench.errors import UsageError
from deconvbench.theory import transposed_conv_output_size

SIZES = ((1, 1), (2, 5), (7, 4))


def _fits(geometry: dict[str, int], size: int) -> bool:
    try:
        transposed_conv_output_size(size, **geometry)
    except UsageError:
        return False
    return True


def _list_geometries() -> list[dict[str, int]]:
    """List kernels 1 to 6 by strides 1 to 4, plain and dilated, with paddings up to one that crops."""
    found = []
    for k, s, d in itertools.product(range(1, 7), range(1, 5), (1, 2)):
        if k == 1 and d > 1:
            continue
        reach = d * (k - 1)
        for p, op in itertools.product(sorted({0, 1, reach // 2, reach + 1}), sorted({0, 1, max(s, d) - 1})):
            geometry = {"kernel_size": k, "stride": s, "padding": p, "output_padding": op, "dilation": d}
            if any(_fits(geometry, min(size)) for size in SIZES):
                found.append(geometry)
    return found


def _name(geometry: dict[str, int]) -> str:
    return "k{kernel_size}-s{stride}-p{padding}-op{output_padding}-d{dilation}".format(**geometry)


@pytest.fixture(params=_list_geometries(), ids=_name)
def geometry(request: pytest.FixtureRequest) -> dict[str, int]:
    """Keyword arguments of `transposed_conv_output_size`, valid for at least one size of `sizes`."""
    found: dict[str, int] = request.param
    return found


@pytest.fixture
def sizes(geometry: dict[str, int]) -> list[tuple[int, int]]:
    """Heights and widths for which the geometry leaves an output."""
    return [size for size in SIZES if all(_fits(geometry, n) for n in size)]


@pytest.fixture
def rng() -> np.random.Generator:
    """Numbers from a fixed seed."""
    return np.random.default_rng(1603_07285)
