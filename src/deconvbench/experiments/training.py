"""One training run, from its first step or from its checkpoint to its last, scored on the way.

The crops of a step are drawn from (seed, step), so weights and optimizer are all that a run has to keep, and a run
that was killed ends with the same bits as one that was not (on one machine, with one thread on a CPU). Knows
nothing of other runs, processes or tables.
"""

import io
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from deconvbench.columns import SCORE_COLUMNS
from deconvbench.experiments.checkpoints import (
    RESULT_NAME,
    SETTINGS_NAME,
    Row,
    append_row,
    keep_rows,
    load_checkpoint,
    make_folder,
    save_checkpoint,
    write_json,
)
from deconvbench.experiments.images import ImageSet, draw_batch, make_test_batch, mean_colour, shrink
from deconvbench.experiments.networks import build_network
from deconvbench.experiments.scores import Scores, score_finally, score_network
from deconvbench.experiments.settings import TrainingSettings
from deconvbench.run_folder import write_whole

CHECKPOINT_EVERY = 50
THREADS = 1  # on a CPU; the number of threads decides the order of sums, and so the bits
TEST_SIZE = 128  # pixels: side of the test crops, as far as the training crops are that large
# beside the regular ones: a network changes most at first, and the article looks at the first iteration
_EARLY_STEPS = frozenset({0, 1, 2, 5, 10, 20})
_PICTURED_STEPS = frozenset({0, 1})
PICTURED_SEED = 0

