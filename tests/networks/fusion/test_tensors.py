"""What counts as an ordinary tensor, and where its memory is."""

import torch
from torch import Tensor, nn

from deconvbench.networks.fusion.tensors import find_layout, find_memory, find_numbers, find_tensors, is_usable


class Special(Tensor):
    pass


def test_ordinary_tensors() -> None:
    assert is_usable(torch.ones(1, 1, 2, 2))
    assert is_usable(nn.Parameter(torch.ones(1, dtype=torch.float16)))
    for other in (
        torch.ones(1).as_subclass(Special),
        torch.ones(1, dtype=torch.complex64),
        torch.ones(1, dtype=torch.int32),
        torch.ones(1, device="meta"),
        torch.ones(2, 2).to_sparse(),
        torch.ones(0),
        3,
    ):
        assert not is_usable(other)


def test_views_have_one_memory() -> None:
    x = torch.ones(4)
    assert find_memory(x[2:]) == find_memory(x.detach()) == find_memory(x) is not None
    assert find_memory(x) != find_memory(x.clone())
    assert find_memory(x.to_sparse()) is None
    assert find_memory(x.as_subclass(Special)) is None


def test_numbers_are_found_in_arguments() -> None:
    assert find_numbers((1, [2.0, ("x", torch.ones(1))], None, {"more": 3})) == [1, [2.0, ["x"]], None]


def test_layouts() -> None:
    x = torch.ones(1, 2, 3, 4)
    assert find_layout(x) == ((1, 2, 3, 4), (24, 12, 4, 1), torch.float32, torch.device("cpu"))
    assert find_layout(x.contiguous(memory_format=torch.channels_last)) != find_layout(x)
    assert find_layout(x.to_sparse()) is None
    assert find_layout(x.as_subclass(Special)) is None


def test_tensors_are_found_in_arguments() -> None:
    one, two, three = torch.ones(1), torch.ones(1), torch.ones(1)
    found = find_tensors((one, [two, (3, "text")], {"more": [three]}))
    assert [id(tensor) for tensor in found] == [id(tensor) for tensor in (one, two, three)]
