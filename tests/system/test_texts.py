import io

import pytest

from deconvbench.system.texts import (
    MOST_CHARACTERS,
    escape_controls,
    escape_markdown,
    guard_formula,
    print_text,
    strip_guard,
    tidy_line,
    write_code,
)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain text, ×2 – ü", "plain text, ×2 – ü"),
        ("\x1b[31mred\x1b]0;title\x07", r"\x1b[31mred\x1b]0;title\x07"),
        ("a\0b\x7f\x9b", r"a\x00b\x7f\x9b"),
        ("\u202egnp.exe\u2066", r"\u202egnp.exe\u2066"),
        ("caf\udce9", r"caf\udce9"),
        ("one\r\ntwo\u2028\x85\v\f", r"one\r\ntwo\u2028\x85\x0b\x0c"),
        ("👩\u200d🔬", "👩\u200d🔬"),
        ("95\u00a0% of 3\u202fms", "95\u00a0% of 3\u202fms"),
    ],
)
def test_what_cannot_be_seen_is_written_as_a_number(text: str, shown: str) -> None:
    assert escape_controls(text) == shown
    assert escape_controls(shown) == shown


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\v", "\f", "\x1c", "\x85", "\u2028", "\u2029", "\t", "\xa0"])
def test_every_kind_of_end_of_line_is_one_blank(end: str) -> None:
    assert tidy_line(f"{end} one{end}{end}two {end}") == "one two"


def test_a_long_line_is_cut_and_says_so() -> None:
    line = tidy_line("x " * 10**6)
    assert len(line) <= MOST_CHARACTERS
    assert line.endswith("x …")
    assert tidy_line(line) == line
    assert tidy_line("x" * MOST_CHARACTERS) == "x" * MOST_CHARACTERS
    assert tidy_line(" " * 10**5 + "end", 10).endswith("…")


def test_printing_keeps_lines_and_nothing_that_a_terminal_obeys() -> None:
    stream = io.StringIO()
    print_text("one\n\x1b[2Jtwo\r", stream)
    assert stream.getvalue() == "one\n\\x1b[2Jtwo\\r\n"


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("a | b", r"a \| b"),
        ("<script>&", "&lt;script&gt;&amp;"),
        ("[x](y) ![i](z)", r"\[x\](y) \!\[i\](z)"),
        ("`code` *b* _i_ ~s~", r"\`code\` \*b\* \_i\_ \~s\~"),
        ("# heading", r"\# heading"),
        ("- item", r"\- item"),
        ("  + item", r"  \+ item"),
        ("1. item", r"1\. item"),
        ("===", r"\==="),
        ("https://example.org", r"https\://example.org"),
        ("www.example.org", r"www\.example.org"),
        ("@someone", "@<!-- -->someone"),
        ("C:\\x\x1b", r"C:\\x\\x1b"),
        ("2.13.0 is 1.5 times a-b", "2.13.0 is 1.5 times a-b"),
    ],
)
def test_markdown_shows_a_text_as_it_is(text: str, written: str) -> None:
    assert escape_markdown(text) == written


@pytest.mark.parametrize(
    ("text", "written"),
    [("a-k3 <b>", "`a-k3 <b>`"), ("a`b", r"a\`b"), ("a|b", r"a\|b"), ("\x1b", r"`\x1b`"), ("", "")],
)
def test_code_in_markdown_cannot_be_left(text: str, written: str) -> None:
    assert write_code(text) == written


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@A1", "\t=1", "\r1", "＝1", "'=1", "''-1"])
def test_a_formula_is_guarded_and_comes_back(text: str) -> None:
    guarded = guard_formula(text)
    assert guarded == f"'{text}"
    assert strip_guard(guarded) == text


@pytest.mark.parametrize("text", ["", "1", "a=1", "'quoted'", "x-1", "'"])
def test_what_is_no_formula_stays(text: str) -> None:
    assert guard_formula(text) == text
    assert strip_guard(text) == text
