"""Settings of an audit: of the command line, of pyproject.toml, and both together."""

import tomllib
from pathlib import Path

import pytest

from deconvbench.errors import UsageError
from deconvbench.records.inputs import InputDescription
from deconvbench.workflows import audit_settings
from deconvbench.workflows.audit_settings import AuditSettings, find_configuration, merge, read_settings

WHOLE = """
target = "models:make"
state-dict = "weights.pt"
input = ["image=1x3x64x64"]
image = "photo.png"
range = [-1, 1]
device = "cpu"
dtype = "bfloat16"
threads = 1
measure-fuse = true
ignore = ["DB001", "DB003,DB009"]
fail-on = "at-risk"
timeout = 60
max-memory = "2GiB"
"""


def write(folder: Path, text: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "pyproject.toml").write_text(text)


def test_every_key_is_read(tmp_path: Path) -> None:
    write(tmp_path, f"[tool.deconvbench.audit]{WHOLE}")
    found, folder = find_configuration(tmp_path)
    assert folder == tmp_path
    assert found == AuditSettings(
        target="models:make",
        state_dict="weights.pt",
        input=(InputDescription(shape=(1, 3, 64, 64), name="image"),),
        image=("photo.png",),
        range=(-1.0, 1.0),
        device="cpu",
        dtype="bfloat16",
        threads=1,
        measure_fuse=True,
        ignore=("DB001", "DB003", "DB009"),
        fail_on="at-risk",
        timeout=60.0,
        max_memory=2**31,
    )
    assert set(tomllib.loads(WHOLE)) == set(audit_settings._NAMES)


def test_the_nearest_file_with_settings_counts(tmp_path: Path) -> None:
    write(tmp_path, "[tool.deconvbench.audit]\ntarget = 'a:b'")
    write(tmp_path / "sub", "[project]\nname = 'x'")
    (tmp_path / "sub/deep").mkdir()
    assert find_configuration(tmp_path / "sub/deep") == (AuditSettings(target="a:b"), tmp_path)
    write(tmp_path / "sub", "[tool.deconvbench.audit]")
    assert find_configuration(tmp_path / "sub/deep") == (AuditSettings(), tmp_path / "sub")


def test_without_a_file_nothing_is_set(tmp_path: Path) -> None:
    assert find_configuration(tmp_path) == (AuditSettings(), tmp_path)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[tool.deconvbench", "pyproject.toml: not TOML"),
        ("tool = 3", ""),
        ("[tool.deconvbench]\naudit = 3", "pyproject.toml: tool.deconvbench.audit: 3 is not a table"),
        ("[tool.deconvbench.audit]\nfail_on = 'at-risk'", "audit.fail_on: unknown key; the keys are target, "),
        ("[tool.deconvbench.audit]\nfail_on = 'at-risk'", "(did you mean 'fail-on'?)"),
        (
            "[tool.deconvbench.audit]\nfail-on = 'clean'",
            "audit.fail-on: 'clean' is not one of at-risk, checkerboards",
        ),
        ("[tool.deconvbench.audit]\nfail-on = 1", "audit.fail-on: 1 is not one of"),
        ("[tool.deconvbench.audit]\nignore = ['DB1']", "audit.ignore: 'DB1' is not one of DB001"),
        ("[tool.deconvbench.audit]\nignore = 1", "audit.ignore: 1 is not a text or a list of texts"),
        ("[tool.deconvbench.audit]\nignore = [1]", "audit.ignore: 1 is not a text with something in it"),
        ("[tool.deconvbench.audit]\ntarget = ''", "audit.target: '' is not a text with something in it"),
        ("[tool.deconvbench.audit]\ninput = [1, 3]", "audit.input: 1 is not a text"),
        ("[tool.deconvbench.audit]\ninput = '1x'", "audit.input: '1x' is not of the form"),
        ("[tool.deconvbench.audit]\ninput = []", "audit.input: [] is not a text or a list"),
        ("[tool.deconvbench.audit]\nrange = 1", "audit.range: 1 is not two numbers"),
        ("[tool.deconvbench.audit]\nrange = [1, 0]", "audit.range: 1 (black) is not below 0 (white)"),
        ("[tool.deconvbench.audit]\nrange = [0, true]", "audit.range: True is not a number"),
        ("[tool.deconvbench.audit]\nrange = [0, inf]", "audit.range: inf is not a number"),
        ("[tool.deconvbench.audit]\ndtype = 'int8'", "audit.dtype: 'int8' is not one of float32"),
        ("[tool.deconvbench.audit]\nthreads = 0", "audit.threads: 0 is not from 1 to"),
        ("[tool.deconvbench.audit]\nthreads = '2'", "audit.threads: '2' is not a whole number"),
        ("[tool.deconvbench.audit]\nmeasure-fuse = 1", "audit.measure-fuse: 1 is not true or false"),
        ("[tool.deconvbench.audit]\ntimeout = 0", "audit.timeout: 0 is not a number of seconds above 0"),
        ("[tool.deconvbench.audit]\ntimeout = 1e9", "audit.timeout: 1e+09 is not a number of seconds"),
        ("[tool.deconvbench.audit]\nmax-memory = 'all'", "audit.max-memory: 'all' is not a number of bytes"),
    ],
)
def test_what_is_not_allowed_is_named(tmp_path: Path, text: str, named: str) -> None:
    write(tmp_path, text)
    if not named:
        assert find_configuration(tmp_path)[0] == AuditSettings()
        return
    with pytest.raises(UsageError) as caught:
        find_configuration(tmp_path)
    assert named in str(caught.value)
    assert str(tmp_path) in str(caught.value)


def test_a_file_that_is_not_text_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="pyproject.toml: not TOML: it is UTF-16"):
        find_configuration(tmp_path)


def test_the_command_line_wins_key_by_key() -> None:
    configured = AuditSettings(target="a:b", device="cpu", ignore=("DB001",), timeout=5.0)
    assert merge(AuditSettings(device="cuda"), configured) == AuditSettings(
        target="a:b", device="cuda", ignore=("DB001",), timeout=5.0
    )
    assert merge(AuditSettings(target="a:b"), configured) == configured


def test_another_target_does_not_get_the_weights_and_inputs_of_the_configured_one() -> None:
    configured = AuditSettings(
        target="a:b",
        state_dict="w",
        input=(InputDescription(shape=(1,)),),
        image=("i",),
        range=(0, 1),
        timeout=5.0,
    )
    assert merge(AuditSettings(target="c:d"), configured) == AuditSettings(target="c:d", timeout=5.0)
    unnamed = AuditSettings(state_dict="w", timeout=5.0)
    assert merge(AuditSettings(target="c:d"), unnamed) == AuditSettings(target="c:d", state_dict="w", timeout=5.0)


def test_an_option_is_named_as_it_is_typed() -> None:
    with pytest.raises(UsageError, match="^--timeout: -1 is not"):
        read_settings({"timeout": -1.0, "threads": None}, lambda key: f"--{key}")
