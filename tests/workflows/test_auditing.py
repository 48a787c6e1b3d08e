# ruff: noqa: E501 -- sources of modules
"""Audits of targets in a process of their own; those that cannot be audited are in test_bad_targets.py."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from deconvbench.__main__ import main
from deconvbench.errors import UsageError
from deconvbench.records.audit import Audit
from deconvbench.records.audit_request import AuditRequest
from deconvbench.workflows import auditing
from deconvbench.workflows.audit_settings import AuditSettings, read_settings
from deconvbench.workflows.auditing import audit_target, make_request
from tests.processes import have_ended

pytestmark = [pytest.mark.process, pytest.mark.slow]

NETS = """
import sys
import torch
from torch import nn

print("a word on standard output")
sys.stderr.write("and on standard error")


def uneven():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.ConvTranspose2d(4, 3, 3, 2))


def plain():
    return nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(3, 3, 3, padding=1))


class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.up = nn.Upsample(scale_factor=2)

    def forward(self, image, gain):
        return self.up(image) * gain
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nets.py").write_text(NETS)
    return tmp_path


def test_an_audit_of_a_target(here: Path) -> None:
    said: list[str] = []
    found = audit_target(AuditRequest(target="nets:uneven"), observer=said.append)
    assert found.audit.judgement == "checkerboards"
    assert found.inputs == ("1x3x256x256",)
    assert found.is_guessed
    assert said[:4] == [
        "starting",
        "loading the network",
        "trying an input of 1x3x256x256",
        "running the network once",
    ]
    assert "looking at plain colours" in said
    assert str(found).startswith("nets:uneven\ninput: 1x3x256x256 (guessed)\ncheckerboards: 1 upsampling site")


