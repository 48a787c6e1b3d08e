"""A crash-safe store of records: one run folder, one writer, one line a record.

A record is on disk before the next measurement starts, so a process killed at any moment loses at most what
it was measuring. The last line may be torn; opening the journal cuts it off. No torch, no pandas.
"""

import contextlib
import os
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, Self

from deconvbench.errors import SurroundingsError, explain_os_error
from deconvbench.records.record import AnyRecord, decode_journal, encode_record
from deconvbench.records.run_folder import JOURNAL_NAME, hold_folder
from deconvbench.system.reading import read_file
from deconvbench.system.writing import open_appending


class Journal:
    """The journal of one run folder, locked while it is open.

    Parameters
    ----------
    folder : Path
        The run folder; it must exist.
    keeps_records : bool
        False keeps of what is appended the keys alone, so that memory does not grow with the records.

    Attributes
    ----------
    records : list of record
        What stands in the journal, in the recorded order; `append` adds to it where `keeps_records`.

    Raises
    ------
    SurroundingsError
        If another run holds the folder, or it cannot be written.
    RunFolderError
        If a finished line of the journal is not a record.
    """

    def __init__(self, folder: Path, *, keeps_records: bool = True) -> None:
        self.folder = folder
        self._keeps_records = keeps_records
        self._path = folder / JOURNAL_NAME
        try:
            with contextlib.ExitStack() as stack:
                # opened before it is locked: to the lock, a folder that cannot be written may look like one held
                self._descriptor = open_appending(self._path)
                stack.callback(os.close, self._descriptor)
                stack.enter_context(hold_folder(folder))
                self.records = self._recover()
                self._held = stack.pop_all()
        except OSError as error:
            raise SurroundingsError(f"cannot write to {self._path}: {explain_os_error(error)}") from error
        self._keys = {record.key for record in self.records}

    def _recover(self) -> list[AnyRecord]:
        """Read what is there and cut a torn last line off, so that the next one starts on a line of its own."""
        content = read_file(self._path)
        records = decode_journal(content, str(self._path))
        finished = content.rfind(b"\n") + 1
        if finished < len(content):
            os.ftruncate(self._descriptor, finished)
            os.fsync(self._descriptor)
        return records

    def __len__(self) -> int:
        return len(self._keys)

    def __contains__(self, key: tuple[Any, ...]) -> bool:
        return key in self._keys

    def append(self, record: AnyRecord) -> None:
        """Put one record on disk; when this returns, it is there.

        Parameters
        ----------
        record : record
            Of any kind.

        Raises
        ------
        SurroundingsError
            If the disk is full, the folder became read-only or the file is no longer there. What was written
            before stays readable.
        """
        line = (encode_record(record) + "\n").encode()
        size = self.check_place()
        try:
            written = os.write(self._descriptor, line)
            while written < len(line):
                written += os.write(self._descriptor, line[written:])
            os.fsync(self._descriptor)
        except OSError as error:
            self._give_up(error, size)
        if self._keeps_records:
            self.records.append(record)
        self._keys.add(record.key)

    def check_place(self) -> int:
        """Check that the file is still where it was, and return its size in bytes.

        Raises
        ------
        SurroundingsError
            If it was removed, moved or replaced: what is written would be lost, or belong to another run.
        """
        held = os.fstat(self._descriptor)
        try:
            is_same = os.path.samestat(held, self._path.stat())
        except OSError:
            is_same = False
        if not is_same:
            raise SurroundingsError(
                f"cannot write to {self._path}: it was removed, moved or replaced while the run was writing it"
            )
        return held.st_size

    def _give_up(self, error: OSError, size: int) -> NoReturn:
        try:
            os.ftruncate(self._descriptor, size)
        except OSError as second:
            # a torn line is read over by the next run, so failing to cut it loses nothing
            error.add_note(f"could not cut the torn line: {second}")
        raise SurroundingsError(f"cannot write to {self._path}: {explain_os_error(error)}") from error

    def close(self) -> None:
        """Close the file and let the folder go."""
        self._held.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
