"""Every score on the same changed images: ours and those of `other_scores`."""

from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd

from deconvbench.measure.artifacts.spectrum import checkerboard
from deconvbench.studies.validation.distortions import CHECKERBOARDS, make_changes
from deconvbench.studies.validation.images import Image, make_rng
from deconvbench.studies.validation.other_scores import (
    AzimuthalProfile,
    average_profiles,
    measure_grid_rings,
    measure_high_frequencies,
    profile_spectrum,
    psnr_db,
    rms_of_psnr,
    spread_of_phase_means,
)

CHANGE_RMS = 0.03  # σ: clearly above the detection level of one image, and invisible to most eyes

Row = dict[str, Any]
# clean images by content and seed
CleanImages = Mapping[tuple[str, int], Image]


def compare_scores(kind: str, draw: Callable[[], CleanImages]) -> list[Row]:
    """Change each clean image in every way and read every score.

    Parameters
    ----------
    kind : str
        What the images are, for the rows.
    draw : callable
        Gives clean images of one size and deviation 1.

    Returns
    -------
    list of dict
        ``kind, content, seed, change, has_checkerboard, score, value, unit, amplitude``.
    """
    clean = draw()
    profiles = {key: profile_spectrum(image) for key, image in clean.items()}
    # the mean includes the image's own clean counterpart, which favours the spectrum
    population = average_profiles(list(profiles.values()))
    rows: list[Row] = []
    for (content, seed), image in clean.items():
        for change, changed in make_changes(image, make_rng(seed, content, "changes"), CHANGE_RMS).items():
            about = {
                "kind": kind,
                "content": content,
                "seed": seed,
                "change": change,
                "has_checkerboard": change in CHECKERBOARDS,
            }
            readings = read_scores(changed, image, profiles[content, seed], population)
            rows += [{**about, **reading} for reading in readings]
    return rows


def read_scores(
    changed: Image, clean: Image, reference: AzimuthalProfile, population: AzimuthalProfile, *, period: int = 2
) -> list[Row]:
    """Read every score on one image.

    Parameters
    ----------
    changed, clean : ndarray, shape (H, W)
        The image, and what it was before.
    reference : AzimuthalProfile
        Of the clean image.
    population : AzimuthalProfile
        Mean of clean images of the kind, as the paper has it.
    period : int
        P.

    Returns
    -------
    list of dict
        ``score, value, unit, amplitude``, one for each score; `amplitude` in the image's units.
    """
    profile = profile_spectrum(changed)
    decibels = psnr_db(changed, clean)
    amplitudes = {
        "cba": checkerboard(changed, period=period).amplitude,
        "phase_means": spread_of_phase_means(changed, period),
        "spectrum": measure_high_frequencies(profile, reference),
        "spectrum_rings": measure_grid_rings(profile, reference, period),
        "spectrum_population": measure_high_frequencies(profile, population),
    }
    rows: list[Row] = [
        {"score": score, "value": amplitude, "unit": "σ", "amplitude": amplitude}
        for score, amplitude in amplitudes.items()
    ]
    psnr = {"score": "psnr", "value": decibels, "unit": "dB", "amplitude": rms_of_psnr(decibels, clean)}
    return [*rows, psnr]


def add_readings(alternatives: pd.DataFrame) -> pd.DataFrame:
    """Express each amplitude as a share of what its score reads, in the mean, on the plain checkerboard.

    Parameters
    ----------
    alternatives : DataFrame
        With ``score, change, amplitude``.

    Returns
    -------
    DataFrame
        The same with ``reading``.
    """
    plain = alternatives[alternatives["change"] == "checkerboard"].groupby("score")["amplitude"].mean()
    return alternatives.assign(reading=alternatives["amplitude"] / alternatives["score"].map(plain))


def summarise_scores(alternatives: pd.DataFrame) -> pd.DataFrame:
    """Average the readings over the images.

    Parameters
    ----------
    alternatives : DataFrame
        With ``score, change, has_checkerboard, reading``.

    Returns
    -------
    DataFrame
        ``change, has_checkerboard, score``; ``reading`` (mean), ``low, high`` (over single images).
    """
    groups = alternatives.groupby(["change", "has_checkerboard", "score"], sort=False)["reading"]
    return groups.agg(reading="mean", low="min", high="max").reset_index()
