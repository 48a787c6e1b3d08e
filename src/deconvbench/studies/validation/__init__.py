"""The checkerboard score put to the test: checkerboards of known amplitude, and what may be mistaken for one.

Stands above `measure` and `plots` and may use both; nothing else may use it but the command line.
"""

from deconvbench.studies.validation.study import StudySettings
from deconvbench.studies.validation.workflow import validate

__all__ = ["StudySettings", "validate"]
