"""Equal machines are of one kind, and nothing else is."""

from typing import Any

import pytest

from deconvbench.runner.machine_kind import name_kind

MACHINE: dict[str, Any] = {
    "machine_id": "a",
    "cpu": "AMD EPYC",
    "cpu_capability": "AVX2",
    "cores": 2,
    "usable_cores": 2,
    "cpu_quota_cores": None,
    "memory_bytes": 24 * 2**30,
    "accelerator": {"type": "cuda", "devices": [{"name": "H100"}], "flags": {}},
    "load_average": 0.5,
}


def test_what_differs_between_equal_machines_does_not_count() -> None:
    other = {**MACHINE, "machine_id": "b", "load_average": 3.0, "memory_bytes": 24 * 2**30 - 2**20}
    assert name_kind(MACHINE) == name_kind(other)
    assert len(name_kind(MACHINE)) == 8


@pytest.mark.parametrize(
    "changes",
    [
        {"cpu": "Intel Xeon"},
        {"cpu_capability": "AVX512"},
        {"cores": 4},
        {"usable_cores": 1},
        {"cpu_quota_cores": 1.5},
        {"memory_bytes": 48 * 2**30},
        {"accelerator": None},
        {"accelerator": {"type": "cuda", "devices": [{"name": "H100"}, {"name": "H100"}]}},
    ],
    ids=lambda changes: str(changes)[:60],
)
def test_other_hardware_is_another_kind(changes: dict[str, Any]) -> None:
    assert name_kind(MACHINE) != name_kind({**MACHINE, **changes})


def test_a_machine_of_which_nothing_is_known_has_a_kind() -> None:
    assert name_kind({}) == name_kind({"accelerator": []})
