"""What an expression describes, computed with operations of torch."""

import torch
from torch.nn import functional

from deconvbench.networks.fusion.evaluation import evaluate, upsample
from deconvbench.networks.fusion.expressions import LazyExpression, Part


def test_rows_and_columns_are_the_last_two_axes() -> None:
    x = torch.randn(2, 3, 4, 5)
    expected = x.repeat_interleave(2, -2).repeat_interleave(3, -1)
    assert torch.equal(upsample(x, (2, 3)), expected)
    assert upsample(x, (1, 1)) is x
    assert torch.equal(upsample(x[0], (2, 3)), expected[0])
    assert torch.equal(upsample(x[:, :, None], (2, 3)), expected[:, :, None])


def test_parts_are_joined_and_padded() -> None:
    x, skip = torch.randn(1, 2, 3, 3), torch.randn(1, 1, 12, 6)
    part = Part(source=x, channels=2, scale=2, stretch=(2, 1))
    expression = LazyExpression(
        parts=(part, Part(source=skip, channels=1, scale=1)), padding=(1, 0, 2, 0), padding_mode="circular"
    )
    joined = torch.cat([functional.interpolate(x, scale_factor=(4, 2)), skip], 1)
    assert torch.equal(evaluate(expression), functional.pad(joined, (1, 0, 2, 0), mode="circular"))


def test_a_video_is_padded_in_rows_and_columns() -> None:
    x = torch.randn(1, 2, 3, 4, 5)
    expression = LazyExpression(
        parts=(Part(source=x, channels=2, scale=2),), padding=(1, 1, 1, 0), padding_mode="replicate"
    )
    expected = functional.pad(upsample(x, (2, 2)), (1, 1, 1, 0, 0, 0), mode="replicate")
    assert torch.equal(evaluate(expression), expected)
