"""The page of the article's figures."""

import numpy as np

from deconvbench.plots import encode_figures
from deconvbench.plots.article import CAPTIONS
from deconvbench.plots.style import make_figure
from deconvbench.report.article_page import render_article
from deconvbench.report.claims import ClaimRow
from tests.report.test_page import Page


def render(pictures: dict[str, bytes], claims: list[ClaimRow] | None = None) -> Page:
    return Page(
        render_article(
            pictures, claims, title="mine", meta="here", report_address="a.html", sections={"latency": "#costs"}
        )
    )


def test_the_articles_figures_come_with_its_words() -> None:
    page = render(dict.fromkeys(CAPTIONS, b"png"))
    for name, caption in CAPTIONS.items():
        assert f"{caption.title} " in page.words
        assert caption.text in page.words
        assert f"figure-{name}" in page.ids
        assert not caption.claim or f"The article says: “{caption.claim}”" in page.words
    assert "Not drawn" not in page.words
    assert "a.html" in page.list_values("href")
    assert not any("exact" in value for value in page.list_values("class"))


def test_figures_that_need_training_are_listed_where_they_are_missing() -> None:
    words = render(dict.fromkeys({*CAPTIONS} - {"figure_1", "figure_7"}, b"png")).words
    missing = " ".join(CAPTIONS[name].title for name in ("figure_1", "figure_7"))
    assert f"there are no such results with pictures: {missing} Train with: deconvbench train" in words


def test_photographs_are_shown_dot_for_dot() -> None:
    figure = make_figure(1.0)
    figure.subplots().imshow(np.zeros((4, 4, 3)))
    page = render(encode_figures({"figure_1": figure, "figure_4": make_figure(1.0)}))
    assert [value for value in page.list_values("class") if "exact" in value] == ["card exact"]


def test_claims_lead_to_figures_here_and_to_sections_of_the_report() -> None:
    claims = [
        ClaimRow(id=number, claim="c", source="s", verdict="partly", sentence="so", figure=figure)
        for number, figure in enumerate(("figure_4", "latency", None))
    ]
    links = [*render({"figure_4": b"png"}, claims).list_values("href")]
    assert links.count("#figure-figure_4") == 2
    assert "a.html#costs" in links
