"""What networks are scored on: crops of the test images, as a task has them.

The same for all training runs of a task; nothing here is drawn by chance.
"""

from dataclasses import dataclass

from torch import Tensor

from deconvbench.studies.training.images import ImageSet, make_test_batch, mean_colour
from deconvbench.studies.training.objective import Examples
from deconvbench.studies.training.settings import TrainingSettings
from deconvbench.studies.training.tasks import make_objective

# pixels: side of the crops, as far as the training crops (of the tuned recipe: the test images) are that large
HELD_OUT_SIZE = 128
# no seed and step of a training run
_CHANCE = (0,)
_MOST_CROPS = {"plain": 6, "tuned": 12}


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOut(Examples):
    """What networks are scored on: inputs and targets as of `Examples`, with names.

    Parameters
    ----------
    names : tuple of str
        Of the crops.
    mean_colour : Tensor, shape (3,)
        Of the training images, from 0 to 1.
    """

    names: tuple[str, ...]
    mean_colour: Tensor


def hold_out(images: ImageSet, settings: TrainingSettings) -> HeldOut:
    """Prepare what a training run is scored on.

    Parameters
    ----------
    images : ImageSet
        The photographs.
    settings : TrainingSettings
        Task and sizes.

    Returns
    -------
    HeldOut

    Raises
    ------
    UsageError
        If no test image is large enough.
    """
    size = settings.crop_size
    if settings.recipe == "tuned":
        largest = max(min(image.size) for image in images.test)
        size = max(size, largest - largest % settings.period)
    names, photographs = make_test_batch(images, min(HELD_OUT_SIZE, size), _MOST_CROPS[settings.recipe])
    examples = make_objective(settings).make_examples(photographs, _CHANCE)
    return HeldOut(names=names, inputs=examples.inputs, targets=examples.targets, mean_colour=mean_colour(images))
