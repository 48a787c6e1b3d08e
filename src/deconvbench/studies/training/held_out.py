"""What networks are scored on: crops of the test images, as a task has them.

The same for all training runs of a task; nothing here is drawn by chance.
"""

from dataclasses import dataclass

from torch import Tensor

from deconvbench.studies.training.images import ImageSet, make_test_batch, mean_colour, shrink
from deconvbench.studies.training.settings import TrainingSettings

# pixels: side of the crops, as far as the training crops (of the tuned recipe: the test images) are that large
HELD_OUT_SIZE = 128
_MOST_CROPS = {"plain": 6, "tuned": 12}


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOut:
    """What a network gets and what it should give.

    Parameters
    ----------
    names : tuple of str
        Of the crops.
    inputs : Tensor, shape (N, 3, H, W), float32
        From 0 to 1.
    targets : Tensor, shape (N, 3, S, S), float32
        From 0 to 1.
    mean_colour : Tensor, shape (3,)
        Of the training images, from 0 to 1.
    """

    names: tuple[str, ...]
    inputs: Tensor
    targets: Tensor
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
    names, targets = make_test_batch(images, min(HELD_OUT_SIZE, size), _MOST_CROPS[settings.recipe])
    return HeldOut(
        names=names, inputs=make_inputs(targets, settings), targets=targets, mean_colour=mean_colour(images)
    )


def make_inputs(targets: Tensor, settings: TrainingSettings) -> Tensor:
    """Make what a network gets from what it should give.

    Parameters
    ----------
    targets : Tensor, shape (N, 3, S, S)
        Images.
    settings : TrainingSettings
        Task and scale.

    Returns
    -------
    Tensor, shape (N, 3, S, S) or (N, 3, S/s, S/s)
        The images themselves, or for super-resolution the small ones.
    """
    return targets if settings.task == "reconstruction" else shrink(targets, settings.scale_factor)
