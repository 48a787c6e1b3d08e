import numpy as np
import pandas as pd
import pytest

from deconvbench.studies.validation.distortions import CHANGES
from deconvbench.studies.validation.images import draw_content
from deconvbench.studies.validation.scores import add_readings, compare_scores, summarise_scores

SCORES = {"cba", "phase_means", "spectrum", "spectrum_rings", "spectrum_population", "psnr"}


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    images = {("discs", seed): draw_content("discs", seed, 128) for seed in range(2)}
    return add_readings(pd.DataFrame(compare_scores("drawn", lambda: images)))


def test_every_score_reads_every_change(frame: pd.DataFrame) -> None:
    assert len(frame) == 2 * len(CHANGES) * len(SCORES)
    assert set(frame["score"]) == SCORES
    assert set(frame.loc[frame["has_checkerboard"], "change"]) == {"checkerboard", "sign_flips"}
    assert set(frame.loc[frame["score"] == "psnr", "unit"]) == {"dB"}


def test_the_plain_checkerboard_reads_one_in_the_mean(frame: pd.DataFrame) -> None:
    plain = summarise_scores(frame).query("change == 'checkerboard'")
    assert plain["reading"].to_list() == pytest.approx([1] * len(SCORES))
    assert (plain["low"] <= 1).all()
    assert (plain["high"] >= 1).all()


def test_psnr_reads_every_change_alike_and_ours_only_checkerboards(frame: pd.DataFrame) -> None:
    readings = summarise_scores(frame).set_index(["score", "change"])["reading"]
    changed = [change for change in CHANGES if change != "clean"]
    np.testing.assert_allclose(readings["psnr"][changed], 1)
    assert readings["psnr"]["clean"] == 0
    assert readings["cba"]["sign_flips"] > 0.6
    assert readings["cba"][["clean", "blur", "noise", "texture", "bars", "ramp"]].abs().max() < 0.35
    assert readings["spectrum"]["noise"] > 0.4
    assert readings["spectrum"]["blur"] < -0.4
    assert readings["spectrum"]["clean"] == 0
