"""Which modules differ between two commits: by their code, and by what they import."""

from collections.abc import Callable
from pathlib import Path

import pytest

from deconvbench.workflows.changes import SourceTree, list_differences

FILES = {
    "pkg/__init__.py": "from pkg.layers import first\n__all__ = ['first']\n",
    "pkg/layers/__init__.py": "from pkg.layers.first import build as first\nfrom .second import build\n",
    "pkg/layers/first.py": "from pkg import ops\n\ndef build():\n    return ops.resize()\n",
    "pkg/layers/second.py": "from ..maths.sums import add\ndef build():\n    import pkg.late\n    return add()\n",
    "pkg/layers/third.py": "from pkg.layers import first\n\ndef build():\n    return first()\n",
    "pkg/ops.py": "def resize():\n    return 1\n",
    "pkg/late.py": "VALUE = 1\n",
    "pkg/maths/__init__.py": "",
    "pkg/maths/sums.py": "if TYPE_CHECKING:\n    from pkg import ops\ndef add(): ...\n",
    "pkg/alone.py": "import random\nimport torch\n",
    "random.py": "VALUE = 1\n",
}

Change = Callable[..., tuple[SourceTree, SourceTree]]


@pytest.fixture
def change(tmp_path: Path) -> Change:
    """Write the files twice, and other texts in their places the second time."""

    def make(**texts: str) -> tuple[SourceTree, SourceTree]:
        named = {name.replace("__slash__", "/") + ".py": text for name, text in texts.items()}
        trees = []
        for name, files in (("base", FILES), ("head", {**FILES, **named})):
            for path, text in files.items():
                target = tmp_path / name / path
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(text)
            trees.append(SourceTree([tmp_path / name / "src", tmp_path / name]))
        return trees[0], trees[1]

    return make


def test_equal_trees_do_not_differ(change: Change) -> None:
    trees = change()
    for module in ("pkg.layers.first", "pkg.layers.second", "pkg", "pkg.alone", "no.such"):
        assert list_differences(*trees, module) == []


def test_a_module_differs_by_what_it_imports(change: Change) -> None:
    trees = change(pkg__slash__ops="def resize():\n    return 2\n")
    assert list_differences(*trees, "pkg.layers.first") == ["pkg.ops"]
    assert list_differences(*trees, "pkg.layers.second") == []


def test_a_package_passes_on_what_is_taken_from_it_and_nothing_else(change: Change) -> None:
    trees = change(pkg__slash__ops="def resize():\n    return 2\n")
    assert list_differences(*trees, "pkg.layers.third") == ["pkg.ops"]
    late = change(pkg__slash__late="VALUE = 2\n")
    assert list_differences(*late, "pkg.layers.third") == []


def test_relative_imports_and_those_within_functions_count(change: Change) -> None:
    trees = change(pkg__slash__maths__slash__sums="def add():\n    return 3\n", pkg__slash__late="VALUE = 2\n")
    assert list_differences(*trees, "pkg.layers.second") == ["pkg.late", "pkg.maths.sums"]


def test_the_module_itself_comes_first(change: Change) -> None:
    trees = change(
        pkg__slash__layers__slash__second="from pkg.late import VALUE\n", pkg__slash__late="VALUE = 2\n"
    )
    assert list_differences(*trees, "pkg.layers.second")[:2] == ["pkg.layers.second", "pkg.late"]


@pytest.mark.parametrize(
    "text",
    [
        "# a comment\ndef resize():  # another\n    return 1\n",
        "'''A docstring.'''\ndef resize():\n    '''Another.'''\n    return (1)\n",
    ],
    ids=["comment", "docstring"],
)
def test_comments_docstrings_and_layout_are_no_code(change: Change, text: str) -> None:
    assert list_differences(*change(pkg__slash__ops=text), "pkg.layers.first") == []


def test_what_a_package_does_beside_importing_counts_for_all_below_it(change: Change) -> None:
    trees = change(pkg__slash____init__=FILES["pkg/__init__.py"] + "import torch\ntorch.set_num_threads(1)\n")
    assert list_differences(*trees, "pkg.layers.first") == ["pkg.__init__"]
    more = change(pkg__slash____init__=FILES["pkg/__init__.py"] + "from pkg.late import VALUE\n")
    assert list_differences(*more, "pkg.layers.first") == []


def test_what_is_there_for_type_checkers_alone_does_not_run(change: Change) -> None:
    trees = change(pkg__slash__ops="def resize():\n    return 2\n")
    assert list_differences(*trees, "pkg.maths.sums") == []


def test_modules_of_python_and_of_others_are_not_looked_for(change: Change) -> None:
    assert list_differences(*change(random="VALUE = 2\n"), "pkg.alone") == []


def test_a_module_that_one_commit_lacks_differs(change: Change) -> None:
    base, head = change(pkg__slash__new="VALUE = 1\n")
    assert list_differences(base, head, "pkg.new") == ["pkg.new"]
    assert "pkg.new" in head
    assert "pkg.new" not in base


def test_a_file_that_is_not_python_is_compared_as_it_is(change: Change) -> None:
    trees = change(pkg__slash__ops="def resize(:\n")
    assert list_differences(*trees, "pkg.layers.first") == ["pkg.ops"]


def test_modules_can_be_left_out(tmp_path: Path, change: Change) -> None:
    change(pkg__slash__ops="def resize():\n    return 2\n")
    trees = [SourceTree([tmp_path / name], lambda module: module != "pkg.ops") for name in ("base", "head")]
    assert list_differences(trees[0], trees[1], "pkg.layers.first") == []
