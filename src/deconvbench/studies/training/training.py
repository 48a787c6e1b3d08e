"""One training run, from its first step or from its checkpoint to its last, scored on the way.

The crops of a step are drawn from (seed, step), so weights and optimizer are all that a run has to keep, and a run
that was killed ends with the same bits as one that was not (on one machine, with one thread on a CPU).
"""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from deconvbench.records.schema import SCORE_COLUMNS
from deconvbench.studies.training.checkpoints import (
    RESULT_NAME,
    SETTINGS_NAME,
    Row,
    append_row,
    keep_rows,
    load_checkpoint,
    save_checkpoint,
    write_json,
)
from deconvbench.studies.training.held_out import hold_out
from deconvbench.studies.training.images import ImageSet, draw_batch
from deconvbench.studies.training.networks import build_network
from deconvbench.studies.training.pictures import keep_pictures, write_outputs
from deconvbench.studies.training.scores import Scores, score_finally, score_network
from deconvbench.studies.training.settings import TrainingSettings
from deconvbench.studies.training.tasks import make_objective
from deconvbench.system.paths import make_folder
from deconvbench.system.writing import remove_abandoned_drafts
from deconvbench.upsamplers import get_upsampler

CHECKPOINT_EVERY = 50
THREADS = 1  # on a CPU; the number of threads decides the order of sums, and so the bits
# beside the regular ones: a network changes most at first, and the article looks at the first iteration
_EARLY_STEPS = frozenset({0, 1, 2, 5, 10, 20})
_PICTURED_STEPS = frozenset({0, 1})

# of the tuned recipe, whose runs are longer: when it is logged beside these
_TUNED_EARLY_STEPS = frozenset({0, 1, 5, 20, 100, 250})
_TUNED_LOG_EVERY = 500
# of the steps over which the learning rate rises, and the largest norm of a gradient; Adam's second moment is
# that of about a hundred steps: with a thousand, as is usual, a run of 1,500 steps ends .8 dB lower
_WARM_UP = 0.05
_LARGEST_GRADIENT = 1.0
_BETAS = (0.9, 0.99)

# receives the steps done, and the score last logged as text
Report = Callable[[int, str], None]


def is_scheduled(step: int, recipe: str = "plain") -> bool:
    """Say whether a step is logged whatever the number of steps is.

    Parameters
    ----------
    step : int
        Steps done.
    recipe : str
        Of the run; scores are far apart where runs are long.
    """
    if recipe == "tuned":
        return step in _TUNED_EARLY_STEPS or step % _TUNED_LOG_EVERY == 0
    return step in _EARLY_STEPS or step % CHECKPOINT_EVERY == 0


