import pandas as pd
import pytest

from deconvbench.studies.validation.invariances import CROPS, GAINS, measure_invariances


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return pd.DataFrame(measure_invariances(1, 128))


def test_every_property_is_measured(frame: pd.DataFrame) -> None:
    assert list(dict.fromkeys(frame["property"])) == [
        "pure", "ramp", "bars", "gain", "crop", "sign flips", "blur", "noise", "nearest",
    ]  # fmt: skip
    assert not frame.isna().any(axis=None)
    assert set(frame["seed"]) == {1}
    counts = frame.groupby("property").size()
    assert (counts["gain"], counts["crop"]) == (2 * len(GAINS), 4 * len(CROPS))


def test_readings_of_gained_images_are_in_units_of_the_image(frame: pd.DataFrame) -> None:
    gains = frame[frame["property"] == "gain"].groupby("content")["measured"]
    assert (gains.max() - gains.min()).max() < 1e-9
    assert gains.mean()["discs"] == pytest.approx(0.03, rel=0.2)


def test_what_is_exact_is_exact(frame: pd.DataFrame) -> None:
    readings = frame.set_index("property")["measured"]
    assert readings["pure"].to_list() == pytest.approx([0.1] * 4, rel=1e-3)
    assert readings["ramp"].abs().max() < 1e-12


def test_a_flipping_sign_costs_but_does_not_hide(frame: pd.DataFrame) -> None:
    flips = frame[frame["property"] == "sign flips"]
    assert flips["measured"].between(0.05, 0.11).all()
