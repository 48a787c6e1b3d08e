from functools import partial
from pathlib import Path
from typing import Any

import pytest
from PIL import Image as Pillow

from deconvbench.errors import UsageError
from deconvbench.progress import PartDone
from deconvbench.studies.validation.calibration import AMPLITUDES, PERIODS
from deconvbench.studies.validation.checks import list_rows
from deconvbench.studies.validation.photographs import PhotographSet
from deconvbench.studies.validation.rates import LARGE_PERIOD, RATE_PERIODS
from deconvbench.studies.validation.study import (
    Job,
    Study,
    StudySettings,
    list_jobs,
    list_photographs,
    run_study,
)

SmallRun = tuple[Study, list[PartDone]]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seeds": 0}, "seeds: 0 is not a whole number of at least 1"),
        ({"size": 100}, "size: 100 is below 128, too small for period 8"),
        ({"photographs": ()}, "photographs: is empty"),
        ({"crops": 0}, "crops: 0 is not a whole number of at least 1"),
    ],
    ids=str,
)
def test_wrong_settings_are_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        StudySettings(**changes)


def test_everything_is_in_proportion_to_the_seeds() -> None:
    assert StudySettings.from_seeds(12) == StudySettings()
    assert StudySettings.from_seeds(1, "mine") == StudySettings(seeds=1, crops=17, images="mine")
    with pytest.raises(UsageError, match="seeds: 0 is not"):
        StudySettings.from_seeds(0)


def test_photographs_are_those_of_the_wheel_or_of_a_folder(tmp_path: Path) -> None:
    assert list_photographs(StudySettings(photographs=("moon",))).whole == ("moon",)
    Pillow.effect_noise((256, 300), 50).save(tmp_path / "noise.png")
    steps: list[PartDone] = []
    found = list_photographs(StudySettings(images=str(tmp_path)), steps.append)
    assert found.whole == ("noise.png",)
    assert [step.title for step in steps] == ["read noise.png"]


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
    keys = ["kind", "content", "scale", "seed", "period", "multiple"]
    assert not study.rates.duplicated(keys).any()
    assert set(study.rates["kind"]) == {"photographs", "1/f", "discs"}
    assert set(study.rates["period"]) == {*RATE_PERIODS, LARGE_PERIOD}
    assert not study.separation.duplicated(["content", "scale", "seed", "period", "pattern", "planted"]).any()
    assert set(study.separation["content"]) == {"coins", "hubble_deep_field"}
    assert not study.lookalikes.duplicated(["picture", "content", "period"]).any()
    assert not study.flat_fields.duplicated(["upsampler", "kernel_size", "seed"]).any()
    lookalikes = study.lookalikes.drop(columns=["block_amplitude", "block_level"])
    frames = (study.rates, study.separation, lookalikes, study.flat_fields)
    for frame in (calibration, study.invariances, study.alternatives, *frames):
        assert not frame.isna().any(axis=None)


def test_each_job_is_told_of(
    small_run: SmallRun, small_settings: StudySettings, small_photographs: PhotographSet
) -> None:
    _, steps = small_run
    jobs = list(list_jobs(small_settings, small_photographs))
    assert [step.title for step in steps] == [job.title for job in jobs]
    assert [step.done for step in steps] == list(range(1, len(jobs) + 1))
    assert {step.total for step in steps} == {len(jobs)}


def test_a_job_alone_gives_the_rows_it_gave_in_the_study(
    small_run: SmallRun, small_settings: StudySettings, small_photographs: PhotographSet
) -> None:
    study, _ = small_run
    jobs = {job.title: job for job in list_jobs(small_settings, small_photographs)}
    found = study.calibration.query("content == 'discs' and seed == 1")["measured"]
    rows = jobs["calibration on discs, seed 1"].measure()
    assert [row["measured"] for row in rows] == pytest.approx(found.to_list(), abs=1e-12)
    found = study.rates.query("content == 'hubble_deep_field' and scale == 'half'")["measured"]
    rows = jobs["rates on hubble_deep_field, half scale"].measure()
    assert [row["measured"] for row in rows] == pytest.approx(found.to_list(), abs=1e-12)


def test_photographs_take_turns_in_the_comparison(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = StudySettings(seeds=3, size=128, photographs=("coins", "brick"))
    asked: list[Any] = []

    def compare(kind: str, draw: Any) -> list[Any]:
        asked.append((kind, list(draw())))
        return []

    monkeypatch.setattr("deconvbench.studies.validation.study.compare_scores", compare)
    jobs = list_jobs(settings, list_photographs(settings))
    job = next(job for job in jobs if job.title == "scores on photographs")
    assert job.measure() == []
    assert asked == [("photographs", [("coins", 0), ("brick", 1), ("coins", 2)])]


def test_photographs_that_are_too_small_for_the_largest_period_are_left_out_there(
    small_settings: StudySettings, small_photographs: PhotographSet
) -> None:
    titles = [job.title for job in list_jobs(small_settings, small_photographs)]
    assert "rates at period 32 on hubble_deep_field, native scale" in titles
    assert not any("period 32 on coins" in title for title in titles)
    assert "rates at period 32 on discs, seed 0" in titles


def test_validation_runs_without_an_observer(
    monkeypatch: pytest.MonkeyPatch, small_run: SmallRun, small_photographs: PhotographSet
) -> None:
    study, _ = small_run
    jobs = [
        Job(frame="calibration", title="a", measure=partial(list_rows, study.calibration)),
        Job(frame="rivals", title="b", measure=partial(list_rows, study.alternatives.drop(columns="reading"))),
    ]
    monkeypatch.setattr("deconvbench.studies.validation.study.list_jobs", lambda *_: jobs)
    again = run_study(StudySettings(), small_photographs)
    assert again.alternatives["reading"].to_list() == pytest.approx(study.alternatives["reading"].to_list())
    assert len(again.calibration) == len(study.calibration)
    assert again.invariances.empty
    assert again.rates.empty
