"""The GitHub action: its scripts with a `deconvbench` and a `gh` that note what they are asked for."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from deconvbench.cli.output import OWN_SUMMARY
from tests.repositories import git

ROOT = Path(__file__).parents[1]
ACTION = ROOT / ".github" / "actions" / "compare"
WORKFLOWS = ROOT / ".github" / "workflows"
GUIDE = ROOT / "docs" / "continuous_integration.md"
HOSTILE = [
    "$(touch pwned)",
    "`touch pwned`",
    "x;touch pwned",
    "x'\"&&touch${IFS}pwned",
    "-x",
    "--help",
    "a|tee$IFS-pwned",
]
BOT = "github-actions[bot]"

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(not ACTION.exists(), reason="not a checkout"),
    pytest.mark.skipif(shutil.which("jq") is None and not os.environ.get("CI"), reason="needs jq"),
]

# writes what the real one would, and notes its words
_DECONVBENCH = """
import json, os, sys
from pathlib import Path
Path(os.environ["NOTED"]).write_text(json.dumps(sys.argv[1:]))
rows = [{"verdict": verdict} for verdict in os.environ["VERDICTS"].split(",")]
for option, text in (("--html", "<!DOCTYPE html>"), ("--markdown", "### one\\n\\n1 case: 1 slower\\n")):
    Path(sys.argv[sys.argv.index(option) + 1]).write_text(text)
print(json.dumps({"rows": rows}))
sys.exit(int(os.environ["EXIT"]))
"""
# keeps comments in a file, filters them with the expression it is given, as gh does with gojq, and notes each call
_GH = """
import json, os, subprocess, sys
from pathlib import Path
state = Path(os.environ["COMMENTS"])
comments = json.loads(state.read_text())
words = sys.argv[1:]
assert words.pop(0) == "api"
with open(os.environ["NOTED"], "a") as file:
    file.write(json.dumps(words) + "\\n")
method = words[words.index("--method") + 1] if "--method" in words else "GET"
if method in os.environ.get("REFUSED", ""):
    print("gh: Resource not accessible by integration (HTTP 403)", file=sys.stderr)
    sys.exit(1)
if method == "GET":
    asked = ["jq", "-r", words[words.index("--jq") + 1]]
    sys.exit(subprocess.run(asked, input=json.dumps(comments), text=True).returncode)
(field,) = [word for word in words if word.startswith("body=@")]
body = Path(field.removeprefix("body=@")).read_text()
if method == "POST":
    comments.append({"id": 100 + len(comments), "user": {"login": os.environ["AUTHOR"]}, "body": body})
else:
    number = int([word for word in words if "/comments/" in word][0].rpartition("/")[2])
    (comment,) = [comment for comment in comments if comment["id"] == number]
    comment["body"] = body
