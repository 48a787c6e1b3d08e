"""All that is measured on one picture: alone or in tiles, found or asked for, and where it is."""

import math

import numpy as np
import pytest
import torch
from PIL import Image

from deconvbench.errors import UsageError
from deconvbench.measure import picture as module
from deconvbench.measure.artifacts import checkerboard, find_period
from deconvbench.measure.artifacts.enlargement import Enlargement
from deconvbench.measure.artifacts.even_grid import measure_even_amplitude
from deconvbench.measure.picture import map_amplitudes, measure_picture, pool_checkerboard


def draw(height: int = 128, width: int = 160, channels: int = 1, amplitude: float = 0.0) -> torch.Tensor:
    """Smooth noise of 8-bit levels with a checkerboard."""
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((channels, height, width)).cumsum(1).cumsum(2)
    noise = 128 + 100 * noise / np.abs(noise).max() + rng.standard_normal(noise.shape)
    board = np.indices((height, width)).sum(0) % 2 * 2 - 1
    return torch.from_numpy(np.rint(noise + amplitude * board).clip(0, 255).astype(np.uint8))


def test_one_picture_is_measured_as_the_scores_measure_it() -> None:
    values = draw(amplitude=3)
    found = measure_picture(values)
    board = checkerboard(values, 2, channels="first")
    assert (found.period, found.read_period, found.is_given) == (2, 2, False)
    assert found.amplitude == measure_even_amplitude(values, 2, channels="first").amplitude
    assert found.amplitude == pytest.approx(board.amplitude, rel=0.02)
    assert found.detection_level == board.detection_level
    assert found.strength == find_period(values, channels="first").strength > found.strength_level
    assert abs(found.stretch) <= 0.001
    assert [one.period for one in found.blocks] == [8, 16]
    assert not found.is_sampled


def test_where_nothing_stands_out_the_usual_scales_are_read() -> None:
    found = measure_picture(draw())
    assert (found.period, found.read_period) == (None, 8)
    assert set(found.by_scale) == {2, 4, 8}
    assert math.isnan(found.stretch)
    assert found.direction == ""
    assert measure_picture(draw(64, 64)).read_period == 4


def test_fainter_lines_of_a_longer_period_are_named_beside_it() -> None:
    coarse = torch.from_numpy(np.random.default_rng(1).standard_normal((8, 8)) * 0.7).repeat(16, 20)
    values = draw(amplitude=3) + coarse
    assert find_period(values, channels="first").period == 8
    found = measure_picture(values)
    assert (found.period, found.read_period) == (2, 2)
    assert found.amplitude == pytest.approx(3, rel=0.1)
    assert 0 < found.fainter[8] < 0.4 * found.amplitude


def test_a_period_that_is_asked_for_is_not_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "find_period", lambda *_, **__: pytest.fail("looked for"))
    found = measure_picture(draw(), 3)
    assert (found.period, found.read_period, found.is_given) == (3, 3, True)
    assert math.isnan(found.strength)
    with pytest.raises(UsageError, match="too few for period 8"):
        measure_picture(draw(64, 64), 8)


@pytest.mark.parametrize("period", [None, 2])
def test_what_is_too_small_for_any_period_is_refused(period: int | None) -> None:
    with pytest.raises(UsageError, match="^40×31 pixels are too few; at least 32×32 are needed$"):
        measure_picture(draw(31, 40), period)
    assert measure_picture(draw(32, 40), period).read_period is not None


def test_a_difference_that_is_nothing_has_nothing() -> None:
    found = measure_picture(torch.zeros(3, 128, 128))
    assert found.period is None
    assert (found.amplitude, found.detection_level) == (0, 0.01)
    assert {(one.amplitude, one.detection_level) for one in found.blocks} == {(0, 0.01)}


@pytest.mark.parametrize("period", [None, 2])
def test_a_picture_with_no_level_is_judged_by_how_far_its_period_stands_out(period: int | None) -> None:
    found = measure_picture(draw(36, 36, amplitude=20), period)
    assert (found.period, found.is_given) == (2, period is not None)
    assert math.isnan(found.detection_level)
    assert found.strength > found.strength_level
    clean = measure_picture(draw(36, 36), 2)
    assert clean.strength < clean.strength_level


