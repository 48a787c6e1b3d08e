"""Standard output and error as they may be: closed, full, a pipe without a reader, or lacking letters.

None of these is a reason to stop measuring. What cannot be written is dropped, and where a result was lost, the
exit code says so at the end.
"""

import contextlib
import errno
import io
import os
import sys
from collections.abc import Iterator
from typing import TextIO

from deconvbench.errors import SurroundingsError, explain_os_error


class GuardedStream(io.TextIOBase):
    """A text stream whose failures are kept instead of raised.

    Parameters
    ----------
    stream : text stream
        To which everything goes, until it fails.

    Attributes
    ----------
    failure : OSError or None
        What it refused, but for a pipe that was closed at its other end: who reads no more has what was wanted.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._is_lost = False
        self.failure: OSError | None = None

    @property
    def encoding(self) -> str:  # type: ignore[override] # an attribute of the base class, which has none
        """As that of the stream."""
        return self._stream.encoding

    @property
    def errors(self) -> str | None:  # type: ignore[override] # as above
        """As that of the stream."""
        return self._stream.errors

    def isatty(self) -> bool:
        """As that of the stream."""
        return self._stream.isatty()

    def fileno(self) -> int:
        """As that of the stream."""
        return self._stream.fileno()

    def writable(self) -> bool:
        """Say that it takes text, even after it has failed."""
        return True

    def write(self, text: str) -> int:
        """Write a text, or drop it where the stream has failed."""
        with self._keep_failure():
            if not self._is_lost:
                self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Hand over what was written."""
        with self._keep_failure():
            if not self._is_lost:
                self._stream.flush()

    @contextlib.contextmanager
    def _keep_failure(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._is_lost = True
            if error.errno not in (errno.EPIPE, errno.ESHUTDOWN):
                self.failure = error
            self._discard()

    def _discard(self) -> None:
        """Lead the descriptor away, so that what is still in buffers does not fail again when Python ends."""
        with contextlib.suppress(OSError, ValueError):
            with open(os.devnull, "wb") as sink:  # noqa: PTH123 -- its name is not a path to all systems
                os.dup2(sink.fileno(), self._stream.fileno())
            self._stream.flush()


@contextlib.contextmanager
def guard_streams() -> Iterator[None]:
    """Have standard output and error that take everything while the block lasts.

    Raises
    ------
    SurroundingsError
        At the end of the block, if standard output refused what was printed.
    """
    _fill_descriptors()
    before = sys.stdout, sys.stderr
    with contextlib.ExitStack() as stack:
        # Python has None for a stream that was closed when it started
        sink = stack.enter_context(open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123 -- as above
        streams = [GuardedStream(stream or sink) for stream in before]
        output = before[0]
        if isinstance(output, io.TextIOWrapper):
            stack.callback(output.reconfigure, errors=output.errors)
            output.reconfigure(errors="replace")
        sys.stdout, sys.stderr = streams
        try:
            yield
        finally:
            for stream in streams:
                stream.flush()
            sys.stdout, sys.stderr = before
    if streams[0].failure is not None:
        reason = explain_os_error(streams[0].failure)
        raise SurroundingsError(f"cannot write to standard output: {reason}") from streams[0].failure


def _fill_descriptors() -> None:
    """Open what of the three standard descriptors is closed: a journal must not become standard error."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest that is free: this one
