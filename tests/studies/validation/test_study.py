from functools import partial
from typing import Any

import pytest

from deconvbench.errors import UsageError
from deconvbench.progress import PartDone
from deconvbench.studies.validation.calibration import AMPLITUDES, PERIODS
from deconvbench.studies.validation.checks import list_rows
from deconvbench.studies.validation.study import Job, Study, StudySettings, list_jobs, run_study

SmallRun = tuple[Study, list[PartDone]]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seeds": 0}, "seeds: 0 is below 1"),
        ({"size": 100}, "size: 100 is below 128, too small for period 8"),
        ({"photographs": ()}, "photographs: is empty"),
    ],
    ids=str,
)
def test_wrong_settings_are_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        StudySettings(**changes)


def test_frames_are_tidy(small_run: SmallRun) -> None:
    study, _ = small_run
    calibration = study.calibration
    assert len(calibration) == 3 * 2 * len(PERIODS) * len(AMPLITUDES)
    assert not calibration.duplicated(["content", "period", "planted", "seed"]).any()
    assert dict(calibration.groupby("kind").size()) == {"1/f": 48, "discs": 48, "photographs": 48}
    keys = ["property", "case", "content", "period", "planted", "seed"]
    assert not study.invariances.duplicated(keys).any()
    assert not study.alternatives.duplicated(["content", "seed", "change", "score"]).any()
    assert set(study.alternatives["content"]) == {"1/f", "discs", "coins"}
    for frame in (calibration, study.invariances, study.alternatives):
        assert not frame.isna().any(axis=None)


def test_each_job_is_told_of(small_run: SmallRun, small_settings: StudySettings) -> None:
    _, steps = small_run
    jobs = list(list_jobs(small_settings))
    assert [step.title for step in steps] == [job.title for job in jobs]
    assert [step.done for step in steps] == list(range(1, len(jobs) + 1))
    assert {step.total for step in steps} == {len(jobs)}


def test_a_job_alone_gives_the_rows_it_gave_in_the_study(
    small_run: SmallRun, small_settings: StudySettings
) -> None:
    study, _ = small_run
    job = next(job for job in list_jobs(small_settings) if job.title == "calibration on discs, seed 1")
    found = study.calibration.query("content == 'discs' and seed == 1")["measured"]
    assert [row["measured"] for row in job.measure()] == pytest.approx(found.to_list(), abs=1e-12)


def test_photographs_take_turns_in_the_comparison(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = StudySettings(seeds=3, size=128, photographs=("coins", "brick"))
    asked: list[Any] = []

    def compare(kind: str, draw: Any) -> list[Any]:
        asked.append((kind, list(draw())))
        return []

    monkeypatch.setattr("deconvbench.studies.validation.study.compare_scores", compare)
    last = list(list_jobs(settings))[-1]
    assert last.measure() == []
    assert asked == [("photographs", [("coins", 0), ("brick", 1), ("coins", 2)])]


def test_validation_runs_without_an_observer(monkeypatch: pytest.MonkeyPatch, small_run: SmallRun) -> None:
    study, _ = small_run
    jobs = [
        Job(frame="calibration", title="a", measure=partial(list_rows, study.calibration)),
        Job(frame="rivals", title="b", measure=partial(list_rows, study.alternatives.drop(columns="reading"))),
    ]
    monkeypatch.setattr("deconvbench.studies.validation.study.list_jobs", lambda _: jobs)
    again = run_study(StudySettings())
    assert again.alternatives["reading"].to_list() == pytest.approx(study.alternatives["reading"].to_list())
    assert len(again.calibration) == len(study.calibration)
    assert again.invariances.empty
