import pytest
from jinja2 import UndefinedError
from markupsafe import Markup

from deconvbench.report.embedding import gather_parts
from deconvbench.report.templates import load_template


def render(title: str, reason: str = "") -> str:
    return load_template("verdicts.html.j2").render(
        parts=gather_parts(),
        title=title,
        counts=[],
        summary="",
        notes=[reason],
        headings=(),
        reach=1.1,
        rows=[],
        environment=[],
        unchanged=[],
    )


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("<b onclick='x'>", "&lt;b onclick=&#39;x&#39;&gt;"),
        ("\x1b[31m\0", r"\x1b[31m\x00"),
        ("caf\udce9", r"caf\udce9"),
        ("\u202egnp\u2028", r"\u202egnp\u2028"),
    ],
)
def test_text_of_others_is_shown_and_nothing_more(text: str, shown: str) -> None:
    page = render("a", text)
    assert f'<p class="note">{shown}</p>' in page
    page.encode()
    assert f"<title>deconvbench: {shown}</title>" in render(text)


def test_what_is_html_already_stays_so() -> None:
    assert '<p class="note"><b>a</b></p>' in render("a", Markup("<b>a</b>"))


def test_what_is_not_given_is_an_error() -> None:
    with pytest.raises(UndefinedError):
        load_template("verdicts.html.j2").render()
