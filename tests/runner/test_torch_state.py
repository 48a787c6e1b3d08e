"""What torch does by itself is no change that a layer made."""

import pytest
import torch

from deconvbench.runner.process_state import Changes, read_process_state


@pytest.mark.compile
def test_compiling_leaves_nothing_to_put_back() -> None:
    state = read_process_state()
    layer, x = torch.nn.Conv2d(1, 1, 3), torch.zeros(1, 1, 8, 8)
    torch.compile(layer, dynamic=False)(x).sum().backward()
    assert state.restore() == Changes()


def test_running_a_layer_leaves_nothing_to_put_back() -> None:
    state = read_process_state()
    torch.nn.Conv2d(1, 1, 3)(torch.zeros(1, 1, 8, 8)).sum().backward()
    # but for the random state, which disturbs nothing
    assert state.restore() == Changes()
