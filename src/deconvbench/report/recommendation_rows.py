"""A recommendation for programs: plain data, strict JSON."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from deconvbench.analysis.candidates import Candidate
from deconvbench.records.decoding import make_strict

if TYPE_CHECKING:
    from deconvbench.report.recommendation import Answer


def list_rows(answer: "Answer") -> list[dict[str, Any]]:
    """List every candidate as plain data, the cheapest first.

    Parameters
    ----------
    answer : Answer
        Any.

    Returns
    -------
    list of dict
        The fields of `Candidate` and ``verdict``: ``chosen``, ``tie``, ``satisfies``, ``not judged`` or ``ruled
        out``.
    """
    groups = (
        ("chosen", answer.fitting[:1]),
        ("tie", answer.ties),
        ("satisfies", answer.fitting),
        ("not judged", answer.unjudged),
    )
    rows = []
    for each in answer.candidates:
        verdict = next((word for word, members in groups if each in members), "ruled out")
        rows.append(make_strict({"verdict": verdict, **asdict(each)}))
    return rows


def describe_answer(answer: "Answer") -> dict[str, Any]:
    """List what an answer says beside its rows, as plain data.

    Parameters
    ----------
    answer : Answer
        Any.
    """

    def name(candidate: Candidate | None) -> str | None:
        return None if candidate is None else candidate.layer

    setting = answer.setting
    facts = {
        "setting": {**setting.fields, "height": setting.size[0], "width": setting.size[1]},
        "also_measured": setting.others,
        "limits": answer.limits,
        "baseline": answer.baseline,
        "case_id": None if answer.case is None else answer.case.case_id,
        "code": answer.code,
        "left": [{"limit": limit, "layers": count} for limit, count in answer.left],
        "nearest": name(answer.nearest),
        "relaxed": [
            {"name": r.name, "value": r.value, "layer": name(r.chosen), "speedup": r.speedup}
            for r in answer.relaxed
        ],
        "without_ripple": name(answer.cleaner),
        "missing": [asdict(each) for each in answer.missing],
        "source": answer.source,
        "trained": answer.trained,
    }
    found: dict[str, Any] = make_strict(facts)
    return found
