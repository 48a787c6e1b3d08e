"""Which objective a task has, by its name."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from deconvbench.studies.training.objective import Enlargement, Objective
from deconvbench.studies.training.segmentation import Segmentation
from deconvbench.studies.training.style_transfer import StyleTransfer

if TYPE_CHECKING:
    from deconvbench.studies.training.settings import TrainingSettings

_OBJECTIVES: Mapping[str, type[Objective]] = {
    "reconstruction": Objective,
    "super-resolution": Enlargement,
    "segmentation": Segmentation,
    "style-transfer": StyleTransfer,
}


def make_objective(settings: "TrainingSettings") -> Objective:
    """Make what a training run's task is about.

    Parameters
    ----------
    settings : TrainingSettings
        Task, scale and device.
    """
    return _OBJECTIVES[settings.task](settings)
