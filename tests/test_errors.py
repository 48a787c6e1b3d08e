"""The exceptions and their exit codes; what was raised elsewhere, and the line in the code that raised it."""

import errno
import json
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn

from deconvbench import errors
from deconvbench.errors import (
    DeconvbenchError,
    FusionError,
    GridError,
    RunFolderError,
    SurroundingsError,
    UnsupportedError,
    UsageError,
    describe_failure,
    explain_os_error,
)


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (DeconvbenchError, 1),
        (UnsupportedError, 1),
        (FusionError, 1),
        (UsageError, 2),
        (GridError, 2),
        (RunFolderError, 2),
        (SurroundingsError, 3),
    ],
)
def test_each_kind_of_error_has_its_exit_code(kind: type[DeconvbenchError], code: int) -> None:
    with pytest.raises(DeconvbenchError, match="what is wrong") as caught:
        raise kind("what is wrong")
    assert caught.value.exit_code == code


def test_every_error_of_the_module_is_in_the_one_tree() -> None:
    kinds = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, Exception)]
    assert len(kinds) == 7
    assert all(issubclass(kind, DeconvbenchError) for kind in kinds)


@pytest.mark.parametrize(
    ("code", "explanation"),
    [
        (errno.ENOSPC, "the disk is full"),
        (errno.EDQUOT, "the disk quota is used up"),
        (errno.EROFS, "the file system is read-only"),
        (errno.EACCES, "permission denied"),
        (errno.EPERM, "permission denied"),
        (errno.EIO, "the disk reports an error"),
    ],
    ids=errno.errorcode.get,
)
def test_known_refusals_are_explained(code: int, explanation: str) -> None:
    assert explain_os_error(OSError(code, "as the system says it")) == explanation


def test_unknown_refusals_keep_the_words_of_the_system() -> None:
    assert explain_os_error(OSError(errno.EISDIR, "Is a directory", "/some/path")) == "Is a directory"
    assert explain_os_error(OSError("no number at all")) == "no number at all"


THEIRS = """



class Layer(nn.Module):
    def forward(self, x):
        return self.halve(x)

    def halve(self, x):
        return action(x)
"""
OTHER = """
def refuse(x):
    raise KeyError("nothing")
"""


def make_module(name: str, text: str, **values: Any) -> ModuleType:
    module = ModuleType(name)
    vars(module).update(values)
    exec(compile(text, f"/somewhere/{name}.py", "exec"), vars(module))
    return module


def catch(kind: type[Exception], action: Callable[[], object], frames: int = 1) -> BaseException:
    """Catch what is raised without the outermost frames, which are those of the tests themselves."""
    with pytest.raises(kind) as caught:
        action()
    trace = caught.value.__traceback__
    for _ in range(frames):
        assert trace is not None
        trace = trace.tb_next
    return caught.value.with_traceback(trace)


def run_layer_of_theirs(action: Callable[[Any], object]) -> object:
    return nn.Sequential(make_module("their_layers", THEIRS, nn=nn, action=action).Layer())(torch.ones(3))


def test_the_place_is_the_authors_line_below_torch() -> None:
    error = catch(TypeError, lambda: run_layer_of_theirs(len(THEIRS)), 3)  # type: ignore[arg-type] # the fault
    assert describe_failure(error) == "TypeError: 'int' object is not callable (their_layers.py:10 in halve)"


@pytest.mark.parametrize(
    ("action", "kind", "text"),
    [
        (torch.linalg.inv, RuntimeError, "RuntimeError: linalg.inv: The input tensor"),
        (make_module("other.inner", OTHER).refuse, KeyError, "KeyError: 'nothing'"),
        (lambda x: json.loads("{"), ValueError, "JSONDecodeError: Expecting property name"),
    ],
    ids=["torch", "a library", "Python"],
)
def test_what_the_author_called_is_not_the_place(
    action: Callable[[Any], object], kind: type[Exception], text: str
) -> None:
    said = describe_failure(catch(kind, lambda: run_layer_of_theirs(action), 3))
    assert said.startswith(text)
    assert said.endswith(" (their_layers.py:10 in halve)")


@pytest.mark.parametrize("name", ["torch.theirs", "deconvbench.theirs", "json.theirs"])
def test_code_of_the_package_has_no_place(name: str) -> None:
    module = make_module(name, "def fail():\n    raise ValueError('two\\n  lines')")
    assert describe_failure(catch(ValueError, module.fail)) == "ValueError: two lines"


def test_a_program_of_ours_is_ours_whatever_it_calls_itself() -> None:
    spec = ModuleSpec("deconvbench.runner.worker_main", None)
    module = make_module("__main__", "def fail():\n    raise ValueError('two words')", __spec__=spec)
    assert describe_failure(catch(ValueError, module.fail)) == "ValueError: two words"
    script = make_module("__main__", "def fail():\n    raise ValueError('two words')")
    assert describe_failure(catch(ValueError, script.fail)) == "ValueError: two words (__main__.py:2 in fail)"


def test_a_failure_at_the_top_of_a_module_names_no_function() -> None:
    error = catch(NameError, lambda: make_module("careless", "\n\nlayers = undefined\n"), 3)
    assert describe_failure(error) == "NameError: name 'undefined' is not defined (careless.py:3)"


def test_an_error_without_words_or_traceback() -> None:
    assert describe_failure(MemoryError()) == "MemoryError"


def test_many_words_are_cut_before_the_place() -> None:
    def refuse(x: object) -> None:
        raise ValueError("word " * 1000)

    said = describe_failure(catch(ValueError, lambda: run_layer_of_theirs(refuse), 3))
    assert len(said) < 500
    assert said.endswith("word … (their_layers.py:10 in halve)")


def test_our_own_errors_speak_for_themselves() -> None:
    assert describe_failure(UsageError("upsampler: 'a' is taken")) == "upsampler: 'a' is taken"
