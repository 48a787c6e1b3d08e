"""The page of an audit and its Markdown: whole, escaped, and the same whatever is not known."""

import csv
import io
import json
import re
from collections.abc import Callable
from dataclasses import replace

import pytest

from deconvbench.analysis.remedy_costs import RemedyCost
from deconvbench.analysis.scaling import Quantity
from deconvbench.records.audit import Audit
from deconvbench.report.inspection import list_rows, render_html, render_markdown
from tests.report.made_audits import (
    HOSTILE,
    make_audit,
    make_clean,
    make_empty,
    make_evidence,
    make_finding,
    make_transposed,
    make_unknown,
)
from tests.report.test_page import Page

COST = RemedyCost(
    site=1,
    code="DB001",
    present="transposed k3 s2",
    proposed="nearest_conv_fast k3 s2",
    time=Quantity(value=0.68, low=0.66, high=0.71),
    memory=0.45,
    checkerboard=Quantity(value=-2.25, low=-3.5, high=-1.0),
    setting="cpu, 64 → 32 channels",
)


def render(audit: Audit, target: str = "pkg.mod:Net", costs: tuple[RemedyCost, ...] = ()) -> str:
    return render_html(audit, target=target, command=f"deconvbench audit {target}", costs=costs)


def read_text(page: str) -> str:
    return " ".join(" ".join(Page(page).text).split())


def test_the_first_lines_say_what_and_why_and_from_where() -> None:
    text = read_text(render(make_audit()))
    start = text[text.index("deconvbench audit of") :]
    assert start.startswith(
        "deconvbench audit of pkg.mod:Net Checkerboards Plain colours come out with 3.50 levels"
    )
    assert "Period 4: 3.50 levels in plain colours, from 1. up.0, which has 97% of it." in start
    assert start.index("Period 4") < start.index("Sites, in network order") < start.index("Findings DB001")
    assert "levels in plain colours" not in read_text(render(make_clean()))


def test_every_site_has_its_numbers_and_bars() -> None:
    page = render(make_audit())
    assert '<span class="time" style="width: 35%">' in page
    assert '<span class="memory" style="width: 60%">' in page
    assert '<span class="ripple" style="width: 100%">' in page
    text = read_text(page)
    assert "1. up.0 causes the ripple transposed convolution k3 s2, ×2 64 ch 64×64 → 32 ch 128×128 35 %" in text
    assert "2. up.1 resize-convolution k3, ×2 32 ch 128×128 → 16 ch 256×256 50 %" in text
    assert "image rejection -11.2 dB" in text


def test_findings_say_what_to_do_and_what_it_costs() -> None:
    text = read_text(render(make_audit(), costs=(COST,)))
    assert "take a kernel that is a multiple of the stride" in text
    assert (
        "nearest_conv_fast k3 s2 (ResizeConv2d) transposed k3 s2 0.68 (0.66–0.71) 0.45 −2.25 (−3.50 to −1.00)"
        in text
    )
    # of the two others nothing was looked up
    assert text.count("What it costs not measured") == 2
    reason = RemedyCost(site=2, code="DB003", reason="layers of 1 axes were not measured")
    assert "layers of 1 axes were not measured" in read_text(render(make_audit(), costs=(reason,)))


def test_findings_of_one_code_stand_together() -> None:
    first, third = make_transposed(), make_transposed(3, "up.3")
    audit = make_audit(findings=(make_finding("DB001", first, "a"), make_finding("DB001", third, "b")))
    costs = (COST, replace(COST, site=3), RemedyCost(site=3, code="DB001", reason="unknown"))
    page = render(audit, costs=costs)
    assert page.count('<article class="finding') == 1
    assert "site 1, 3" in read_text(page)
    assert "site 3: unknown" in read_text(page)


def test_drawings_are_described_in_numbers() -> None:
    page = render(make_audit(evidence=make_evidence()))
    assert {tag for tag, _, _ in Page(page).attributes}.isdisjoint({"script", "iframe"})
    assert not [value for value in Page(page).list_values("src", "href", "xlink:href") if value[:1] not in "#d"]
    labels = [value for _, name, value in Page(page).attributes if name in {"aria-label", "alt"}]
    for words in (
        "1. up.0 makes 128×128 pixels (×2), causes the ripple; 2. up.1 makes 256×256 pixels (×2)",
        "The middle 128×128 pixels of the output",
        "in 9 windows of 64 pixels: 6 are above their detection level, with up to 3.00 levels.",
        "repeats every 4 pixels: from −3.50 to 3.50 levels about its mean, in 3 channels.",
        "real images: largest at 0 cycles per pixel with 1e+03 levels²",
    ):
        assert any(words in label for label in labels), words
    identifiers = re.findall(r'\bid="([^"]+)"', page)
    assert len(identifiers) == len({*identifiers})
    # inks of the page, so that it is read in the dark, and no style that would hold for all of it
    assert ": #222222" not in page.partition("</style>")[2]
    assert page.count("<style>") == page.count("<style") == 1


