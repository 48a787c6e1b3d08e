"""Images that are known but not computed: parts, upsampled, joined and padded.

Generic in what a part is: a tensor while a network runs, a node of a graph while one is rewritten. An image has
rows and columns as its last two axes and any axes before them: (N, C, H, W), or frames of a video. When a
convolution of one is exact without computing it is said in `matching`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import gcd
from typing import Any, Generic, Protocol, TypeVar

import torch
from torch import Tensor

from deconvbench.networks.fusion.calls import NEAREST, PadCall, UpsampleCall
from deconvbench.upsamplers.fast.deconvolution.shape import TransposedShape
from deconvbench.upsamplers.fast.forms import Geometry

S = TypeVar("S")
T = TypeVar("T")

# finds the transformed weight for an implementation, a geometry, a memory format and a dtype
FindPrepared = Callable[[str, Geometry | TransposedShape, torch.memory_format, torch.dtype], Tensor]

# up to here torch's float32 index arithmetic was checked to repeat every pixel s times, in sizes up to 20000
GREATEST_SCALE = 32
# done twice, these are the same as once by as much
REPEATABLE_PADDINGS = frozenset({"zeros", "replicate"})
# by how much rows and columns are upsampled
Scales = tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part(Generic[S]):
    """Some channels of an image.

    Parameters
    ----------
    source : S
        What is upsampled.
    channels : int
        Number of channels, the length of axis 1.
    scale : int
        Nearest-neighbour upsampling of rows and columns; 1 for none.
    stretch : (int, int)
        Upsampling of rows and of columns before that; one of them is 1.
    """

    source: S
    channels: int
    scale: int
    stretch: Scales = (1, 1)

    @property
    def scales(self) -> Scales:
        """Upsampling of rows and columns, all in all."""
        return self.scale * self.stretch[0], self.scale * self.stretch[1]

    def upsample(self, scales: Scales) -> "Part[S]":
        """Upsample rows and columns once more."""
        rows, columns = (own * more for own, more in zip(self.scales, scales, strict=True))
        scale = gcd(rows, columns)
        return replace(self, scale=scale, stretch=(rows // scale, columns // scale))


@dataclass(frozen=True, slots=True, kw_only=True)
class LazyExpression(Generic[S]):
    """An image: parts joined along the channels, then padded.

    Parameters
    ----------
    parts : tuple of Part
        In the order of the channels.
    padding : tuple of int
        Pixels on the left, on the right, above and below; empty for none.
    padding_mode : str
        ``zeros``, ``reflect``, ``replicate`` or ``circular``.
    upsamplings : tuple
        What an observer remembers about the upsamplings in it.
    """

    parts: tuple[Part[S], ...]
    padding: tuple[int, ...] = ()
    padding_mode: str = "zeros"
    upsamplings: tuple[Any, ...] = ()

    @property
    def channels(self) -> int:
        """Number of channels."""
        return sum(part.channels for part in self.parts)

    def map(self, function: Callable[[S], T]) -> "LazyExpression[T]":
        """Apply a function of each pixel alone to every source.

        Parameters
        ----------
        function : callable
            Maps a source to a source of the same number of channels.
        """
        parts = tuple(
            Part(source=function(part.source), channels=part.channels, scale=part.scale, stretch=part.stretch)
            for part in self.parts
        )
        return LazyExpression(
            parts=parts, padding=self.padding, padding_mode=self.padding_mode, upsamplings=self.upsamplings
        )

    def upsample(self, scales: Scales) -> "LazyExpression[S] | str":
        """Upsample rows and columns once more, or say why that cannot be written down."""
        if self.padding:
            return "it is padded before it is upsampled"
        parts = tuple(part.upsample(scales) for part in self.parts)
        if any(max(part.scales) > GREATEST_SCALE for part in parts):
            return f"it is upsampled by more than {GREATEST_SCALE}"
        return replace(self, parts=parts)

    def pad(self, call: PadCall) -> "LazyExpression[S] | str":  # noqa: PLR0911 -- one return for each reason
        """Pad, or say why that cannot be written down."""
        amounts = call.amounts
        if not all(isinstance(amount, int) for amount in amounts):
            return "its padding is not known"
        if not any(amounts):
            # a copy
            return replace(self)
        if len(amounts) == 2 and call.mode == "zeros":
            amounts = (*amounts, 0, 0)
        if len(amounts) != 4:
            return f"padding {amounts} is not that of rows and columns"
        if min(amounts) < 0:
            return f"padding {amounts} crops"
        if call.mode not in {"zeros", "reflect", "replicate", "circular"}:
            return f"padding mode {call.mode} has no fast form"
        if self.padding and not (call.mode == self.padding_mode and call.mode in REPEATABLE_PADDINGS):
            return "it is padded twice"
        padding = tuple(own + more for own, more in zip(self.padding or (0,) * 4, amounts, strict=True))
        return replace(self, padding=padding, padding_mode=call.mode)


def merge_upsamplings(expressions: Sequence[LazyExpression[Any]]) -> tuple[Any, ...]:
    """List what is remembered about the upsamplings in images, each once."""
    found = {id(one): one for expression in expressions for one in expression.upsamplings}
    return tuple(found.values())


class Interpreter(Protocol[S]):
    """What gives expressions a meaning: a running network computes tensors, a graph has nodes written into it."""

    def find_expression(self, value: Any) -> LazyExpression[S] | None:
        """Find the expression of an image that is not computed."""

    def find_plain(self, value: Any, view: Callable[[S], S] | None = None) -> S | None:
        """Find an image that is computed, if it is an ordinary one, or a view of it."""

    def get_shape(self, value: Any) -> Sequence[Any]:
        """Find a shape (N, C, H, W), or one with more or fewer axes before rows and columns."""

    def is_image(self, value: Any) -> bool:
        """Whether something is a tensor, computed or not."""

    def find_strides(self, value: Any) -> tuple[Sequence[Any], Sequence[Any]] | None:
        """Find the shape and the strides of an ordinary tensor, of any number of axes."""

    def own(self, source: S) -> S:
        """Have what later changes of a source do not reach, where a gradient will need it."""

    def get_dtype(self, value: Any) -> torch.dtype:
        """Find a dtype."""

    def get_device(self, value: Any) -> torch.device:
        """Find a device."""

    def settle(self, source: S, function: Any, size: int, **options: Any) -> S:
        """Convert a source to the dtype that a function answers in, which autocast may have changed."""

    def call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> S:
        """Call a function of torch."""

    def add(self, total: S, term: S) -> S:
        """Add to a result that is not shared."""

    def find_prepared(self, weight: S, start: int, length: int) -> FindPrepared | None:
        """Find where the transformed weight of some input channels is kept."""


def read_scales(call: UpsampleCall, shape: Sequence[Any]) -> tuple[int, ...] | str:  # noqa: PLR0911 -- as above
    """Find by which whole numbers a call upsamples the axes after the second, or say why it does not.

    Parameters
    ----------
    call : UpsampleCall
        The upsampling.
    shape : sequence
        Of its input; unknown numbers are allowed where a scale is given.

    Returns
    -------
    tuple of int or str
        One number for each axis after the second, at least one of them above 1.
    """
    if call.mode not in NEAREST:
        return f"mode {call.mode} is not nearest"
    axes = len(shape) - 2
    if axes not in {1, 2, 3}:
        return f"its input has {len(shape)} dimensions, not 3 (N, C, L), 4 (N, C, H, W) or 5"
    if call.scale_factor is not None:
        factors = _repeat(call.scale_factor, axes)
        if len(factors) != axes or not all(isinstance(factor, (int, float)) for factor in factors):
            count = ("one number", "a pair of numbers", "three numbers")[axes - 1]
            return f"scale_factor {call.scale_factor} is not {count}"
        if not all(float(factor).is_integer() for factor in factors):
            return f"scale_factor {call.scale_factor} is not whole"
        return _check_scales([_fix(int(factor)) for factor in factors])
    size = _repeat(call.size, axes)
    if len(size) != axes or not all(is_count(number) for number in (*size, *shape[2:])):
        return f"size {call.size} is not known to be a multiple of the input"
    found = [divide(new, old) for new, old in zip(size, shape[2:], strict=True)]
    scales = [number for number in found if number is not None]
    if len(scales) < axes:
        return f"size {tuple(size)} is not a multiple of {tuple(shape[2:])}"
    if call.ratios and list(call.ratios) != scales:
        return f"size {tuple(size)} and scales {call.ratios} are not the same"
    return _check_scales(scales)


def read_scale(call: UpsampleCall, shape: Sequence[Any]) -> int | str:
    """Find by which one whole number a call upsamples rows and columns, or say why there is none.

    Parameters
    ----------
    call, shape
        As of `read_scales`.
    """
    scales = read_scales(call, shape)
    if isinstance(scales, str):
        return scales
    if len(set(scales)) > 1:
        return f"rows and columns are upsampled differently, by {' and '.join(map(str, scales))}"
    return scales[0]


def is_count(number: Any) -> bool:
    """Whether something is a whole number, known or that of a graph for every size."""
    return type(number) is int or isinstance(number, torch.SymInt)


def divide(number: Any, divisor: Any) -> int | None:
    """Divide whole numbers, which may be those of a graph for every size; None where nothing whole is certain."""
    if type(number) is int and type(divisor) is int:
        return number // divisor if divisor and number % divisor == 0 else None
    ratio = _get_formula(number) / _get_formula(divisor)
    return int(ratio) if ratio.is_Integer else None


def _get_formula(number: Any) -> Any:
    return number.node.expr if isinstance(number, torch.SymInt) else number


def _repeat(value: Any, count: int) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, (tuple, list)) else (value,) * count


def name_resizing(call: UpsampleCall, shape: Sequence[Any] = ()) -> str:
    """Name what a call does to the size of an image, for a report.

    Parameters
    ----------
    call : UpsampleCall
        Any call of ``interpolate``.
    shape : sequence
        Of its input, if it is known.

    Returns
    -------
    str
        ``downsampling`` where no side becomes longer and one shorter, ``resizing`` where none becomes longer,
        otherwise ``upsampling``.
    """
    if call.scale_factor is not None:
        given = call.scale_factor if isinstance(call.scale_factor, (tuple, list)) else (call.scale_factor,)
        ratios = [factor for factor in given if isinstance(factor, (int, float))]
    else:
        given = call.size if isinstance(call.size, (tuple, list)) else (call.size,) * len(shape[2:])
        ratios = [
            new / old
            for new, old in zip(given, shape[2:], strict=False)
            if isinstance(new, int) and isinstance(old, int) and old
        ]
    if not ratios or any(ratio > 1 for ratio in ratios):
        return "upsampling"
    return "downsampling" if any(ratio < 1 for ratio in ratios) else "resizing"


def _fix(number: int) -> int:
    """Have a number itself, where a compiler that varies the numbers of modules has a symbol for it."""
    return next((whole for whole in range(GREATEST_SCALE + 1) if whole == number), number)


def _check_scales(scales: list[int]) -> tuple[int, ...] | str:
    if set(scales) == {1}:
        return "it keeps the size"
    wrong = next((scale for scale in scales if not 1 <= scale <= GREATEST_SCALE), None)
    if wrong is not None:
        return f"scale {wrong} is not between 2 and {GREATEST_SCALE}"
    return tuple(scales)
