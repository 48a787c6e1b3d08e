import pytest
from hypothesis import given
from hypothesis import strategies as st

from deconvbench.errors import UsageError
from deconvbench.grid.expressions import compile_constraint

NAMES = ("kernel_size", "scale_factor", "upsampler")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("kernel_size >= scale_factor", True),
        ("kernel_size < scale_factor", False),
        ("kernel_size % scale_factor == 0", False),
        ("kernel_size // scale_factor == 1 and not kernel_size == 4", True),
        ("1 < scale_factor < kernel_size", True),
        ("upsampler in ['transposed', 'subpixel']", True),
        ("upsampler not in ('subpixel',)", True),
        ("kernel_size != 3 or upsampler == 'transposed'", True),
        ("kernel_size + 1 - scale_factor * 2 == -0", True),
        ("kernel_size + 1 <= -scale_factor", False),
        ("kernel_size > scale_factor", True),
    ],
)
def test_constraint(text: str, expected: bool) -> None:
    values = {"kernel_size": 3, "scale_factor": 2, "upsampler": "transposed"}
    assert compile_constraint(text, NAMES)(values) is expected


@given(st.integers(1, 9), st.integers(1, 9))
def test_constraint_is_python(kernel_size: int, scale_factor: int) -> None:
    values = {"kernel_size": kernel_size, "scale_factor": scale_factor}
    text = "kernel_size % scale_factor == 0 or kernel_size * 2 - scale_factor > 5"
    assert compile_constraint(text, NAMES)(values) is bool(eval(text, {}, dict(values)))


WITHOUT_KERNEL = {"kernel_size": None, "scale_factor": 2, "upsampler": "carafe"}


@pytest.mark.parametrize(
    "text",
    [
        "kernel_size >= scale_factor",
        "kernel_size == 3",
        "kernel_size != 3",
        "3 == kernel_size",
        "kernel_size % scale_factor == 0",
        "kernel_size + 1 > 100",
        "-kernel_size > 0",
        "kernel_size * 0 == 1",
        "kernel_size in [3, 5]",
        "kernel_size not in [3, 5]",
        "kernel_size % scale_factor in [0]",
        "1 in [kernel_size, 5]",
        "1 < kernel_size < 3",
        "not kernel_size == 3",
        "not (not kernel_size > 3)",
        "kernel_size > 5 and scale_factor == 2",
        "kernel_size > 5 or scale_factor == 3",
        "not (kernel_size > 5 or scale_factor == 3)",
        "[kernel_size, scale_factor] == [3, 2]",
        "(kernel_size, scale_factor) in [(3, 2), (4, 2)]",
        "kernel_size",
    ],
)
def test_what_names_a_field_without_a_value_says_nothing_and_keeps_the_case(text: str) -> None:
    assert compile_constraint(text, NAMES)(WITHOUT_KERNEL)


@pytest.mark.parametrize(
    "text",
    [
        "kernel_size > 5 and scale_factor == 3",
        "scale_factor == 3 and kernel_size == 3",
        "not (kernel_size > 5 or scale_factor == 2)",
        "(kernel_size == 3 or upsampler == 'carafe') and scale_factor > 2",
        "[kernel_size, scale_factor] == [3, 4]",
        "(kernel_size, scale_factor) in [(3, 3), (4, 4)]",
        "not 2 in [kernel_size, scale_factor]",
        "1 < scale_factor < 2 < kernel_size",
    ],
)
def test_what_the_other_fields_decide_excludes_a_case_without_the_value(text: str) -> None:
    assert not compile_constraint(text, NAMES)(WITHOUT_KERNEL)


