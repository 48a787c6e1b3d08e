"""What the numbers of one picture mean: a checkerboard, something that is told apart from one, or nothing.

Judges plain numbers; measures nothing and reads no file.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

NOTHING, ENLARGED, CHECKERBOARD, EITHER, STRIPES, TEXTURE = (
    "nothing",
    "enlarged",
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
# edges of longer blocks have more energy than those of shorter ones that they are among, by that factor at least
_LONGER = 1.6
_NO_LEVEL = "too few patches for a detection level"


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
        How far the period stands out, and how far it must; NaN where it was asked for and has a detection level.
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
    enlargement : int or None
        Factor that the picture was probably enlarged by; None where it shows none.
    enlarged_by : str
        ``nearest neighbour`` or ``interpolation``; empty where it was not.
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
    enlargement: int | None = None
    enlarged_by: str = ""
    notes: tuple[str, ...] = ()

    @property
    def is_periodic(self) -> bool:
        """Whether something repeats: a period stands out, with an amplitude above its level, where it has one."""
        if self.period is None:
            return False
        if math.isnan(self.amplitude) or math.isnan(self.detection_level):
            return not self.is_given or self.strength > self.strength_level
        return self.amplitude > self.detection_level

    @property
    def exact_period(self) -> float:
        """Period with its stretch, in pixels; NaN where there is no grid."""
        return math.nan if self.period is None else self.period * (1 + self.stretch)

    @property
    def is_of_enlargement(self) -> bool:
        """Whether the period fits into one pixel of the smaller picture that this was enlarged from."""
        return self.enlargement is not None and self.period is not None and self.enlargement % self.period == 0

    @property
    def verdict(self) -> str:
        """What it is: nothing, enlarged, checkerboard, checkerboard or blocks, stripes, or texture."""
        if not self.is_periodic:
            return NOTHING
        return ENLARGED if self.is_of_enlargement else self._name_pattern()

    def _name_pattern(self) -> str:
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


def choose_blocks(found: Mapping[int, tuple[float, float, tuple[int, int]]]) -> BlockEdges | None:
    """Choose the side of the blocks that a picture has.

    Parameters
    ----------
    found : mapping of int to (float, float, (int, int))
        Amplitude, detection level and offset by period, the shortest first.

    Returns
    -------
    BlockEdges or None
        The shortest that is above its level, or a longer one whose edges are stronger than the others of the
        shorter one, by more than chance: of a grid of 8, too, every fourth edge can be taken for one of 32. None
        where none is.
    """
    chosen: BlockEdges | None = None
    place = (0, 0)
    for period, (amplitude, level, offset) in found.items():
        if amplitude <= level:
            continue
        if chosen is not None:
            rest = _find_rest(chosen, place, period, amplitude, offset)
            if amplitude**2 - rest <= level**2 or amplitude**2 <= _LONGER * rest:
                continue
        chosen, place = BlockEdges(period=period, amplitude=amplitude, detection_level=level), offset
    return chosen


def _find_rest(
    shorter: BlockEdges, place: tuple[int, int], period: int, amplitude: float, offset: tuple[int, int]
) -> float:
    """Energy of the edges of shorter blocks that are not edges of longer ones."""
    share = shorter.period / period
    is_among = period % shorter.period == 0 and all(
        (a - b) % shorter.period == 0 for a, b in zip(offset, place, strict=True)
    )
    energy = shorter.amplitude**2
    return max(0.0, (energy - share * amplitude**2) / (1 - share)) if is_among else energy


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
    if verdict == ENLARGED:
        return f"{amount}, which is that of the enlargement"
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
        unknown = f"it does not stand out, and there are {_NO_LEVEL}"
        return f"no grid of period {score.period} found{f', below {level}' if level else f': {unknown}'}"
    if score.period is not None:
        return f"no grid found: period {score.period} stands out, but its amplitude is below {level}"
    if not level:
        return f"no grid found: no period stands out, and there are {_NO_LEVEL}"
    if score.amplitude > score.detection_level:
        reading = f"though period {score.read_period} reads {score.amplitude:.2g}, above {level}"
        return f"no grid found: no period stands out, {reading}"
    return f"no grid found (period {score.read_period} is below {level})"


def _describe_amount(score: PictureScore) -> str:
    if math.isnan(score.amplitude):
        reason = "too long for an amplitude" if (score.period or 0) > 32 else "picture too small for an amplitude"
        return f"grid of period {score.period} ({reason})"
    text = f"grid of period {score.period}, {score.amplitude:.3g} levels"
    if math.isnan(score.detection_level):
        text += f" (judged by how far it stands out: {_NO_LEVEL})"
    if len(score.by_scale) > 1:
        parts = (f"{max(0.0, share):.2g} of period {scale}" for scale, share in score.by_scale.items())
        text += f" ({', '.join(parts)})"
    if score.fainter:
        more = (f"{share:.2g} of period {scale}" for scale, share in score.fainter.items())
        text += f", and fainter {', '.join(more)}"
    return text


def explain_enlargement(score: PictureScore) -> str:
    """Say in words how a picture was probably enlarged, and what follows; empty where it shows nothing of that.

    Parameters
    ----------
    score : PictureScore
        Any.
    """
    if score.enlargement is None:
        return ""
    return (
        f"probably enlarged {score.enlargement} times ({score.enlarged_by}): periods up to {score.enlargement} and"
        " block edges are those of the enlargement; score the picture at its own size"
    )
