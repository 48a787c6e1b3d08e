"""Artifact metrics of layers, networks and images, one a file: tensor in, number out.

Each metric is a pure function: no files, no global random state, no choice of device. A metric that is undefined
for what it is given (a response that is zero everywhere) is NaN, never a made-up number.
"""

from deconvbench.measure.artifacts.border import border_error
from deconvbench.measure.artifacts.effective_ripple import (
    CLEAN_EFFECTIVE_RIPPLE,
    effective_ripple,
    ripple_amplitude,
)
from deconvbench.measure.artifacts.flat_field import FlatFieldResult, flat_field_ripple
from deconvbench.measure.artifacts.gradients import gradient_overlap_cv, gradient_phase_means
from deconvbench.measure.artifacts.imaging import FLOOR_DB, image_rejection_db
from deconvbench.measure.artifacts.impulse import impulse_response
from deconvbench.measure.artifacts.mean_inputs import InputMeans, measure_mean_inputs
from deconvbench.measure.artifacts.noise import noise_gain_cv
from deconvbench.measure.artifacts.overlap import overlap_cv
from deconvbench.measure.artifacts.phases import phase_gains, split_phases
from deconvbench.measure.artifacts.ripple import phase_ripple
from deconvbench.measure.artifacts.spectrum import CheckerboardResult, checkerboard

__all__ = [
    "CLEAN_EFFECTIVE_RIPPLE",
    "FLOOR_DB",
    "CheckerboardResult",
    "FlatFieldResult",
    "InputMeans",
    "border_error",
    "checkerboard",
    "effective_ripple",
    "flat_field_ripple",
    "gradient_overlap_cv",
    "gradient_phase_means",
    "image_rejection_db",
    "impulse_response",
    "measure_mean_inputs",
    "noise_gain_cv",
    "overlap_cv",
    "phase_gains",
    "phase_ripple",
    "ripple_amplitude",
    "split_phases",
]
