import re
from typing import Any

import pytest

from deconvbench.studies.claims import Context, Verdict
from deconvbench.studies.claims.findings import TOPICS, Topic, measure_findings, write_findings
from deconvbench.tables.trained import Trained
from tests.plots.made_tables import make_summary, make_tables
from tests.studies.claims.made_evidence import (
    COSTS_ROW,
    EQUIVALENCE,
    MAIN,
    OTHER,
    Numbers,
    change,
    divided,
    divisibility,
    first_steps,
    last_layer,
    network,
    resized,
    scales,
    shuffled,
    subpixel,
)
from tests.studies.claims.made_trained import make_result, make_trained

S, P, R, U = Verdict.SUPPORTED, Verdict.PARTLY, Verdict.REFUTED, Verdict.UNDECIDED
FEW = (1.0, 9.0)


def equal(excess: float | tuple[float, float], name: str = MAIN) -> Numbers:
    """A deconvolution of equal gains in a trained network."""
    return network(
        name,
        equal_checkerboard_levels=0.4,
        equal_excess_levels=excess,
        equal_flat_field_ripple_levels=0.0,
        transposed_checkerboard_levels=2.0,
    )


def rename(evidence: Numbers) -> Numbers:
    """The same of the other network."""
    return {name.replace(MAIN, OTHER): value for name, value in evidence.items()}


# by claim: evidence for yes, for no, and for neither
ANSWERS: dict[int, tuple[Numbers, Numbers, Numbers]] = {
    7: (first_steps(9.0, 5.0), first_steps(-1.0, -2.0), first_steps(FEW, 5.0)),
    8: (change(0.9, 4.0), change(0.2, 1.0), change((0.5, 0.3), 4.0)),
    11: (resized(-0.3), resized(4.0), resized((0.0, 0.1))),
    10: (divided(-1.0), divided(0.0), divided((-0.4, 0.5))),
    16: (shuffled(2.0, -0.3), shuffled(2.0, 1.0), shuffled(2.0, (0.0, 0.4))),
    9: (last_layer(), last_layer(-0.2, 0.1), last_layer((0.0, 0.3))),
    0: (equal(-0.2), equal(0.3), equal((0.0, 0.1))),
    14: (scales(0.9), scales(0.1), scales((0.5, 0.1))),
}


def find_sentence(topic: Topic, evidence: Numbers) -> str:
    rows: list[dict[str, Any]] = [{"id": topic.claim, "verdict": "partly", "evidence": evidence}]
    return write_findings(rows if topic.claim else [], {} if topic.claim else evidence)[TOPICS.index(topic)]


@pytest.mark.parametrize("topic", TOPICS, ids=lambda topic: f"claim_{topic.claim}")
def test_each_finding_follows_from_its_evidence(topic: Topic) -> None:
    yes, no, unclear = ANSWERS[topic.claim]
    cases: tuple[tuple[Numbers, Verdict], ...] = (
        (yes, S),
        (no, R),
        (unclear, U),
        ({}, U),
        (yes | rename(no), P),
        (yes | rename(yes), S),
        (yes | rename(unclear), S),
        (no | rename(unclear), R),
    )
    for evidence, verdict in cases:
        sentence = find_sentence(topic, evidence)
        assert topic.leads[verdict] in sentence
        assert ("reconstruction" in sentence) == bool(evidence)
        assert ("super-resolution" in sentence) == any(name.startswith(OTHER) for name in evidence)
        assert ("12 seeds × 12 images" in sentence) == bool(evidence)
        assert re.fullmatch(r"[A-Z“].*[^.]\.", sentence), sentence
        assert "None" not in sentence
        # what one network leaves open takes nothing from what another decides
        decided, _, still_open = sentence.partition("; open: ")
        is_half_open = rename(unclear).items() <= evidence.items()
        assert ("super-resolution" in still_open and "super-resolution" not in decided) == is_half_open


