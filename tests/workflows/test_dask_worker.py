"""What Dask's nanny sets for its workers is not what layers are timed with."""

import os

import pytest

from deconvbench.workflows.dask_worker import clear_nanny_variables


def test_variables_of_the_nanny_are_taken_back_and_a_users_own_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    import dask
    import distributed  # noqa: F401 -- brings the settings

    given = dask.config.get("distributed.nanny.pre-spawn-environ")
    assert {"MALLOC_TRIM_THRESHOLD_", "OMP_NUM_THREADS", "MKL_NUM_THREADS"} <= {*given}
    for name, value in given.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.setenv("OTHER", "1")
    clear_nanny_variables()
    assert os.environ["OMP_NUM_THREADS"] == "7"
    assert os.environ["OTHER"] == "1"
    assert not ({*given} - {"OMP_NUM_THREADS"}) & {*os.environ}
