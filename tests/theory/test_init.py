"""The package's face: public names, examples in docstrings, and what importing must not pull in."""

import doctest
import importlib
import pkgutil
import subprocess
import sys

import pytest

from deconvbench import theory

SUBMODULES = [info.name for info in pkgutil.iter_modules(theory.__path__)]


@pytest.mark.parametrize("name", theory.__all__)
def test_public_names_stay_callable_after_all_submodules_are_imported(name: str) -> None:
    for submodule in SUBMODULES:
        importlib.import_module(f"deconvbench.theory.{submodule}")
    assert callable(getattr(theory, name))
    assert name not in SUBMODULES


@pytest.mark.parametrize("submodule", SUBMODULES)
def test_every_public_function_is_re_exported(submodule: str) -> None:
    module = importlib.import_module(f"deconvbench.theory.{submodule}")
    own = {name for name, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__}
    public = {name for name in own if not name.startswith("_")} if not submodule.startswith("_") else set()
    assert public <= set(theory.__all__)


@pytest.mark.parametrize("submodule", ["macs", "overlap", "polyphase", "sizes"])
def test_examples_in_docstrings_hold(submodule: str) -> None:
    result = doctest.testmod(importlib.import_module(f"deconvbench.theory.{submodule}"))
    assert result.attempted > 0
    assert result.failed == 0


def test_importing_needs_neither_torch_nor_pandas() -> None:
    program = "import sys, deconvbench.theory; print(sorted({'torch', 'pandas', 'scipy'} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
