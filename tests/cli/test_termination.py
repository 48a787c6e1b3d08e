"""Signals that ask a command to end."""

import os
import signal
import threading

import pytest
import typer

from deconvbench.cli import app as cli
from deconvbench.cli.termination import end_on_signals
from deconvbench.errors import Terminated, find_exit_code

ASKED = [signal.SIGTERM, signal.SIGHUP]


@pytest.fixture(autouse=True)
def _defaults(monkeypatch: pytest.MonkeyPatch) -> object:
    """No handlers of those who run the tests; in the background a shell has Ctrl-C ignored."""
    before = {number: signal.signal(number, signal.SIG_DFL) for number in ASKED}
    before[signal.SIGINT] = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", ASKED)
def test_a_signal_ends_the_block_once(number: signal.Signals) -> None:
    ended: list[int] = []

    def end() -> None:
        try:
            os.kill(os.getpid(), number)
        finally:
            for other in ASKED:  # what ends is not interrupted again
                os.kill(os.getpid(), other)
                ended.append(other)

    with end_on_signals() as received, pytest.raises(Terminated) as caught:
        end()
    assert (received, ended) == ([number], ASKED)
    assert isinstance(caught.value, KeyboardInterrupt)
    assert find_exit_code(caught.value) == 128 + number
    assert [signal.getsignal(other) for other in ASKED] == [signal.SIG_DFL] * 2


@pytest.mark.parametrize("handler", [signal.SIG_IGN, lambda *_: None], ids=["as nohup has it", "another handler"])
def test_what_is_handled_stays_so(handler: signal.Handlers) -> None:
    signal.signal(signal.SIGHUP, handler)
    with end_on_signals() as received:
        os.kill(os.getpid(), signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) is handler
    assert received == []


def test_other_threads_do_without() -> None:
    seen: list[object] = []

    def look() -> None:
        with end_on_signals():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert seen == [signal.SIG_DFL]


@pytest.mark.parametrize("number", [signal.SIGINT, *ASKED])
@pytest.mark.parametrize("where", ["in a command", "in one that handles it"])
def test_the_exit_code_is_that_of_the_signal(number: signal.Signals, where: str) -> None:
    application = typer.Typer()

    @application.command()
    def wait() -> None:
        try:
            os.kill(os.getpid(), number)
        except KeyboardInterrupt as error:
            if where == "in a command":
                raise
            raise typer.Exit(find_exit_code(error)) from error

    assert cli.run_app(application, "name", []) == 128 + number
