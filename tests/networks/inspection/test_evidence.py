"""What an audit shows beside its numbers."""

import json

import numpy as np
import pytest
import torch
from torch import nn

import deconvbench
from deconvbench.measure.picture import map_amplitudes
from deconvbench.networks.inspection.comparing import Ripple
from deconvbench.networks.inspection.evidence import make_evidence
from deconvbench.networks.inspection.inputs import OutputRange
from deconvbench.records.audit import Audit
from deconvbench.records.evidence import Evidence
from tests.networks.inspection.networks import make_espcn


def make_board(channels: int = 3) -> nn.Module:
    """Make a network that gives its input in twice the size, with ±4 levels on alternate columns."""
    layer = nn.ConvTranspose2d(channels, channels, 2, 2, groups=channels, bias=False)
    with torch.no_grad():
        layer.weight.copy_(1 + torch.tensor([[1.0, -1.0], [1.0, -1.0]]) * 8 / 255)
    return layer


def audit(model: nn.Module, example: torch.Tensor) -> tuple[Audit, Evidence]:
    found = deconvbench.audit(model, example, evidence=True, output_range=(0, 1))
    assert found.evidence is not None
    return found, found.evidence


def test_the_picture_is_the_middle_of_the_output_and_the_map_is_its_own() -> None:
    example = torch.full((1, 3, 150, 140), 0.5) + 1e-3 * torch.rand(1, 3, 150, 140)
    found, evidence = audit(make_board(), example)
    picture, ripple_map = evidence.picture, evidence.ripple_map
    assert picture is not None
    assert ripple_map is not None
    assert (picture.height, picture.width, picture.channels) == (256, 256, 3)
    pixels = np.frombuffer(picture.read_levels(), np.uint8).reshape(256, 256, 3)
    again = map_amplitudes(torch.from_numpy(pixels.copy()).permute(2, 0, 1), 2)
    # 8-bit levels are rounded
    np.testing.assert_allclose(np.array(ripple_map.amplitudes), again.amplitudes, atol=0.3)
    assert (ripple_map.period, ripple_map.window, ripple_map.rows) == (2, again.window, again.rows)
    assert found.real[2] > 1


def test_the_pattern_is_that_of_the_strongest_colour_and_its_spectrum_peaks_at_its_frequency() -> None:
    _, evidence = audit(make_board(), torch.rand(1, 3, 64, 64))
    pattern, spectrum = np.array(evidence.flat_pattern), evidence.flat_spectrum
    assert pattern.shape == (2, 2, 3)
    # columns alternate, rows do not
    np.testing.assert_allclose(pattern[0], pattern[1], atol=1e-4)
    np.testing.assert_allclose(pattern[:, 0], -pattern[:, 1], atol=1e-4)
    assert 1 < np.abs(pattern).max() < 8
    assert spectrum is not None
    # the Laplacian makes it four times as large; half of the axes has it
    assert spectrum[-1] == pytest.approx(16 * float((pattern[0, 0] ** 2).mean()) / 2, rel=1e-3)
    assert max(spectrum[:-4]) < 1e-3 * spectrum[-1]
    assert evidence.spectrum is not None
    assert evidence.spectrum[-1] > 10 * float(np.median(evidence.spectrum))


def test_it_is_small_and_comes_back_from_json() -> None:
    torch.manual_seed(0)
    noisy = nn.Sequential(nn.ConvTranspose2d(3, 3, 4, 2, 1), nn.Conv2d(3, 3, 3))
    found, _ = audit(noisy, torch.rand(1, 3, 160, 160))
    text = json.dumps(found.to_dict(), allow_nan=False)
    assert len(text) < 300_000
    again = Audit.from_dict(json.loads(text))
    assert again.evidence == found.evidence
    assert len(json.dumps(found.to_dict(evidence=False))) < 10_000


def test_grey_and_other_channels_show_one() -> None:
    _, grey = audit(make_espcn(2), torch.rand(1, 1, 64, 64))
    _, many = audit(make_board(5), torch.rand(1, 5, 64, 64))
    for evidence in (grey, many):
        assert evidence.picture is not None
        assert evidence.picture.channels == 1
        assert np.array(evidence.flat_pattern).shape == (2, 2, 1)


def test_what_cannot_be_made_is_none() -> None:
    infinite = [torch.full((1, 3, 64, 64), float("nan"))]
    sound = [torch.rand(1, 3, 64)]
    for maps in (infinite, sound, []):
        assert make_evidence(maps, OutputRange(0.0, 1.0), Ripple()) == Evidence()
    assert deconvbench.audit(make_board(), torch.rand(1, 3, 32, 32)).evidence is None
    _, evidence = audit(nn.ConvTranspose1d(3, 3, 4, 2, 1), torch.rand(1, 3, 64))
    assert evidence == Evidence()
