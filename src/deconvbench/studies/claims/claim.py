"""What a claim is, what it rests on, and what was found of it.

Plain data: experiments and rules are functions that live elsewhere.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from deconvbench.errors import UsageError
from deconvbench.records.effects import Effect
from deconvbench.system.notebook import write_html
from deconvbench.tables.files import Tables
from deconvbench.tables.trained import Trained

# numbers by name, each with its unit in the name; None where it could not be told
Evidence = Mapping[str, float | None]


class Verdict(StrEnum):
    """What the evidence says of a claim."""

    SUPPORTED = "supported"
    PARTLY = "partly"
    REFUTED = "refuted"
    # nothing was measured, or the evidence straddles the limit
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What a rule makes of evidence.

    Parameters
    ----------
    verdict : Verdict
        Follows from the numbers alone.
    sentence : str
        One sentence for the reader, with the numbers that decided.
    holds : str
        One sentence on which parts of the claim hold, which do not, and which stay open, without the numbers.
    effects : tuple of Effect
        The numbers that decided, the most important first; empty where nothing was measured.
    size : str
        How large the experiment was: ``12 seeds × 12 images, 1500 steps``; empty where nothing was measured.
    is_open : bool
        Whether a part of it is undecided, which narrower intervals might decide; always so where all of it is.
    """

    verdict: Verdict
    sentence: str
    holds: str = ""
    effects: tuple[Effect, ...] = ()
    size: str = ""
    is_open: bool = False

    def __post_init__(self) -> None:
        if self.verdict is Verdict.UNDECIDED:
            object.__setattr__(self, "is_open", True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What experiments may read, beside what they measure themselves.

    Parameters
    ----------
    tables : Tables or None
        Of a run: what layers cost.
    trained : Trained
        Results of training experiments; may be empty.
    confidence : float
        Level of intervals that rest on trained networks.
    memory : dict
        What experiments have read already, shared by all contexts that were made from one.
    """

    tables: Tables | None
    trained: Trained
    confidence: float = 0.95
    memory: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A statement of the article, or of the paper that it rests on, with the experiment that decides it.

    Parameters
    ----------
    id : int
        Its number in the claims table, from 1.
    text : str
        The statement.
    source : str
        The figure or section that it comes from, in the article (A) or in Odena et al. 2016 (O).
    figure : str or None
        Name of the figure in our report that shows it.
    measure : callable
        Gathers the evidence; empty, or lacking names, where there is nothing to read.
    judge : callable
        Turns evidence into a verdict and a sentence; a pure function.
    is_trained : bool
        Whether it rests on trained networks: the family whose intervals are widened together.

    Raises
    ------
    UsageError
        If the number is below 1, or a text is empty.
    """

    id: int
    text: str
    source: str
    figure: str | None
    measure: Callable[[Context], Evidence]
    judge: Callable[[Evidence], Finding]
    is_trained: bool = False

    def __post_init__(self) -> None:
        if self.id < 1:
            raise UsageError(f"id: {self.id} is below 1")
        for name in ("text", "source"):
            if not getattr(self, name).strip():
                raise UsageError(f"{name}: is empty; claim {self.id} needs one")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimResult:
    """A claim with what was found of it.

    Parameters
    ----------
    claim : Claim
        The statement.
    evidence : mapping of str to float, int or None
        What it rests on, finite numbers only.
    finding : Finding
        What its rule makes of the evidence.
    confidence : float
        Level of the intervals.
    """

    claim: Claim
    evidence: Evidence
    finding: Finding
    confidence: float = 0.95

    def _repr_html_(self) -> str:
        rows = [(name, None if value is None else f"{value:.4g}") for name, value in self.evidence.items()]
        title = f"{self.claim.id}. {self.claim.text} ({self.claim.source}): {self.finding.verdict}"
        return write_html(title, ("evidence", "value"), rows, [self.finding.sentence])

    def to_dict(self) -> dict[str, Any]:
        """Lay it out as a row of ``claims.json``: plain data.

        Returns
        -------
        dict
            ``id, claim, source, verdict, evidence, sentence, holds, effects, size, confidence, figure``.
        """
        return {
            "id": self.claim.id,
            "claim": self.claim.text,
            "source": self.claim.source,
            "verdict": str(self.finding.verdict),
            "evidence": dict(self.evidence),
            "sentence": self.finding.sentence,
            "holds": self.finding.holds,
            "effects": [asdict(effect) for effect in self.finding.effects],
            "size": self.finding.size,
            "confidence": self.confidence,
            "figure": self.claim.figure,
        }


def tidy_evidence(evidence: Evidence) -> dict[str, float | None]:
    """Turn evidence into plain numbers, and what is not finite into None.

    Parameters
    ----------
    evidence : mapping
        Numbers of any kind by name.
    """
    return {name: _tidy(value) for name, value in evidence.items()}


def _tidy(value: Any) -> float | None:
    if value is None or not math.isfinite(value):
        return None
    number = float(value)
    # counts stay whole: numpy's integers are not ints
    return int(number) if hasattr(value, "__index__") else number
