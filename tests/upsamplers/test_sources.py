"""Layers of one name from two places are told apart by the digests of their sources."""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from deconvbench.upsamplers import registry
from deconvbench.upsamplers.factories import digest_module
from deconvbench.upsamplers.sources import identify_sources, name_changed_sources

PLAIN = "def build(i, o, k, s): ...\n"
DECORATED = "from deconvbench import register_upsampler\n@register_upsampler('same_name')\n" + PLAIN


@pytest.fixture(autouse=True)
def _own_registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(registry, "_REGISTRY", dict(registry._REGISTRY))
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    sys.modules.pop("layer_of_mine", None)


def load(folder: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make the module, as a process would that starts in this folder."""
    folder.mkdir(exist_ok=True)
    path = folder / "layer_of_mine.py"
    path.write_text(text)
    sys.modules.pop("layer_of_mine", None)
    monkeypatch.setattr(sys, "path", [str(folder), *sys.path])
    monkeypatch.setattr(registry, "_REGISTRY", {})
    importlib.invalidate_caches()
    return path


@pytest.mark.parametrize("text", [PLAIN, DECORATED], ids=["a plain function", "one that registers itself"])
def test_two_files_of_one_name(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = ["layer_of_mine:build"]
    load(tmp_path / "a", text, monkeypatch)
    digests = identify_sources(paths)
    assert name_changed_sources(paths, digests) == []
    assert name_changed_sources(paths, ()) == []  # not recorded
    load(tmp_path / "a", text, monkeypatch)
    assert name_changed_sources(paths, digests) == []
    other = load(tmp_path / "b", f"{text}# another", monkeypatch)
    (line,) = name_changed_sources(paths, digests)
    assert line.startswith(f"layer_of_mine:build had source {digests[0]}, has ")
    assert line.endswith(f" in {other}")


def test_what_changes_after_it_was_imported_is_not_what_is_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = load(tmp_path, PLAIN, monkeypatch)
    before = identify_sources(["layer_of_mine:build"])
    path.write_text(f"{PLAIN}# edited")
    assert identify_sources(["layer_of_mine:build"]) == before  # that is what this process has
    load(tmp_path, f"{PLAIN}# edited", monkeypatch)
    assert identify_sources(["layer_of_mine:build"]) != before


def test_layers_of_this_package_have_no_digest() -> None:
    assert identify_sources(["deconvbench.upsamplers.transposed:Transposed"]) == ("",)


def test_a_module_without_a_file_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    assert digest_module("sys") == ""
    assert digest_module("not_imported") == ""
