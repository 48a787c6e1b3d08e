"""Training runs so small that a test can have many, and one in a process made to be killed."""

import os
import random
import signal
from collections.abc import Callable, Mapping, Sequence
from multiprocessing import get_context
from pathlib import Path
from typing import Any
from unittest import mock

import torch
import torch._dynamo  # Adam would import it in each process, for a second
from torch import Tensor, nn

from deconvbench.records.schema import SCORE_COLUMNS
from deconvbench.studies.training import checkpoints, training
from deconvbench.studies.training.checkpoints import Row
from deconvbench.studies.training.folder import NamedImage
from deconvbench.studies.training.images import ImageSet, draw_batch
from deconvbench.studies.training.scores import Scores
from deconvbench.studies.training.settings import TrainingSettings
from deconvbench.studies.training.training import TrainingRun

FORKS = get_context("forkserver")
FORKS.set_forkserver_preload(["tests.tiny_training"])

TINY = TrainingSettings(
    upsampler="transposed", kernel_size=3, width=2, residual_blocks=1, crop_size=32, batch=1, steps=12
)


def make_images(seed: int = 0) -> ImageSet:
    """Draw smooth pictures of 48×48 pixels, four to train on and two to score on."""
    rng = torch.Generator().manual_seed(seed)

    def draw(name: str) -> NamedImage:
        coarse = torch.rand(1, 3, 6, 6, generator=rng)
        fine = nn.functional.interpolate(coarse, (48, 48), mode="bilinear")[0]
        return NamedImage(name=name, pixels=(255 * fine).to(torch.uint8))

    return ImageSet(
        source="drawn",
        train=tuple(draw(f"train{number}") for number in range(4)),
        test=tuple(draw(f"test{number}") for number in range(2)),
        skipped=(),
        fingerprint=f"drawn from {seed}",
    )


def score_roughly(
    network: nn.Module,
    inputs: Tensor,
    targets: Tensor,
    names: Sequence[str],
    *,
    period: int,
    uses_instance_norm: bool,
    upsamplers: Mapping[str, int] | None = None,
) -> Scores:
    """Score in a millisecond, by a number that depends on every weight."""
    with torch.no_grad():
        outputs = network(inputs)
    errors = (outputs - targets).square().mean((1, 2, 3))
    keys = ("psnr_db", "ssim", "checkerboard_levels")
    images = tuple(
        {"image": name, **dict.fromkeys(keys, float(error))} for name, error in zip(names, errors, strict=True)
    )
    row = {**dict.fromkeys(SCORE_COLUMNS, float(errors.mean())), "detection_levels": float("nan")}
    return Scores(row=row, images=images, outputs=outputs)


def drop_seconds(rows: Sequence[Row]) -> list[Row]:
    """Leave out of a log what no two runs share."""
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


class _Fuse:
    """Kills this process at the n-th moment at which it is asked."""

    def __init__(self, moments: int) -> None:
        self.left = moments

    def burn(self) -> None:
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


def train_until_killed(settings: TrainingSettings, root: Path, moments: int) -> None:
    """Train, with a checkpoint every five steps, until so many moments have passed: steps, stages of writing."""
    torch.set_num_threads(1)
    fuse = _Fuse(moments)

    def around(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*words: Any, **options: Any) -> Any:
            fuse.burn()
            result = function(*words, **options)
            fuse.burn()
            return result

        return call

    def append_row(folder: Path, row: Row) -> None:
        if fuse.left <= 2:  # half the line gets there
            line = checkpoints._encode(row)
            with (folder / checkpoints.LOG_NAME).open("ab") as file:
                file.write(line[: random.Random(str(row)).randrange(1, len(line))])
            fuse.left = 1
            fuse.burn()
        checkpoints.append_row(folder, row)

    with (
        mock.patch.object(training, "CHECKPOINT_EVERY", 5),
        mock.patch.object(training, "_TUNED_LOG_EVERY", 5),
        mock.patch.object(training, "score_network", score_roughly),
        mock.patch.object(training, "append_row", append_row),
        # the names in a folder are there for the next process, whether or not they are on disk
        mock.patch("deconvbench.system.writing._sync_folder"),
        mock.patch("os.fsync", around(os.fsync)),
        mock.patch.object(Path, "replace", around(Path.replace)),
        mock.patch.object(training, "draw_batch", around(draw_batch)),
    ):
        TrainingRun(settings, make_images(), root).run()
