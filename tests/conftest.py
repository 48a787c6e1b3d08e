"""What all tests share: one thread, no compiled form but their own, no clock, and where CUDA is needed skips.

Where torch is not installed, tests that import it are skipped, and the others run: reports do without it.
"""

import os
import sys
from collections.abc import Iterator
from importlib.abc import MetaPathFinder
from importlib.util import find_spec

import pytest
from hypothesis import HealthCheck, settings

HAS_TORCH = find_spec("torch") is not None

# whatever is in the user's cache, and for child processes too; the tests of the compiled form make one
os.environ["DECONVBENCH_NATIVE"] = "0"

# no test fails for the time that it takes: the machine may be busy
settings.register_profile("deconvbench", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("deconvbench")


class SkipForTorch(MetaPathFinder):
    """Skips the module or the test that imports torch."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name.partition(".")[0] == "torch":
            pytest.skip("needs torch, which is not installed", allow_module_level=True)


if not HAS_TORCH:
    sys.meta_path.insert(0, SkipForTorch())


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if HAS_TORCH:
        import torch

        if torch.cuda.is_available():
            return
    for item in items:
        if item.get_closest_marker("cuda"):
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Small tensors gain nothing from a second thread, and wait for each other on a busy machine."""
    if not HAS_TORCH:
        yield
        return
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
