import io

import pytest

from deconvbench.progress import JobDone, PartDone, describe_record, show_progress, show_stages, show_steps
from deconvbench.records.record import Latency, Memory, QualityRecord
from tests.builders import make_case, make_record
from tests.made_speedups import make_speedup_record

LATENCY = Latency(samples_s=(0.002, 0.001, 0.009), calls_per_sample=1, first_call_s=1.0, stop_reason="precision")
MEMORY = Memory(
    peak_memory_bytes=3 * 2**20,
    peak_reserved_bytes=None,
    input_bytes=1,
    output_bytes=1,
    parameter_bytes=1,
    gradient_bytes=0,
)


def make_progress(done: int, status: str = "ok", remaining_s: float | None = 75.0) -> JobDone:
    return JobDone(done=done, total=9, record=make_record(status=status), remaining_s=remaining_s)


@pytest.mark.parametrize(
    ("record", "text"),
    [
        (make_record(latency=LATENCY, memory=MEMORY), "nearest_conv-k3-s2-c4x2-8x8: 2 ms, 3 MiB"),
        (make_record(latency=LATENCY), "nearest_conv-k3-s2-c4x2-8x8: 2 ms, –"),
        (make_record(status="oom", message="too large"), "nearest_conv-k3-s2-c4x2-8x8: oom: too large"),
        (
            QualityRecord(upsampler="a", kernel_size=None, scale_factor=2, seed=0, channels=1, status="ok"),
            "quality of a-s2",
        ),
        (
            make_speedup_record(make_case(), rounds=4),
            "speed-ups over nearest_conv-k3-s2-c4x2-8x8: 8 layers, 4 rounds",
        ),
        (
            make_speedup_record(make_case(), is_frozen=True, rounds=4),
            "speed-ups over nearest_conv-k3-s2-c4x2-8x8, frozen: 8 layers, 4 rounds",
        ),
        (
            make_speedup_record(make_case(), status="error"),
            "speed-ups over nearest_conv-k3-s2-c4x2-8x8: error: nearest_conv_tiled is not equivalent <to> plain",
        ),
    ],
    ids=["ok", "no memory", "oom", "quality", "speed-ups", "frozen", "failed speed-ups"],
)
def test_description(record: QualityRecord, text: str) -> None:
    assert describe_record(record) == text


def test_plain_lines_come_now_and_then_and_at_failures() -> None:
    stream = io.StringIO()
    times = iter([0.0, 1.0, 2.0, 13.0])
    with show_progress(stream, clock=lambda: next(times)) as observer:
        for done in (1, 2):
            observer(make_progress(done))
        observer(make_progress(3, status="crashed"))
        observer(make_progress(4, status="unsupported"))
    lines = stream.getvalue().splitlines()
    assert [line.split("]")[0] for line in lines] == ["[1/9", "[3/9", "[4/9"]
    assert lines[0] == "[1/9] 1 min 15 s left  nearest_conv-k3-s2-c4x2-8x8"


def test_the_last_line_is_always_there() -> None:
    stream = io.StringIO()
    with show_progress(stream, clock=lambda: 0.0) as observer:
        for done in range(1, 10):
            observer(make_progress(done))
    assert [line[:4] for line in stream.getvalue().splitlines()] == ["[1/9", "[9/9"]


def test_what_cannot_be_told_yet_is_a_question_mark(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    for stream in (io.StringIO(), Terminal()):
        with show_progress(stream, clock=lambda: 0.0) as observer:
            observer(make_progress(1, remaining_s=None))
        assert "? left" in stream.getvalue()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_a_bar_and_failures_stay_on_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "150")
    stream = Terminal()
    with show_progress(stream) as observer:
        observer(make_progress(1))
        observer(make_progress(2, status="timeout"))
    shown = stream.getvalue()
    assert "2/9" in shown
    assert "1 min 15 s left" in shown
    assert "nearest_conv-k3-s2-c4x2-8x8: timeout" in shown


def make_step(done: int, note: str = "") -> PartDone:
    return PartDone(done=done, total=40, title=f"part {done}", note=note)


