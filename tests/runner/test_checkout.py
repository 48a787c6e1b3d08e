import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import deconvbench
from deconvbench.runner.checkout import PRODUCTS, take_products_from

pytestmark = pytest.mark.process

PACKAGE = Path(deconvbench.__file__).parent
TAKE = "from pathlib import Path; from deconvbench.runner.checkout import take_products_from\n"


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another checkout, in which one upsampler and the theory say that they are others."""
    source = tmp_path_factory.mktemp("checkout") / "src"
    shutil.copytree(PACKAGE, source / "deconvbench", ignore=shutil.ignore_patterns("__pycache__"))
    changed = source / "deconvbench" / "upsamplers" / "interpolation.py"
    changed.write_text(changed.read_text() + "\nORIGIN = 'the other'\n")
    return source


def run(code: str, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=False)


def test_layers_of_earlier_commits_find_what_has_moved_since(checkout: Path) -> None:
    with (checkout / "deconvbench" / "upsamplers" / "interpolation.py").open("a") as file:
        file.write("\nfrom deconvbench.failures import describe_failure\n")
    code = (
        f"import sys\n{TAKE}take_products_from(Path(sys.argv[1]))\n"
        "import deconvbench.upsamplers.interpolation as theirs, deconvbench.errors as ours\n"
        "assert theirs.describe_failure is ours.describe_failure"
    )
    answer = run(code, str(checkout))
    assert answer.returncode == 0, answer.stderr


def test_products_come_from_the_checkout_and_what_measures_from_here(checkout: Path) -> None:
    code = (
        f"import sys\n{TAKE}take_products_from(Path(sys.argv[1]))\n"
        "import deconvbench.measure.layers as measuring, deconvbench.upsamplers as upsamplers\n"
        "import deconvbench.theory.overlap as overlap, deconvbench.upsamplers.interpolation as interpolation\n"
        "import deconvbench.records.case as case\n"
        "assert interpolation.ORIGIN == 'the other'\n"
        "assert measuring.build_upsampler is upsamplers.build_upsampler\n"
        "print(*(m.__file__ for m in (measuring, case, upsamplers, interpolation, overlap)), sep='\\n')"
    )
    answer = run(code, str(checkout))
    assert answer.returncode == 0, answer.stderr
    ours, theirs = PACKAGE, checkout / "deconvbench"
    assert answer.stdout.split() == [
        str(ours / "measure" / "layers.py"),
        str(ours / "records" / "case.py"),
        str(theirs / "upsamplers" / "__init__.py"),
        str(theirs / "upsamplers" / "interpolation.py"),
        str(theirs / "theory" / "overlap.py"),
    ]


@pytest.mark.parametrize("product", PRODUCTS)
def test_a_checkout_without_a_product_never_gets_ours(tmp_path: Path, product: str) -> None:
    (tmp_path / "deconvbench").mkdir()
    code = f"import sys\n{TAKE}take_products_from(Path(sys.argv[1]))\nimport {product}"
    answer = run(code, str(tmp_path))
    assert answer.returncode == 1
    assert f"ModuleNotFoundError: {tmp_path / 'deconvbench'} has no {product}" in answer.stderr


def test_too_late_is_refused(tmp_path: Path) -> None:
    import deconvbench.theory  # noqa: F401 -- what must come too late

    assert "deconvbench.theory" in sys.modules
    before = list(sys.meta_path)
    with pytest.raises(RuntimeError, match=r"deconvbench\.theory.* imported before the other checkout was chosen"):
        take_products_from(tmp_path)
    assert sys.meta_path == before


MODULES = "from pathlib import Path; from deconvbench.runner.checkout import take_modules_from\n"


@pytest.fixture
def users(tmp_path: Path) -> Path:
    """A user's checkout, with a package below ``src`` and a module beside it."""
    (tmp_path / "src" / "mypkg").mkdir(parents=True)
    (tmp_path / "src" / "mypkg" / "__init__.py").write_text("ORIGIN = 'checkout'\n")
    (tmp_path / "src" / "mypkg" / "part.py").write_text("ORIGIN = 'checkout'\n")
    (tmp_path / "beside.py").write_text("ORIGIN = 'checkout'\n")
    (tmp_path / "json.py").write_text("raise RuntimeError('not this one')\n")
    # what is installed, or lies in the current folder, has the same names
    for name in ("mypkg", "beside", "gone"):
        (tmp_path / "installed").mkdir(exist_ok=True)
        (tmp_path / "installed" / f"{name}.py").write_text("ORIGIN = 'installed'\n")
    return tmp_path


def run_with(users: Path, code: str) -> subprocess.CompletedProcess[str]:
    names = ["mypkg", "beside", "gone"]
    take = f"take_modules_from([Path({str(users / 'src')!r}), Path({str(users)!r})], {names})\n"
    return run(f"import sys; sys.path.insert(0, {str(users / 'installed')!r})\n{MODULES}{take}{code}")


def test_modules_of_a_users_checkout_come_from_there(users: Path) -> None:
    code = (
        "import mypkg, mypkg.part, beside, json\n"
        "print(mypkg.ORIGIN, mypkg.part.ORIGIN, beside.ORIGIN, json.dumps(1))"
    )
    answer = run_with(users, code)
    assert answer.stdout.split() == ["checkout", "checkout", "checkout", "1"], answer.stderr


def test_a_module_that_a_commit_lacks_is_not_taken_from_elsewhere(users: Path) -> None:
    answer = run_with(users, "import gone")
    assert answer.returncode == 1
    assert "ModuleNotFoundError: this commit has no module gone" in answer.stderr


def test_a_module_that_was_imported_before_cannot_be_taken(users: Path) -> None:
    answer = run(f"import json\n{MODULES}take_modules_from([Path({str(users)!r})], ['json'])")
    assert "json imported before the checkout was chosen" in answer.stderr
