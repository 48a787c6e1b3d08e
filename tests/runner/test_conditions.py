import sys

import pytest

from deconvbench.errors import UsageError
from deconvbench.runner import conditions
from deconvbench.runner.conditions import choose_policy, list_variables


@pytest.mark.parametrize(
    ("platform", "version", "policy"),
    [("linux", (2, 36), "settled"), ("linux", (), "system"), ("darwin", (), "system"), ("win32", (), "system")],
    ids=["glibc", "musl", "macOS", "Windows"],
)
def test_settled_is_chosen_where_it_can_be_had(
    monkeypatch: pytest.MonkeyPatch, platform: str, version: tuple[int, ...], policy: str
) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(conditions, "read_glibc_version", lambda: version)
    assert choose_policy(None) == policy
    for asked in ("settled", "system"):
        assert choose_policy(asked) == asked


def test_a_wrong_word_is_named_with_what_is_allowed() -> None:
    with pytest.raises(UsageError) as caught:
        choose_policy("setled")
    assert str(caught.value) == "--conditions: 'setled' is not one of settled, system (did you mean 'settled'?)"
    with pytest.raises(UsageError, match="^conditions: ''"):
        choose_policy("", "conditions")


def test_the_system_needs_no_variables() -> None:
    assert list_variables("system") == {}
    assert list_variables("system", {"GLIBC_TUNABLES": "glibc.malloc.top_pad=1"}) == {}


def test_settled_needs_those_of_malloc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conditions, "read_glibc_version", lambda: (2, 39))
    found = list_variables("settled", {"GLIBC_TUNABLES": "glibc.malloc.top_pad=1"})["GLIBC_TUNABLES"]
    assert found.startswith("glibc.malloc.top_pad=1:glibc.malloc.hugetlb=1:")
    monkeypatch.setattr(conditions, "read_glibc_version", lambda: ())
    assert list_variables("settled", {}) == {}
