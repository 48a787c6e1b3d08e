import pytest
from hypothesis import given
from hypothesis import strategies as st

from deconvbench.analysis.environments import describe_differences, list_differences, list_facts

ENVIRONMENT = {
    "machine_id": "abc",
    "load_average": 0.3,
    "python_version": "3.11.2",
    "libc": "glibc-2.36",
    "cpu_governor": None,
    "torch_threads": 2,
    "torch_version": "2.13.0",
    "packages": {"torch": "2.13.0", "numpy": "2.1.0", "memray": None},
    "variables": {"OMP_NUM_THREADS": "1"},
    "accelerator": {"devices": [{"name": "NVIDIA H100"}]},
}


def change(**changes: object) -> dict[str, str]:
    return list_facts({**ENVIRONMENT, **changes})


@pytest.mark.parametrize(
    ("changes", "lines"),
    [
        ({}, []),
        ({"machine_id": "other", "load_average": 7.0, "torch_version": "2.9.0"}, []),
        ({"python_version": "3.12.1"}, ["Python 3.11.2 against 3.12.1"]),
        ({"libc": "musl-1.2", "torch_threads": 4}, ["libc glibc-2.36 against musl-1.2", "threads 2 against 4"]),
        ({"cpu_governor": "powersave"}, ["governor unknown against powersave"]),
        ({"variables": {}}, ["OMP_NUM_THREADS 1 against not set"]),
        ({"variables": {"OMP_NUM_THREADS": "1", "LD_PRELOAD": "x"}}, ["LD_PRELOAD not set against x"]),
        ({"packages": {"numpy": "2.2.0", "memray": None}}, ["numpy 2.1.0 against 2.2.0"]),
        ({"packages": {"numpy": "2.1.0"}}, ["memray unknown against not installed"]),
        (
            {"accelerator": {"devices": [{"name": "NVIDIA A100"}]}},
            ["accelerator: devices 0: name NVIDIA H100 against NVIDIA A100"],
        ),
    ],
)
def test_every_difference_is_listed(changes: dict[str, object], lines: list[str]) -> None:
    assert list_differences(change(), change(**changes)) == lines
    assert describe_differences(change(), change(**changes)) == (
        [f"environments differ: {'; '.join(lines)}"] if lines else []
    )


def test_what_one_side_does_not_record_is_no_difference() -> None:
    assert list_differences(change(), list_facts({"python_version": "3.11.2", "system": "Linux"})) == []


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=9), anything, max_size=4))
def test_files_of_others_may_hold_anything(environment: dict[str, object]) -> None:
    facts = list_facts(environment)
    assert list_differences(facts, facts) == []
    assert all("\n" not in name + text for name, text in facts.items())
