"""What conditions do to layers is divided replicate by replicate, and told layer by layer."""

import math
import subprocess
import sys
from pathlib import Path

import pytest

from bench.conditions_cost import CaseGain, compare_policies, describe_runs, format_gains, main
from deconvbench.records.conditions import Conditions
from deconvbench.records.record import Latency, Record
from tests.builders import make_case, make_record


def make_timed(latency_s: float, *, replicate: int = 0, height: int = 8, status: str = "ok") -> Record:
    latency = Latency(
        samples_s=(latency_s, latency_s, 9.0), calls_per_sample=1, first_call_s=1.0, stop_reason="precision"
    )
    return make_record(
        case=make_case(height=height), replicate=replicate, latency=latency, status=status,
        conditions=Conditions(policy="settled"), noisy=height == 16,
    )  # fmt: skip


def test_latencies_are_divided_within_a_replicate() -> None:
    # the machine was twice as slow in the second replicate, which is no gain
    settled = [make_timed(1.0), make_timed(2.0, replicate=1), make_timed(3.0, height=16)]
    system = [make_timed(4.0, replicate=1), make_timed(2.0), make_timed(3.0, height=32)]
    (gain,) = compare_policies(settled, system)
    assert gain.case.height == 8
    assert (gain.ratio, gain.low, gain.high) == pytest.approx((0.5, 0.5, 0.5))


def test_what_failed_on_either_side_is_left_out() -> None:
    settled = [make_timed(1.0), make_timed(1.0, height=16, status="crashed")]
    system = [make_timed(1.0, status="error"), make_timed(1.0, height=16)]
    assert compare_policies(settled, system) == []


def test_the_table_has_a_row_for_each_layer_those_that_gain_most_first() -> None:
    gains = [
        CaseGain(case=make_case(height=height, upsampler=name), ratio=ratio, low=low, high=1.0)
        for name, height, ratio, low in (
            ("nearest_conv", 8, 0.99, 0.9),
            ("transposed", 8, 0.95, math.nan),
            ("transposed", 1024, 0.4, 0.3),
            ("transposed", 16, 0.9, 0.8),
        )
    ]
    header, line, *rows = format_gains(gains).splitlines()
    assert header.count("|") == line.count("|") == rows[0].count("|")
    assert rows == [
        "| `transposed k3 s2` | forward | 3 | 0.90 | 0.40 (0.30 to 1.00) | 4→2 at 1024×8 | 0.25 MiB |",
        "| `nearest_conv k3 s2` | forward | 1 | 0.99 | 0.99 (0.90 to 1.00) | 4→2 at 8×8 | 0.00195 MiB |",
    ]
    assert "0.95 | 4→2" in format_gains(gains[1:2])


def test_runs_say_under_which_conditions_they_were_timed() -> None:
    records = {"settled": [make_timed(1.0), make_timed(1.0, height=16)], "system": []}
    assert describe_runs(records).splitlines() == [
        "settled: settled; allocator system; 1 of 2 timings noisy",
        "system: nothing timed; 0 of 0 timings noisy",
    ]


def test_a_wrong_word_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--preset", "no"])
    assert ended.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.process
@pytest.mark.slow
def test_both_policies_are_measured_in_processes_of_their_own(tmp_path: Path) -> None:
    words = ["--preset", "smoke", "-k", "nearest and 8x8 and not train", "--replicates", "1"]
    command = [sys.executable, "-m", "bench.conditions_cost", *words, "--out", str(tmp_path / "both")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "| `nearest_conv k3 s2` | forward | 1 |" in done.stdout
    assert {path.name for path in (tmp_path / "both").iterdir()} == {"settled", "system"}
