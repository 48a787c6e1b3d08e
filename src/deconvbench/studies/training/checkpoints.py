"""What a training run keeps on disk so that it can be killed at any moment: a checkpoint, and a log of scores.

A checkpoint is written whole or not at all. The log grows by a line that is on disk before training goes on; its
last line may be torn, and lines after the checkpoint are written again. Nothing here knows how to train a network.
"""

import io
import json
import os
import pickle
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch

from deconvbench.errors import RunFolderError, SurroundingsError, describe_failure, explain_os_error
from deconvbench.records.decoding import DecodingError, build, parse_json
from deconvbench.records.documents import TrainingRow
from deconvbench.system.reading import read_file
from deconvbench.system.writing import open_appending, write_whole

SETTINGS_NAME = "settings.json"
LOG_NAME = "log.jsonl"
CHECKPOINT_NAME = "checkpoint.pt"
RESULT_NAME = "result.json"

Row = dict[str, Any]


def save_checkpoint(folder: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint whole or not at all.

    Parameters
    ----------
    folder : Path
        Of the training run.
    state : dict
        Tensors, numbers, texts, and dicts and lists of them.

    Raises
    ------
    SurroundingsError
        If it cannot be written; the one before is still there.
    """
    buffer = io.BytesIO()
    torch.save(state, buffer)
    write_whole(folder / CHECKPOINT_NAME, buffer.getvalue())


def load_checkpoint(folder: Path, device: str) -> dict[str, Any] | None:
    """Read the checkpoint; nothing in it is executed.

    Parameters
    ----------
    folder : Path
        Of the training run.
    device : str
        Where its tensors go.

    Returns
    -------
    dict or None
        None where there is none yet.

    Raises
    ------
    RunFolderError
        If it is not a checkpoint.
    """
    path = folder / CHECKPOINT_NAME
    if not path.exists():
        return None
    try:
        state = torch.load(path, map_location=device, weights_only=True)
    except (OSError, RuntimeError, ValueError, EOFError, LookupError, pickle.UnpicklingError) as error:
        raise RunFolderError(f"{path} cannot be read as a checkpoint: {describe_failure(error)}") from error
    return dict(state)


def read_log(folder: Path) -> list[Row]:
    """Read the log's finished lines.

    Parameters
    ----------
    folder : Path
        Of the training run.

    Returns
    -------
    list of dict
        In the order written; empty where there is no log.

    Raises
    ------
    RunFolderError
        If a finished line is not JSON.
    """
    path = folder / LOG_NAME
    if not path.exists():
        return []
    try:
        content = read_file(path)
    except OSError as error:
        raise RunFolderError(f"{path} cannot be read: {explain_os_error(error)}") from error
    *lines, _ = content.split(b"\n")  # what follows the last line feed is torn, or nothing
    rows = []
    for number, line in enumerate(lines, 1):
        try:
            rows.append(dict(build(TrainingRow, parse_json(line))))
        except DecodingError as error:
            raise RunFolderError(f"{path}:{number}: not a row of a log: {error}") from error
    return rows


def keep_rows(folder: Path, is_kept: Callable[[Row], bool]) -> None:
    """Rewrite the log with some of its rows, and without a torn line.

    Parameters
    ----------
    folder : Path
        Of the training run.
    is_kept : callable
        Of a row.

    Raises
    ------
    SurroundingsError
        If it cannot be written.
    """
    write_rows(folder, [row for row in read_log(folder) if is_kept(row)])


def write_rows(folder: Path, rows: Iterable[Row]) -> None:
    """Write a log of these rows, whole or not at all.

    Parameters
    ----------
    folder : Path
        Of the training run.
    rows : iterable of dict
        As for `append_row`.

    Raises
    ------
    SurroundingsError
        If it cannot be written.
    """
    write_whole(folder / LOG_NAME, b"".join(map(_encode, rows)))


def append_row(folder: Path, row: Row) -> None:
    """Put a row on disk; when this returns, it is there.

    Parameters
    ----------
    folder : Path
        Of the training run.
    row : dict
        Plain data; floats that are not finite must be None.

    Raises
    ------
    SurroundingsError
        If the disk is full or the folder became read-only.
    """
    path = folder / LOG_NAME
    try:
        with open(open_appending(path), "ab") as file:  # noqa: PTH123 -- it is open already
            file.write(_encode(row))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise SurroundingsError(f"cannot write to {path}: {explain_os_error(error)}") from error


def _encode(row: Row) -> bytes:
    return (json.dumps(row, allow_nan=False) + "\n").encode()


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write an object as strict JSON, whole or not at all.

    Parameters
    ----------
    path : Path
        What is there is replaced.
    content : dict
        Plain data.

    Raises
    ------
    SurroundingsError
        If it cannot be written.
    """
    write_whole(path, f"{json.dumps(content, indent=1, allow_nan=False)}\n".encode())


def read_json(path: Path, kind: Any = dict[str, Any]) -> Row | None:
    """Read an object that `write_json` wrote.

    Parameters
    ----------
    path : Path
        The file.
    kind : type
        What it should hold: a TypedDict of `records.documents`, or any object.

    Returns
    -------
    dict or None
        None where there is no such file.

    Raises
    ------
    RunFolderError
        If it is not such a file.
    """
    try:
        return dict(build(kind, parse_json(read_file(path))))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise RunFolderError(f"{path} cannot be read: {explain_os_error(error)}") from error
    except DecodingError as error:
        raise RunFolderError(f"{path} cannot be read: {error}") from error