def test_lines_of_steps_come_every_ten_seconds_and_at_the_end() -> None:
    # the first part has much to load, and takes 21 s
    stream, now = io.StringIO(), iter([0.0, 21.0, 22.0, 31.0, 32.0, 61.0])
    with show_steps(stream, clock=lambda: next(now)) as observe:
        for done in (1, 2, 11, 12, 40):
            observe(make_step(done))
    assert stream.getvalue().splitlines() == [
        "[1/40] ? left  part 1",
        "[11/40] 29 s left  part 11",
        "[40/40] 0 s left  part 40",
    ]


def test_what_was_done_before_says_nothing_of_what_is_left() -> None:
    stream, now = io.StringIO(), iter([0.0, 1.0, 12.0])
    with show_steps(stream, clock=lambda: next(now)) as observe:
        for done in (30, 31):
            observe(make_step(done))
    assert stream.getvalue().splitlines() == ["[30/40] ? left  part 30", "[31/40] 1 min 39 s left  part 31"]


def test_a_single_part_is_done_at_once() -> None:
    stream = io.StringIO()
    with show_steps(stream, clock=lambda: 0.0) as observe:
        observe(PartDone(done=1, total=1, title="all"))
    assert stream.getvalue() == "[1/1] 0 s left  all\n"


def test_other_work_is_estimated_by_itself() -> None:
    stream, now = io.StringIO(), iter([0.0, 100.0, 110.0, 120.0, 400.0, 410.0])
    with show_steps(stream, clock=lambda: next(now)) as observe:
        for done in (5, 6, 7):
            observe(make_step(done))
        # other work, with a count of its own
        for done in (1, 2):
            observe(PartDone(done=done, total=3, title="other"))
    assert [line.split("  ")[0] for line in stream.getvalue().splitlines()] == [
        "[5/40] ? left",
        "[6/40] 5 min 40 s left",
        "[7/40] 5 min 30 s left",
        "[1/3] ? left",
        "[2/3] 10 s left",
    ]


def test_a_note_is_told_at_once_whatever_is_done() -> None:
    stream = io.StringIO()
    with show_steps(stream, clock=lambda: 0.0) as observe:
        observe(make_step(0, "part 0 failed"))
        observe(make_step(1))
        observe(make_step(2, "part 2 failed"))
    assert stream.getvalue().splitlines() == ["part 0 failed", "[1/40] ? left  part 1", "part 2 failed"]


def test_steps_on_a_terminal_get_a_bar_and_their_notes() -> None:
    stream = Terminal()
    with show_steps(stream) as observe:
        observe(make_step(20, "part [20] failed"))
        observe(make_step(40))
    assert "part 40" in stream.getvalue()
    assert "part [20] failed" in stream.getvalue()


def test_a_case_is_described_with_its_latency_and_its_ratio() -> None:
    latency = Latency(samples_s=(2e-3, 1e-3, 3e-3), calls_per_sample=1, first_call_s=1.0, stop_reason="precision")
    baseline = make_record(latency=latency, baseline_id=make_case().case_id, ratios=(1.0, 1.0))
    assert describe_record(baseline) == "nearest_conv-k3-s2-c4x2-8x8: 2 ms, –"
    other = make_record(latency=latency, baseline_id="transposed-k3-s2-c4x2-8x8", ratios=(0.5, 0.7123, 2.0))
    assert describe_record(other) == "nearest_conv-k3-s2-c4x2-8x8: 2 ms (0.843 of the baseline's), –"


def test_stages_are_lines_now_and_then_where_there_is_no_terminal() -> None:
    stream, times = io.StringIO(), iter([0.0, 3.0, 11.0, 15.0, 90.0])
    with show_stages(stream, clock=lambda: next(times)) as say:
        for text in ("first", "second", "third\x1b", "fourth\n"):
            say(text)
    assert stream.getvalue() == "[11 s] second\n[1 min 30 s] fourth\n"


def test_stages_move_on_a_terminal_and_leave_nothing() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    stream = Terminal()
    with show_stages(stream) as say:
        say("looking at [red]sites[/red]")
    assert "looking at [red]sites[/red]" in stream.getvalue()
