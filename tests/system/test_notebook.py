from html.parser import HTMLParser

import pandas as pd
import pytest
from torch import nn

from deconvbench.analysis.comparison import COMPARISON_COLUMNS
from deconvbench.measure.layer_metrics import LayerMetrics
from deconvbench.networks.fusion.report import Change, FuseReport, Left
from deconvbench.networks.replacement.report import ReplaceReport
from deconvbench.records.audit import Audit
from deconvbench.records.findings import Finding
from deconvbench.report.picture_scores import LeftOut, Scores
from deconvbench.studies.claims import Claim, ClaimResult, Verdict
from deconvbench.studies.claims import Finding as Judged
from deconvbench.system.notebook import MOST_ROWS, write_html

EVIL = "<script>alert(1)</script>\x1b\u202e&"


class Reader(HTMLParser):
    """Collects the tags and the text of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag != "br":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_a_table_has_a_caption_headings_and_a_row_for_each() -> None:
    page = Reader(write_html("two layers", ("layer", "ratio"), [("a", 1.5), ("b", None)], ["a note"]))
    assert page.tags == [
        "div",
        "table",
        "caption",
        "thead",
        "tr",
        "th",
        "th",
        "tbody",
        *["tr", "td", "td"] * 2,
        "p",
    ]
    assert page.text == "two layerslayerratioa1.5b–a note"
    assert page.open == []


def test_texts_are_shown_and_not_obeyed() -> None:
    page = write_html(EVIL, (EVIL,), [(EVIL,)], [f"{EVIL}\nnext"])
    assert "<script" not in page
    assert page.isprintable()
    assert Reader(page).text.count("<script>alert(1)</script>\\x1b\\u202e&") == 4
    assert Reader(page).tags.count("br") == 1


def test_more_rows_than_are_shown_are_counted() -> None:
    page = Reader(write_html("many", ("row",), [(row,) for row in range(MOST_ROWS + 3)]))
    assert page.tags.count("td") == MOST_ROWS
    assert page.text.endswith("and 3 more rows")


def test_nothing_found_is_a_line() -> None:
    assert Reader(write_html("nothing", ("row",), [], ["note"])).tags == ["div", "p", "p"]


def make_audit() -> Audit:
    finding = Finding(code="DB001", is_risk=False, site=1, path=EVIL, message=EVIL, remedy=EVIL)
    return Audit(
        judgement="checkerboards",
        sites=(),
        findings=(finding,),
        flat_field={},
        flat_noise_levels=0.0,
        periodicity_error=0.0,
        is_two_tone=False,
        hidden={},
        last_activation="",
        real={},
        real_detection_level=0.0,
        attributions=(),
        output_range=(0.0, 1.0),
        is_range_guessed=False,
        inputs=EVIL,
    )


CLAIM = Claim(
    id=1,
    text=EVIL,
    source=EVIL,
    figure=None,
    measure=lambda _: {},
    judge=lambda _: Judged(verdict=Verdict.SUPPORTED, sentence=""),
)
RESULTS = [
    make_audit(),
    FuseReport(
        model=nn.Identity(),
        changed=(Change(path=EVIL, was=EVIL, now=EVIL),),
        left=(Left(path="", what=EVIL, reason=EVIL),),
    ),
    ReplaceReport(model=nn.Identity(), left=(Left(path="", what=EVIL, reason=EVIL),)),
    Scores(pictures=(), left_out=(LeftOut(name=EVIL, reason=EVIL),)),
    LayerMetrics(
        metrics={"phase_ripple": 0.5, "image_rejection_db": -3.0, "effective_ripple": None},
        in_channels=4,
        scale_factor=2,
        is_linear=True,
        is_shift_equivariant=True,
        excess=(0, 0),
        remarks=(EVIL,),
    ),
    ClaimResult(
        claim=CLAIM, evidence={"a": 1.0, EVIL: None}, finding=Judged(verdict=Verdict.SUPPORTED, sentence=EVIL)
    ),
    # pandas' own
    pd.DataFrame({name: [EVIL] for name in COMPARISON_COLUMNS}),
]


@pytest.mark.parametrize("result", RESULTS, ids=lambda result: type(result).__name__)
def test_results_show_themselves_and_obey_nothing(result: object) -> None:
    page = result._repr_html_()  # type: ignore[attr-defined] # each has it
    assert "<script" not in page
    assert "alert(1)" in Reader(page).text


def test_a_layers_metrics_are_a_row_each_with_their_unit() -> None:
    page = Reader(RESULTS[4]._repr_html_())  # type: ignore[attr-defined] # it has
    assert page.tags.count("tr") == 4
    assert "-3.0 dB" in page.text


def test_what_a_network_became_is_a_row_for_each_layer() -> None:
    page = Reader(RESULTS[1]._repr_html_())  # type: ignore[attr-defined] # it has
    assert page.tags.count("tr") == 3
    assert "1 changed, 1 left alone" in page.text
