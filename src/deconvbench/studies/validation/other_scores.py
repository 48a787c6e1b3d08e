"""What others use to see a checkerboard, as numbers in the image's units so that they can be compared with ours.

Each is given its best chance: the two that need a clean image get the very image that was changed, which is
unavailable in practice, and one form of the spectrum is cut to the frequencies of the grid. numpy in, number out.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from skimage.metrics import peak_signal_noise_ratio

from deconvbench.errors import UsageError
from deconvbench.studies.validation.images import Image

# cycles per pixel: a checkerboard of period 2 lies above it, with a margin for one whose sign flips
LOWEST_HIGH_FREQUENCY = 0.45


@dataclass(frozen=True, slots=True, kw_only=True)
class AzimuthalProfile:
    """The power of an image by its distance from zero frequency.

    Parameters
    ----------
    energy : ndarray, shape (R,), float64
        Summed over each ring, in squared units of the image; all rings together give its mean square.
    bins : ndarray, shape (R,), int64
        Bins of the transform in each ring.
    size : int
        The image's smaller side: ring r is at r / size cycles per pixel.
    """

    energy: npt.NDArray[np.float64]
    bins: npt.NDArray[np.int64]
    size: int

    @property
    def mean_power(self) -> npt.NDArray[np.float64]:
        """Power per bin, shape (R,), the curve that is usually drawn."""
        return self.energy / self.bins


def spread_of_phase_means(image: Image, period: int) -> float:
    """Measure the naive checkerboard: the deviation of the P×P phase means.

    Parameters
    ----------
    image : ndarray, shape (H, W)
        At least one period high and wide; what is left of whole periods at the end is not used.
    period : int
        P.

    Returns
    -------
    float
        Units of the image, at least 0, best 0. Reads the content too, and not a checkerboard whose sign flips.

    Raises
    ------
    UsageError
        If the image is smaller than a period.
    """
    rows, columns = (side // period for side in image.shape)
    if rows == 0 or columns == 0:
        raise UsageError(f"image: {image.shape[0]}×{image.shape[1]} is smaller than period {period}")
    whole = image[: rows * period, : columns * period]
    return float(whole.reshape(rows, period, columns, period).mean(axis=(0, 2)).std())


def profile_spectrum(image: Image) -> AzimuthalProfile:
    """Gather the power spectrum over rings of equal frequency, out to the corner of the spectrum.

    Parameters
    ----------
    image : ndarray, shape (H, W)
        In grey.

    Returns
    -------
    AzimuthalProfile
        One ring for each whole multiple of 1/min(H, W) cycles per pixel, to the nearest.

    References
    ----------
    Durall, Keuper, Keuper, "Watch your Up-Convolution: CNN Based Generative Deep Neural Networks are Failing to
    Reproduce Spectral Distributions", CVPR 2020, arXiv:2003.01826, section 3: azimuthal integration.
    """
    height, width = image.shape
    power = np.abs(np.fft.fft2(image)) ** 2 / image.size**2
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None, :])
    size = min(height, width)
    ring = np.rint(frequency * size).astype(np.int64).ravel()
    return AzimuthalProfile(
        energy=np.bincount(ring, power.ravel()).astype(np.float64), bins=np.bincount(ring), size=size
    )


def average_profiles(profiles: list[AzimuthalProfile]) -> AzimuthalProfile:
    """Average profiles of images of one size, as the paper does over its real images.

    Parameters
    ----------
    profiles : list of AzimuthalProfile
        At least one.

    Returns
    -------
    AzimuthalProfile

    Raises
    ------
    UsageError
        If their sizes differ.
    """
    first = profiles[0]
    if any(not np.array_equal(profile.bins, first.bins) for profile in profiles):
        raise UsageError("profiles: are of images of different sizes; one size is needed")
    energy = np.mean([profile.energy for profile in profiles], axis=0)
    return AzimuthalProfile(energy=energy, bins=first.bins, size=first.size)


def measure_high_frequencies(
    profile: AzimuthalProfile, reference: AzimuthalProfile, lowest: float = LOWEST_HIGH_FREQUENCY
) -> float:
    """Turn a profile into a number: the energy above a frequency that the reference does not have.

    The paper feeds the whole profile to a classifier; this is the form of it that favours it most as a score of
    checkerboards. The sign is kept: a lack of high frequencies is not
    taken for a checkerboard, though it hides one.

    Parameters
    ----------
    profile, reference : AzimuthalProfile
        Of the image and of what it is compared with: the clean image itself, or the mean of clean images.
    lowest : float
        Cycles per pixel from which on a ring counts.

    Returns
    -------
    float
        Signed RMS amplitude in the image's units; a checkerboard of period 2 and RMS a reads a.
    """
    return _excess(profile, reference, _list_high_rings(profile, lowest))


def measure_grid_rings(profile: AzimuthalProfile, reference: AzimuthalProfile, period: int) -> float:
    """Turn a profile into a number as selective as it can be: only the rings that hold lines of the grid.

    Parameters
    ----------
    profile, reference : AzimuthalProfile
        As for `measure_high_frequencies`.
    period : int
        P; the rings of all its lines (i/P, j/P) count.

    Returns
    -------
    float
        Signed RMS amplitude in the image's units.
    """
    return _excess(profile, reference, _list_grid_rings(profile, period))


def _list_high_rings(profile: AzimuthalProfile, lowest: float) -> npt.NDArray[np.int64]:
    return np.arange(int(np.ceil(lowest * profile.size)), len(profile.energy), dtype=np.int64)


def _list_grid_rings(profile: AzimuthalProfile, period: int) -> npt.NDArray[np.int64]:
    steps = np.arange(period) / period
    steps = np.where(steps > 0.5, steps - 1, steps)
    distance = np.hypot(steps[:, None], steps[None, :]).ravel()[1:]
    return np.unique(np.rint(distance * profile.size).astype(np.int64))


def _excess(profile: AzimuthalProfile, reference: AzimuthalProfile, rings: npt.NDArray[np.int64]) -> float:
    energy = float(np.sum(profile.energy[rings] - reference.energy[rings]))
    return float(np.sign(energy) * np.sqrt(abs(energy)))


def sum_high_frequencies(profile: AzimuthalProfile, lowest: float = LOWEST_HIGH_FREQUENCY) -> float:
    """Turn a profile into a number, without a reference: all that lies above a frequency.

    Parameters
    ----------
    profile : AzimuthalProfile
        Of the image.
    lowest : float
        Cycles per pixel from which on a ring counts.

    Returns
    -------
    float
        RMS amplitude in the image's units.
    """
    return float(np.sqrt(profile.energy[_list_high_rings(profile, lowest)].sum()))


def sum_grid_rings(profile: AzimuthalProfile, period: int) -> float:
    """Turn a profile into a number, without a reference: all that lies in rings that hold lines of the grid.

    Parameters
    ----------
    profile : AzimuthalProfile
        Of the image.
    period : int
        P; the rings of all its lines (i/P, j/P) count.

    Returns
    -------
    float
        RMS amplitude in the image's units.
    """
    return float(np.sqrt(profile.energy[_list_grid_rings(profile, period)].sum()))


def measure_neighbours(image: Image) -> float:
    """Measure neighbouring pixel relationships (NPR): what halving and doubling by nearest takes from an image.

    Of each 2×2 block the upper left pixel is kept and repeated; the paper feeds x − up(down(x)) to a classifier.
    Its RMS is what there is of it without training.

    Parameters
    ----------
    image : ndarray, shape (H, W)
        At least 2×2; an odd last row or column is not used.

    Returns
    -------
    float
        RMS in the image's units, at least 0; 0 for an image upsampled ×2 by repeating pixels. Detail of any kind
        counts.

    References
    ----------
    Tan, Liu, Zhao, Wei, Gu, Liu, Wei, "Rethinking the up-sampling operations in CNN-based generative network for
    generalizable deepfake detection", CVPR 2024, arXiv:2312.10461, with l = 2 as there.
    """
    height, width = (side // 2 * 2 for side in image.shape)
    kept = image[:height:2, :width:2].repeat(2, axis=0).repeat(2, axis=1)
    return float(np.sqrt(np.mean((image[:height, :width] - kept) ** 2)))


def psnr_db(image: Image, clean: Image) -> float:
    """Measure PSNR against the clean image, whose own range from darkest to brightest is the peak.

    Parameters
    ----------
    image, clean : ndarray, shape (H, W)
        In the same units.

    Returns
    -------
    float
        Decibels; infinite where both are equal.
    """
    with np.errstate(divide="ignore"):  # equal images are not a mistake here
        psnr = peak_signal_noise_ratio(  # type: ignore[no-untyped-call] # scikit-image has no types here
            clean, image, data_range=np.ptp(clean)
        )
    return float(psnr)


def rms_of_psnr(psnr: float, clean: Image) -> float:
    """Read a PSNR as the RMS error that it stands for, in the image's units.

    Parameters
    ----------
    psnr : float
        Decibels, from `psnr_db`.
    clean : ndarray, shape (H, W)
        The image it was taken against.

    Returns
    -------
    float
        0 for infinite decibels.
    """
    return float(np.ptp(clean) * 10 ** (-psnr / 20))
