"""Convolutions of videos as convolutions of images."""

from typing import Any

import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from deconvbench.networks.fusion.calls import ConvolveCall
from deconvbench.networks.fusion.expressions import LazyExpression, Part
from deconvbench.networks.fusion.videos import FrameConvolution, read_frames, split_answer


def make_call(**options: Any) -> ConvolveCall:
    given_ = {"stride": (1, 1, 1), "padding": (1, 1, 1), "dilation": (1, 1, 1), "groups": 1, **options}
    return ConvolveCall(image=None, weight=None, bias=None, **given_)


def make_video(*shape: int) -> LazyExpression[Tensor]:
    return LazyExpression(
        parts=(Part(source=torch.randn(*shape, dtype=torch.float64), channels=shape[1], scale=2),)
    )


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_frames_around_each_are_its_channels(data: st.DataObject) -> None:
    batch, frames, size = (data.draw(st.integers(1, most)) for most in (2, 4, 4))
    groups, padding = data.draw(st.sampled_from([1, 2])), data.draw(st.integers(0, 2))
    assume(frames + 2 * padding >= size)
    x = torch.randn(batch, 4, frames, 3, 5, dtype=torch.float64)
    weight = torch.randn(6, 4 // groups, size, 3, 3, dtype=torch.float64)
    expected = torch.conv3d(x, weight, padding=(padding, 1, 1), groups=groups)
    joined = FrameConvolution(
        size=size, before=padding, after=padding, batch=batch, frames=frames + 2 * padding - size + 1
    )
    images = torch.conv2d(joined.join(x), weight.flatten(1, 2), padding=1, groups=groups)
    assert torch.allclose(joined.split(images), expected, rtol=1e-12, atol=1e-12)


def test_a_call_is_read_without_making_images() -> None:
    video, weight = make_video(2, 4, 3, 5, 5), torch.randn(6, 4, 3, 3, 3, dtype=torch.float64)
    found = read_frames(video, make_call(), (2, 4, 3, 10, 10), weight)
    assert not isinstance(found, str)
    frames, call, images = found
    assert (frames.size, frames.before, frames.after, frames.batch, frames.frames) == (3, 1, 1, 2, 3)
    assert (call.stride, call.padding, call.dilation, call.weight.shape) == ((1, 1), (1, 1), (1, 1), (6, 12, 3, 3))
    (part,) = images.parts
    assert (tuple(part.source.shape), part.channels, part.scale) == ((6, 12, 5, 5), 12, 2)
    assert part.source.untyped_storage().nbytes() == weight.element_size()


def test_same_keeps_the_number_of_frames() -> None:
    weight = torch.randn(6, 4, 2, 3, 3)
    found = read_frames(make_video(1, 4, 3, 5, 5), make_call(padding="same"), (1, 4, 3, 10, 10), weight)
    assert not isinstance(found, str)
    assert (found[0].before, found[0].after, found[0].frames, found[1].padding) == (0, 1, 3, "same")


def test_reasons() -> None:
    video, shape, weight = make_video(1, 4, 3, 5, 5), (1, 4, 3, 10, 10), torch.randn(6, 4, 3, 3, 3)
    assert (
        read_frames(video, make_call(), shape[1:], weight) == "its input has 4 dimensions, not 5 (N, C, T, H, W)"
    )
    assert str(read_frames(video, make_call(stride=(2, 1, 1)), shape, weight)).startswith(
        "stride 2 and dilation 1"
    )
    assert str(read_frames(video, make_call(padding=(0, 1, 1)), (1, 4, 2, 10, 10), weight)) == (
        "a kernel of 3 frames may not fit into it"
    )
    two = LazyExpression(parts=video.parts * 2)
    assert read_frames(two, make_call(), shape, weight) == "channels of videos are joined before it"


def test_answers_become_videos_computed_or_not() -> None:
    frames = FrameConvolution(size=1, before=0, after=0, batch=2, frames=3)
    images = torch.randn(6, 4, 5, 5)
    video = split_answer(images, frames)
    assert isinstance(video, Tensor)
    assert video.is_contiguous()
    assert torch.equal(video[1, :, 2], images[5])
    lazy = split_answer(LazyExpression(parts=(Part(source=images, channels=4, scale=2),)), frames)
    assert isinstance(lazy, LazyExpression)
    assert torch.equal(lazy.parts[0].source, video)
    alone = split_answer(images[:1], FrameConvolution(size=1, before=0, after=0, batch=1, frames=1))
    assert isinstance(alone, Tensor)
    assert alone.stride() == torch.empty(1, 4, 1, 5, 5).stride()
    assert torch.equal(functional.pad(alone, (0, 0)), images[:1, :, None])
