"""Weights beside an ONNX file: what is read, and what is not."""

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from deconvbench.errors import UsageError
from deconvbench.networks.onnx.external import is_external, read_external


def make_tensor(**entries: str) -> SimpleNamespace:
    data = [SimpleNamespace(key=key, value=value) for key, value in entries.items()]
    return SimpleNamespace(data_location=1, external_data=data)


def test_data_are_read_from_where_they_say(tmp_path: Path) -> None:
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "w.bin").write_bytes(b"0123456789")
    tensor = make_tensor(location="weights/w.bin", offset="2", length="4")
    assert is_external(tensor)
    assert read_external(tensor, "w", tmp_path, 4) == b"2345"
    assert read_external(make_tensor(location="weights/w.bin"), "w", tmp_path, 10) == b"0123456789"
    assert not is_external(SimpleNamespace(data_location=0))


@pytest.mark.parametrize(
    ("entries", "problem"),
    [
        ({"location": "../w.bin"}, "are outside of the folder of the model"),
        ({"location": "/etc/passwd"}, "are outside of the folder of the model"),
        ({"location": "C:\\w.bin"}, "are outside of the folder of the model"),
        ({"location": "a\\..\\..\\w.bin"}, "are outside of the folder of the model"),
        ({"location": "w\0.bin"}, "are outside of the folder of the model"),
        ({}, "are outside of the folder of the model"),
        ({"location": "w.bin", "length": "3"}, "says 3 bytes of external data, and its shape 4"),
        ({"location": "w.bin", "offset": "-1"}, "offset '-1' of its external data is not a whole number"),
        ({"location": "w.bin", "offset": "9" * 30}, "is not a whole number"),
        ({"location": "w.bin", "offset": "7"}, "have 10 bytes; 11 are needed"),
        ({"location": "none.bin"}, "external data 'none.bin': "),
        ({"location": "folder"}, "'folder'"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_what_is_wrong_is_named(tmp_path: Path, entries: dict[str, str], problem: str) -> None:
    (tmp_path / "w.bin").write_bytes(b"0123456789")
    (tmp_path / "folder").mkdir()
    with pytest.raises(UsageError) as caught:
        read_external(make_tensor(**entries), "conv.weight", tmp_path, 4)
    assert str(caught.value).startswith("conv.weight: ")
    assert problem in str(caught.value)


def test_links_are_not_followed_and_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "w.bin").write_bytes(b"0123")
    model = tmp_path / "model"
    model.mkdir()
    (model / "file").symlink_to(tmp_path / "outside" / "w.bin")
    (model / "folder").symlink_to(tmp_path / "outside")
    for location in ("file", "folder/w.bin"):
        with pytest.raises(UsageError, match="behind a link"):
            read_external(make_tensor(location=location), "w", model, 4)
    os.mkfifo(model / "pipe")
    with pytest.raises(UsageError, match="are not a file"):
        read_external(make_tensor(location="pipe"), "w", model, 4)
