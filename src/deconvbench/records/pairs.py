"""What a comparison of two commits records: one case, timed in two processes that take turns.

Plain data like every other record, and written to the same kind of journal. No torch, no pandas.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from deconvbench.records.case import Case
from deconvbench.records.conditions import Conditions
from deconvbench.records.finishing import finish_record

# of which commits a pair's two processes are: BASE and HEAD, or BASE twice
PAIRS = ("head", "control")
# two outputs are equal where the largest deviation is at most this share of the largest value
OUTPUT_TOLERANCES = {"float64": 1e-12, "float32": 1e-5, "bfloat16": 5e-2, "float16": 1e-2}


@dataclass(frozen=True, slots=True, kw_only=True)
class PairRecord:
    """One case timed in a pair of processes, block by block in turns, in one replicate.

    Parameters
    ----------
    case : Case
        What was measured.
    replicate : int
        Which pair of fresh processes, from 0.
    pair : str
        ``head``: BASE and HEAD; ``control``: BASE and BASE, to see what the machine alone makes of a ratio.
    seed : int
        Seed of the weights, the input and the order of the cases.
    status : str
        One of `STATUSES`; other than `ok` where one side failed, which `failed_side` names.
    message : str
        Empty when `ok`; otherwise what happened.
    failed_side : str
        ``base``, ``head`` or ``both``; empty when `ok`. In a control ``head`` is the second process of BASE.
    base_samples_s, head_samples_s : tuple of float
        Seconds per call, one for each round. Samples of equal index are of one round, and so adjacent in time;
        which side comes first alternates.
    first_side : str
        ``base`` or ``head``: which prepared first and began the first round; the next round begins with the other.
    calls_per_sample : int
        Calls in the block behind each sample, the same on both sides.
    repeated : tuple of (int, str)
        Index of each round in which something took time from a side, with side and reason. Another round was taken
        for it; both are kept, and both count.
    output_difference : float or None
        Largest deviation between the outputs of both sides (where the step is `train`, of the gradients too) as a
        share of the largest value, found before timing; None where they were not compared.
    conditions : Conditions or None
        Those of both sides, which share their cores; None where neither was timed.
    total_s : float
        Wall time spent on the case.
    """

    KIND: ClassVar[str] = "pair"

    case: Case
    replicate: int
    pair: str
    seed: int
    status: str
    message: str = ""
    failed_side: str = ""
    base_samples_s: tuple[float, ...] = ()
    head_samples_s: tuple[float, ...] = ()
    first_side: str = ""
    calls_per_sample: int = 0
    repeated: tuple[tuple[int, str], ...] = ()
    output_difference: float | None = None
    conditions: Conditions | None = None
    total_s: float = 0.0
    machine_id: str = ""
    torch_version: str = ""
    base_code: str = ""
    head_code: str = ""

    def __post_init__(self) -> None:
        finish_record(self)
        if self.pair not in PAIRS:
            raise ValueError(f"pair: {self.pair!r} is not one of {', '.join(PAIRS)}")
        if len(self.base_samples_s) != len(self.head_samples_s):
            raise ValueError("base_samples_s and head_samples_s: each round has one of each")

    @property
    def key(self) -> tuple[Any, ...]:
        """Which measurement this is: kind, pair, case and replicate."""
        return (self.KIND, self.pair, self.case.case_id, self.replicate)
