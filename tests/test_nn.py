"""The layers for use outside of the grid: reachable by one attribute, and nothing heavy before that."""

import subprocess
import sys

import pytest
import torch

import deconvbench
from deconvbench.upsamplers import list_upsamplers
from deconvbench.upsamplers.fast import ResizeConv2d


def run_python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_the_package_offers_it_without_another_import() -> None:
    answer = run_python(
        "import sys, deconvbench\n"
        "assert 'nn' in dir(deconvbench)\n"
        "assert 'torch' not in sys.modules, 'too early'\n"
        "layer = deconvbench.nn.ResizeConv2d(2, 3)\n"
        "assert sys.modules['deconvbench.nn'] is deconvbench.nn\n"
        "assert 'deconvbench.measure' not in sys.modules, 'more than the layers'"
    )
    assert answer.returncode == 0, answer.stderr


LAYERS = [name for name in deconvbench.nn.__all__ if name != "build_native"]


@pytest.mark.parametrize("name", LAYERS)
def test_every_layer_upsamples(name: str) -> None:
    layer = getattr(deconvbench.nn, name)(2, 3, 3, 2)
    with torch.no_grad():
        assert layer(torch.zeros(1, 2, 5, 4)).shape == (1, 3, 10, 8)


@pytest.mark.parametrize("name", LAYERS)
def test_every_layer_is_that_of_the_grid(name: str) -> None:
    layer = getattr(deconvbench.nn, name)
    factories = [spec.factory for spec in list_upsamplers().values()]
    assert layer is ResizeConv2d or layer in factories
