import re

import pytest

from deconvbench.errors import UsageError
from deconvbench.records.schema import (
    CURVE_DTYPES,
    IMAGE_DTYPES,
    LATER_SCORE_COLUMNS,
    SCORE_COLUMNS,
    TASK_SCORES,
    TRAINED_DTYPES,
)
from deconvbench.records.training_tasks import TRAINING_TASKS, get_task


def test_there_are_four_tasks_and_the_articles_comes_first() -> None:
    assert list(TRAINING_TASKS) == ["reconstruction", "super-resolution", "segmentation", "style-transfer"]
    assert all(task.name == name and task.meaning for name, task in TRAINING_TASKS.items())


@pytest.mark.parametrize(
    ("name", "period"),
    [("reconstruction", 9), ("super-resolution", 3), ("segmentation", 9), ("style-transfer", 9)],
)
def test_the_period_follows_from_the_upsamplers_in_a_row(name: str, period: int) -> None:
    assert get_task(name).find_period(3) == period


def test_what_one_task_alone_has_is_a_later_column() -> None:
    assert TASK_SCORES == ("miou", "boundary_error_px", "style_loss", "content_loss")
    assert {*TASK_SCORES} < {*SCORE_COLUMNS} & {*LATER_SCORE_COLUMNS} & {*CURVE_DTYPES} & {*TRAINED_DTYPES}
    assert not {*TASK_SCORES} & {*IMAGE_DTYPES}


def test_every_task_is_told_of_by_a_column_that_it_has() -> None:
    for task in TRAINING_TASKS.values():
        assert task.headline in (*task.scores, "psnr_db")
        assert re.search(r"\d$", task.headline_text.format(0.5).removesuffix(" dB"))
        assert {*task.undefined} <= {*TRAINED_DTYPES}


def test_an_unknown_task_is_refused_by_name() -> None:
    with pytest.raises(
        UsageError, match="task: 'segmentatoin' is not one of reconstruction, .*mean 'segmentation'"
    ):
        get_task("segmentatoin")
