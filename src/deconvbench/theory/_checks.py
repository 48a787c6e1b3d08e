"""Checks of arguments that the modules of `theory` share, and their array types.

Keeps the messages alike: each names the argument, the value and what is allowed.
"""

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from deconvbench.arguments import check_whole
from deconvbench.errors import UsageError

FloatArray: TypeAlias = npt.NDArray[np.float64]
IntArray: TypeAlias = npt.NDArray[np.int64]


def check_int(name: str, value: object, minimum: int) -> None:
    """Check that an argument is a whole number and large enough.

    Parameters
    ----------
    name : str
        The argument's name, for the message.
    value : object
        What it was given.
    minimum : int
        Smallest allowed value.

    Raises
    ------
    UsageError
        If it is not; bool does not count as a number.
    """
    check_whole(name, value, minimum)


def check_array(name: str, value: npt.ArrayLike, layout: str) -> FloatArray:
    """Turn an argument into a float64 array with the expected axes.

    Parameters
    ----------
    name : str
        The argument's name, for the message.
    value : array_like
        What it was given.
    layout : str
        The axes by name, separated by blanks: ``"N C H W"``. A leading ``...`` stands for any number of axes.

    Returns
    -------
    ndarray, float64
        The same numbers; not a copy where `value` is already float64.

    Raises
    ------
    UsageError
        If the number of axes differs or an axis is empty.
    """
    array = np.asarray(value, dtype=np.float64)
    axes = layout.split()
    free = axes[0] == "..."
    fits = array.ndim >= len(axes) - 1 if free else array.ndim == len(axes)
    if not fits or array.size == 0:
        raise UsageError(f"{name}: shape {array.shape} is not ({', '.join(axes)}) with every axis at least 1")
    return array


def check_groups(channels: int, groups: int, name: str) -> None:
    """Check that channels split evenly into groups.

    Parameters
    ----------
    channels : int
        Number of channels.
    groups : int
        Number of groups.
    name : str
        The name of the channels, for the message.

    Raises
    ------
    UsageError
        If `groups` is below 1 or does not divide the channels.
    """
    check_int("groups", groups, 1)
    if channels % groups:
        raise UsageError(f"groups: {groups} does not divide {name}, {channels}")