def find_learning_rate(settings: TrainingSettings, step: int) -> float:
    """Find the learning rate of a step.

    Parameters
    ----------
    settings : TrainingSettings
        Of the run.
    step : int
        Steps done before it.

    Returns
    -------
    float
        The same in each step of the plain recipe. Of the tuned one: it rises in equal parts over the first
        twentieth of the steps, and falls to zero as half a cosine over all of them (Loshchilov & Hutter,
        arXiv:1608.03983).
    """
    if settings.recipe == "plain":
        return settings.learning_rate
    rising = min((step + 1) / max(_WARM_UP * settings.steps, 1), 1.0)
    return settings.learning_rate * rising * (1 + math.cos(math.pi * step / settings.steps)) / 2


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
        If the folder holds something other than a training run.
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
        self._held_out = hold_out(images, settings)
        self._objective = make_objective(settings)
        self.network = build_network(settings).to(settings.device).train()
        if settings.recipe == "tuned":
            # a fifth faster on a CPU, with channels as few as here
            self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload] # torch lacks it
        self._optimizer = _make_optimizer(self.network, settings)
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
            Receives each step.

        Returns
        -------
        dict
            The result: status, message and the numbers of `TRAINED_DTYPES`.
        """
        make_folder(self.folder)
        remove_abandoned_drafts(self.folder)
        self._restore()
        text = ""
        while self.step < self.settings.steps:
            started = time.perf_counter()
            self._advance()
            is_last = self.step == self.settings.steps
            is_due = is_last or is_scheduled(self.step, self.settings.recipe)
            if is_due:
                # on an accelerator this waits for the steps behind it, so it belongs to their time
                mean_loss = float(self._loss_sum) / self._loss_count
            self._seconds += time.perf_counter() - started
            if is_due:
                if not (math.isfinite(mean_loss) and self._is_finite()):
                    return self._finish("diverged", f"the loss or a weight is not finite at step {self.step}")
                self._log(mean_loss)
                text = f"loss {mean_loss:.3g}, {self._describe()}"
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
        photographs = draw_batch(self._images, settings.batch, settings.crop_size, settings.seed, self.step)
        examples = self._objective.make_examples(photographs, (settings.seed, self.step))
        inputs, targets = examples.inputs.to(settings.device), examples.targets.to(settings.device)
        with torch.autocast(settings.device.partition(":")[0], torch.bfloat16, enabled=settings.autocast):
            outputs = self.network(inputs)
        loss = self._objective.measure_loss(outputs.float(), targets)
        self._optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call] # torch has no types here
        if settings.recipe == "tuned":
            nn.utils.clip_grad_norm_(self.network.parameters(), _LARGEST_GRADIENT)
        for group in self._optimizer.param_groups:
            group["lr"] = find_learning_rate(settings, self.step)
        self._optimizer.step()
        self._loss_sum += loss.detach()
        self._loss_count += 1
        self.step += 1

    def _is_finite(self) -> bool:
        return all(bool(parameter.isfinite().all()) for parameter in self.network.parameters())

    def _log(self, mean_loss: float | None) -> None:
        """Score the network, draw its pictures where they are due, and put a row on disk."""
        settings = self.settings
        scores = self._last_scores = self.score()
        row: Row = {"step": self.step, "loss": mean_loss}
        row |= tame({name: scores.row[name] for name in SCORE_COLUMNS})
        row["seconds"] = self._seconds
        if self.step in _PICTURED_STEPS or self.step == settings.steps:
            crops = write_outputs(settings, self.step, self._held_out.names, scores.outputs, self.root)
            row["images"] = [
                {**tame(image), "crop": crop} for image, crop in zip(scores.images, crops, strict=True)
            ]
        append_row(self.folder, row)
        self._last_row = row
        if is_scheduled(self.step, settings.recipe):
            self._loss_sum.zero_()
            self._loss_count = 0

    def score(self) -> Scores:
        """Score the network as it is; nothing is written."""
        held_out, settings = self._held_out, self.settings
        spec = get_upsampler(settings.upsampler)
        has_taps = spec.linear and spec.shift_equivariant
        shown = self._objective.show(self.network)
        prefix = "" if shown is self.network else "network."
        names = [prefix + name for name in self.network.upsamplers]
        scores = score_network(
            shown,
            held_out.inputs,
            held_out.targets,
            held_out.names,
            period=settings.period,
            uses_instance_norm=settings.norm == "instance",
            upsamplers=dict.fromkeys(names if has_taps else (), settings.scale_factor),
        )
        own = self._objective.score(scores.outputs, held_out.targets)
        return replace(scores, row={**scores.row, **own})

    def _describe(self) -> str:
        """Say how well the network did when it was scored last."""
        facts = self.settings.task_facts
        value = self._last_row[facts.headline]
        return facts.headline_text.format(math.nan if value is None else value)

    def score_finally(self, scores: Scores) -> Row:
        """Measure what is of interest once, after training, as `scores.score_finally` does."""
        targets, mean_colour = self._held_out.targets, self._held_out.mean_colour
        found = tame(score_finally(scores.outputs, targets, mean_colour, period=self.settings.period))
        return {**found, **dict.fromkeys(self.settings.task_facts.undefined)}

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
        last, recipe = self.settings.steps, self.settings.recipe
        keep_rows(
            self.folder,
            lambda row: row["step"] <= self.step and (is_scheduled(row["step"], recipe) or row["step"] == last),
        )

    def _finish(self, status: str, message: str) -> Row:
        settings = self.settings
        result: Row = {"status": status, "message": message, **settings.keys, "steps": self.step}
        if status == "ok":
            scores = self._last_scores or self.score()  # not kept where the checkpoint was the end
            result["loss"] = self._last_row.get("loss")
            # a checkpoint of an earlier version lacks the columns that came later
            ended = {**tame(scores.row), **self._last_row}
            result |= {name: ended[name] for name in SCORE_COLUMNS}
            result |= self.score_finally(scores)
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
        keep_pictures(settings, {*_PICTURED_STEPS, self.step}, self.root)
        return result


def _make_optimizer(network: nn.Module, settings: TrainingSettings) -> torch.optim.Adam:
    if settings.recipe == "plain":
        return torch.optim.Adam(network.parameters(), settings.learning_rate)
    return torch.optim.Adam(network.parameters(), settings.learning_rate, betas=_BETAS, fused=True)


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


def tame(values: Mapping[str, Any]) -> Row:
    """Make None of each float that JSON has no word for.

    Parameters
    ----------
    values : mapping
        Plain data by name.
    """
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in values.items()
    }
