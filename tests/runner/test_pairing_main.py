"""The child's end of one side: what it answers to each request."""

import io
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from deconvbench.runner import pairing_main
from deconvbench.runner.pairing_main import Side
from deconvbench.runner.worker import WorkerOptions
from tests.builders import make_case

CASE = make_case().case_id


def prepare(side: Side, case: str = CASE, seed: int = 1) -> dict[str, Any]:
    return side.answer({"do": "prepare", "case": case, "seed": seed})


def test_a_case_is_prepared_timed_and_dropped(tmp_path: Path) -> None:
    one, two = Side({}), Side({})
    digests = [prepare(side)["digest"] for side in (one, two)]
    assert digests[0] == digests[1]
    path = str(tmp_path / "outputs.pt")
    assert one.answer({"do": "write", "path": path}) == {"status": "ok"}
    assert two.answer({"do": "differ", "path": path}) == {"status": "ok", "difference": 0.0}
    settled = one.answer({"do": "settle", "cores": []})["conditions"]
    assert settled["policy"] == "system"
    calls = one.answer({"do": "warm", "warmup_s": 0.0, "min_block_s": 1e-4})["calls"]
    assert one.answer({"do": "time", "calls": calls})["seconds"] > 0
    for side in (one, two):
        side.drop()


def test_a_failure_is_an_answer() -> None:
    side = Side({})
    assert prepare(side, make_case(upsampler="transposed", kernel_size=1).case_id)["status"] == "unsupported"
    answer = prepare(side, make_case(upsampler="no_such").case_id)
    assert answer["status"] == "error"
    assert "'no_such' is unknown" in answer["message"]
    side.drop()


def test_only_the_layer_that_is_named_is_slowed(monkeypatch: pytest.MonkeyPatch) -> None:
    from deconvbench.measure import pairs

    shares: list[float | None] = []

    class Noted:
        def __init__(self, case: object, seed: int, *, slowdown: float | None) -> None:
            shares.append(slowdown)

        def close(self) -> None:
            pass

        def digest(self) -> str:
            return ""

    monkeypatch.setattr(pairs, "PairedStep", Noted)
    side = Side({"nearest_conv": 0.05})
    prepare(side)
    prepare(side, make_case(upsampler="conv_nearest").case_id)
    assert shares == [0.05, None]


def test_each_line_is_answered_with_the_token_before_it() -> None:
    options = json.dumps({**asdict(WorkerOptions()), "token": "t"})
    requests = [
        {"do": "prepare", "case": CASE, "seed": 1},
        {"do": "warm", "warmup_s": 0, "min_block_s": 1e-4},
        {"do": "drop"},
    ]
    answers: list[str] = []
    lines = "\n".join([options, *map(json.dumps, requests)]) + "\n"
    pairing_main.serve(io.StringIO(lines), answers.append)
    assert [answer.partition(" ")[0] for answer in answers] == ["t"] * 4
    greeting, prepared, warmed, dropped = (json.loads(answer.partition(" ")[2]) for answer in answers)
    assert greeting["environment"]["machine_id"]
    assert prepared["status"] == warmed["status"] == "ok"
    assert dropped == {"status": "ok", "lasting": []}
