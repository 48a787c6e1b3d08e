"""The count of what `fuse` finds: lines of CSV, and a table beside an earlier answer."""

from pathlib import Path

import pytest
from torch import nn

from bench import fusion_count
from bench.fusion_architectures import Architecture
from bench.fusion_count import count, main
from bench.fusion_fuzz.forcing import force_fast_forms
from deconvbench.errors import UnsupportedError
from tests.networks.fusion.networks import VaeDecoder


def refuse() -> nn.Module:
    raise UnsupportedError("the package elsewhere cannot be imported: pip install elsewhere")


def build_bilinear() -> nn.Module:
    return nn.Sequential(nn.Upsample(scale_factor=2, mode="bilinear"), nn.Conv2d(4, 1, 1))


@pytest.fixture(autouse=True)
def architectures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put small networks in the place of the others."""
    made = {
        "vae": Architecture(build=VaeDecoder, shape=(4, 3, 3)),
        "bilinear": Architecture(build=build_bilinear, shape=(4, 3, 3)),
    }
    monkeypatch.setattr(fusion_count, "ARCHITECTURES", made)
    monkeypatch.setattr(fusion_count, "force_fast_forms", lambda _: force_fast_forms(monkeypatch.setattr))
    monkeypatch.setattr(fusion_count, "FURTHER", {"missing": Architecture(build=refuse, shape=(1,))})


def test_what_is_found_is_counted() -> None:
    found, fused, error, left = count(Architecture(build=VaeDecoder, shape=(4, 3, 3)))
    assert (found, fused, left) == (2, 2, "")
    assert error < 1e-10
    assert count(Architecture(build=build_bilinear, shape=(4, 3, 3)))[3] == "mode bilinear is not nearest"


def test_lines_and_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "architecture,found,fused,max_relative_error,left"
    assert lines[1].startswith("vae,2,2,")
    assert lines[3] == "missing,,,,the package elsewhere cannot be imported: pip install elsewhere"
    before = tmp_path / "before.csv"
    before.write_text(f"{lines[0]}\nvae,2,0,0e+00,why\n", encoding="utf-8")
    assert main(["--before", str(before), "vae", "bilinear", "missing"]) == 0
    table = capsys.readouterr().out.splitlines()
    assert table[2:] == [
        "| vae | 0 of 2 | 2 of 2 |  |",
        "| bilinear | – | 0 of 1 | mode bilinear is not nearest |",
        "| missing | – | the package elsewhere cannot be imported: pip install elsewhere |  |",
    ]


def test_bad_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["unknown"]) == 2
    assert capsys.readouterr().err.startswith("deconvbench: NAME: unknown is not one of vae, bilinear, missing")
    assert main(["--before", str(tmp_path / "none.csv")]) == 2
    assert capsys.readouterr().err.startswith("deconvbench: --before: ")
