"""Watching names, and telling processes that work from those that wait."""

import subprocess
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

from deconvbench.runner import python_state
from deconvbench.runner.python_state import watch_names


def make_module() -> Any:
    place = ModuleType("place")
    place.__dict__.update(kept=1, replaced=2, deleted=3)
    return place


def make_class() -> Any:
    return type("Place", (), {"kept": 1, "replaced": 2, "deleted": 3})


@pytest.mark.parametrize(("place", "has_new"), [(make_module(), True), (make_class(), False)])
def test_names_are_put_back_and_new_ones_stay_in_modules_alone(place: Any, has_new: bool) -> None:
    part = watch_names(place, "place", frozenset({"unwatched"}))
    before = part.read()
    place.unwatched = 1
    assert part.is_same(part.read(), before)
    place.replaced, place.new = 0, 0
    del place.deleted
    assert not part.is_same(part.read(), before)
    assert part.write is not None
    part.write(before)
    assert (place.kept, place.replaced, place.deleted, hasattr(place, "new")) == (1, 2, 3, has_new)
    assert part.is_same(part.read(), before)


@pytest.fixture(params=["torch/_inductor/compile_worker", "of a layer"])
def child(request: pytest.FixtureRequest) -> Iterator[tuple[int, bool]]:
    command = [sys.executable, "-c", "input()", request.param]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        yield process.pid, "_inductor" in request.param
        process.kill()


@pytest.mark.process
@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc")
def test_children_of_torch_that_wait_do_not_count(child: tuple[int, bool]) -> None:
    pid, is_idle = child
    assert (pid in python_state._list_children()) == (not is_idle)


def test_without_children_there_are_none() -> None:
    assert python_state._list_children() == frozenset()
