"""A run through a scheduler that wants TLS, set up as docs/cluster.md says: with certificates, and without."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bench.dask_cluster import SETTINGS, start_cluster
from deconvbench.records.run_folder import read_journal, read_run_info
from tests.test_docs_cluster import read_block

pytestmark = [
    pytest.mark.process,
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl, which makes the certificate"),
]
_FEW = ["--preset", "smoke", "-k", "nearest_conv and 8x8 and not train", "--replicates", "1", "--seed", "1"]


def make_certificate(folder: Path) -> None:
    """Make a key and a certificate that vouches for itself."""
    words = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=deconvbench"]
    names = ["-keyout", "key.pem", "-out", "cert.pem"]
    subprocess.run(["openssl", *words, *names], cwd=folder, check=True, capture_output=True)
    shutil.copyfile(folder / "cert.pem", folder / "ca.pem")


def read_settings(folder: Path) -> dict[str, str]:
    """Read the variables of the docs' page, with the files where they lie."""
    found = dict(re.findall(r"(DASK_\w+)=(\S+)", read_block("tls")))
    return {name: str(folder / value) if value.endswith(".pem") else value for name, value in found.items()}


def run(folder: Path, address: str, out: str, variables: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "deconvbench", "run", "--scheduler", address, *_FEW, "--out", out],
        cwd=folder,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
    )


def test_who_has_no_certificate_of_the_cluster_is_not_let_in(tmp_path: Path) -> None:
    settings = {}
    for name in ("ours", "theirs"):
        (tmp_path / name).mkdir()
        make_certificate(tmp_path / name)
        settings[name] = read_settings(tmp_path / name)
        assert len(settings[name]) == 8
    with start_cluster(tmp_path, 2, settings={**SETTINGS, **settings["ours"]}, protocol="tls") as address:
        assert address.startswith("tls://127.0.0.1:")
        done = run(tmp_path, address, "with", settings["ours"])
        assert done.returncode == 0, done.stderr
        others = [run(tmp_path, address, "without", {}), run(tmp_path, address, "others", settings["theirs"])]
    records = read_journal(tmp_path / "with")
    assert records
    assert {record.status for record in records} == {"ok"}
    assert read_run_info(tmp_path / "with")["cluster"]["placement"]
    assert [refused.returncode for refused in others] == [2, 3]
    lines = [refused.stderr.strip().splitlines()[-1] for refused in others]
    assert lines[0].startswith(f"deconvbench: --scheduler: {address} needs Dask's TLS settings")
    assert lines[1].startswith(f"deconvbench: --scheduler: cannot connect to {address}: ")
    assert not any("Traceback" in refused.stderr for refused in others)
    assert not any((tmp_path / name).exists() for name in ("without", "others"))
