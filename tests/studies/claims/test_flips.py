"""The verdict of every claim follows its evidence, in every direction."""

import re

import pytest

from deconvbench.studies.claims import CLAIMS, Claim, Evidence, Verdict
from deconvbench.tables.trained import FEWEST_STEPS
from tests.studies.claims.made_evidence import FLIPS, MAIN

CASES = [
    pytest.param(claim, evidence, verdict, id=f"{claim.id}-{name}-{verdict}")
    for claim in CLAIMS
    for name, evidence, verdict in FLIPS[claim.id]
]
# whose parts do not count alike: of small maps it must be true at all, and what is left may be too much
WEIGHED = {4, 8}
# claim 7 is about the first step anyway, and says so
TRAINED = [
    (claim, name, evidence, verdict)
    for claim in CLAIMS
    for name, evidence, verdict in FLIPS[claim.id]
    if f"{MAIN}_steps" in evidence and verdict is not Verdict.UNDECIDED and claim.id != 7
]


@pytest.mark.parametrize(("claim", "evidence", "verdict"), CASES)
def test_the_verdict_follows_the_evidence(claim: Claim, evidence: Evidence, verdict: Verdict) -> None:
    before = dict(evidence)
    finding = claim.judge(evidence)
    assert finding.verdict is verdict
    assert evidence == before
    # one sentence, with the numbers that decided
    assert re.fullmatch(r"[A-Z].*[^.]\.", finding.sentence), finding.sentence
    assert "None" not in finding.sentence
    assert verdict is Verdict.UNDECIDED or re.search(r"\d", finding.sentence)
    # what was found of its parts, the numbers and the size of the experiment
    assert re.fullmatch(r"(Holds|Holds in part|Does not hold|Undecided|Not measured): .*[^.]\.", finding.holds)
    assert verdict is Verdict.UNDECIDED or (finding.effects and finding.size)
    if claim.id not in WEIGHED:
        words = {Verdict.SUPPORTED: "Holds: ", Verdict.REFUTED: "Does not hold: "}
        assert finding.holds.startswith(words.get(verdict, ""))


def test_the_family_is_what_rests_on_trained_networks() -> None:
    assert {claim.id for claim in CLAIMS if claim.is_trained} == {
        claim.id for claim in CLAIMS if any(f"{MAIN}_steps" in evidence for _, evidence, _ in FLIPS[claim.id])
    }


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: f"{claim.id}")
def test_every_claim_can_have_every_verdict(claim: Claim) -> None:
    assert {verdict for _, _, verdict in FLIPS[claim.id]} == set(Verdict)


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: f"{claim.id}")
def test_what_is_not_measured_is_undecided_and_says_what_to_run(claim: Claim) -> None:
    finding = claim.judge({})
    assert finding.verdict is Verdict.UNDECIDED
    assert re.search(r"run: deconvbench (claims|run|train)", finding.sentence)


@pytest.mark.parametrize(
    ("claim", "evidence", "verdict"),
    [
        pytest.param(claim, evidence, verdict, id=f"{claim.id}-{name}-{verdict}")
        for claim, name, evidence, verdict in TRAINED
    ],
)
def test_few_steps_are_told(claim: Claim, evidence: Evidence, verdict: Verdict) -> None:
    few = claim.judge({**evidence, f"{MAIN}_steps": FEWEST_STEPS - 1})
    assert few.verdict is verdict
    warning = f"rests on only {FEWEST_STEPS - 1} steps of training, fewer than {FEWEST_STEPS}."
    assert few.sentence.endswith(warning)
    assert "rests on only" not in claim.judge({**evidence, f"{MAIN}_steps": FEWEST_STEPS}).sentence


def test_every_claim_on_trained_networks_tells_few_steps() -> None:
    assert {claim.id for claim, *_ in TRAINED} == {8, 9, 10, 11, 14, 15, 16, 18}