def test_a_condition_on_the_kernel_excludes_layers_that_have_one() -> None:
    holds = compile_constraint("kernel_size % scale_factor == 0", NAMES)
    assert [holds({**WITHOUT_KERNEL, "kernel_size": k}) for k in (2, 3, 4, None)] == [True, False, True, True]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("'a' * 99999999999 == 'b'", r"\* takes a number, not text"),
        ("scale_factor * 'a' * 9999 == 'b'", r"\* takes a number, not text"),
        ("'%3000000000d' % scale_factor == 'x'", "% takes a number, not text"),
        ("upsampler + upsampler == 'x'", r"\+ takes a number, not text"),
        ("3 in [1, 2] * 99999999999", r"\* takes a number, not a list"),
        ("3 in [1, 2] + [3]", r"\+ takes a number, not a list"),
        ("-upsampler == 'x'", "- takes a number, not text"),
        ("2 ** 99 ** 99 > 1", "uses Pow"),
        ("1 << 99999999999 > 1", "uses LShift"),
        ("scale_factor / 2 == 1", "uses Div"),
        ("~scale_factor == 1", "uses Invert"),
        ("9999999999999999 > scale_factor", "numbers up to 1000000000000000 are allowed"),
        ("1e999 > scale_factor", "uses inf; numbers up to"),
        ("1j == scale_factor", "uses 1j"),
        ("b'x' == upsampler", "uses b'x'"),
        ("kernel_size == None", "uses None, and what names a field without a value says nothing"),
        ("... == 3", "uses Ellipsis"),
        ("f'{upsampler}' == 'x'", "uses JoinedStr"),
        ("scale_factor == '2'", "a number == takes a number, not text"),
        ("upsampler in ['carafe', 3]", "text in a list takes text, not a number"),
        ("scale_factor in 3", "in does not look for a number in a number"),
        ("scale_factor in '23'", "in does not look for a number in text"),
        ("[2] < [3]", "< takes a number or text, not a list"),
        ("upsampler == 'carafe' or 'dysample'", "or takes a number, not text"),
        ("not upsampler", "not takes a number, not text"),
        ("upsampler", "a condition takes a number, not text"),
        ("[scale_factor]", "a condition takes a number, not a list"),
    ],
)
def test_a_condition_that_would_grow_or_never_hold_is_refused_when_read(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        compile_constraint(text, NAMES)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("not " * 900 + "1", "nested too deeply"),
        ("-" * 3000 + "1", "nested too deeply"),
        ("(" * 900 + "1" + ")" * 900, "is not a condition"),
        ("[" * 60 + "]" * 60 + " == []", "nested too deeply"),
        ("scale_factor" + " + 1" * 60 + " > 0", "nested too deeply"),
        ("1 == " + "9" * 3990, "numbers up to"),
        ("1 == " + "9" * 5000, "has 5005 characters; a condition has at most 4000"),
        ("scale_factor == 1\0", "is not a condition"),
        ("upsampler == '\udcff'", "is not a condition"),
        ("", "is not a condition"),
        ("scale_factor == 1\nor scale_factor == 2", "is not a condition"),
        ("scale_factor = 1", "is not a condition"),
    ],
    ids=range(12),
)
def test_a_condition_that_is_too_long_or_deep_or_not_text_is_refused_in_a_short_line(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        compile_constraint(text, NAMES)
    assert len(str(caught.value)) < 400
    assert "\n" not in str(caught.value)


def test_a_close_name_is_suggested() -> None:
    with pytest.raises(UsageError, match=r"speaks of 'kernelsize', .* \(did you mean 'kernel_size'\?\)"):
        compile_constraint("kernelsize > 3", NAMES)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("kernel_size >", "not a condition"),
        ("height > 3", "'height'"),
        ("__import__('os')", "'__import__'"),
        ("kernel_size.real == 3", "Attribute"),
        ("(lambda: 1)()", "Call"),
        ("kernel_size ** 9 > 1", "Pow"),
        ("scale_factor is None", "Is"),
        ("[scale_factor for scale_factor in upsampler]", "ListComp"),
    ],
)
def test_constraint_refused(text: str, named: str) -> None:
    with pytest.raises(UsageError, match=named.replace("(", r"\(")):
        compile_constraint(text, NAMES)


@pytest.mark.parametrize("text", ["upsampler > 3", "scale_factor % 0 == 1"])
def test_constraint_that_cannot_be_evaluated(text: str) -> None:
    with pytest.raises(UsageError, match="cannot be evaluated"):
        compile_constraint(text, NAMES)({"scale_factor": 2, "upsampler": "x"})
