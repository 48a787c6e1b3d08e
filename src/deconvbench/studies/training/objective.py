"""What the steps of a task are made of: inputs and targets, the loss, and what is scored and shown besides.

`Objective` is the interface, and what a task does that compares pixels; the two that do are here. Knows no files,
no optimizer and no schedule.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor, nn
from torch.nn import functional

from deconvbench.studies.training.images import shrink

if TYPE_CHECKING:
    from deconvbench.studies.training.settings import TrainingSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Examples:
    """What a network gets and what it should give.

    Parameters
    ----------
    inputs : Tensor, shape (N, 3, h, w), float32
        From 0 to 1.
    targets : Tensor, shape (N, 3, S, S), float32
        Pictures from 0 to 1 that its outputs, as `Objective.show` has them, are compared with.
    """

    inputs: Tensor
    targets: Tensor


class Objective:
    """What is learnt by a task; this one gives pictures back.

    Parameters
    ----------
    settings : TrainingSettings
        Task, scale and device.
    """

    def __init__(self, settings: "TrainingSettings") -> None:
        self.settings = settings

    def make_examples(self, photographs: Tensor, chance: tuple[int, ...]) -> Examples:  # noqa: ARG002 -- for others
        """Make what a network gets, and should give, from parts of photographs.

        Parameters
        ----------
        photographs : Tensor, shape (N, 3, S, S), float32
            From 0 to 1.
        chance : tuple of int
            Seeds whatever is drawn; the examples depend on these and the photographs alone.
        """
        return Examples(inputs=photographs, targets=photographs)

    def measure_loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Measure what a step makes smaller.

        Parameters
        ----------
        outputs : Tensor, shape (N, C, S, S), float32
            Of the network.
        targets : Tensor, shape (N, 3, S, S), float32
            Of the examples, on the same device.

        Returns
        -------
        Tensor, scalar
        """
        return functional.mse_loss(outputs, targets)

    def show(self, network: nn.Module) -> nn.Module:
        """Give a network whose outputs are pictures that the targets are compared with.

        Parameters
        ----------
        network : nn.Module
            That is trained.

        Returns
        -------
        nn.Module
            It, or one with it as ``network``.
        """
        return network

    def score(self, outputs: Tensor, targets: Tensor) -> Mapping[str, float]:  # noqa: ARG002 -- for others
        """Score what this task alone has.

        Parameters
        ----------
        outputs, targets : Tensor, shape (N, 3, S, S), float32
            As `show` has them, not clipped, and of the examples; on the CPU.

        Returns
        -------
        mapping of str to float
            `TrainingTask.scores`, NaN where an output is not finite.
        """
        return {}

    def list_pictures(self, names: tuple[str, ...], examples: Examples) -> Mapping[str, Tensor]:
        """List the pictures that are looked at beside the outputs.

        Parameters
        ----------
        names : tuple of str
            Of the examples.
        examples : Examples
            That networks are scored on.

        Returns
        -------
        mapping of str to Tensor, shape (3, H, W)
            From 0 to 1, by name; the target has the name of its example.
        """
        return dict(zip(names, examples.targets, strict=True))


class Enlargement(Objective):
    """Super-resolution: gives a picture back from the mean of s×s of its pixels each."""

    def make_examples(self, photographs: Tensor, chance: tuple[int, ...]) -> Examples:  # noqa: ARG002 -- for others
        """Make small pictures of photographs; see `Objective.make_examples`."""
        return Examples(inputs=shrink(photographs, self.settings.scale_factor), targets=photographs)
