"""A folder with wrong files, and a registry of upsamplers that ends with the test."""

import json
from pathlib import Path

import pytest

from deconvbench.upsamplers import registry

GRID = "[axes]\nupsampler = ['subpixel']\nkernel_size = [3]\nscale_factor = [2]\nin_channels = [4]\n"


@pytest.fixture(autouse=True)
def _own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a command line registers is forgotten after the test."""
    monkeypatch.setattr(registry, "_REGISTRY", dict(registry._REGISTRY))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, with a few wrong files."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "torn.toml").write_text("[axes")
    (tmp_path / "axis.toml").write_text(GRID + "hight = [8]\n")
    (tmp_path / "zero.toml").write_text(GRID + "height = [0]\n")
    (tmp_path / "twice.toml").write_text(GRID + "height = [8, 8]\n")
    (tmp_path / "name.toml").write_text(GRID.replace("subpixel", "deconv") + "height = [8]\n")
    (tmp_path / "empty.toml").write_text("constraints = ['height > 9']\n" + GRID + "height = [8]\n")
    (tmp_path / "file").write_text("")
    (tmp_path / "torn.py").write_text("def factory(:")
    (tmp_path / "raises.py").write_text("factory = 1 / 0")
    (tmp_path / "folder").mkdir()
    (tmp_path / "other.json").write_text('{"benchmarks": [{"extra_info": {}}]}')
    write_saved("base.json")
    write_saved("slow.json", factor=1.5)
    write_saved("two.json", replicates=2)
    write_saved("elsewhere.json", machine_id="there")
    write_saved("no_case.json", case="subpixel-k3-s2-c4x2-8x8")
    return tmp_path


def write_saved(
    name: str,
    *,
    case: str = "nearest_conv-k3-s2-c4x2-8x8",
    factor: float = 1.0,
    replicates: int = 3,
    machine_id: str = "here",
) -> None:
    """Write what pytest-benchmark saves of one case."""
    info = {
        "case_id": case,
        "status": "ok",
        "replicate_latency_s": [factor * 1e-3 * (1 + 0.001 * i) for i in range(replicates)],
        "machine_id": machine_id,
        "torch_version": "2.13.0",
        "phase_ripple": 0.0,
    }
    document = {"machine_info": {}, "commit_info": {"id": "a"}, "benchmarks": [{"extra_info": info}]}
    Path(name).write_text(json.dumps(document))
