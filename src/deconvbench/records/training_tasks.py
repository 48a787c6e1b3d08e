"""The tasks that networks are trained for: what every half of the program has to know of each.

Plain facts, one description a task: how it is computed is in `deconvbench.studies.training`, under the same name.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from deconvbench.errors import UsageError, quote, suggest

COLOURS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingTask:
    """What is known of a task without training anything.

    Parameters
    ----------
    name : str
        As options, tables and files have it.
    meaning : str
        What the network is given and what it should give, in a few words.
    upsamplers : int
        How many of scale s its network has in a row: the checkerboard has the period P = s to this power.
    output_channels : int
        Of the network's last layer.
    usual_norm : str
        Norm of the plain recipe.
    tuned_norm : str
        Norm of the tuned recipe.
    tuned_settings : mapping
        Where the tuned recipe is another than for reconstruction: fields of `TrainingSettings`.
    scores : tuple of str
        Columns that this task alone has.
    headline : str
        Column that says best how well a network does.
    headline_text, headline_title : str
        The headline in words, with a place for the number, and as the heading of a column.
    headline_digits : int
        Digits after its point.
    smallest_crop : int
        Least side of a crop in pixels.
    undefined : tuple of str
        Columns that mean nothing for it, and are null.
    """

    name: str
    meaning: str
    upsamplers: int = 2
    output_channels: int = COLOURS
    usual_norm: str = "instance"
    tuned_norm: str = "none"
    tuned_settings: Mapping[str, Any] = field(default_factory=dict)
    scores: tuple[str, ...] = ()
    headline: str = "psnr_db"
    headline_text: str = "PSNR {:.1f} dB"
    headline_title: str = "PSNR (dB)"
    headline_digits: int = 1
    smallest_crop: int = 16
    undefined: tuple[str, ...] = ()

    def find_period(self, scale_factor: int) -> int:
        """Find the period P of the checkerboard, in pixels of the output.

        Parameters
        ----------
        scale_factor : int
            Scale s of each upsampler.
        """
        return int(scale_factor**self.upsamplers)


# of the segmented shapes; what is none of them is background
SHAPES = ("disc", "square", "triangle")
_ALL = (
    TrainingTask(name="reconstruction", meaning="gives a picture back"),
    # behind instance norm a network cannot know how bright a picture is
    TrainingTask(
        name="super-resolution", meaning="gives a small picture back enlarged", upsamplers=1, usual_norm="none"
    ),
    TrainingTask(
        name="segmentation",
        meaning=f"tells {', '.join(SHAPES)} and background apart, pixel by pixel",
        output_channels=1 + len(SHAPES),
        tuned_settings={"steps": 1000, "learning_rate": 2e-3},
        scores=("miou", "boundary_error_px"),
        headline="miou",
        headline_text="mIoU {:.3f}",
        headline_title="mIoU",
        headline_digits=3,
        # its targets are maps of classes, which have no colours
        undefined=("colour_distance_correlation", "grid_colour_correlation"),
    ),
    TrainingTask(
        name="style-transfer",
        meaning="gives a picture back with the texture of another",
        tuned_norm="instance",
        tuned_settings={"steps": 500, "learning_rate": 2e-3},
        scores=("style_loss", "content_loss"),
        headline="style_loss",
        headline_text="style loss {:.3f}",
        headline_title="style loss",
        headline_digits=3,
        # what the largest filters that a style is read with fit into
        smallest_crop=20,
    ),
)
TRAINING_TASKS: Mapping[str, TrainingTask] = {task.name: task for task in _ALL}
# trained smaller, with scores and figures of their own
SMALLER_TASKS = tuple(task.name for task in _ALL if task.scores)


def get_task(name: str) -> TrainingTask:
    """Get the description of a task.

    Parameters
    ----------
    name : str
        In `TRAINING_TASKS`.

    Raises
    ------
    UsageError
        If there is none of that name; the message lists them.
    """
    if name not in TRAINING_TASKS:
        hint = suggest(name, TRAINING_TASKS)
        raise UsageError(f"task: {quote(name)} is not one of {', '.join(TRAINING_TASKS)}{hint}")
    return TRAINING_TASKS[name]
