"""What all tests share: one thread, no compiled form but their own, and where those that need CUDA are skipped."""

import os
from collections.abc import Iterator

import pytest
import torch

# whatever is in the user's cache, and for child processes too; the tests of the compiled form make one
os.environ["DECONVBENCH_NATIVE"] = "0"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if torch.cuda.is_available():
        return
    for item in items:
        if item.get_closest_marker("cuda"):
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Small tensors gain nothing from a second thread, and wait for each other on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
