"""The answer of a run as text: aligned, short, and empty where there is none."""

from deconvbench.analysis.standings import Standing, Standings
from deconvbench.workflows.standings import format_standings

ROWS = (
    Standing(
        layer="transposed k2 s2", ratio=0.5, ratio_low=0.487, ratio_high=0.51, ripple=0.0, verdict="frontier"
    ),
    Standing(layer="max_unpool_conv k3 s2", ratio=12.345, ripple=0.05, is_linear=False, verdict="noisy"),
    Standing(layer="x s2", ratio=1.0, ripple=None),
    Standing(layer="nearest_conv_native k3 s2", ratio=None, ripple=None, verdict="unsupported: " + "y" * 80),
)


def test_columns_are_aligned() -> None:
    found = Standings(setting="forward, cpu, input 8×8", baseline="transposed k3 s2", rows=ROWS, left_out=3)
    head, *lines = format_standings(found).splitlines()
    assert head == (
        "forward, cpu, input 8×8; ratio: latency over that of transposed k3 s2, with its 95 % interval; ripple of"
        " a constant input: 0 is best; frontier: nothing is both faster and cleaner"
    )
    assert lines == [
        "layer                      ratio          95 %      ripple  verdict",
        "transposed k2 s2            0.50  0.49 to 0.51           0  frontier",
        "max_unpool_conv k3 s2      12.35                flat 0.050  noisy",
        "x s2                        1.00                         –",
        f"nearest_conv_native k3 s2      –                         –  unsupported: {'y' * 46}…",
        "and 3 more, all in the report",
    ]


def test_nothing_is_said_of_what_is_left_out_where_nothing_is() -> None:
    found = Standings(setting="s", baseline="b", rows=ROWS[:1])
    assert len(format_standings(found).splitlines()) == 3