@pytest.mark.parametrize(("factor", "is_nearest"), [(2, True), (3, False), (4, False)])
def test_an_enlarged_picture_is_known(factor: int, is_nearest: bool) -> None:
    small = Image.fromarray(draw(96, 96)[0].numpy())
    kind = Image.Resampling.NEAREST if is_nearest else Image.Resampling.BILINEAR
    large = torch.from_numpy(np.array(small.resize((96 * factor, 96 * factor), kind)))[None]
    assert measure_picture(large, 2).enlargement == Enlargement(factor=factor, is_nearest=is_nearest)
    assert measure_picture(draw(96, 96), 2).enlargement is None


def test_a_large_picture_is_read_as_checkerboard_reads_it() -> None:
    values = draw(528, 512, amplitude=3)
    assert measure_picture(values, 2).amplitude == checkerboard(values, 2, channels="first").amplitude


def test_tiles_make_what_their_batch_makes(monkeypatch: pytest.MonkeyPatch) -> None:
    values = draw(128, 256, channels=3, amplitude=2)
    monkeypatch.setattr(module, "_TILE", 128)
    found = pool_checkerboard(values, 2)
    whole = checkerboard(torch.stack([values[..., :128], values[..., 128:]]), 2)
    assert found.amplitude == pytest.approx(whole.amplitude)
    assert found.detection_level == pytest.approx(whole.detection_level)
    assert found.noise_level == pytest.approx(whole.noise_level)
    assert found.by_scale == pytest.approx(dict(whole.by_scale))


@pytest.mark.parametrize("shape", [(600, 600), (130, 5000), (5000, 130), (513, 512)], ids=str)
def test_of_a_large_picture_four_squares_stand_for_it(shape: tuple[int, int]) -> None:
    values = torch.arange(shape[0] * shape[1], dtype=torch.float64).reshape(1, *shape)
    sample = module._take_sample(values)
    assert sample.shape == (4, 1, min(shape[0], 256), min(shape[1], 256))
    starts = sample[:, 0, 0, 0]
    assert len(set(starts.tolist())) == 4
    # blocks lie in the same place in all of them
    assert all(start // shape[1] % 64 == 0 and start % shape[1] % 64 == 0 for start in starts.tolist())


def test_the_map_shows_where_the_pattern_is() -> None:
    values = draw(256, 256)
    values[:, :128, :128] = draw(256, 256, amplitude=8)[:, :128, :128]
    rows: list[tuple[int, int]] = []
    found = map_amplitudes(values, 2, lambda done, total: rows.append((done, total)))
    assert found.window == 64
    assert found.amplitudes.shape == (7, 7)
    assert found.rows[0] == 0
    assert found.rows[-1] == 256
    assert len(found.rows) == len(found.columns) == 8
    above = found.amplitudes > found.detection_levels
    assert above[:3, :3].all()
    assert not above[4:, 4:].any()
    assert found.amplitudes[:3, :3] == pytest.approx(8, rel=0.1)
    assert rows == [(number, 7) for number in range(1, 8)]


def test_a_large_map_has_larger_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_WINDOWS", 16)
    found = map_amplitudes(draw(256, 256), 2)
    assert found.window > 64
    assert found.amplitudes.size <= 36


@pytest.mark.parametrize(
    ("height", "width"),
    [
        (480, 640),
        (400, 800),
        (480, 854),
        (450, 600),
        (300, 1000),
        (700, 450),
        (444, 1350),
        (200, 2000),
        (3000, 90),
    ],
    ids="{}".format,
)
def test_pictures_of_any_shape_have_four_whole_squares_inside(height: int, width: int) -> None:
    values = torch.arange(height * width, dtype=torch.float64).reshape(1, height, width)
    sample = module._take_sample(values)
    assert sample.shape == (4, 1, min(height, 256), min(width, 256))
    first = sample[:, 0, 0, 0].long()
    assert set((first // width % 64).tolist()) == set((first % width % 64).tolist()) == {0}
