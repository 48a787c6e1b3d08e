"""What a training run is: its settings, their defaults, and the name that follows from them.

Decides what is trained by default and what "the article's own setting" means.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from deconvbench.arguments import LARGEST_SEED, check_whole, is_number
from deconvbench.errors import UsageError, quote, suggest
from deconvbench.records.case import check_field
from deconvbench.records.layers import FAST_UPSAMPLERS, NamedLayer
from deconvbench.records.training_tasks import TRAINING_TASKS, TrainingTask, get_task
from deconvbench.records.variants import STANDARD
from deconvbench.studies.training.variants import VARIANTS, Variant
from deconvbench.upsamplers import get_upsampler, list_upsamplers

TASKS = tuple(TRAINING_TASKS)
NORMS = ("instance", "none")
# how a network is begun and its steps are sized
RECIPES = ("plain", "tuned")
# what `tuned` reaches 25 dB of reconstruction with in 1,500 steps, where `plain` ends at 15 in 500; see
# `choose_tuned_settings` for other tasks
TUNED_SETTINGS: Mapping[str, Any] = {
    "recipe": "tuned",
    "residual_blocks": 2,
    "crop_size": 64,
    "batch": 2,
    "steps": 1500,
    "learning_rate": 1e-3,
}
# what the article compares, its remedies, and ours; at the article's scale
DEFAULT_LAYERS: tuple[NamedLayer, ...] = (
    ("transposed", 3),
    ("transposed", 4),
    ("transposed_smoothed", 3),
    ("nearest_conv", 3),
    ("bilinear_conv", 3),
    ("subpixel", 3),
    ("subpixel_icnr", 3),
    ("equal_gain_transposed", 3),
)
DEFAULT_SEEDS = 3
# the article's kernel, then what some upsamplers need instead
_KERNEL_SIZES = (3, 4, 2, 5)
# 70,000 iterations are 10 epochs of about 7,000 images, so the batch was 1; its sizes are Johnson et al.'s
ARTICLE_SETTINGS: Mapping[str, Any] = {"crop_size": 256, "batch": 1, "width": 32, "steps": 70_000}
# the least and the most; what is larger is a slip of the finger, and would take months or all memory
_WHOLE_NUMBERS = {
    "scale_factor": (2, 64),
    "width": (1, 16_384),
    "residual_blocks": (0, 1_000),
    "crop_size": (16, 65_536),
    "batch": (1, 65_536),
    "steps": (1, 1_000_000_000),
    "seed": (0, LARGEST_SEED),
}
MOST_SEEDS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSettings:
    """Everything that decides the result of one training run, but for the images.

    Parameters
    ----------
    task : str
        One of `TRAINING_TASKS`: ``reconstruction`` (the article's transformation network, which gives its input
        back), ``super-resolution`` (a small image upsampled by the upsampler at the network's end),
        ``segmentation`` or ``style-transfer`` (the article's network again, for other ends).
    upsampler : str
        Name in the registry.
    kernel_size : int or None
        Its kernel; None where it has none.
    scale_factor : int
        Scale s of each upsampler.
    norm : str
        ``instance`` (after each convolution but the last) or ``none``.
    width : int
        Channels of the first convolution.
    residual_blocks : int
        Residual blocks in the middle.
    crop_size : int
        Side of the training crops (the targets), in pixels.
    batch : int
        Crops a step.
    steps : int
        Steps of the optimizer.
    learning_rate : float
        Of Adam; see `recipe`.
    seed : int
        Of weights and crops.
    device : str
        Such as ``cpu`` or ``cuda``.
    autocast : bool
        Compute in bfloat16 where autocast allows.
    recipe : str
        ``plain``: torch's own first weights, and the same learning rate in each step, so that a longer run
        continues where a shorter one stopped. ``tuned``: first weights that keep the variance of activations,
        residual branches that begin at zero, a learning rate that rises over the first steps and falls to zero as
        a cosine, and gradients of a norm of at most 1.
    variant : str
        What is different from the task's own network: a name in `VARIANTS`.

    Raises
    ------
    UsageError
        If one of them is not allowed; the message names it.
    """

    task: str = "reconstruction"
    upsampler: str
    kernel_size: int | None
    scale_factor: int = 2
    norm: str = "instance"
    width: int = 16
    residual_blocks: int = 5
    crop_size: int = 128
    batch: int = 4
    steps: int = 500
    learning_rate: float = 1e-3
    seed: int = 0
    device: str = "cpu"
    autocast: bool = False
    recipe: str = "plain"
    variant: str = STANDARD

    def __post_init__(self) -> None:
        get_task(self.task)
        choices = (("norm", NORMS), ("recipe", RECIPES), ("variant", tuple(VARIANTS)))
        for name, allowed in choices:
            check_choice(name, getattr(self, name), allowed)
        chosen = self.network_variant
        if self.task not in chosen.tasks:
            raise UsageError(f"variant: {self.variant} is for {', '.join(chosen.tasks)}, not for {self.task}")
        if chosen.upsamplers and self.upsampler not in chosen.upsamplers:
            raise UsageError(
                f"variant: {self.variant} is for {', '.join(chosen.upsamplers)}, not for {quote(self.upsampler)}"
            )
        if chosen.upsampler_gain != 1 and self.recipe != "tuned":
            raise UsageError(f"variant: {self.variant} needs the tuned recipe, which sets the upsamplers' gain")
        for name in ("upsampler", "kernel_size", "device"):
            check_field(name, getattr(self, name))
        for name, (least, most) in _WHOLE_NUMBERS.items():
            object.__setattr__(self, name, check_whole(name, getattr(self, name), least, most))
        if self.crop_size < self.task_facts.smallest_crop:
            raise UsageError(
                f"crop_size: {self.crop_size} is below {self.task_facts.smallest_crop}, the least of {self.task}"
            )
        if self.crop_size % self.period:
            raise UsageError(
                f"crop_size: {self.crop_size} is not a multiple of {self.period}, what is upsampled in all"
            )
        smallest = self.crop_size // self.period * self.scale_factor
        if self.kernel_size is not None and self.kernel_size > smallest:
            raise UsageError(
                f"kernel_size: {self.kernel_size} is not from 1 to {smallest}, the side of the smallest map that"
                f" an upsampler gives with crops of {self.crop_size} pixels"
            )
        if not is_number(self.learning_rate) or not 0 < self.learning_rate < 1:
            raise UsageError(f"learning_rate: {quote(self.learning_rate)} is not a number between 0 and 1")

    @property
    def period(self) -> int:
        """Period P of the checkerboard in output pixels: the product of the scales of all upsamplers."""
        return self.task_facts.find_period(self.scale_factor)

    @property
    def task_facts(self) -> TrainingTask:
        """What `task` names."""
        return TRAINING_TASKS[self.task]

    @property
    def network_variant(self) -> Variant:
        """What `variant` names."""
        return VARIANTS[self.variant]

    @property
    def run_id(self) -> str:
        """Name of the run: task, layer, norm and seed, such as reconstruction-transposed-k3-s2-instance-seed0.

        The recipe is named where it is not the plain one, and the variant where it is not the standard one.
        """
        kernel = "" if self.kernel_size is None else f"-k{self.kernel_size}"
        recipe = "" if self.recipe == "plain" else f"-{self.recipe}"
        variant = "" if self.variant == STANDARD else f"-{self.variant}"
        layer = f"{self.upsampler}{kernel}-s{self.scale_factor}"
        return f"{self.task}-{layer}-{self.norm}{recipe}{variant}-seed{self.seed}"

    @property
    def keys(self) -> dict[str, Any]:
        """The columns that name the run in every table, in order."""
        names = ("task", "upsampler", "kernel_size", "scale_factor", "norm", "recipe", "variant", "seed")
        return {name: getattr(self, name) for name in names}

    def name_difference(self, stored: Mapping[str, Any]) -> str | None:
        """Name the first setting in which a stored run differs.

        The number of steps does not count where the learning rate does not depend on it. A run that says nothing
        of its recipe had the plain one, and one that says nothing of a variant the standard one.

        Parameters
        ----------
        stored : mapping
            The fields of another `TrainingSettings`; what is missing counts as different.

        Returns
        -------
        str or None
            ``batch was 4, is 8``; None where the stored run can be gone on with.
        """
        known = {"recipe": "plain", "variant": STANDARD, **stored}
        for field in fields(self):
            asked, was = getattr(self, field.name), known.get(field.name)
            is_free = field.name == "steps" and self.recipe == "plain"
            if was != asked and not is_free:
                return f"{field.name} was {was!r}, is {asked!r}"
        return None


def choose_tuned_settings(task: str) -> dict[str, Any]:
    """Choose what a task is trained with by the tuned recipe.

    Parameters
    ----------
    task : str
        One of `TASKS`.

    Returns
    -------
    dict
        Fields of `TrainingSettings`, but for norm and network.

    Raises
    ------
    UsageError
        If there is no such task.
    """
    return {**TUNED_SETTINGS, **get_task(task).tuned_settings}


def check_choice(name: str, given: object, allowed: Sequence[str]) -> None:
    """Refuse what is not one of a few words.

    Parameters
    ----------
    name : str
        Of the setting.
    given : object
        What was asked for.
    allowed : sequence of str
        The words.

    Raises
    ------
    UsageError
        If it is none of them; the message lists them.
    """
    if given not in allowed:
        raise UsageError(f"{name}: {quote(given)} is not one of {', '.join(allowed)}{suggest(given, allowed)}")


def choose_layers(
    words: Iterable[str] = (), *, all_upsamplers: bool = False, scale_factor: int = 2
) -> tuple[NamedLayer, ...]:
    """Choose the upsamplers to train, each with its kernel.

    Parameters
    ----------
    words : iterable of str
        ``NAME`` or ``NAME-kN`` each; without the kernel it is 3, or the first of 4, 2 and 5 that can be built.
    all_upsamplers : bool
        Add every registered upsampler, but for the exact fast forms of nearest_conv, which learn what it learns.
    scale_factor : int
        Scale s.

    Returns
    -------
    tuple of (str, int or None)
        Without repetition; `DEFAULT_LAYERS` where nothing is asked for, and before the rest of all upsamplers.

    Raises
    ------
    UsageError
        If a name is unknown, or an upsampler cannot be built with that kernel.
    """
    asked = [_read_layer(word, scale_factor) for word in words]
    if all_upsamplers:
        known = set(list_upsamplers()) - set(FAST_UPSAMPLERS)
        asked += [*DEFAULT_LAYERS, *((name, _choose_kernel(name, scale_factor)) for name in sorted(known))]
    return tuple(dict.fromkeys(asked or DEFAULT_LAYERS))


def _read_layer(word: str, scale_factor: int) -> NamedLayer:
    name, dash, kernel = word.partition("-k")
    if not dash:
        return name, _choose_kernel(name, scale_factor)
    spec = get_upsampler(name)
    if not re.fullmatch(r"[0-9]{1,9}", kernel) or not spec.has_kernel:
        allowed = "NAME-kN with a whole number N" if spec.has_kernel else f"{name}: it has no kernel"
        raise UsageError(f"--upsampler: {word!r} is not {allowed}")
    reason = spec.unsupported_reason(int(kernel), scale_factor)
    if reason is not None:
        raise UsageError(f"--upsampler: {word!r}: {reason}")
    return name, int(kernel)


def _choose_kernel(name: str, scale_factor: int) -> int | None:
    spec = get_upsampler(name)
    if not spec.has_kernel:
        return None
    for kernel_size in _KERNEL_SIZES:
        if spec.unsupported_reason(kernel_size, scale_factor) is None:
            return kernel_size
    raise UsageError(
        f"--upsampler: {name!r} has no kernel of {', '.join(map(str, _KERNEL_SIZES))}; name one as {name}-kN"
    )
