"""Results in words: one line that says what was found, how much of it, in which unit, and how sure that is.

Knows no result by its type: each hands over its numbers. Standard library only.
"""

import math
from collections.abc import Mapping


def describe_amplitude(
    name: str,
    amplitude: float,
    detection_level: float,
    *,
    unit: str,
    period: int,
    shares: Mapping[int, float] | None = None,
) -> str:
    """Say whether a periodic pattern was found in an image, and how strong it is.

    Parameters
    ----------
    name : str
        What was looked for, such as ``checkerboard``.
    amplitude : float
        What was measured.
    detection_level : float
        What an image without the pattern stays below; NaN where it is not known.
    unit : str
        Of both.
    period : int
        In pixels.
    shares : mapping of int to float or None
        Amplitude by period, named where there are several and the pattern was found.

    Returns
    -------
    str
        One line.
    """
    found = f"{name}: {amplitude:.3g} {unit} (period {period})"
    if math.isnan(detection_level):
        return f"{found}, too few patches for a detection level"
    if amplitude > detection_level:
        text = f"{found}, above the detection level of {detection_level:.3g}"
        if shares is not None and len(shares) > 1:
            parts = ", ".join(f"{max(share, 0.0):.3g} of period {scale}" for scale, share in shares.items())
            text += f": {parts}"
        return text
    if amplitude == detection_level == 0:
        return f"no {name} found: the image has nothing that repeats (period {period})"
    return f"no {name} found: below the detection level of {detection_level:.3g} {unit} (period {period})"