@pytest.mark.parametrize("make", [make_audit, make_clean, make_empty, make_unknown])
def test_it_is_whole_and_fetches_nothing(make: Callable[[], Audit]) -> None:
    page = render(make())
    found = Page(page)
    tags = {tag for tag, _, _ in found.attributes}
    assert "script" not in tags
    assert not [value for _, name, value in found.attributes if name in {"src", "href"} and value[:1] not in "#d"]
    assert "default-src 'none'" in page
    assert {"header", "main", "footer"} <= {*re.findall(r"<(\w+)", page)}
    text = read_text(page)
    assert not re.search(r"\b(nan|None|inf)\b", text)
    assert render(make()) == page


def test_a_clean_network_and_one_without_sites_are_said_to_be() -> None:
    clean, empty = read_text(render(make_clean())), read_text(render(make_empty()))
    assert "Clean 1 upsampling site; plain colours stay plain." in clean
    assert "Nothing that was met in the run was left out." in clean
    assert "No upsampling site was found in what was run" in empty
    assert "<table" not in render(make_empty())


def make_hostile() -> Audit:
    audit = make_audit()
    sites = tuple(
        replace(one, site=replace(one.site, path=HOSTILE, operation=HOSTILE, dtype=HOSTILE, kind=HOSTILE))
        for one in audit.sites
    )
    findings = tuple(replace(one, path=HOSTILE, message=HOSTILE, remedy=HOSTILE) for one in audit.findings)
    causes = (replace(audit.attributions[0], path=HOSTILE, site=9), audit.attributions[0])
    return replace(
        audit,
        sites=sites,
        findings=findings,
        attributions=causes,
        inputs=HOSTILE,
        not_covered=(HOSTILE,),
        last_activation=HOSTILE,
        hidden={2: 9.0},
    )


def test_names_are_data() -> None:
    cost = replace(COST, proposed=HOSTILE, present=HOSTILE, setting=HOSTILE)
    page = render(make_hostile(), target=HOSTILE, costs=(cost,))
    assert "<script" not in page
    assert "\u202e" not in page
    assert {tag for tag, _, _ in Page(page).attributes}.isdisjoint({"script", "iframe"})
    comment = render_markdown(make_hostile(), target=HOSTILE, costs=(cost,))
    assert "<script" not in comment
    assert "\u202e" not in comment
    assert "[a](" not in comment
    assert "@you" not in comment
    assert not [line for line in comment.splitlines() if line.startswith("# ")]


def test_a_comment_is_short_where_all_is_well() -> None:
    lines = render_markdown(make_clean(), target="pkg.mod:Net").splitlines()
    assert lines == [
        "### deconvbench audit: clean (`pkg.mod:Net`)",
        "",
        "1 upsampling site; plain colours stay plain.",
    ]
    assert render_markdown(make_clean()).startswith("### deconvbench audit: clean\n")


def test_a_comment_has_sites_findings_and_costs() -> None:
    text = render_markdown(make_audit(), costs=(COST,))
    assert "| `1. up.0` | transposed convolution k3 s2 | ×2 | 35 % | 25 % | 3.25 | DB001, DB002 |" in text
    assert "- **DB001** `1. up.0`: what is wrong\n  - do: take a kernel" in text
    assert (
        "  - costs: nearest\\_conv\\_fast k3 s2 (ResizeConv2d) instead of transposed k3 s2: 0.68 (0.66–0.71)"
        in text
    )
    assert "Not covered: grid\\_sample at warp" in text


def test_a_long_network_is_cut_in_a_comment_and_in_the_drawing() -> None:
    audit = make_audit()
    many = tuple(replace(audit.sites[0], site=make_transposed(n, f"up.{n}")) for n in range(1, 41))
    findings = tuple(make_finding("DB001", one.site) for one in many)
    text = render_markdown(replace(audit, sites=many, findings=findings))
    assert "10 more sites are not shown." in text
    assert "- and 10 more findings" in text
    page = render(replace(audit, sites=many))
    assert page.count("<polygon") == 16
    assert "; and 24 more" in page
    assert 'id="site-40"' in page


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"attributions": ()}, "Equal gains at 1. up.0 change 2.50 levels in real images"),
        (
            {"attributions": (), "hidden": {2: 4.0}, "last_activation": "tanh"},
            "the last tanh hides 4.00 levels in",
        ),
    ],
)
def test_the_reason_is_what_was_largest(changes: dict[str, object], reason: str) -> None:
    assert reason in read_text(render(make_audit(**changes)))


def test_rows_are_flat_and_one_for_each_site() -> None:
    rows = list_rows(make_audit())
    assert [row["path"] for row in rows] == ["up.0", "up.1"]
    assert rows[0]["kernel_size"] == "3x3"
    assert rows[0]["in_size"] == "64x64"
    assert rows[0]["causes_period"] == "4"
    assert rows[0]["findings"] == "DB001;DB002"
    assert rows[1]["real_levels"] is None
    assert list_rows(make_empty()) == []
    json.dumps(rows, allow_nan=False)
    for audit in (make_audit(), make_unknown()):
        writer = csv.DictWriter(io.StringIO(), list_rows(audit)[0])
        writer.writerows(list_rows(audit))
