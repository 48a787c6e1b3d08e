"""The saturating activation (sigmoid, tanh, clamp) that a network ends in: its range, and what ripple it hides."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from deconvbench.measure.artifacts.last_activation import CallWatch, find_last_activation
from deconvbench.networks.inspection.inputs import OutputRange
from deconvbench.networks.inspection.periodic import average_parts, read_periodic
from deconvbench.networks.inspection.running import Runner
from deconvbench.networks.inspection.tracing import CONVOLUTIONS, NORMS, TRANSPOSED
from deconvbench.networks.inspection.views import Views, pick

# slope where it is largest; of all others it is 1
_SLOPES = {"sigmoid": 1 / 4, "expit": 1 / 4, "hardsigmoid": 1 / 6}
# what its values lie between, whatever it is given
_BOUNDS = {
    **dict.fromkeys(("sigmoid", "expit", "hardsigmoid"), (0.0, 1.0)),
    **dict.fromkeys(("tanh", "softsign", "erf"), (-1.0, 1.0)),
}
# cuts off one side and squeezes nothing: what is left is shown as it is
_NOT_HIDING = frozenset({"relu", "clamp_min"})
# decimal places of a range that was computed
_PLACES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """The saturating activation that a network ends in, but for a scaling and a constant behind it.

    Parameters
    ----------
    number : int
        Of the call, among those that `CallWatch` counts.
    activation : str
        Name of torch's function.
    scale, offset : float
        Output for an activation of 1, less that for 0; and that for 0.
    """

    number: int
    activation: str
    scale: float
    offset: float

    @property
    def output_range(self) -> OutputRange | None:
        """What black and white are, if the activation has two bounds."""
        bounds = _BOUNDS.get(self.activation)
        if bounds is None:
            return None
        low, high = sorted(round(self.offset + self.scale * bound, _PLACES) for bound in bounds)
        return OutputRange(low, high) if low < high else None


@dataclass(frozen=True, slots=True, kw_only=True)
class HiddenRipple:
    """What is before the last activation.

    Parameters
    ----------
    activation : str
        Name of torch's function.
    levels : dict of int to float
        RMS amplitude by period, as it would be in the output where the activation is steepest.
    """

    activation: str
    levels: dict[int, float]


class _Shown(nn.Module):
    """A network as a function of nothing: it is shown one example."""

    def __init__(self, runner: Runner, example: Any, output: int) -> None:
        super().__init__()
        self._shown = (runner, example, output)

    def forward(self, x: Tensor) -> Tensor:  # noqa: ARG002 -- the example is what it is shown
        runner, example, output = self._shown
        return pick(runner.run(example), output)


def may_hide(ends: set[str]) -> bool:
    """Whether a network whose output comes from these functions may end in a saturating one."""
    return not ends <= CONVOLUTIONS | TRANSPOSED | NORMS | {"linear", "interpolate", "pixel_shuffle", "batch_norm"}


def find_ending(runner: Runner, example: Any, output: int) -> Ending | None:
    """Find the saturating activation that a network ends in.

    Parameters
    ----------
    runner : Runner
        Runs the network, three times or once more for each activation in a row.
    example : Any
        With real content.
    output : int
        Which of its outputs.

    Returns
    -------
    Ending or None
        None where the network ends in something else.
    """
    shown = _Shown(runner, example, output)
    nothing = Tensor()
    found = find_last_activation(shown, nothing)
    if found is None:
        return None
    number, name = found
    with CallWatch(number) as watch:
        y = shown(nothing).double()
    if watch.after is None:
        return None
    # a range may be moved after it
    after = watch.after.double()
    moved = after - after.mean()
    power = float(moved.square().sum())
    scale = float((moved * (y - y.mean())).sum()) / power if power else 1.0
    return Ending(number=number, activation=name, scale=scale, offset=float(y.mean() - scale * after.mean()))


def read_hidden(
    befores: Sequence[Tensor | None], ending: Ending, views: Views, levels_per_unit: float
) -> HiddenRipple | None:
    """Read the ripple of plain colours before a saturating last activation.

    Parameters
    ----------
    befores : sequence of Tensor or None
        What the activation was given for each plain colour.
    ending : Ending
        The activation.
    views : Views
        What the network was shown.
    levels_per_unit : float
        8-bit levels in one unit of the output.

    Returns
    -------
    HiddenRipple or None
        None where it hides nothing, or plain colours cannot be measured.
    """
    if not befores or ending.activation in _NOT_HIDING:
        return None
    factor = levels_per_unit * abs(ending.scale) * _SLOPES.get(ending.activation, 1.0)
    parts = []
    for before in befores:
        if before is None or before.ndim < 3 or not bool(before.isfinite().all()):
            return None
        part = read_periodic(factor * before.double().cpu(), views.period, before.ndim - 2, views.parts)
        if part is None:
            return None
        parts.append(part)
    part = average_parts(parts)
    levels = {key: math.sqrt(value) for key, value in part.power.items()}
    return HiddenRipple(activation=ending.activation, levels=levels)
