import errno
import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from deconvbench.errors import SurroundingsError
from deconvbench.studies.training.held_out import hold_out
from deconvbench.studies.training.pictures import keep_pictures, write_originals, write_outputs
from tests.tiny_training import TINY, make_images


def read(path: Path) -> torch.Tensor:
    with Image.open(path) as picture:
        assert (picture.format, picture.mode) == ("PNG", "RGB")
        width, height = picture.size
        return torch.tensor(list(picture.tobytes())).view(height, width, 3).permute(2, 0, 1)


def test_originals_are_the_targets(tmp_path: Path) -> None:
    settings = replace(TINY, task="super-resolution")
    held_out = hold_out(make_images(), settings)
    write_originals(settings, held_out, tmp_path)
    for name, target in zip(held_out.names, held_out.targets, strict=True):
        levels = read(tmp_path / "crops" / "originals" / f"super-resolution-{name}.png")
        assert (levels - 255 * target).abs().max() <= 0.5001


@pytest.mark.parametrize(("task", "more"), [("segmentation", "test0-upper-input"), ("style-transfer", "style")])
def test_what_else_is_looked_at_lies_beside_them(task: str, more: str, tmp_path: Path) -> None:
    settings = replace(TINY, task=task)
    held_out = hold_out(make_images(), settings)
    write_originals(settings, held_out, tmp_path)
    found = {path.stem for path in (tmp_path / "crops" / "originals").iterdir()}
    assert {f"{task}-{name}" for name in (*held_out.names, more)} <= found


def test_outputs_are_clipped_and_rounded(tmp_path: Path) -> None:
    outputs = torch.tensor([-1.0, 0.0, 0.4999, 1.0, 7.0, 1 / 255]).view(1, 1, 2, 3).expand(1, 3, 2, 3)
    (path,) = write_outputs(TINY, 7, ["cat"], outputs, tmp_path)
    assert path == f"crops/{TINY.run_id}/cat-step7.png"
    assert read(tmp_path / path)[1].tolist() == [[0, 0, 127], [255, 255, 1]]


def test_only_the_first_seed_has_pictures(tmp_path: Path) -> None:
    outputs = torch.zeros(2, 3, 4, 4)
    assert write_outputs(replace(TINY, seed=1), 0, ["a", "b"], outputs, tmp_path) == [None, None]
    assert not list(tmp_path.iterdir())


def test_pictures_of_former_ends_are_deleted(tmp_path: Path) -> None:
    outputs = torch.zeros(1, 3, 4, 4)
    for step in (0, 1, 10, 100):
        write_outputs(TINY, step, ["a-step10"], outputs, tmp_path)
    keep_pictures(TINY, {0, 1, 100}, tmp_path)
    kept = {path.name for path in (tmp_path / "crops" / TINY.run_id).iterdir()}
    assert kept == {f"a-step10-step{step}.png" for step in (0, 1, 100)}
    keep_pictures(replace(TINY, seed=1), set(), tmp_path)


def test_a_full_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(SurroundingsError, match="the disk is full"):
        write_outputs(TINY, 0, ["a"], torch.zeros(1, 3, 4, 4), tmp_path)
