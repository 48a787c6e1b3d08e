"""Targets by their names; those that are none are in tests/workflows/test_bad_targets.py."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from torch import nn

from deconvbench.errors import UsageError
from deconvbench.networks.inspection.targets import is_onnx, load_target

SOURCE = """
from torch import nn
from beside_it import WIDTH


class Net(nn.Conv2d):
    def __init__(self, width=WIDTH):
        super().__init__(width, 3, 3)


class Holder:
    net = Net(5)


def build():
    return Net(7)
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with modules; what is imported from it is forgotten."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    monkeypatch.setattr(sys, "meta_path", sys.meta_path.copy())
    before = set(sys.modules)
    (tmp_path / "package/deep").mkdir(parents=True)
    (tmp_path / "mine.py").write_text(SOURCE)
    (tmp_path / "beside_it.py").write_text("WIDTH = 9")
    (tmp_path / "package/deep/nets.py").write_text(SOURCE)
    (tmp_path / "package/deep/beside_it.py").write_text("WIDTH = 11")
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


@pytest.mark.parametrize(
    ("target", "channels"),
    [
        ("mine:Net", 9),
        ("mine:build", 7),
        ("mine:Holder.net", 5),
        ("mine.py:Net", 9),
        ("./mine.py:build", 7),
        ("package/deep/nets.py:Net", 11),
        ("package.deep.nets:Net", 9),
    ],
)
def test_modules_and_files_of_the_current_folder_are_found(here: Path, target: str, channels: int) -> None:
    model = load_target(target)
    assert isinstance(model, nn.Conv2d)
    assert model.in_channels == channels


def test_a_file_may_be_called_as_a_module_that_is_imported(here: Path) -> None:
    (here / "torch.py").write_text("import torch\nmake = torch.nn.Identity")
    assert isinstance(load_target("torch.py:make"), nn.Identity)
    assert hasattr(sys.modules["torch"], "Tensor")


def test_a_file_does_not_hide_the_standard_library(here: Path) -> None:
    (here / "wave.py").write_text("raise RuntimeError")
    (here / "uses.py").write_text("import wave\nfrom torch.nn import Identity as make")
    assert isinstance(load_target("uses.py:make"), nn.Identity)


def test_an_instance_is_taken_and_a_partial_is_called(here: Path) -> None:
    (here / "odd.py").write_text(
        "import functools\nfrom torch import nn\n"
        "made = nn.Conv2d(1, 2, 3)\nlater = functools.partial(nn.Conv2d, 3, 4, 5)\nshort = lambda: made\n"
    )
    made = load_target("odd.py:made")
    assert load_target("odd:later").state_dict()["weight"].shape == (4, 3, 5, 5)
    assert isinstance(made, nn.Conv2d)


def test_onnx_files_are_known_by_their_name(here: Path) -> None:
    assert is_onnx("a/b.ONNX")
    assert not is_onnx("a.py:onnx")
    with pytest.raises(UsageError, match=r"onnx"):
        load_target("none.onnx")
