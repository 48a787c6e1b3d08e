import numpy as np
import pandas as pd
import pytest
from PIL import Image as Pillow

from deconvbench.studies.validation.images import make_rng
from deconvbench.studies.validation.lookalikes import (
    compress,
    demosaic,
    diffuse_errors,
    dither_ordered,
    draw_text,
    read_lookalikes,
    read_pages,
    repeat_pixels,
    resample,
    summarise_lookalikes,
)
from deconvbench.studies.validation.photographs import Photograph, Pixels, list_bundled, to_grey


@pytest.fixture
def pixels() -> Pixels:
    return np.ascontiguousarray(list_bundled().find("chelsea").read()[:64, :64])


def make_plain(colour: tuple[int, int, int]) -> Pixels:
    return np.full((64, 64, 3), colour, dtype=np.uint8)


@pytest.mark.parametrize("times", [2, 4, 8])
def test_repeated_pixels_are_blocks_of_their_mean(pixels: Pixels, times: int) -> None:
    image = repeat_pixels(pixels, times)
    blocks = image.reshape(64 // times, times, 64 // times, times)
    assert np.ptp(blocks, axis=(1, 3)).max() == 0
    assert blocks[0, 0, 0, 0] == pytest.approx(to_grey(pixels)[:times, :times].mean())


def test_resampling_loses_detail_and_keeps_size(pixels: Pixels) -> None:
    image = resample(pixels, 1.5, Pillow.Resampling.BILINEAR)
    assert image.shape == (64, 64)
    assert np.array_equal(image, np.rint(image))
    grey = to_grey(pixels)
    assert np.diff(image).std() < np.diff(grey).std()
    assert np.abs(image - grey).mean() < 10


def test_jpeg_is_the_worse_the_lower_its_quality(pixels: Pixels) -> None:
    grey = to_grey(pixels)
    errors = [float(np.abs(compress(pixels, quality) - grey).mean()) for quality in (30, 75, 95)]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] > 0


@pytest.mark.parametrize("grey", [40, 128, 200])
def test_dithering_keeps_the_mean(grey: int) -> None:
    plain = make_plain((grey, grey, grey))
    for image in (diffuse_errors(plain), dither_ordered(plain, 4), dither_ordered(plain, 8)):
        assert set(np.unique(image)) == {0, 1}
        assert image.mean() == pytest.approx(grey / 255, abs=0.04)


def test_ordered_dithering_of_a_plain_colour_repeats_with_its_matrix() -> None:
    image = dither_ordered(make_plain((100, 100, 100)), 4)
    np.testing.assert_array_equal(image[:4, :4], image[4:8, 8:12])
    assert not np.array_equal(image[:2, :2], image[:2, 2:4])


def test_a_plain_colour_survives_the_mosaic_and_detail_does_not(pixels: Pixels) -> None:
    plain = make_plain((10, 130, 200))
    np.testing.assert_allclose(demosaic(plain), to_grey(plain))
    assert np.abs(demosaic(pixels) - to_grey(pixels)).max() > 1


def test_text_is_ink_on_paper_and_the_same_every_time() -> None:
    page = draw_text(13)
    assert page.shape == (256, 256)
    assert 0.5 < np.mean(page > 200) < 0.95
    assert page.min() < 50
    np.testing.assert_array_equal(page, draw_text(13))


def test_pictures_of_a_photograph_are_read_in_deviations_of_their_own() -> None:
    noise = make_rng(0).integers(0, 256, (300, 310, 3), dtype=np.uint8)
    frame = pd.DataFrame(read_lookalikes(Photograph(name="noise", size=(300, 310), read=lambda: noise)))
    assert set(frame["content"]) == {"noise"}
    assert not frame.duplicated(["picture", "period"]).any()
    assert (frame["block_level"].isna() == (frame["period"] < 4)).all()
    assert not frame.drop(columns=["block_amplitude", "block_level"]).isna().any(axis=None)
    repeated = frame.set_index("picture").loc["pixels repeated ×8"]
    assert repeated["block_amplitude"] > repeated["block_level"]
    dithered = frame.set_index("picture").loc["dithered, Bayer matrix 8×8"]
    assert dithered["measured"] > dithered["detection_level"]


def test_a_picture_that_is_all_black_is_left_out() -> None:
    black = make_rng(0).integers(0, 2, (256, 256, 3), dtype=np.uint8)
    found = {row["picture"] for row in read_lookalikes(Photograph(name="b", size=(256, 256), read=lambda: black))}
    assert "as it is" in found
    assert "dithered, Bayer matrix 4×4" not in found


def test_pages_are_read_at_every_period() -> None:
    frame = pd.DataFrame(read_pages())
    assert len(frame) == 4 * 5
    assert frame["picture"].nunique() == 3


def test_answers_are_counted() -> None:
    rows = [
        {
            "picture": "a", "content": str(place), "period": 4, "measured": measured, "detection_level": 0.1,
            "block_amplitude": blocks, "block_level": 0.2,
        }
        for place, (measured, blocks) in enumerate([(-0.1, 0.1), (0.05, 0.3), (0.3, 0.4)])
    ]  # fmt: skip
    (row,) = summarise_lookalikes(pd.DataFrame(rows)).to_dict("records")
    assert (row["images"], row["found"], row["blocks_read"], row["blocks_found"]) == (3, 1, 3, 2)
    assert (row["middle"], row["most"], row["amplitude"]) == pytest.approx((0.5, 3, 0.05))
