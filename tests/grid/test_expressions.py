import pytest
from hypothesis import given
from hypothesis import strategies as st

from deconvbench.errors import UsageError
from deconvbench.grid.expressions import compile_constraint, compile_keyword

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


def test_ordering_says_nothing_about_a_layer_without_kernel() -> None:
    values = {"kernel_size": None, "scale_factor": 2, "upsampler": "x"}
    assert compile_constraint("kernel_size >= scale_factor", NAMES)(values)
    assert not compile_constraint("kernel_size == 3", NAMES)(values)


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


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("nearest", True),
        ("NEAREST and 64X64", True),
        ("nearest and not 64x64", False),
        ("(subpixel or k3-s2) and c64x32", True),
        ("not nearest", False),
        ("k4", False),
    ],
)
def test_keyword(text: str, expected: bool) -> None:
    assert compile_keyword(text)("nearest_conv-k3-s2-c64x32-64x64") is expected


@pytest.mark.parametrize("text", ["and", "nearest and", "(nearest", "nearest k3", "a < b", "f(x)", "-k3 ~"])
def test_keyword_refused(text: str) -> None:
    with pytest.raises(UsageError, match="-k"):
        compile_keyword(text)