def test_the_command_prints_it_and_exits_as_asked(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    words = ["audit", "nets:uneven", "--input", "1x3x32x32"]
    assert main([*words, "--json", "--fail-on", "checkerboards"]) == 1
    out, err = capfd.readouterr()
    assert "a word" not in out + err
    data = json.loads(out)
    assert data["kind"] == "audit"
    assert data["target"] == "nets:uneven"
    assert data["rows"][0]["target"] == "nets:uneven"
    audit = Audit.from_dict(data["audit"])
    assert audit.evidence is None
    assert {finding.code for finding in audit.findings} == {"DB001", "DB002", "DB009"}
    assert main(words) == 0


def test_files_are_written_and_replaced_only_if_they_are_ours(
    here: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    words = ["audit", "nets.py:uneven", "--input", "1x3x32x32"]
    files = ["--csv", "a.csv", "--markdown", "a.md", "--html", "a.html"]
    for _ in range(2):
        assert main([*words, *files]) == 0
    capfd.readouterr()
    assert (here / "a.csv").read_text().startswith("target,site,path,")
    assert (here / "a.csv").read_text().splitlines()[1].startswith("nets.py:uneven,1,2,")
    assert (here / "a.md").read_text().startswith("### deconvbench audit: checkerboards (`nets.py:uneven`)\n")
    assert "<title>checkerboards: audit of nets.py:uneven</title>" in (here / "a.html").read_text()
    for option in ("--csv", "--markdown", "--html"):
        assert main([*words, option, "nets.py"]) == 2
        assert f"{option}: 'nets.py' was not written by this command" in capfd.readouterr().err


def test_a_risk_fails_unless_only_what_is_ignored_made_it_one(
    here: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (here / "holes.py").write_text(
        "import torch\nfrom torch import nn\n\n\nclass make(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
        "        self.pool = nn.MaxPool2d(2, return_indices=True)\n        self.up = nn.MaxUnpool2d(2)\n"
        "        self.conv = nn.Conv2d(3, 3, 5, padding=2, bias=False)\n        nn.init.constant_(self.conv.weight, 0.0)\n\n"
        "    def forward(self, x):\n        return self.conv(self.up(*self.pool(x))) + x\n"
    )
    words = ["audit", "holes:make", "--input", "1x3x64x64", "--fail-on", "at-risk"]
    assert main(words) == 1
    assert capfd.readouterr().out.splitlines()[2].startswith("at risk: ")
    assert main([*words, "--ignore", "DB001,DB008"]) == 0
    out = capfd.readouterr().out
    assert out.splitlines()[2] == "clean: 1 upsampling site, 1 finding, 1 of them ignored"
    assert "DB008 holes (ignored)" in out


def test_settings_of_the_project_hold_from_a_folder_within(
    here: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (here / "pyproject.toml").write_text(
        "[tool.deconvbench.audit]\ntarget = 'nets:Two'\ninput = ['image=1x3x48x48', 'gain=1']\nfail-on = 'at-risk'\n"
    )
    (here / "within").mkdir()
    monkeypatch.chdir(here / "within")
    assert main(["audit"]) == 0
    assert capfd.readouterr().out.splitlines()[1] == "input: image=1x3x48x48, gain=1"


def test_paths_of_the_file_are_those_below_its_folder(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "pyproject.toml").write_text(
        "[tool.deconvbench.audit]\ntarget = 'nets:plain'\nstate-dict = 'w.pt'\nimage = ['i.png']\n"
    )
    (here / "within").mkdir()
    _, request = make_request(AuditSettings())
    assert (request.folder, request.state_dict, request.images) == (str(here), "w.pt", ("i.png",))
    monkeypatch.chdir(here / "within")
    _, request = make_request(AuditSettings(image=("j.png",)))
    assert (request.folder, request.state_dict) == (str(here), "w.pt")
    assert request.images == (str(here / "within/j.png"),)
    _, request = make_request(AuditSettings(target="nets:plain"))
    assert (request.folder, request.state_dict) == (str(here / "within"), str(here / "w.pt"))
    (here / "pyproject.toml").unlink()
    with pytest.raises(UsageError, match="TARGET: none is given"):
        make_request(AuditSettings())


def test_what_is_said_of_the_network_reaches_it(here: Path) -> None:
    (here / "odd.py").write_text(
        "import torch\nfrom torch import nn\n\n\nclass make(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
        "        self.scale = nn.Parameter(torch.ones(1))\n\n    def forward(self, x):\n"
        "        assert torch.get_num_threads() == 1 and x.dtype == torch.float64 and self.scale.dtype == x.dtype\n"
        "        return nn.functional.interpolate(x * self.scale, scale_factor=2)\n"
    )
    asked = {"target": "odd:make", "threads": 1, "dtype": "float64", "range": [-2, 3], "ignore": "DB003"}
    _, request = make_request(read_settings(asked, str))
    with pytest.raises(UsageError, match="forward takes"):
        audit_target(request)
    _, request = make_request(read_settings({**asked, "input": "1x3x32x32"}, str))
    found = audit_target(request)
    assert found.audit.output_range == (-2.0, 3.0)
    assert not found.audit.is_range_guessed
    assert found.audit.sites[0].site.dtype == "float64"


def test_an_interrupted_audit_leaves_no_process(here: Path) -> None:
    (here / "waits.py").write_text("import os, time\nos.fork()\nopen('up', 'a').write('x')\ntime.sleep(1000)\n")
    command = [sys.executable, "-m", "deconvbench", "audit", "waits:make"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    marker, deadline = here / "up", time.monotonic() + 120
    while not (marker.exists() and len(marker.read_text()) == 2) and time.monotonic() < deadline:
        time.sleep(0.05)
    below = [os.pidfd_open(one.pid) for one in psutil.Process(process.pid).children(recursive=True)]
    assert len(below) >= 3
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert out == ""
    (line,) = [line for line in err.splitlines() if not line.startswith("[")]
    assert line == "deconvbench: interrupted; nothing of the audit is kept"
    assert have_ended(below)
    for descriptor in below:
        os.close(descriptor)


def test_a_child_that_cannot_start_stops_the_command(
    here: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(auditing, "_MODULE", "deconvbench.no_such_module")
    assert main(["audit", "nets:plain"]) == 3
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("deconvbench: the process did not start: the process exited with code 1: ")


def test_verbose_shows_where_the_target_raised(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (here / "raises.py").write_text(
        "def make():\n    return helper()\n\n\ndef helper():\n    raise KeyError('x')\n"
    )
    assert main(["-v", "audit", "raises:make"]) == 2
    err = capfd.readouterr().err
    assert "in helper" in err
    assert err.splitlines()[-1].startswith(
        "deconvbench: TARGET: 'raises:make': KeyError: 'x' (raises.py:6 in helper)"
    )
