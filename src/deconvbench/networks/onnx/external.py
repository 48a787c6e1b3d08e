"""Weights in files beside an ONNX file: read from where it says, if that is within its own folder."""

import os
import stat
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from deconvbench.errors import UsageError, explain_os_error, quote

_EXTERNAL = 1


def is_external(tensor: Any) -> bool:
    """Whether the data of a tensor are in another file."""
    return bool(tensor.data_location == _EXTERNAL)


def read_external(tensor: Any, name: str, folder: Path, size: int) -> bytes:
    """Read the data of a tensor from the file that it names.

    Parameters
    ----------
    tensor : TensorProto
        With external data.
    name : str
        For messages.
    folder : Path
        Of the ONNX file.
    size : int
        Bytes that the tensor has by its shape.

    Returns
    -------
    bytes

    Raises
    ------
    UsageError
        If the file is outside of the folder, a link, not there or too short.
    """
    entries = {entry.key: entry.value for entry in tensor.external_data}
    location = entries.get("location", "")
    offset = _read_number(entries.get("offset", "0"), "offset", name)
    length = _read_number(entries.get("length", str(size)), "length", name)
    if length != size:
        raise UsageError(f"{name}: says {length} bytes of external data, and its shape {size}")
    path = _find_file(location, name, folder)
    try:
        # a link that has been put there since is not followed, and nothing that waits for somebody is opened
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with open(descriptor, "rb") as file:  # noqa: PTH123 -- a descriptor
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise UsageError(f"{name}: external data {quote(location)} are not a file")
            if offset + size > found.st_size:
                raise UsageError(
                    f"{name}: external data {quote(location)} have {found.st_size} bytes;"
                    f" {offset + size} are needed"
                )
            file.seek(offset)
            return file.read(size)
    except OSError as error:
        raise UsageError(f"{name}: external data {quote(location)}: {explain_os_error(error)}") from error


def _find_file(location: str, name: str, folder: Path) -> Path:
    """Find a file within the folder, with no link on the way."""
    parts = PurePosixPath(location).parts
    is_inside = (
        parts
        and not PurePosixPath(location).is_absolute()
        and not PureWindowsPath(location).drive
        and not PureWindowsPath(location).root
        and ".." not in (*parts, *PureWindowsPath(location).parts)
        and "\0" not in location
    )
    if not is_inside:
        raise UsageError(f"{name}: external data {quote(location)} are outside of the folder of the model")
    path = folder
    for part in parts:
        path /= part
        if path.is_symlink():
            raise UsageError(f"{name}: external data {quote(location)} are behind a link, which is not followed")
    return path


def _read_number(text: str, what: str, name: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise UsageError(f"{name}: {what} {quote(text)} of its external data is not a whole number")
    return int(text)
