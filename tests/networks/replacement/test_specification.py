"""The words: every pair of names is read, and everything else gets one line with all that is allowed."""

import pytest

from deconvbench.errors import UsageError
from deconvbench.networks.replacement.specification import (
    OTHER_CONV,
    SOURCES,
    TARGETS,
    Specification,
    parse_specification,
)


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("target", TARGETS)
def test_every_pair_of_names_is_read(source: str, target: str) -> None:
    assert parse_specification(f"{source} -> {target}") == Specification(source=source, target=target)


@pytest.mark.parametrize("arrow", ["->", " -> ", "→", "  →  "])
def test_arrows_and_spaces(arrow: str) -> None:
    assert parse_specification(f" transposed-k3-s2{arrow}nearest_conv-k5 ") == Specification(
        source="transposed",
        source_kernel_size=3,
        source_stride=2,
        target="nearest_conv",
        target_kernel_size=5,
    )


@pytest.mark.parametrize(
    ("name", "target"), [("equal_gain", "equal_gain_transposed"), ("nearest_conv_fast", "nearest_conv")]
)
def test_other_names_of_the_same_layers(name: str, target: str) -> None:
    assert parse_specification(f"transposed -> {name}").target == target


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("transposed", "'transposed' is not 'OLD -> NEW'"),
        ("transposed -> nearest_conv -> subpixel", "is not 'OLD -> NEW'"),
        (3, "3 is not 'OLD -> NEW'"),
        ("", "'' is not 'OLD -> NEW'"),
        ("transposed -> ", "'' in 'transposed -> ' is not a layer"),
        ("transposed-k0 -> subpixel", "'transposed-k0' in"),
        ("transposed-3 -> subpixel", "'transposed-3' in"),
        ("transpose -> subpixel", "'transpose' is not a layer to replace (did you mean 'transposed'?)"),
        ("carafe -> subpixel", "'carafe' is not a layer to replace; allowed is"),
        ("transposed -> interpolate+conv", "'interpolate+conv' is not a layer to put in"),
        ("transposed -> nearest_con", "'nearest_con' is not a layer to put in (did you mean 'nearest_conv'?)"),
    ],
)
def test_anything_else_is_answered_by_what_is_allowed(text: str, complaint: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_specification(text)
    message = str(caught.value)
    assert complaint in message
    assert "\n" not in message
    assert all(name in message for name in (*SOURCES, *TARGETS))
    assert OTHER_CONV not in message


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("transposed -> nearest_conv-s2", "-s2 behind nearest_conv: the new layer has the old one's scale"),
        ("transposed -> nearest_conv-k4", "-k4 behind nearest_conv: it takes odd kernels only"),
    ],
)
def test_sizes_that_the_new_layer_cannot_be_told(text: str, complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        parse_specification(text)


@pytest.mark.parametrize(
    ("text", "layer", "is_meant"),
    [
        ("transposed", ("transposed", (3, 3), (2, 2)), True),
        ("transposed-k3", ("transposed", (3, 3), (2, 2)), True),
        ("transposed-k3", ("transposed", (3, 4), (2, 2)), False),
        ("transposed-k4", ("transposed", (3, 3), (2, 2)), False),
        ("transposed-k3-s2", ("transposed", (3, 3), (3, 3)), False),
        ("transposed-s3", ("transposed", (4, 4), (3, 3)), True),
        ("interpolate+conv", ("bilinear_conv", (3, 3), (2, 2)), True),
        ("interpolate+conv", (OTHER_CONV, (3, 3), ()), True),
        ("interpolate+conv-s2", (OTHER_CONV, (3, 3), ()), False),
        ("nearest_conv", ("bilinear_conv", (3, 3), (2, 2)), False),
    ],
)
def test_who_is_meant(text: str, layer: tuple[str, tuple[int, ...], tuple[int, ...]], is_meant: bool) -> None:
    assert parse_specification(f"{text} -> subpixel").is_meant(*layer) is is_meant
