"""Layers one after another, some rows of the output at a time, so that no map between them is ever whole.

Exact but for rounding: each strip is computed from all rows that it depends on, with the layers' own padding.
What a layer pads at the cut edge of a strip reaches as far as the layer does, and is cut off; at the border of the
image it is what the layer pads there. Knows how many rows layers need and what they hold; which layers those are
is the caller's business. For calls without gradients: the rows that strips share are computed twice.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from deconvbench.upsamplers.fast.memory import identify_library, is_channels_last
from deconvbench.upsamplers.fast.peaks import Sizes, count_plain

# of the plain form's memory: its estimate is good to 3 %, and the forms are allowed 7 % more
_FORM_SHARE = 1.1
# where no strip is thin enough: thinner ones would take long and still hold too much
_LEAST_ROWS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A layer, or several, whose output rows depend on the rows around them only.

    Parameters
    ----------
    run : callable
        Computes it: (N, C, H, W) to (N, C', s·H, s·W), any H ≥ 1 that its padding takes.
    scale : int
        Scale s, by which rows and columns become more.
    reach : int
        Rows of the output above and below a row, in units of the output, that come from what it depends on.
    out_channels : int or None
        Channels C' of the output; None for those of the input.
    kernel_size, groups : int
        Of its convolution; kernel 0 where it has none.
    is_shuffle : bool
        Whether it makes s² channels one of s² times the pixels.
    """

    run: Callable[[Tensor], Tensor]
    scale: int = 1
    reach: int = 0
    out_channels: int | None = None
    kernel_size: int = 0
    groups: int = 1
    is_shuffle: bool = False

    def find_needed(self, start: int, stop: int, height: int) -> tuple[int, int]:
        """Find the rows of an input of a height that rows of the output depend on."""
        first = max(start - self.reach, 0) // self.scale
        last = -(-(stop + self.reach) // self.scale)
        return first, min(last, height)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Map:
    """Sizes of a map."""

    batch: int
    channels: int
    height: int
    width: int

    def count(self, rows: int) -> int:
        return self.batch * self.channels * rows * self.width

    def follow(self, stage: Stage) -> "_Map":
        channels = self.channels if stage.out_channels is None else stage.out_channels
        if stage.is_shuffle:
            channels //= stage.scale**2
        return _Map(
            batch=self.batch,
            channels=channels,
            height=stage.scale * self.height,
            width=stage.scale * self.width,
        )


def _list_maps(stages: Sequence[Stage], x: Tensor) -> list[_Map]:
    maps = [_Map(batch=x.shape[0], channels=x.shape[1], height=x.shape[2], width=x.shape[3])]
    for stage in stages:
        maps.append(maps[-1].follow(stage))
    return maps


def _count_stage(stage: Stage, before: _Map, after: _Map, rows: int, x: Tensor) -> int:
    """Count the values that a stage holds at its peak beside its input, its output included."""
    if not stage.kernel_size:
        # input rows that were cut off are copied
        return before.count(rows) + after.count(stage.scale * rows)
    sizes = Sizes(
        pixels=before.batch * rows * before.width,
        # the patches of all images are held at once
        image_pixels=before.batch * rows * before.width,
        in_channels=before.channels,
        out_channels=after.channels,
        kernel_size=stage.kernel_size,
        scale_factor=stage.scale,
        groups=stage.groups,
        is_channels_last=False,
        library=identify_library(x),
    )
    return int(_FORM_SHARE * count_plain(sizes))


def estimate_peak(stages: Sequence[Stage], x: Tensor, rows: int | None = None) -> int:
    """Estimate what stages hold at their peak, the output included and the input not.

    Parameters
    ----------
    stages : sequence of Stage
        In their order.
    x : Tensor, shape (N, C, H, W)
        The input; of it only what it is counts, not its values.
    rows : int or None
        Rows of the output in a strip; None for the whole at once.

    Returns
    -------
    int
        Bytes, rather too many: each stage is taken to hold what the plain form of it does (`peaks.count_plain`).
    """
    maps = _list_maps(stages, x)
    height = maps[-1].height
    output = 0 if rows is None or rows >= height else maps[-1].count(height)
    needed = height if rows is None else min(rows, height)
    counts = []
    # from the last stage to the first, as the rows that are needed become known
    for stage, before, after in reversed(list(zip(stages, maps[:-1], maps[1:], strict=True))):
        # a strip that does not begin with a block of s rows needs one row more
        spare = 0 if stage.scale == 1 or needed >= after.height else 1
        needed = min(-(-(needed + 2 * stage.reach) // stage.scale) + spare, before.height)
        counts.append((stage, before, after, needed))
    peak, held = 0, 0
    for stage, before, after, rows_in in reversed(counts):
        peak = max(peak, held + _count_stage(stage, before, after, rows_in, x))
        # the next one's input, before what it does not need is cut off
        held = after.count(stage.scale * rows_in)
    return (output + peak) * x.element_size()


def choose_rows(stages: Sequence[Stage], x: Tensor, max_bytes: int) -> int | None:
    """Choose how many rows of the output a strip has, as many as the memory allows.

    Parameters
    ----------
    stages, x
        As for `estimate_peak`.
    max_bytes : int
        What they may hold, the output included and the input not.

    Returns
    -------
    int or None
        None where the whole fits. Where nothing fits, a few rows.
    """
    if estimate_peak(stages, x) <= max_bytes:
        return None
    height = _list_maps(stages, x)[-1].height
    least, most = 0, height
    while most - least > 1:
        middle = (least + most) // 2
        if estimate_peak(stages, x, middle) <= max_bytes:
            least = middle
        else:
            most = middle
    rows = least or min(_LEAST_ROWS, height)
    # as equal as can be, so that the last one is not a stub
    return -(-height // -(-height // rows))


def run_in_strips(stages: Sequence[Stage], x: Tensor, rows: int) -> Tensor:
    """Compute stages one after another, strip by strip.

    Parameters
    ----------
    stages : sequence of Stage
        In their order.
    x : Tensor, shape (N, C, H, W)
        The input.
    rows : int
        Rows of the output in a strip.

    Returns
    -------
    Tensor, shape (N, C', H', W')
        In the type and memory format that the stages answer in.
    """
    heights = [each.height for each in _list_maps(stages, x)]
    y: Tensor | None = None
    for start in range(0, heights[-1], rows):
        stop = min(start + rows, heights[-1])
        strip = _run_strip(stages, x, heights, start, stop)
        if y is None:
            layout = torch.channels_last if is_channels_last(strip) else torch.contiguous_format
            shape = (*strip.shape[:2], heights[-1], strip.shape[3])
            y = torch.empty(shape, dtype=strip.dtype, device=strip.device, memory_format=layout)
        y.narrow(2, start, stop - start).copy_(strip)
        del strip
    assert y is not None  # an image has rows
    return y


def _run_strip(stages: Sequence[Stage], x: Tensor, heights: Sequence[int], start: int, stop: int) -> Tensor:
    needed = [(start, stop)]
    for stage, height in reversed(list(zip(stages, heights[:-1], strict=True))):
        needed.insert(0, stage.find_needed(*needed[0], height))
    first = 0
    for stage, (begin, end) in zip(stages, needed[:-1], strict=True):
        x = stage.run(x.narrow(2, begin - first, end - begin))
        first = stage.scale * begin
    return x.narrow(2, start - first, stop - start)
