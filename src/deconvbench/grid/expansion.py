"""From axes and constraints to cases: the product, less what a constraint excludes.

Counts before it enumerates, so that a grid of billions of cases is refused at once.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

from deconvbench.errors import GridError, UsageError
from deconvbench.grid.expressions import compile_constraint
from deconvbench.grid.reading import check_upsamplers
from deconvbench.records.case import CASE_DEFAULTS, CASE_FIELDS, Case
from deconvbench.upsamplers import get_upsampler

# the preset full has 1.6 million and takes half a minute to expand
_MAX_COMBINATIONS = 4_000_000


def expand_axes(axes: Mapping[str, tuple[Any, ...]], constraints: Sequence[str], where: str) -> list[Case]:
    """List the cases that a product of axes and its constraints leave, in the order of the axes.

    Parameters
    ----------
    axes : mapping of str to tuple
        As in `Grid`.
    constraints : sequence of str
        See `compile_constraint`.
    where : str
        File and table, for messages.

    Raises
    ------
    GridError
        If there are too many combinations, an upsampler is unknown or lacks a kernel size, or a condition cannot
        be evaluated.
    """
    full = dict(axes)
    full.setdefault("kernel_size", (None,))
    for name, default in CASE_DEFAULTS.items():
        full.setdefault(name, (default,))
    check_upsamplers(full["upsampler"], f"{where}: axes.upsampler")
    count = math.prod(map(len, full.values()))
    if count > _MAX_COMBINATIONS:
        raise GridError(
            f"{where}: axes: their values have {count:,} combinations, before constraints; at most"
            f" {_MAX_COMBINATIONS:,} are allowed"
        )
    has_kernel = {name: get_upsampler(name).has_kernel for name in full["upsampler"]}
    conditions = [compile_constraint(text, CASE_FIELDS) for text in constraints]
    names = [name for name in CASE_FIELDS if name in full]
    cases: dict[str, Case] = {}
    for combination in itertools.product(*(full[name] for name in names)):
        values = dict(zip(names, combination, strict=True))
        values.setdefault("width", values["height"])
        values.setdefault("out_channels", values["in_channels"])
        if not has_kernel[values["upsampler"]]:
            values["kernel_size"] = None
        elif values["kernel_size"] is None:
            raise GridError(f"{where}: axes.kernel_size: missing; {values['upsampler']} has a kernel")
        try:
            is_wanted = all(condition(values) for condition in conditions)
        except UsageError as error:
            raise GridError(f"{where}: constraints: {error}") from error
        if is_wanted:
            case = Case(**values)
            cases[case.case_id] = case  # layers without a kernel meet themselves once per kernel size
    return list(cases.values())