# told the steps done, and the score last logged as text
Report = Callable[[int, str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class TestSet:
    """What networks are scored on.

    Parameters
    ----------
    names : tuple of str
        Of the crops.
    inputs : Tensor, shape (N, 3, H, W)
        What the network gets, from 0 to 1.
    targets : Tensor, shape (N, 3, S, S)
        What it should give.
    mean_colour : Tensor, shape (3,)
        Of the training images, from 0 to 1.
    """

    __test__ = False  # no class of tests, whatever pytest makes of its name

    names: tuple[str, ...]
    inputs: Tensor
    targets: Tensor
    mean_colour: Tensor


def is_scheduled(step: int) -> bool:
    """Say whether a step is logged whatever the number of steps is.

    Parameters
    ----------
    step : int
        Steps done.
    """
    return step in _EARLY_STEPS or step % CHECKPOINT_EVERY == 0


def make_test_set(images: ImageSet, settings: TrainingSettings) -> TestSet:
    """Prepare what a run is scored on.

    Parameters
    ----------
    images : ImageSet
        The photographs.
    settings : TrainingSettings
        Task and sizes.
    """
    names, targets = make_test_batch(images, min(TEST_SIZE, settings.crop_size))
    return TestSet(
        names=names,
        inputs=_make_inputs(targets, settings),
        targets=targets,
        mean_colour=mean_colour(images),
    )


def _make_inputs(targets: Tensor, settings: TrainingSettings) -> Tensor:
    return targets if settings.task == "reconstruction" else shrink(targets, settings.scale_factor)


class TrainingRun:
    """A training run in its folder.

    Parameters
    ----------
    settings : TrainingSettings
        What to train.
    images : ImageSet
        What to train it on.
    root : Path
        The experiments folder; the run has ``runs/<run_id>`` below it, and its pictures ``crops/<run_id>``.
    code_version : str
        What the result says trained it.

    Raises
    ------
    UnsupportedError
        If the upsampler cannot be built so.
    RunFolderError
        If what lies in the folder is no training run.
    SurroundingsError
        If the folder cannot be written.
    """

    def __init__(
        self, settings: TrainingSettings, images: ImageSet, root: Path, *, code_version: str = ""
    ) -> None:
        self.settings = settings
        self.root = root
        self._code_version = code_version
        self.folder = root / "runs" / settings.run_id
        self._images = images
        self._test = make_test_set(images, settings)
        self.network = build_network(settings).to(settings.device).train()
        self._optimizer = torch.optim.Adam(self.network.parameters(), settings.learning_rate)
        self.step = 0
        # of the losses since the last scheduled row
        self._loss_sum = torch.zeros((), device=settings.device)
        self._loss_count = 0
        self._seconds = 0.0
        self._last_row: Row = {}
        self._last_scores: Scores | None = None

    def run(self, report: Report = lambda *_: None) -> Row:
        """Train up to the last step, and write ``result.json``.

        Parameters
        ----------
        report : callable
            Told of each step.

        Returns
        -------
        dict
            The result: status, message and the numbers of `TRAINED_DTYPES`.
        """
        make_folder(self.folder)
        self._restore()
        text = ""
        while self.step < self.settings.steps:
            started = time.perf_counter()
            self._advance()
            is_last = self.step == self.settings.steps
            is_due = is_last or is_scheduled(self.step)
            if is_due:
                # on an accelerator this waits for the steps behind it, so it belongs to their time
                mean_loss = float(self._loss_sum) / self._loss_count
            self._seconds += time.perf_counter() - started
            if is_due:
                if not (math.isfinite(mean_loss) and self._is_finite()):
                    return self._finish("diverged", f"the loss or a weight is not finite at step {self.step}")
                self._log(mean_loss)
                text = f"loss {mean_loss:.3g}, PSNR {self._last_row['psnr_db']:.1f} dB"
            if is_last or self.step % CHECKPOINT_EVERY == 0:
                self._save()
            report(self.step, text)
        return self._finish("ok", "")

    def time_steps(self, count: int) -> float:
        """Take steps that are not kept, and time them.

        Parameters
        ----------
        count : int
            Steps, after one more that is not timed.

        Returns
        -------
        float
            Seconds a step.
        """
        self._advance()
        float(self._loss_sum)  # waits for an accelerator
        started = time.perf_counter()
        for _ in range(count):
            self._advance()
        float(self._loss_sum)
        return (time.perf_counter() - started) / count

    def _advance(self) -> None:
        settings = self.settings
        targets = draw_batch(self._images, settings.batch, settings.crop_size, settings.seed, self.step)
        targets = targets.to(settings.device)
        with torch.autocast(settings.device.partition(":")[0], torch.bfloat16, enabled=settings.autocast):
            outputs = self.network(_make_inputs(targets, settings))
        loss = functional.mse_loss(outputs.float(), targets)
        self._optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call] # torch has no types here
        self._optimizer.step()
        self._loss_sum += loss.detach()
        self._loss_count += 1
        self.step += 1

    def _is_finite(self) -> bool:
        return all(bool(parameter.isfinite().all()) for parameter in self.network.parameters())

    def _log(self, mean_loss: float | None) -> None:
        """Score the network, draw its pictures where they are due, and put a row on disk."""
        settings = self.settings
        scores = self._last_scores = self._score()
        row: Row = {"step": self.step, "loss": mean_loss}
        row |= {name: _tame(scores.row[name]) for name in SCORE_COLUMNS}
        row["seconds"] = self._seconds
        if self.step in _PICTURED_STEPS or self.step == settings.steps:
            crops = self._draw(scores.outputs)
            row["images"] = [
                {**{name: _tame(value) for name, value in image.items()}, "crop": crop}
                for image, crop in zip(scores.images, crops, strict=True)
            ]
        append_row(self.folder, row)
        self._last_row = row
        if is_scheduled(self.step):
            self._loss_sum.zero_()
            self._loss_count = 0

    def _score(self) -> Scores:
        test, settings = self._test, self.settings
        return score_network(
            self.network,
            test.inputs,
            test.targets,
            test.names,
            period=settings.period,
            uses_instance_norm=settings.norm == "instance",
        )

    def _draw(self, outputs: Tensor) -> list[str | None]:
        """Write the test crops as the network gives them; the first seed's stand for all."""
        if self.settings.seed != PICTURED_SEED:
            return [None] * len(outputs)
        crops = [f"crops/{self.settings.run_id}/{name}-step{self.step}.png" for name in self._test.names]
        for path, picture in zip(crops, outputs, strict=True):
            _write_picture(self.root / path, picture)
        return list(crops)

    def _save(self) -> None:
        state = {
            "step": self.step,
            "network": self.network.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "loss_sum": float(self._loss_sum),
            "loss_count": self._loss_count,
            "seconds": self._seconds,
            "row": self._last_row,
        }
        save_checkpoint(self.folder, state)

    def _restore(self) -> None:
        """Take up the run where its checkpoint is, or start it."""
        state = load_checkpoint(self.folder, self.settings.device)
        if state is None:
            keep_rows(self.folder, lambda _: False)
            self._log(None)
            return
        self.network.load_state_dict(state["network"])
        self._optimizer.load_state_dict(state["optimizer"])
        self.step = state["step"]
        self._loss_sum.fill_(state["loss_sum"])
        self._loss_count = state["loss_count"]
        self._seconds = state["seconds"]
        self._last_row = state["row"]
        # a row that only the end of a shorter run asked for has no place in a longer one
        last = self.settings.steps
        keep_rows(
            self.folder,
            lambda row: row["step"] <= self.step and (is_scheduled(row["step"]) or row["step"] == last),
        )

    def _finish(self, status: str, message: str) -> Row:
        settings = self.settings
        result: Row = {"status": status, "message": message, **settings.keys, "steps": self.step}
        if status == "ok":
            result |= {name: self._last_row[name] for name in ("loss", *SCORE_COLUMNS)}
            outputs = (self._last_scores or self._score()).outputs  # not kept where the checkpoint was the end
            test = self._test
            final = score_finally(outputs, test.targets, test.mean_colour, period=settings.period)
            result |= {name: _tame(value) for name, value in final.items()}
        result |= {
            "parameters": count_parameters(self.network),
            **{
                name: getattr(settings, name)
                for name in (
                    "width",
                    "residual_blocks",
                    "crop_size",
                    "batch",
                    "learning_rate",
                    "device",
                    "autocast",
                )
            },
            "torch_version": torch.__version__,
            "code_version": self._code_version,
        }
        write_json(self.folder / RESULT_NAME, result)
        self._drop_pictures()
        return result

    def _drop_pictures(self) -> None:
        """Delete those of ends that this run once had, and has gone beyond."""
        kept = {f"step{step}" for step in (*_PICTURED_STEPS, self.step)}
        for path in (self.root / "crops" / self.settings.run_id).glob("*-step*.png"):
            if path.stem.rpartition("-")[2] not in kept:
                path.unlink()


def count_parameters(network: nn.Module) -> int:
    """Count the numbers that training changes.

    Parameters
    ----------
    network : nn.Module
        Any.
    """
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)