state.write_text(json.dumps(comments))
"""


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A folder with programs of our own in front, and a repository beside them."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, text in (("deconvbench", _DECONVBENCH), ("gh", _GH), ("python3", None)):
        path = programs / name
        if text is None:
            path.symlink_to(sys.executable)
        else:
            path.write_text(f"#!{sys.executable}\n{text}")
            path.chmod(0o755)
    (tmp_path / "comments.json").write_text("[]")
    repository = tmp_path / "repo"
    repository.mkdir()
    git(repository, "init", "-q", "-b", "main")
    git(repository, "commit", "-q", "--allow-empty", "-m", "base")
    return tmp_path


def run_script(here: Path, name: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "PATH": f"{here / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "NOTED": str(here / "noted"),
        "GITHUB_OUTPUT": str(here / "output"),
        "GITHUB_STEP_SUMMARY": str(here / "summary"),
        **variables,
    }
    command = ["bash", str(ACTION / f"{name}.sh")]
    return subprocess.run(command, cwd=here / "repo", env=environment, capture_output=True, text=True, check=False)


def compare(here: Path, **changes: str) -> subprocess.CompletedProcess[str]:
    settings = {
        "BASE": "main", "TARGET": "", "HEAD": "HEAD", "UPSAMPLERS": "", "FAIL_ON": "slower", "OPTIONS": "",
        "FOLDER": str(here / "out"), "VERDICTS": "same", "EXIT": "0", "GITHUB_REF": "refs/heads/x", **changes,
    }  # fmt: skip
    return run_script(here, "compare", **settings)


def read_outputs(here: Path) -> dict[str, str]:
    return dict(line.split("=", 1) for line in (here / "output").read_text().splitlines())


def list_words(here: Path) -> list[str]:
    words: list[str] = json.loads((here / "noted").read_text())
    return words


@pytest.mark.parametrize(
    ("verdicts", "code", "changed"),
    [
        ("same,inconclusive", "0", "false"),
        ("same,slower", "1", "true"),
        ("faster", "0", "true"),
        ("larger", "0", "true"),
        ("slower", "4", "false"),
    ],
)
def test_it_says_whether_something_changed(verdicts: str, code: str, changed: str, here: Path) -> None:
    done = compare(here, VERDICTS=verdicts, EXIT=code)
    assert done.returncode == 0, done.stderr
    assert read_outputs(here) == {"changed": changed, "code": code}
    assert (here / "summary").read_text().startswith("### one")
    assert ("::warning::void" in done.stdout) == (code == "4")


def test_options_are_words_one_a_line(here: Path) -> None:
    compare(
        here, UPSAMPLERS="a.b:c\n\nd.e:f with blank\n", OPTIONS="--margin\n3%\n", FAIL_ON="slower,inconclusive"
    )
    words = list_words(here)
    assert words[0] == "compare-commits"
    assert words[words.index("--fail-on") + 1] == "slower,inconclusive"
    assert words[-9:] == [
        *("--upsampler", "a.b:c", "--upsampler", "d.e:f with blank", "--margin", "3%", "--", "main", "HEAD"),
    ]


def test_without_fail_on_it_never_fails(here: Path) -> None:
    compare(here, FAIL_ON="none", VERDICTS="slower", EXIT="1")
    assert "--fail-on" not in list_words(here)
    assert read_outputs(here) == {"changed": "true", "code": "0"}


@pytest.mark.parametrize("code", ["2", "3", "130"])
def test_what_has_no_result_fails(code: str, here: Path) -> None:
    done = compare(here, EXIT=code)
    assert done.returncode == int(code)
    assert f"::error::deconvbench compare-commits exited with {code}" in done.stdout
    assert not (here / "output").exists()


def test_a_merge_of_a_pull_request_is_compared_with_its_first_parent(here: Path) -> None:
    repository = here / "repo"
    git(repository, "checkout", "-q", "-b", "topic")
    git(repository, "commit", "-q", "--allow-empty", "-m", "topic")
    git(repository, "checkout", "-q", "main")
    git(repository, "commit", "-q", "--allow-empty", "-m", "meanwhile")
    base = git(repository, "rev-parse", "HEAD")
    old = git(repository, "rev-parse", "HEAD~1")
    git(repository, "merge", "-q", "--no-ff", "-m", "merge", "topic")
    compare(here, BASE="", TARGET=old, GITHUB_REF="refs/pull/7/merge")
    assert list_words(here)[-2:] == [base, "HEAD"]
    # of a branch that was checked out as it is, what it grew from is the base, though its last commit be a merge
    git(repository, "checkout", "-q", "topic")
    compare(here, BASE="", TARGET=base)
    assert list_words(here)[-2:] == [old, "HEAD"]


@pytest.mark.parametrize("target", ["", *HOSTILE])
def test_without_a_base_and_a_pull_request_it_fails(target: str, here: Path) -> None:
    done = compare(here, BASE="", TARGET=target)
    assert (done.returncode, (here / "noted").exists()) == (2, False)
    assert "::error::base: not given" in done.stdout


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_is_a_word_and_nothing_else(name: str, here: Path) -> None:
    done = compare(here, BASE=name, HEAD=name, UPSAMPLERS=name, FAIL_ON=name)
    assert done.returncode == 0, done.stderr
    words = list_words(here)
    assert words[-3:] == ["--", name, name]
    assert words[words.index("--fail-on") + 1] == words[words.index("--upsampler") + 1] == name
    assert not list(here.rglob("*pwned*"))


@pytest.mark.parametrize("name", ["-x", "--help", "--output=pwned"])
def test_a_name_that_looks_like_an_option_is_no_commit(
    name: str, here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from deconvbench.__main__ import main

    monkeypatch.chdir(here / "repo")
    assert main(["compare-commits", "--", name, "HEAD"]) == 2
    assert f"'{name}' is not a commit of this repository" in capsys.readouterr().err


def comment(here: Path, text: str = "### one\n", **changes: str) -> subprocess.CompletedProcess[str]:
    (here / "c.md").write_text(text)
    settings = {
        "REPOSITORY": "me/mine", "NUMBER": "7", "NAME": "deconvbench", "AUTHOR": BOT, "CHANGED": "true",
        "MARKDOWN": str(here / "c.md"), "RUN_URL": "https://github.com/me/mine/actions/runs/1",
        "COMMENTS": str(here / "comments.json"), **changes,
    }  # fmt: skip
    return run_script(here, "comment", **settings)


def read_comments(here: Path) -> list[dict[str, Any]]:
    comments: list[dict[str, Any]] = json.loads((here / "comments.json").read_text())
    return comments


def list_methods(here: Path) -> list[str]:
    calls = [json.loads(line) for line in (here / "noted").read_text().splitlines()]
    return [call[call.index("--method") + 1] if "--method" in call else "GET" for call in calls]


def test_it_comments_once_and_then_updates_its_comment(here: Path) -> None:
    assert comment(here, "### slower\n").returncode == 0
    assert comment(here, "### faster\n").returncode == 0
    # what is no longer so is taken back
    assert comment(here, "**a**: nothing changed: 1 case: 0 slower\n", CHANGED="false").returncode == 0
    assert list_methods(here) == ["GET", "POST", "GET", "PATCH", "GET", "PATCH"]
    (found,) = read_comments(here)
    assert found["body"].splitlines()[0] == "<!-- deconvbench compare-commits: deconvbench -->"
    assert "nothing changed" in found["body"]
    assert "[Page and data of this comparison](https://github.com/me/mine/actions/runs/1)" in found["body"]


def test_where_nothing_changed_it_does_not_begin_to_comment(here: Path) -> None:
    done = comment(here, CHANGED="false")
    assert (done.returncode, read_comments(here), list_methods(here)) == (0, [], ["GET"])


def test_two_comparisons_have_a_comment_each(here: Path) -> None:
    comment(here, "### a\n", NAME="a")
    comment(here, "### b\n", NAME="b")
    comment(here, "### c\n", NAME="a")
    assert [found["body"].splitlines()[1] for found in read_comments(here)] == ["### c", "### b"]


def test_anothers_comment_is_not_touched_though_it_have_the_mark(here: Path) -> None:
    body = "<!-- deconvbench compare-commits: deconvbench -->\nmine"
    other = {"id": 5, "user": {"login": "mallory"}, "body": body}
    (here / "comments.json").write_text(json.dumps([other]))
    comment(here)
    assert [found["user"]["login"] for found in read_comments(here)] == ["mallory", BOT]
    assert read_comments(here)[0] == other


@pytest.mark.parametrize("refused", ["GET", "POST"])
def test_a_token_that_may_not_write_is_a_warning(refused: str, here: Path) -> None:
    done = comment(here, REFUSED=refused)
    assert done.returncode == 0
    assert "::warning::" in done.stdout
    assert "the summary of this job has the comparison" in done.stdout


@pytest.mark.parametrize("name", [*HOSTILE, "a --> <b>", "a\nb"])
def test_a_hostile_name_of_a_comparison_is_a_mark_and_found_again(name: str, here: Path) -> None:
    assert comment(here, NAME=name).returncode == 0
    assert comment(here, NAME=name).returncode == 0
    (found,) = read_comments(here)
    assert re.fullmatch(r"<!-- deconvbench compare-commits: [A-Za-z0-9 ._]* -->", found["body"].splitlines()[0])
    assert not list(here.rglob("*pwned*"))


@pytest.mark.parametrize("changes", [{"NUMBER": "7/../8"}, {"REPOSITORY": "a/b/c"}, {"NUMBER": ""}])
def test_what_is_no_pull_request_is_refused(changes: Mapping[str, str], here: Path) -> None:
    done = comment(here, **changes)
    assert (done.returncode, (here / "noted").exists()) == (2, False)


def test_a_text_that_is_too_long_is_cut(here: Path) -> None:
    comment(here, "x" * 100_000)
    (found,) = read_comments(here)
    assert len(found["body"]) < 65_536
    assert found["body"].rstrip().endswith(")")


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"INSTALL": "", "ACTION": "/a/b/c"}, ["-m", "pip", "install", "-q", "--", "/a/b/c/../../.."]),
        ({"INSTALL": "deconvbench==1", "ACTION": "/a"}, ["-m", "pip", "install", "-q", "--", "deconvbench==1"]),
        ({"INSTALL": "none", "ACTION": "/a"}, None),
    ],
)
def test_it_installs_the_version_of_the_action(
    variables: dict[str, str], words: Sequence[str] | None, here: Path
) -> None:
    noting = here / "bin" / "python3"
    noting.unlink()
    noting.write_text(
        f'#!{sys.executable}\nimport json, sys\nopen("{here}/noted", "w").write(json.dumps(sys.argv[1:]))'
    )
    noting.chmod(0o755)
    assert run_script(here, "install", **variables).returncode == 0
    assert (list_words(here) if (here / "noted").exists() else None) == words


def read_yaml(text: str) -> dict[Any, Any]:
    found: dict[Any, Any] = yaml.safe_load(text)
    return found


def list_examples() -> list[str]:
    """The workflows that the guide shows."""
    return re.findall(r"```yaml\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)


def list_steps() -> Iterator[dict[str, Any]]:
    yield from read_yaml((ACTION / "action.yml").read_text(encoding="utf-8"))["runs"]["steps"]
    texts = [path.read_text(encoding="utf-8") for path in WORKFLOWS.glob("*.yml")] + list_examples()
    for text in texts:
        for job in read_yaml(text)["jobs"].values():
            yield from job["steps"]


def test_no_value_is_written_into_the_text_of_a_script() -> None:
    scripts = [step["run"] for step in list_steps() if "run" in step]
    assert len(scripts) >= 5
    assert not [text for text in scripts if "${{" in text]


def test_every_script_is_valid_and_called(here: Path) -> None:
    called = "\n".join(step.get("run", "") for step in list_steps())
    for path in sorted(ACTION.glob("*.sh")):
        assert f'bash "$ACTION/{path.name}"' in called
        assert subprocess.run(["bash", "-n", str(path)], check=False).returncode == 0
        # what a script reads and its step does not give it would be an error, or come from somewhere else
        known = next(step["env"] for step in list_steps() if path.name in step.get("run", ""))
        asked = set(re.findall(r"\$\{?([A-Z][A-Z_]*)\b", re.sub(r"(?m)^\s*#.*", "", path.read_text())))
        assert asked - {*known} <= {
            "GITHUB_REF",
            "GITHUB_OUTPUT",
            "GITHUB_STEP_SUMMARY",
            "PIP_EXTRA_INDEX_URL",
            "MARKER",
        }


def test_every_input_is_described_and_used() -> None:
    text = (ACTION / "action.yml").read_text(encoding="utf-8")
    action = read_yaml(text)
    for name, declared in action["inputs"].items():
        assert declared["description"]
        assert f"inputs.{name} " in text or f"inputs.{name} }}" in text
    for step in list_steps():
        if "actions/compare" in step.get("uses", ""):
            assert {*step.get("with", {})} <= {*action["inputs"]}


def test_the_workflows_for_users_have_no_rights_they_do_not_need() -> None:
    examples = [read_yaml(text) for text in [*list_examples(), (WORKFLOWS / "compare.yml").read_text()]]
    assert len(examples) >= 3
    for found in examples:
        # YAML takes the word for a truth value
        events: Any = found.get("on", found.get(True))
        assert "pull_request_target" not in events
        assert {*found["permissions"]} <= {"contents", "pull-requests"}
        assert found["permissions"]["contents"] == "read"
        for job in found["jobs"].values():
            assert job["timeout-minutes"]
            (checkout,) = [step for step in job["steps"] if "actions/checkout" in step.get("uses", "")]
            assert checkout["with"]["fetch-depth"] == 0


def test_a_comment_is_recognised_as_a_summary_of_our_own() -> None:
    assert OWN_SUMMARY.match(b"### a against b\n\n3 cases: 1 slower")
