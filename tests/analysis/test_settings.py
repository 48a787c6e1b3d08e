"""The setting of a question: what is asked for must be there, what is not is chosen and said."""

from typing import Any

import pytest

from deconvbench.analysis.settings import FIELDS, resolve_setting
from deconvbench.errors import UsageError
from tests.analysis.made_choices import make_row, make_summary
from tests.builders import make_case


def make(*cases: dict[str, Any]) -> Any:
    return make_summary(*(make_row(make_case(**case)) for case in cases))


def test_what_is_not_asked_for_is_the_default_and_the_rest_is_named() -> None:
    summary = make({"step": "train"}, {"step": "train", "upsampler": "subpixel"}, {}, {"threads": 2})
    found = resolve_setting(summary, {})
    assert (found.fields["step"], found.fields["threads"]) == ("forward", 1)
    assert found.others == {"step": ("train",), "threads": (2,)}
    assert tuple(found.fields) == FIELDS
    assert found.size == (8, 8)


def test_without_the_default_it_is_what_was_measured_most() -> None:
    summary = make({"threads": 2}, {"threads": 2, "upsampler": "subpixel"}, {"threads": 4})
    assert resolve_setting(summary, {}).fields["threads"] == 2
    # of equals the smallest
    assert resolve_setting(make({"in_channels": 8}, {"in_channels": 4}), {}).fields["in_channels"] == 4


def test_what_is_asked_for_narrows_down_before_defaults_do() -> None:
    # training was measured with two threads only, so that is what a question about training is about
    summary = make({}, {"step": "train", "threads": 2})
    assert resolve_setting(summary, {"step": "train"}).fields["threads"] == 2
    assert resolve_setting(summary, {"threads": 2}).fields["step"] == "train"


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"device": "cuda"}, "device: 'cuda' was not measured; measured is cpu"),
        ({"threads": 3}, "threads: 3 was not measured; measured are 1, 2"),
        ({"threads": 2, "step": "train"}, "threads: 2 was not measured with step train; measured is 1"),
        ({"dtype": "float8"}, "dtype: 'float8' is not one of float32"),
        ({"threads": 0}, "threads: 0 is not a whole number of at least 1"),
        ({"depth": 1}, "'depth' is not an axis"),
    ],
)
def test_what_was_not_measured_is_refused_with_what_was(asked: dict[str, Any], message: str) -> None:
    summary = make({}, {"threads": 2}, {"step": "train"})
    with pytest.raises(UsageError) as error:
        resolve_setting(summary, asked)
    assert str(error.value).startswith(message)


def test_the_size_is_the_largest_that_most_layers_have() -> None:
    sizes: list[dict[str, Any]] = [{"height": 8, "width": 8}, {"height": 16, "width": 16}]
    summary = make(*sizes, *({**size, "upsampler": "subpixel"} for size in sizes), {"height": 32, "width": 32})
    found = resolve_setting(summary, {})
    assert found.size == (16, 16)
    assert found.others == {"size": ((8, 8), (32, 32))}
    assert resolve_setting(summary, {}, (9, 10)).size == (9, 10)
    with pytest.raises(UsageError, match="height: 0 is not a whole number of at least 1"):
        resolve_setting(summary, {}, (0, 10))


def test_where_all_failed_there_still_is_a_setting() -> None:
    summary = make_summary(make_row(make_case(), status="oom", message="too large"))
    assert resolve_setting(summary, {}).size == (8, 8)


@pytest.mark.parametrize("name", ["upsampler", "kernel_size"])
def test_a_layer_is_no_part_of_a_setting(name: str) -> None:
    value = {"upsampler": "subpixel", "kernel_size": 3}[name]
    with pytest.raises(UsageError, match=f"{name}: is not part of a setting"):
        resolve_setting(make({}), {name: value})