def test_each_finding_has_the_level_of_its_intervals() -> None:
    for topic in TOPICS:
        row = {"id": topic.claim, "verdict": "partly", "evidence": ANSWERS[topic.claim][0], "confidence": 0.994}
        sentences = write_findings([row] if topic.claim else [], ANSWERS[0][0])
        level = "99.4%" if topic.claim else "95.0%"
        assert f"; intervals of {level})." in sentences[TOPICS.index(topic)]


@pytest.mark.parametrize("topic", TOPICS, ids=lambda topic: f"claim_{topic.claim}")
def test_what_is_open_or_not_detected_is_not_called_absent(topic: Topic) -> None:
    assert "not decided" in topic.leads[U]
    assert not any(
        re.search(r"\bno checkerboard\b(?! was detected| that was)", lead) for lead in topic.leads.values()
    )


def test_there_are_ten_and_without_anything_none_is_decided() -> None:
    sentences = write_findings([], {})
    assert len(sentences) == 10
    assert all("not decided" in sentence and "not measured" in sentence for sentence in sentences)


def test_what_does_not_depend_on_training_is_said_first() -> None:
    topics = {topic.claim: topic for topic in TOPICS}
    even = find_sentence(topics[10], divisibility() | divided(0.0))
    assert even.startswith(
        "At random weights a kernel size divisible by the stride evens out the variance (0.2 of the unevenness) "
        "and does not even out the ripple (1). A kernel size"
    )
    assert find_sentence(topics[16], subpixel()).startswith("ICNR starts exactly clean. Whether")
    assert find_sentence(topics[16], subpixel(icnr=0.7)).startswith("ICNR does not start clean. ")


@pytest.mark.parametrize(
    ("number", "verdict", "evidence", "text"),
    [
        (3, "supported", EQUIVALENCE, "is exact with zeros between the inputs (to 1e-15). With nearest-neighbour"),
        (3, "refuted", EQUIVALENCE, "is not exact with zeros"),
        (
            12,
            "refuted",
            COSTS_ROW,
            "The cost of the plain form is not slight: it takes 3 times as long as transposed k3.",
        ),
        (
            12,
            "partly",
            COSTS_ROW | {"fast_latency_ratio_k3": 1.7},
            "; the exact fast form takes 1.7 times as long as transposed k3.",
        ),
        (12, "supported", COSTS_ROW, "The cost is slight: "),
    ],
)
def test_identities_and_costs_follow_their_claims(number: int, verdict: str, evidence: Numbers, text: str) -> None:
    sentence = write_findings([{"id": number, "verdict": verdict, "evidence": evidence}], {})[
        8 if number == 3 else 9
    ]
    assert text in sentence


def test_equal_gains_are_measured_beside_the_claims() -> None:
    results = [
        make_result(upsampler, 3, seed, checkerboard_levels=levels + 0.01 * seed)
        for upsampler, levels in (("equal_gain_transposed", 0.9), ("transposed", 3.0))
        for seed in range(8)
    ]
    evidence = measure_findings(Context(tables=None, trained=make_trained(results)))
    assert evidence[f"{MAIN}_equal_excess_levels"] == pytest.approx(0.9 - 0.2 + 0.035, abs=0.01)
    assert "equal_gain_latency_ratio_least" not in evidence
    sentence = write_findings([], evidence)[6]
    assert sentence.startswith("Behind a deconvolution with equal phase gains a checkerboard was detected: ")
    assert "instead of 3.04; ripple of plain colours 0 (8 seeds" in sentence
    costs = {"equal_gain_latency_ratio_least": 1.1, "equal_gain_latency_ratio_most": 1.65}
    assert write_findings([], {**evidence, **costs})[6].endswith(
        " It takes 1.1 to 1.65 times the latency of a deconvolution at the sizes measured."
    )


def test_costs_are_those_of_a_run() -> None:
    tables = make_tables(make_summary(layers=(("transposed", 3), ("equal_gain_transposed", 3))))
    evidence = measure_findings(Context(tables=tables, trained=Trained()))
    least, most = (evidence[f"equal_gain_latency_ratio_{end}"] for end in ("least", "most"))
    assert 0 < (least or 0) <= (most or 0)
    assert "equal_gain_latency_ratio_least" not in measure_findings(
        Context(tables=make_tables(), trained=Trained())
    )
