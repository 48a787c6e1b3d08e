"""Ripple that a saturating last activation (sigmoid, tanh, clamp) hides in plain colours, read before it."""

import math
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from deconvbench.measure.artifacts.last_activation import CallWatch, find_last_activation
from deconvbench.networks.inspection.periodic import average_parts, read_periodic
from deconvbench.networks.inspection.running import Runner
from deconvbench.networks.inspection.tracing import CONVOLUTIONS, NORMS, TRANSPOSED
from deconvbench.networks.inspection.views import Views

# slope where it is largest; of all others it is 1
_SLOPES = {"sigmoid": 1 / 4, "expit": 1 / 4, "hardsigmoid": 1 / 6}
# cuts off one side and squeezes nothing: what is left is shown as it is
_NOT_HIDING = frozenset({"relu", "clamp_min"})


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
        return runner.run(example)[output]


def may_hide(ends: set[str]) -> bool:
    """Whether a network whose output comes from these functions may end in a saturating one."""
    return not ends <= CONVOLUTIONS | TRANSPOSED | NORMS | {"linear", "interpolate", "pixel_shuffle", "batch_norm"}


def measure_hidden(runner: Runner, views: Views, levels_per_unit: float) -> HiddenRipple | None:
    """Measure the ripple of plain colours before a saturating last activation.

    Parameters
    ----------
    runner : Runner
        Runs the network.
    views : Views
        What it is shown.
    levels_per_unit : float
        8-bit levels in one unit of the output.

    Returns
    -------
    HiddenRipple or None
        None where the network ends in something else, or plain colours cannot be measured.
    """
    shown = _Shown(runner, views.real[0], views.output)
    nothing = Tensor()
    found = find_last_activation(shown, nothing)
    if found is None or not views.flat or found[1] in _NOT_HIDING:
        return None
    number, name = found
    with CallWatch(number) as watch:
        y = shown(nothing)
    if watch.after is None:
        return None
    # a range may be moved after it
    after = (watch.after - watch.after.mean()).double()
    power = float(after.square().sum())
    scale = float((after * (y.double() - y.double().mean())).sum()) / power if power else 1.0
    factor = levels_per_unit * abs(scale) * _SLOPES.get(name, 1.0)
    parts = []
    for example in views.flat:
        with CallWatch(number) as watch:
            runner.run(example)
        before = watch.before
        if before is None or before.shape != y.shape or not bool(before.isfinite().all()):
            return None
        part = read_periodic(factor * before.double().cpu(), views.period, before.ndim - 2, views.parts)
        if part is None:
            return None
        parts.append(part)
    part = average_parts(parts)
    return HiddenRipple(activation=name, levels={key: math.sqrt(value) for key, value in part.power.items()})
