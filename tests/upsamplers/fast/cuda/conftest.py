"""Where the kernels run in these tests: on a CUDA device, or in Triton's interpreter if that was switched on."""

import os
from collections.abc import Iterator

import pytest
import torch

from deconvbench.upsamplers.fast.cuda.form import has_triton
from tests.upsamplers.fast.cuda.precision import convolutions_with_tf32


@pytest.fixture
def device() -> str:
    if not has_triton():
        pytest.skip("needs triton, which is not installed")
    if os.environ.get("TRITON_INTERPRET") == "1":
        return "cpu"
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device, or Triton's interpreter, in which test_interpreter.py runs this")
    return "cuda"


@pytest.fixture(autouse=True)
def exact() -> Iterator[None]:
    with convolutions_with_tf32(False):
        yield
