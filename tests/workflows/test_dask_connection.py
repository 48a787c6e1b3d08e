"""Which schedulers are accepted, and what is said of those that are not."""

import re
from pathlib import Path

import pytest

from deconvbench.errors import SurroundingsError, UsageError
from deconvbench.workflows.dask_connection import check_address, check_scheduler, connect, is_private


@pytest.mark.parametrize(
    "address",
    [
        "local:1",
        "local:3",
        "tcp://127.0.0.1:8786",
        "tcp://localhost:8786",
        "tcp://[::1]:8786",
        "tls://scheduler.example:8786",
        "tls://10.0.0.1:8786",
    ],
)
def test_loopback_and_tls_are_accepted(address: str) -> None:
    check_address(address)


@pytest.mark.parametrize("address", ["tcp://10.0.0.1:8786", "tcp://scheduler:8786", "tcp://[2001:db8::1]:8786"])
def test_another_machine_without_tls_is_refused_unless_asked_for(address: str) -> None:
    with pytest.raises(UsageError, match=re.escape(f"--scheduler: {address} is another machine without TLS")):
        check_address(address)
    check_address(address, insecure=True)


@pytest.mark.parametrize(
    "address",
    ["", "local", "tcp://", "tcp://host", "tcp://host:port", "tcp://host:99999",
     "http://host:1", "host:8786", "ucx://host:1", "inproc://1/2/3", "tcp://[::1:8786"],
)  # fmt: skip
def test_what_is_not_an_address_is_refused(address: str) -> None:
    with pytest.raises(UsageError, match="--scheduler: .* is not local:N, tcp://HOST:PORT or tls://HOST:PORT"):
        check_address(address, insecure=True)


@pytest.mark.parametrize("workers", [0, -3, 9999, 99999999])
def test_a_machine_is_not_asked_for_any_number_of_workers(workers: int) -> None:
    with pytest.raises(UsageError, match=f"--scheduler: local:N: {workers} is not from 1 to [0-9]+, the most on"):
        check_address(f"local:{workers}")


@pytest.mark.parametrize("text", ["", "x", "2.5", "1e3", " 2", "2 ", "-", "٣", "9" * 5000])
def test_a_number_of_workers_that_is_none_is_named(text: str) -> None:
    with pytest.raises(UsageError, match=r"--scheduler: 'local:.*': N, the number of workers, is a whole"):
        check_address(f"local:{text}")


def test_workers_addresses_are_judged_alike() -> None:
    assert is_private("inproc://127.0.0.1/1/2")
    assert is_private("tls://10.0.0.1:1")
    assert not is_private("tcp://10.0.0.1:1")
    assert not is_private("ucx://127.0.0.1:1")


def test_a_scheduler_that_notices_lost_workers_needs_no_word() -> None:
    assert check_scheduler(5.0, 1) == ""
    assert check_scheduler(60.0, 0) == ""


def test_the_defaults_of_dask_are_warned_of_in_one_line() -> None:
    warning = check_scheduler(300.0, 3)
    assert "\n" not in warning
    assert "noticed after 5 min" in warning
    assert "up to 3 times" in warning
    assert "DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL=30s" in warning
    assert "up to" not in check_scheduler(300.0, 1)
    assert "noticed" not in check_scheduler(5.0, 2)


def test_a_scheduler_that_never_notices_is_refused() -> None:
    with pytest.raises(UsageError, match="worker-ttl is off"):
        check_scheduler(None, 1)


@pytest.mark.process
def test_a_scheduler_that_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deconvbench.workflows.dask_connection._CONNECT_S", 0.5)
    announced: list[str] = []
    with (
        pytest.raises(SurroundingsError, match="--scheduler: cannot connect to tcp://127.0.0.1:9: "),
        connect("tcp://127.0.0.1:9", warn=lambda _: None, announce=announced.append),
    ):
        pass
    # before the wait
    assert announced == ["--scheduler: connecting to tcp://127.0.0.1:9, for up to 0.5 s"]


def test_tls_needs_certificates(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import dask

    def try_to_connect() -> None:
        with connect("tls://127.0.0.1:9", warn=lambda _: None):
            pass

    with pytest.raises(UsageError, match="--scheduler: tls://127.0.0.1:9 needs Dask's TLS settings"):
        try_to_connect()
    missing = str(tmp_path / "none.pem")
    (tmp_path / "text.pem").write_text("no certificate")
    for file in (missing, str(tmp_path / "text.pem")):
        names = ("ca-file", "client.cert", "client.key")
        with (
            dask.config.set({f"distributed.comm.tls.{name}": file for name in names}),
            pytest.raises(UsageError, match="--scheduler: tls://127.0.0.1:9: Dask's TLS settings of the client: "),
        ):
            try_to_connect()


def test_without_the_extra_it_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(__import__("sys").modules, "distributed", None)
    with (
        pytest.raises(UsageError, match=re.escape("pip install 'deconvbench[cluster]'")),
        connect("local:1", warn=lambda _: None),
    ):
        pass
