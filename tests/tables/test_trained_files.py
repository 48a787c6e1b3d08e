"""Files of training experiments: what may be missing in them; `test_trained` has what is torn or foreign."""

from pathlib import Path

import pandas as pd
import pytest

from deconvbench.errors import RunFolderError
from deconvbench.records.schema import EARLIER_RUN_KEYS, IMAGE_DTYPES, TRAINED_DTYPES
from deconvbench.tables.frames import make_frame
from deconvbench.tables.trained import read_trained
from deconvbench.tables.trained_files import IMAGES_CSV_NAME, NOT_NEEDED, read_info, read_rows
from deconvbench.tables.trained_networks import Network, find_network
from tests.made_results import FILES, make_results


@pytest.fixture
def one(tmp_path: Path) -> Path:
    return make_results(tmp_path / "one", (("transposed", 3),), seeds=1, images=("chelsea",))


def drop(path: Path, *columns: str) -> None:
    pd.read_csv(path).drop(columns=list(columns)).to_csv(path, index=False)


def test_results_from_before_recipes_and_variants_are_plain_and_standard(one: Path) -> None:
    for name in FILES:
        drop(one / f"{name}.csv", *EARLIER_RUN_KEYS)
    found = read_trained(one)
    for name, dtypes in FILES.items():
        frame = getattr(found, name)
        assert list(frame) == list(dtypes)
        assert len(frame)
        assert {*frame["recipe"]} == {"plain"}
        assert {*frame["variant"]} == {"standard"}
    assert find_network(found.results) == Network(task="reconstruction", recipe="plain")


@pytest.mark.parametrize("name", ["task", "upsampler", "norm", "seed", "psnr_db"])
def test_other_columns_must_be_there(one: Path, name: str) -> None:
    drop(one / "results.csv", name)
    with pytest.raises(RunFolderError, match=f"results.csv' lacks the column {name}$"):
        read_rows(one / "results.csv", TRAINED_DTYPES)


def test_what_nothing_needs_may_be_missing(one: Path) -> None:
    path = one / IMAGES_CSV_NAME
    whole = read_rows(path, IMAGE_DTYPES)
    drop(path, *NOT_NEEDED[IMAGES_CSV_NAME])
    found = read_rows(path, IMAGE_DTYPES)
    assert found.dtypes.to_dict() == whole.dtypes.to_dict()
    assert found[["ssim", "crop"]].isna().all(axis=None)
    pd.testing.assert_frame_equal(found.drop(columns=["ssim", "crop"]), whole.drop(columns=["ssim", "crop"]))


def test_files_that_are_not_there_are_empty(tmp_path: Path) -> None:
    frame = read_rows(tmp_path / "images.csv", IMAGE_DTYPES)
    assert frame.dtypes.to_dict() == make_frame([], IMAGE_DTYPES).dtypes.to_dict()
    assert frame.empty
    assert read_info(tmp_path / "experiment.json") == {}