def write_settings(settings: TrainingSettings, images: ImageSet, root: Path) -> None:
    """Write what a run was asked to be, which a later call is compared with.

    Parameters
    ----------
    settings : TrainingSettings
        Of the run.
    images : ImageSet
        Whose fingerprint is kept.
    root : Path
        The experiments folder.

    Raises
    ------
    SurroundingsError
        If it cannot be written.
    """
    folder = root / "runs" / settings.run_id
    make_folder(folder)
    content = {**asdict(settings), "images": images.fingerprint, "threads": THREADS}
    write_json(folder / SETTINGS_NAME, content)


def _tame(value: Any) -> Any:
    """Make a float that JSON has no word for None."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_originals(settings: TrainingSettings, images: ImageSet, root: Path) -> None:
    """Write the test crops as they are, to be looked at beside what networks make of them.

    Parameters
    ----------
    settings : TrainingSettings
        Whose task and sizes they have.
    images : ImageSet
        The photographs.
    root : Path
        The experiments folder.

    Raises
    ------
    SurroundingsError
        If they cannot be written.
    """
    test = make_test_set(images, settings)
    for name, picture in zip(test.names, test.targets, strict=True):
        _write_picture(root / "crops" / "originals" / f"{settings.task}-{name}.png", picture)


def _write_picture(path: Path, picture: Tensor) -> None:
    make_folder(path.parent)
    levels = (picture.detach().clamp(0, 1) * 255).round().to("cpu", torch.uint8).permute(1, 2, 0).contiguous()
    content = io.BytesIO()
    Image.fromarray(levels.numpy()).save(content, format="PNG")
    write_whole(path, content.getvalue())
