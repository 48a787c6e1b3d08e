import numpy as np
import pytest

from deconvbench.errors import UsageError
from deconvbench.studies.validation.distortions import CHANGES, CHECKERBOARDS, blur_by, draw_texture, make_changes
from deconvbench.studies.validation.images import draw_discs, draw_one_over_f, make_rng, measure_frequency


@pytest.fixture
def clean() -> np.ndarray:
    return draw_one_over_f(make_rng(0), 128)


@pytest.mark.parametrize("amplitude", [0.01, 0.03, 0.3])
def test_all_changes_have_one_rms(clean: np.ndarray, amplitude: float) -> None:
    changed = make_changes(clean, make_rng(1), amplitude)
    assert tuple(changed) == CHANGES
    for name, image in changed.items():
        rms = np.sqrt(np.mean((image - clean) ** 2))
        assert rms == pytest.approx(0 if name == "clean" else amplitude, rel=1e-9), name
    np.testing.assert_array_equal(changed["clean"], clean)


def test_only_the_checkerboards_alternate(clean: np.ndarray) -> None:
    for name, image in make_changes(clean, make_rng(1), 0.1).items():
        change = np.abs(image - clean)
        assert np.allclose(change, 0.1) == (name in CHECKERBOARDS), name


def test_the_sign_flips_between_regions_and_nowhere_else(clean: np.ndarray) -> None:
    changed = make_changes(clean, make_rng(1), 0.1, region=32)
    ratio = (changed["sign_flips"] - clean) / (changed["checkerboard"] - clean)
    assert set(np.unique(np.rint(ratio))) == {-1, 1}
    blocks = ratio.reshape(4, 32, 4, 32)
    assert np.ptp(blocks, axis=(1, 3)).max() < 1e-9


def test_changes_fit_images_that_are_not_square() -> None:
    image = draw_discs(make_rng(0), 128)[:, :100]
    assert {changed.shape for changed in make_changes(image, make_rng(0), 0.03).values()} == {(128, 100)}


def test_texture_is_fine_and_nothing_else() -> None:
    power = np.abs(np.fft.rfft2(draw_texture(make_rng(0), (64, 64)))) ** 2
    frequency = measure_frequency(64, 64)
    band = (frequency > 0.3) & (frequency < 0.5)
    assert power[~band].max() < 1e-20 * power.max()
    assert np.mean(power[band] > 0) == 1


def test_no_blur_gives_the_image_back(clean: np.ndarray) -> None:
    np.testing.assert_array_equal(blur_by(clean, 0), clean)


def test_more_than_any_blur_does_is_refused(clean: np.ndarray) -> None:
    with pytest.raises(UsageError, match="amplitude: 5 is more than any blur changes this image by"):
        blur_by(clean, 5)
