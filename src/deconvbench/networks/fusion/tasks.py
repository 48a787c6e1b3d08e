"""One convolution of an image that is not computed, ready to be run: of images, or of videos as images.

Put together from `matching` and `videos`; whether it is run is the session's decision.
"""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from deconvbench.networks.fusion.calls import ConvolveCall
from deconvbench.networks.fusion.expressions import Interpreter, LazyExpression
from deconvbench.networks.fusion.matching import Match
from deconvbench.networks.fusion.resizing import convolve, is_faster
from deconvbench.networks.fusion.rules import match_image
from deconvbench.networks.fusion.signals import SignalTask, plan_signal
from deconvbench.networks.fusion.videos import FrameConvolution, read_frames, split_answer
from deconvbench.upsamplers.fast.memory import has_finite_sum


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvolutionTask:
    """A convolution that is exact without computing its input.

    Parameters
    ----------
    expression : LazyExpression of Tensor
        The input.
    image : LazyExpression of Tensor
        The images that are convolved: the input itself, or of the shape of those that its frames make.
    weight : Tensor, shape (C_out, C_in/groups, k, k)
        For the images.
    match : Match
        How they are convolved.
    frames : FrameConvolution or None
        What happens along the time of a video.
    """

    expression: LazyExpression[Tensor]
    image: LazyExpression[Tensor]
    weight: Tensor
    match: Match
    frames: FrameConvolution | None = None

    def run(
        self, weight: Tensor, bias: Tensor | None, interpreter: Interpreter[Tensor], max_memory: int | None
    ) -> Tensor | LazyExpression[Tensor] | None:
        """Convolve.

        Parameters
        ----------
        weight, bias : Tensor
            Of the call, or what stands for them in a graph of their own.
        interpreter : Interpreter
            What computes.
        max_memory : int or None
            As of `convolve`.

        Returns
        -------
        Tensor, LazyExpression or None
            None where torch is to be asked: for a video with pixels that are not finite.
        """
        if self.frames is None:
            return convolve(self.image, self.match, weight, bias, interpreter, max_memory)
        (part,) = self.expression.parts
        (empty,) = self.image.parts
        image = replace(self.image, parts=(replace(empty, source=self.frames.join(part.source)),))
        answer = convolve(image, self.match, weight.flatten(1, 2), bias, interpreter)
        made = answer.parts[0].source if isinstance(answer, LazyExpression) else answer
        if not has_finite_sum(made):
            # frames of zeros that are added, times infinity, would spoil others
            return None
        return split_answer(answer, self.frames)

    def gains(self, *, is_prepared: bool, is_computed: bool) -> bool:
        """Whether it is faster than a convolution of the computed image.

        Parameters
        ----------
        is_prepared, is_computed : bool
            As of `is_faster`.
        """
        return is_faster(self.image, self.match, self.weight, is_prepared=is_prepared, is_computed=is_computed)


def plan_task(  # noqa: PLR0911 -- one return for each reason
    function: Any, call: ConvolveCall, expression: LazyExpression[Tensor], *, is_limited: bool
) -> "ConvolutionTask | SignalTask | str":
    """Plan a convolution, or say why it is left to torch.

    Parameters
    ----------
    function : callable
        ``conv1d``, ``conv2d`` or ``conv3d``.
    call : ConvolveCall
        The call.
    expression : LazyExpression of Tensor
        Its input.
    is_limited : bool
        Whether it may hold so much memory only, and works in row strips above that.
    """
    shape = tuple(call.image.shape)
    image, weight, frames = expression, call.weight, None
    if function is torch.conv1d:
        return "in row strips it is of images only" if is_limited else plan_signal(call, expression)
    if function is torch.conv3d:
        if is_limited:
            return "in row strips it is of images only"
        if _is_reordered(call.weight) or _is_reordered(expression.parts[0].source):
            return "its channels are last in memory"
        found = read_frames(expression, call, shape, call.weight)
        if isinstance(found, str):
            return found
        frames, call, image = found
        weight = call.weight
    elif len(shape) != 4:
        return f"its input has {len(shape)} dimensions, not 4 (N, C, H, W)"
    match = match_image(image, call, weight.shape, shape[-2:])
    if isinstance(match, str):
        return match
    if match.padding and is_limited:
        return "in row strips it keeps the size only"
    return ConvolutionTask(expression=expression, image=image, weight=weight, match=match, frames=frames)


def _is_reordered(x: Tensor) -> bool:
    last = x.ndim == 5 and x.is_contiguous(memory_format=torch.channels_last_3d)
    return last and not x.is_contiguous()
