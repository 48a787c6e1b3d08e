"""What a report says of itself."""

from torch import nn

from deconvbench.networks.fusion.report import Change, FuseReport, Left

CHANGE = Change(path="up.conv", was="Upsample, Conv2d", now="one convolution")
LEFT = Left(path="", what="Upsample", reason="mode bilinear is not nearest")


def test_a_place_is_named_and_the_model_is_one() -> None:
    assert str(CHANGE) == "up.conv: Upsample, Conv2d -> one convolution"
    assert str(LEFT) == "(the model): Upsample: mode bilinear is not nearest"


def test_everything_is_listed() -> None:
    report = FuseReport(
        model=nn.Identity(),
        changed=(CHANGE,),
        left=(LEFT, LEFT),
        max_relative_error=1.25e-7,
        max_relative_gradient_error=3e-12,
    )
    assert str(report).splitlines() == [
        "1 changed, 2 left alone",
        f"  changed  {CHANGE}",
        f"  left     {LEFT}",
        f"  left     {LEFT}",
        "  outputs differ by at most 1.2e-07 of the largest",
        "  gradients differ by at most 3.0e-12 of the largest",
    ]


def test_what_was_not_compared_is_not_mentioned() -> None:
    assert str(FuseReport(model=nn.Identity())) == "0 changed, 0 left alone"


def test_what_is_watched_is_counted_apart() -> None:
    report = FuseReport(model=nn.Identity(), changed=(CHANGE,), watched=(CHANGE, CHANGE))
    assert str(report).splitlines() == [
        "1 changed, 2 watched, 0 left alone",
        f"  changed  {CHANGE}",
        f"  watched  {CHANGE}",
        f"  watched  {CHANGE}",
    ]


def test_memory_is_told_with_the_limit() -> None:
    report = FuseReport(
        model=nn.Identity(),
        peak_memory_bytes_before=3 * 2**20,
        peak_memory_bytes_after=2**20,
        max_memory_bytes=2**19,
        in_strips=(CHANGE,),
    )
    assert report.is_within_memory is False
    assert str(report).splitlines() == [
        "0 changed, 0 left alone",
        f"  strips   {CHANGE}",
        "  peak memory for the example: 3 MiB before, 1 MiB after",
        "  max_memory 512 KiB is not met: what strips cannot cut, or the output and its strips, hold more",
    ]
