"""What the numbers of one picture mean: a checkerboard, something that is told apart from one, or nothing.

Judges plain numbers; measures nothing and reads no file.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

NOTHING, CHECKERBOARD, EITHER, STRIPES, TEXTURE = (
    "nothing",
    "checkerboard",
    "checkerboard or blocks",
    "stripes",
    "texture",
)
# formats that store blocks of 8 pixels, as Pillow calls them; phones write the second
_BLOCK_FORMATS = ("JPEG", "MPO")
_JPEG_PERIODS = (8, 16)
# share of the power in one direction that makes a pattern stripes
_ONE_WAY = 0.97
# a period is not a whole number if it is off by so many standard errors, and by such a share: planted grids of 3
# to 16 pixels are off by 1.5 and .0015 at most, screens of 4.1, 5.7 and 8.2 pixels by 4.5 and .013 at least
_ERRORS, _LEAST_STRETCH = 3.0, 0.005
# edges of longer blocks stand out more than those of shorter ones that they are among
_LONGER = 1.6
_NO_LEVEL = "with too few patches for a detection level"


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockEdges:
    """Steps at the edges of blocks, in 8-bit levels.

    Parameters
    ----------
    period : int
        Side of the blocks in pixels.
    amplitude, detection_level : float
        Their RMS, and what pictures without blocks stay below.
    """

    period: int
    amplitude: float
    detection_level: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureScore:
    """The score of one picture; amplitudes in 8-bit levels. ``str()`` says it in words.

    Parameters
    ----------
    name : str
        Of the file, as given, or by its path within the folder.
    width, height : int
        In pixels, of what was scored.
    format : str
        Of the file, in Pillow's words.
    period : int or None
        Period of the grid: found, or asked for; None where none stands out.
    is_given : bool
        Whether the period was asked for.
    strength, strength_level : float
        How far the period stands out, and how far it must; NaN where it was asked for.
    read_period : int or None
        Period that the amplitudes are of; None where there are none.
    amplitude, detection_level : float
        Signed amplitude of the grid, and what 97.7 % of photographs without one stay below; NaN where not known.
    by_scale : mapping of int to float
        Amplitude by the smallest period.
    fainter : mapping of int to float
        The same of lines of longer periods, which stand out too and are not in `amplitude`.
    blocks : BlockEdges or None
        Block edges that stand out; None where none do.
    one_way : float
        Share of the grid's power that repeats in one direction only; NaN where there is no grid.
    direction : str
        ``downward`` or ``to the right``; empty where there is no grid.
    stretch, stretch_error : float
        Share by which the pattern's period differs from `period`, and its standard error; NaN where there is no
        grid.
    notes : tuple of str
        What else a reader must know.
    """

    name: str
    width: int
    height: int
    format: str
    period: int | None
    is_given: bool
    strength: float
    strength_level: float
    read_period: int | None
    amplitude: float
    detection_level: float
    by_scale: Mapping[int, float]
    fainter: Mapping[int, float]
    blocks: BlockEdges | None
    one_way: float
    direction: str
    stretch: float
    stretch_error: float
    notes: tuple[str, ...] = ()

    @property
    def is_periodic(self) -> bool:
        """Whether something repeats: a period stands out, and its amplitude, where known, is above its level."""
        if self.period is None:
            return False
        if math.isnan(self.amplitude) or math.isnan(self.detection_level):
            return not self.is_given
        return self.amplitude > self.detection_level

    @property
    def exact_period(self) -> float:
        """Period with its stretch, in pixels; NaN where there is no grid."""
        return math.nan if self.period is None else self.period * (1 + self.stretch)

    @property
    def verdict(self) -> str:
        """One of ``nothing``, ``checkerboard``, ``checkerboard or blocks``, ``stripes``, ``texture``."""
        if not self.is_periodic:
            return NOTHING
        # comparisons with NaN are false
        if abs(self.stretch) > max(_ERRORS * self.stretch_error, _LEAST_STRETCH):
            return TEXTURE
        if self.one_way > _ONE_WAY:
            return STRIPES
        if self.period in _JPEG_PERIODS and (self.format in _BLOCK_FORMATS or self.blocks is not None):
            return EITHER
        if self.blocks is not None and self.period == self.blocks.period:
            return EITHER
        return CHECKERBOARD

    @property
    def is_grid(self) -> bool:
        """Whether it may be the grid of an upsampling layer, so that its amplitude counts against a limit."""
        return self.verdict in (CHECKERBOARD, EITHER, STRIPES)

    def exceeds(self, limit: float) -> bool:
        """Whether the amplitude of what may be a grid is above a limit, or not known to be below.

        Parameters
        ----------
        limit : float
            In 8-bit levels.
        """
        return self.is_grid and not self.amplitude <= limit

    def can_be_judged(self, limit: float) -> bool:
        """Whether a grid at a limit would have been seen.

        Parameters
        ----------
        limit : float
            In 8-bit levels.
        """
        return self.is_periodic or self.detection_level <= limit


def choose_blocks(found: Mapping[int, tuple[float, float]]) -> BlockEdges | None:
    """Choose the side of the blocks that a picture has.

    Parameters
    ----------
    found : mapping of int to (float, float)
        Amplitude and detection level by period, the shortest first.

    Returns
    -------
    BlockEdges or None
        The shortest that is above its level, or a longer one whose edges are stronger: blocks of 16 have
        half of the edges of a grid of 8, and all of their own. None where none is.
    """
    chosen: BlockEdges | None = None
    for period, (amplitude, level) in found.items():
        if amplitude > level and (chosen is None or amplitude**2 > _LONGER * chosen.amplitude**2):
            chosen = BlockEdges(period=period, amplitude=amplitude, detection_level=level)
    return chosen


def explain_verdict(score: PictureScore) -> str:
    """Say in words what was found in a picture, and what speaks for what it is.

    Parameters
    ----------
    score : PictureScore
        Any.
    """
    if not score.is_periodic:
        return _describe_nothing(score)
    amount = _describe_amount(score)
    verdict = score.verdict
    if verdict == TEXTURE:
        return (
            f"{amount}, but its period is about {score.exact_period:.3g} pixels, which is not a whole number: a"
            " screen, a weave or a resized pattern, not what an upsampling layer draws at this size"
        )
    if verdict == STRIPES:
        return (
            f"{amount}, but it repeats {score.direction} only: stripes of content or of a sensor, or an upsampling"
            " of one axis; the spectrum cannot tell which"
        )
    if verdict == EITHER:
        return (
            f"{amount}; a grid of an upsampling layer or the edges of blocks (JPEG, tiles): both have this period,"
            " and the spectrum cannot tell which"
        )
    return amount


def _describe_nothing(score: PictureScore) -> str:
    level = (
        "" if math.isnan(score.detection_level) else f"the detection level of {score.detection_level:.2g} levels"
    )
    if score.read_period is None:
        return "no grid found"
    if score.is_given:
        return f"no grid of period {score.period} found, {f'below {level}' if level else _NO_LEVEL}"
    if score.period is not None:
        return f"no grid found: period {score.period} stands out, but its amplitude is below {level}"
    if not level:
        return f"no grid found, {_NO_LEVEL}"
    if score.amplitude > score.detection_level:
        reading = f"though period {score.read_period} reads {score.amplitude:.2g}, above {level}"
        return f"no grid found: no period stands out, {reading}"
    return f"no grid found (period {score.read_period} is below {level})"


def _describe_amount(score: PictureScore) -> str:
    if math.isnan(score.amplitude):
        reason = "too long for an amplitude" if (score.period or 0) > 32 else "picture too small for an amplitude"
        return f"grid of period {score.period} ({reason})"
    text = f"grid of period {score.period}, {score.amplitude:.3g} levels"
    if len(score.by_scale) > 1:
        parts = (f"{max(0.0, share):.2g} of period {scale}" for scale, share in score.by_scale.items())
        text += f" ({', '.join(parts)})"
    if score.fainter:
        more = (f"{share:.2g} of period {scale}" for scale, share in score.fainter.items())
        text += f", and fainter {', '.join(more)}"
    return text
