import pytest

from deconvbench.errors import UsageError
from deconvbench.grid.keywords import compile_keyword


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
