import dataclasses
from typing import Any

import pytest
from hypothesis import given, settings

from deconvbench.errors import UsageError
from deconvbench.records.case import CASE_DEFAULTS, CASE_FIELDS, Case, check_field, format_layer, name_group
from tests.builders import make_case
from tests.strategies import cases


@settings(deadline=None, max_examples=200)
@given(cases)
def test_parsing_a_case_id_gives_the_case_back(case: Case) -> None:
    assert Case.from_id(case.case_id) == case


@settings(deadline=None, max_examples=100)
@given(cases, cases)
def test_different_cases_have_different_ids(one: Case, other: Case) -> None:
    assert (one == other) == (one.case_id == other.case_id)


@pytest.mark.parametrize(
    ("changes", "case_id"),
    [
        ({}, "nearest_conv-k3-s2-c64x32-64x64"),
        ({"kernel_size": None}, "nearest_conv-s2-c64x32-64x64"),
        ({"height": 16, "width": 24}, "nearest_conv-k3-s2-c64x32-16x24"),
        ({"device": "cuda:1"}, "nearest_conv-k3-s2-c64x32-64x64-cuda:1"),
        ({"threads": 4, "batch": 8}, "nearest_conv-k3-s2-c64x32-64x64-b8-t4"),
        (
            {
                "batch": 2,
                "dtype": "bfloat16",
                "memory_format": "channels_last",
                "step": "train",
                "device": "cuda",
                "threads": 3,
                "execution": "cudagraph",
            },
            "nearest_conv-k3-s2-c64x32-64x64-b2-bfloat16-channels_last-train-cuda-t3-cudagraph",
        ),
    ],
    ids=["defaults", "no-kernel", "not-square", "second-gpu", "batch-before-threads", "nothing-default"],
)
def test_ids_are_what_they_have_always_been(changes: dict[str, Any], case_id: str) -> None:
    case = make_case(**{"in_channels": 64, "out_channels": 32, "height": 64, "width": 64, **changes})
    assert case.case_id == case_id
    assert Case.from_id(case_id) == case


def test_the_defaults_of_the_class_are_those_of_the_id() -> None:
    with_default = {f.name: f.default for f in dataclasses.fields(Case) if f.default is not dataclasses.MISSING}
    assert with_default == CASE_DEFAULTS
    assert CASE_FIELDS[-len(CASE_DEFAULTS) :] == tuple(CASE_DEFAULTS)


_WHOLE = "a whole number of at least 1"
_COUNTS = ("scale_factor", "in_channels", "out_channels", "height", "width", "batch", "threads", "kernel_size")


@pytest.mark.parametrize("field", _COUNTS)
@pytest.mark.parametrize("value", [0, -1, 1.0, "3", True], ids=repr)
def test_a_bad_count_is_named_with_its_value(field: str, value: object) -> None:
    with pytest.raises(UsageError) as caught:
        make_case(**{field: value})
    assert str(caught.value) == f"{field}: {value!r} is not {_WHOLE}"


@pytest.mark.parametrize("field", [name for name in _COUNTS if name != "kernel_size"])
def test_only_the_kernel_may_be_missing(field: str) -> None:
    make_case(kernel_size=None)
    with pytest.raises(UsageError, match=f"^{field}: None is not {_WHOLE}$"):
        make_case(**{field: None})


@pytest.mark.parametrize(
    ("field", "value", "allowed"),
    [
        ("dtype", "int8", "float32, float64, bfloat16, float16"),
        ("dtype", None, "float32, float64, bfloat16, float16"),
        ("memory_format", "nhwc", "contiguous, channels_last"),
        ("step", "backward", "forward, train"),
        ("execution", ["eager"], "eager, compile, cudagraph"),
        ("device", "tpu", "cpu, cuda, mps or xpu"),
        ("device", "cuda:", "cpu, cuda, mps or xpu"),
        ("device", 0, "cpu, cuda, mps or xpu"),
        ("upsampler", "Nearest", "a name in lower case such as nearest_conv"),
        ("upsampler", "nearest-conv", "a name in lower case such as nearest_conv"),
        ("upsampler", "", "a name in lower case such as nearest_conv"),
        ("upsampler", 3, "a name in lower case such as nearest_conv"),
    ],
    ids=str,
)
def test_a_bad_choice_is_named_with_its_value_and_what_is_allowed(field: str, value: object, allowed: str) -> None:
    with pytest.raises(UsageError) as caught:
        make_case(**{field: value})
    message = str(caught.value)
    assert message.startswith(f"{field}: {value!r} is not ")
    assert allowed in message
    assert "\n" not in message


def test_an_unknown_axis_lists_the_axes() -> None:
    with pytest.raises(
        UsageError, match="'stride' is not an axis; the axes are upsampler, kernel_size, scale_factor"
    ):
        check_field("stride", 2)


@pytest.mark.parametrize(
    "case_id",
    [
        "",
        "nearest_conv",
        "nearest_conv-k3-s2-c64-64x64",
        "nearest_conv-k3-s2-c64x32-64",
        "nearest_conv-s2-k3-c64x32-64x64",
        "nearest_conv-k3-s2-c64x32-64x64-t2-b2",
        "nearest_conv-k3-s2-c64x32-64x64-int8",
        "Nearest-k3-s2-c64x32-64x64",
        "nearest_conv-k3-s2-c64x32-64x64 ",
        "nearest_conv-k3-s2-c64x32-64x64-eager-eager",
    ],
)
def test_what_is_no_case_id_is_refused_with_the_form(case_id: str) -> None:
    with pytest.raises(UsageError, match="is not of the form upsampler-kK-sS-cINxOUT-HxW") as caught:
        Case.from_id(case_id)
    assert repr(case_id) in str(caught.value)


def test_a_case_id_with_a_number_out_of_range_names_the_field() -> None:
    with pytest.raises(UsageError, match="scale_factor: 0 is not a whole number"):
        Case.from_id("nearest_conv-k3-s0-c64x32-64x64")


def test_shapes_and_layer_name() -> None:
    case = make_case(batch=3, in_channels=5, out_channels=7, height=11, width=13, scale_factor=4)
    assert case.input_shape == (3, 5, 11, 13)
    assert case.output_shape == (3, 7, 44, 52)
    assert case.layer_name == "nearest_conv k3 s4"
    assert format_layer("bilinear", None, 2) == "bilinear s2"


def test_a_case_is_frozen_and_can_be_a_key() -> None:
    case = make_case()
    with pytest.raises(dataclasses.FrozenInstanceError):
        case.height = 5  # type: ignore[misc] # the error is what is tested
    assert {case: 1}[make_case()] == 1


@pytest.mark.parametrize(
    ("changes", "group"),
    [
        ({}, "s2-c4x2-8x8"),
        ({"step": "train", "threads": 2}, "s2-c4x2-8x8-train-t2"),
        ({"kernel_size": None}, "s2-c4x2-8x8"),
    ],
    ids=["plain", "train", "no kernel"],
)
def test_layers_of_one_setting_compete(changes: dict[str, object], group: str) -> None:
    assert name_group(make_case(**changes)) == group
