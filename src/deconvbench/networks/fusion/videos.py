"""Convolutions of the frames of a video, as convolutions of images: the frames around each are its channels.

A kernel of n×k×k is n kernels of k×k, one for each of the frames that it reaches. So what is known of rows and
columns holds for videos too, whatever happens along the time.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor
from torch.nn import functional

from deconvbench.networks.fusion.calls import ConvolveCall
from deconvbench.networks.fusion.expressions import LazyExpression, Part
from deconvbench.networks.fusion.tensors import lay_out


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameConvolution:
    """What a convolution of a video does along the time.

    Parameters
    ----------
    size : int
        Frames n that its kernel reaches.
    before, after : int
        Frames of zeros that it adds.
    batch, frames : int
        Number N of videos, and of frames of each in the result.
    """

    size: int
    before: int
    after: int
    batch: int
    frames: int

    def join(self, x: Tensor) -> Tensor:
        """Make images of videos.

        Parameters
        ----------
        x : Tensor, shape (N, C, T, H, W)

        Returns
        -------
        Tensor, shape (N·frames, C·n, H, W)
        """
        if self.before or self.after:
            x = functional.pad(x, (0, 0, 0, 0, self.before, self.after))
        around = x.unfold(2, self.size, 1).permute(0, 2, 1, 5, 3, 4)
        return around.reshape(self.batch * self.frames, -1, *x.shape[-2:])

    def split(self, y: Tensor) -> Tensor:
        """Make videos of images: (N·frames, C, H, W) to (N, C, frames, H, W)."""
        return y.reshape(self.batch, self.frames, *y.shape[1:]).transpose(1, 2)


def read_frames(
    expression: LazyExpression[Tensor], call: ConvolveCall, shape: Sequence[int], weight: Tensor
) -> tuple[FrameConvolution, ConvolveCall, LazyExpression[Tensor]] | str:
    """Read a convolution of a video as one of images, or say why it is none.

    Parameters
    ----------
    expression : LazyExpression of Tensor
        The video.
    call : ConvolveCall
        Of ``conv3d``.
    shape : sequence of int
        Of the video: (N, C, T, H, W).
    weight : Tensor, shape (C_out, C/groups, n, k, k)
        Of the convolution.

    Returns
    -------
    tuple or str
        What happens along the time, the convolution of images, and those images: of their shape, but without
        memory, for they are not made yet.
    """
    if len(shape) != 5 or weight.ndim != 5:
        return f"its input has {len(shape)} dimensions, not 5 (N, C, T, H, W)"
    if len(expression.parts) > 1:
        return "channels of videos are joined before it"
    time, *steps = call.stride
    dilation, *dilations = call.dilation
    if time != 1 or dilation != 1:
        return f"stride {time} and dilation {dilation} along the time are not 1"
    size = weight.shape[2]
    padding: Any
    if isinstance(call.padding, str):
        before = (size - 1) // 2 if call.padding == "same" else 0
        after = size - 1 - before if call.padding == "same" else 0
        padding = call.padding
    else:
        before = after = call.padding[0]
        padding = tuple(call.padding[1:])
    frames = shape[2] + before + after - size + 1
    if frames < 1:
        return f"a kernel of {size} frames may not fit into it"
    (part,) = expression.parts
    joined = FrameConvolution(size=size, before=before, after=after, batch=shape[0], frames=frames)
    source = part.source
    empty = source.new_empty(()).expand(shape[0] * frames, shape[1] * size, *source.shape[-2:])
    return (
        joined,
        replace(
            call, weight=weight.flatten(1, 2), stride=tuple(steps), padding=padding, dilation=tuple(dilations)
        ),
        replace(expression, parts=(replace(part, source=empty, channels=shape[1] * size),)),
    )


def split_answer(
    answer: Tensor | LazyExpression[Tensor], frames: FrameConvolution
) -> Tensor | LazyExpression[Tensor]:
    """Make videos of the images of a convolution, computed or not."""
    if not isinstance(answer, LazyExpression):
        return lay_out(frames.split(answer))
    parts = tuple(
        Part(source=frames.split(part.source), channels=part.channels, scale=part.scale, stretch=part.stretch)
        for part in answer.parts
    )
    return replace(answer, parts=parts)
