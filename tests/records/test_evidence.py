"""What an audit shows: shapes that fit, nothing that is not finite, and no more unpacked than there should be."""

import base64
import json
import zlib
from dataclasses import asdict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deconvbench.errors import UsageError
from deconvbench.records.decoding import DecodingError, build, parse_json
from deconvbench.records.evidence import Evidence, Picture, RippleMap

MAP: dict[str, Any] = {
    "period": 2,
    "window": 64,
    "rows": (0.0, 48.0, 96.0),
    "columns": (0.0, 96.0),
    "amplitudes": ((1.0,), (-0.5,)),
    "detection_levels": ((0.4,), (None,)),
}


@given(st.integers(1, 20), st.integers(1, 20), st.sampled_from((1, 3)), st.data())
def test_a_picture_keeps_its_levels(height: int, width: int, channels: int, data: st.DataObject) -> None:
    size = height * width * channels
    levels = data.draw(st.binary(min_size=size, max_size=size))
    picture = Picture.from_levels(levels, height, width, channels)
    assert picture.read_levels() == levels
    assert build(Picture, parse_json(json.dumps(asdict(picture)))) == picture


def test_evidence_comes_back_from_json() -> None:
    evidence = Evidence(
        picture=Picture.from_levels(bytes(range(12)), 2, 2, 3),
        ripple_map=RippleMap(**MAP),
        flat_pattern=(((1.0,), (-1.0,)), ((-1.0,), (1.0,))),
        spectrum=(0.0, 1.0, 2.5),
    )
    assert build(Evidence, parse_json(json.dumps(asdict(evidence)))) == evidence
    assert build(Evidence, {}) == Evidence()


def test_evidence_of_the_largest_size_is_small() -> None:
    noise = zlib.compress(b"x")  # what comes next is as hard to compress as a picture can be
    levels = bytes((index * 2654435761 >> 13) & 255 ^ noise[index % len(noise)] for index in range(256 * 256 * 3))
    evidence = Evidence(
        picture=Picture.from_levels(levels, 256, 256, 3),
        flat_pattern=tuple(tuple((0.125,) * 3 for _ in range(32)) for _ in range(32)),
        spectrum=(1.25,) * 257,
        flat_spectrum=(1.25,) * 257,
    )
    assert len(json.dumps(asdict(evidence))) < 300_000


def pack(levels: bytes) -> str:
    return base64.b64encode(zlib.compress(levels)).decode()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"height": 0}, "0×2×1 is not at most 256×256 pixels"),
        ({"height": 257}, "is not at most"),
        ({"channels": 2}, "1 or 3 channels"),
        ({"data": pack(bytes(3))}, "has 3 levels or more, and its shape 4"),
        ({"data": pack(bytes(10**7))}, "has 5 levels or more"),
        ({"data": "*"}, "not compressed levels"),
        ({"data": "é"}, "not compressed levels"),
        ({"data": base64.b64encode(b"abc").decode()}, "not compressed levels"),
    ],
)
def test_a_picture_of_another_shape_is_refused(changed: dict[str, Any], message: str) -> None:
    plain = {"height": 2, "width": 2, "channels": 1, "data": pack(bytes(4)), **changed}
    with pytest.raises(UsageError, match=message):
        Picture(**plain)
    with pytest.raises(DecodingError, match=message):
        build(Picture, plain)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"rows": (0.0,)}, "0×1 windows"),
        ({"rows": tuple(map(float, range(902)))}, "901×1 windows are not 1 to 900"),
        ({"amplitudes": ((1.0,),)}, "amplitudes are not 2×1"),
        ({"detection_levels": ((1.0, 1.0), (1.0, 1.0))}, "detection levels are not 2×1"),
        ({"amplitudes": ((1.0,), (float("nan"),))}, "not all of it is finite"),
    ],
)
def test_a_map_that_does_not_fit_is_refused(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        RippleMap(**{**MAP, **changed})


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ({"spectrum": (1.0,)}, "1 frequencies are not 2 to 257"),
        ({"flat_spectrum": (float("inf"), 1.0)}, "spectrum of plain colours: not all"),
        ({"flat_pattern": (((1.0,), (1.0,)),)}, "pattern: is not P×P"),
        ({"flat_pattern": (((1.0, 1.0),),)}, "pattern: is not P×P"),
        ({"flat_pattern": ()}, "pattern: is not P×P"),
        ({"flat_pattern": (((float("nan"),),),)}, "pattern: not all"),
    ],
)
def test_evidence_that_does_not_fit_is_refused(part: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Evidence(**part)
