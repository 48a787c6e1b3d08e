"""The public names: light to import, and callable whatever is imported first."""

import importlib
import pkgutil
import subprocess
import sys

import pytest

import deconvbench


def list_modules() -> list[str]:
    found = pkgutil.walk_packages(deconvbench.__path__, "deconvbench.")
    return [module.name for module in found if not module.name.endswith("__main__")]


def test_public_names_stay_callable_when_every_submodule_is_imported() -> None:
    for name in list_modules():
        importlib.import_module(name)
    for name in deconvbench.__all__:
        value = getattr(deconvbench, name)
        assert name == "__version__" or callable(value), f"{name} is {value!r}"


def test_no_submodule_bears_the_name_of_a_public_function() -> None:
    submodules = {module.name for module in pkgutil.iter_modules(deconvbench.__path__)}
    assert not submodules & set(deconvbench.__all__)


@pytest.mark.parametrize(
    "name",
    [
        "block_edge",
        "border_error",
        "checkerboard",
        "effective_ripple",
        "find_period",
        "flat_field_ripple",
        "gradient_overlap_cv",
        "image_rejection_db",
        "impulse_response",
        "noise_gain_cv",
        "overlap_cv",
        "phase_ripple",
    ],
)
def test_metrics_are_at_the_top(name: str) -> None:
    artifacts = importlib.import_module("deconvbench.measure.artifacts")
    assert getattr(deconvbench, name) is getattr(artifacts, name)
    assert name in dir(deconvbench)


def test_unknown_names_are_attribute_errors() -> None:
    with pytest.raises(AttributeError, match="no attribute 'deconvolve'"):
        _ = deconvbench.deconvolve
    assert {"load", "run"} <= set(dir(deconvbench))


LIGHT = [
    "__init__",
    "__main__",
    "cli.app",
    "errors",
    "units",
    "grid.expressions",
    "records.case",
    "records.metrics",
    "records.record",
    "records.run_folder",
    "records.schema",
    "records.journal",
]


@pytest.mark.parametrize("module", [*LIGHT, "runner.environment"])
def test_light_modules_stay_light(module: str) -> None:
    heavy = "{'torch', 'pandas', 'pyarrow', 'scipy', 'matplotlib', 'seaborn'}"
    name = "deconvbench" if module == "__init__" else f"deconvbench.{module}"
    code = f"import sys, {name}\nsys.exit(repr({heavy} & set(sys.modules)) if {heavy} & set(sys.modules) else 0)"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr


@pytest.mark.parametrize("module", ["tables.table", "analysis.tradeoff", "plots", "report"])
def test_the_tabulating_half_needs_no_torch(module: str) -> None:
    code = (
        "import importlib.abc, sys\n"
        "class Absent(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, path, target=None):\n"
        "        if name.partition('.')[0] == 'torch':\n"
        "            raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Absent())\n"
        f"import deconvbench.{module}\n"
        "sys.exit('torch' in sys.modules)"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
