"""A user's package, installed beside ours, brings upsamplers: nothing here knows of it, everything shows it."""

import base64
import hashlib
import os
import re
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

import deconvbench
from deconvbench.__main__ import main
from deconvbench.tables.files import load

pytestmark = pytest.mark.process

SOURCE = '''
from torch import nn
from deconvbench import register_upsampler


@register_upsampler(
    "somebodys_resize",
    summary="nearest-neighbour resize between two convolutions",
    formula="conv_k(nearest_s(conv_1(x)))",
    macs_formula="k² + 1/s²",
    reference="somebody 2026",
    linear=True,
    shift_equivariant=True,
)
def resize(in_channels, out_channels, kernel_size, scale_factor):
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 1, bias=False),
        nn.Upsample(scale_factor=scale_factor),
        nn.Conv2d(out_channels, out_channels, kernel_size, padding=kernel_size // 2),
    )


class Bare(nn.ConvTranspose2d):
    """Nothing is said of it."""

    def __init__(self, in_channels, out_channels, kernel_size, scale_factor):
        super().__init__(in_channels, out_channels, scale_factor, stride=scale_factor)
'''
ENTRY_POINTS = """[deconvbench.upsamplers]
whatever = somebodys_layers:resize
somebodys_bare = somebodys_layers:Bare
somebodys_broken = somebodys_layers.gone:factory
"""
METADATA = "Metadata-Version: 2.1\nName: somebodys-layers\nVersion: 1.2\n"
WHEEL = "Wheel-Version: 1.0\nGenerator: by hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
GRID = """replicates = 1
time_cap_s = 0.01

[axes]
upsampler = ["somebodys_resize", "somebodys_bare", "transposed"]
kernel_size = [3]
scale_factor = [2]
in_channels = [4]
height = [8]

[quality]
seeds = 1
channels = 4
"""
WARNING = (
    "deconvbench: entry point 'somebodys_broken' of somebodys-layers 1.2 (somebodys_layers.gone:factory) cannot be"
    " loaded: ModuleNotFoundError: No module named 'somebodys_layers.gone'\n"
)


def build_wheel(folder: Path) -> Path:
    """Write the package as a wheel, which needs no build backend."""
    info = "somebodys_layers-1.2.dist-info"
    files = {
        "somebodys_layers/__init__.py": SOURCE,
        f"{info}/METADATA": METADATA,
        f"{info}/WHEEL": WHEEL,
        f"{info}/entry_points.txt": ENTRY_POINTS,
    }
    lines = []
    for name, text in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")
        lines.append(f"{name},sha256={digest},{len(text.encode())}")
    files[f"{info}/RECORD"] = "\n".join([*lines, f"{info}/RECORD,,", ""])
    wheel = folder / "somebodys_layers-1.2-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return wheel


class TheirEnvironment:
    """A virtual environment that sees all that the tests' own one holds, and a package of its own.

    Parameters
    ----------
    folder : Path
        Empty; commands run in it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        home = folder / "venv"
        self._call(sys.executable, "-m", "venv", "--without-pip", str(home))
        places = {"base": str(home), "platbase": str(home)}
        self.python = Path(sysconfig.get_path("scripts", "venv", places)) / Path(sys.executable).name
        # ours first, from wherever it is imported here; then what it needs, with the .pth files of those folders
        ours = str(Path(deconvbench.__file__).parents[1])
        needed = dict.fromkeys([sysconfig.get_path("purelib"), sysconfig.get_path("platlib")])
        lines = [ours, *(f"import site; site.addsitedir({path!r})" for path in needed)]
        site = Path(sysconfig.get_path("purelib", "venv", places))
        (site / "beside_ours.pth").write_text("\n".join(lines))
        # the pip of the tests' environment, because making one for each environment takes seconds
        pip = (sys.executable, "-m", "pip", "--python", str(self.python), "--isolated", "--quiet")
        options = ("--no-index", "--no-deps", "--disable-pip-version-check")
        self._call(*pip, "install", *options, str(build_wheel(folder)))

    def _call(self, *words: str) -> "subprocess.CompletedProcess[str]":
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        answer = subprocess.run(
            words, cwd=self.folder, env=environment, capture_output=True, text=True, check=False
        )
        assert answer.returncode == 0, answer.stderr
        return answer

    def run(self, *words: str) -> tuple[str, str]:
        """Run our command line there; give what it writes to its two streams."""
        answer = self._call(str(self.python), "-m", "deconvbench", *words)
        return answer.stdout, answer.stderr


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> TheirEnvironment:
    made = TheirEnvironment(tmp_path_factory.mktemp("theirs"))
    (made.folder / "tiny.toml").write_text(GRID)
    return made


@pytest.mark.slow
def test_its_upsamplers_are_in_the_catalogue(theirs: TheirEnvironment) -> None:
    out, err = theirs.run("grid", "--upsamplers")
    assert re.search(
        r"^somebodys_resize +conv_k\(nearest_s\(conv_1\(x\)\)\) +k² \+ 1/s² +0 +somebody 2026$", out, re.MULTILINE
    )
    assert re.search(r"^somebodys_bare +flat 0\.\d+$", out, re.MULTILINE)
    assert re.search(r"^transposed +convT_k", out, re.MULTILINE)
    # one that is broken is told of once, and costs its own row
    assert err == WARNING
    assert re.search(r"^somebodys_broken +– +error: entry point .* cannot be loaded: Mod", out, re.MULTILINE)


@pytest.mark.slow
def test_its_upsamplers_are_in_the_grid_the_run_and_the_report(theirs: TheirEnvironment) -> None:
    names = ["somebodys_resize", "somebodys_bare", "transposed"]
    out, err = theirs.run("grid", "--grid", "tiny.toml")
    assert out.splitlines() == [f"{name}-k3-s2-c4x4-8x8" for name in names]
    assert err.startswith(WARNING)

    out, err = theirs.run("run", "--grid", "tiny.toml", "--out", "measured", "--seed", "1")
    assert out == "measured\n"
    assert err.startswith(WARNING)
    assert "3 records: 3 ok" in err
    table = load(theirs.folder / "measured").set_index("upsampler")
    assert sorted(table.index) == sorted(names)
    assert set(table["status"]) == {"ok"}
    assert (table["latency_s"] > 0).all()
    assert table["macs"]["somebodys_resize"] == 4 * 4 * (9 * 16 * 16 + 8 * 8)
    # what is declared is measured; of the other nothing is known, so nothing is claimed
    assert table["phase_ripple"]["somebodys_resize"] == pytest.approx(0, abs=1e-12)
    assert table["phase_ripple"].isna()["somebodys_bare"]

    out, _ = theirs.run("report", "measured")
    page = (theirs.folder / out.strip()).read_text()
    assert all(name in page for name in names)


def test_elsewhere_it_is_unknown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["grid", "--preset", "smoke", "--set", "upsampler=somebodys_resize"]) == 2
    assert "'somebodys_resize' is unknown; known are " in capsys.readouterr().err
