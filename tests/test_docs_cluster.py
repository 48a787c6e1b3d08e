"""The set-ups of docs/cluster.md: what they start is what a run on a cluster needs."""

import re
import shlex
import warnings
from pathlib import Path
from typing import Any

import pytest
import yaml

from deconvbench.cli.app import app
from deconvbench.workflows.dask_connection import SLOT_PREFIX, check_scheduler

PAGE = (Path(__file__).parent.parent / "docs" / "cluster.md").read_text(encoding="utf-8")


def read_block(name: str) -> str:
    found = re.search(rf"```\{{code-block\}} \w+\n:name: {name}\n\n(.*?)```", PAGE, re.DOTALL)
    assert found is not None
    return found[1]


def parse_dask(words: list[str]) -> dict[str, Any]:
    """Parse a command as Dask's own command line does, without running it."""
    from distributed.cli.dask_scheduler import main as scheduler
    from distributed.cli.dask_worker import main as worker

    assert words[0] == "dask"
    command: Any = {"scheduler": scheduler, "worker": worker}[words[1]]
    return dict(command.make_context(words[1], words[2:]).params)


def check_worker(words: list[str]) -> None:
    options = parse_dask(words)
    assert options["nthreads"] == 1
    assert options["resources"] == f"{SLOT_PREFIX}cpu=1"


def test_workers_of_hosts_offer_a_slot() -> None:
    scheduler, worker, run = map(shlex.split, read_block("ssh").splitlines())
    assert parse_dask(scheduler)["host"] == "127.0.0.1"
    check_worker(worker)
    assert run[:2] == ["deconvbench", "run"]
    assert run[run.index("--scheduler") + 1] == "tcp://127.0.0.1:8786"


@pytest.mark.process
def test_the_script_of_slurm_offers_a_slot_on_a_node_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    import dask_jobqueue

    # nothing is submitted
    monkeypatch.setattr(dask_jobqueue.SLURMCluster, "scale", lambda *_, **__: None)
    names: dict[str, Any] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Dask, that its usual port is in use
        exec(compile(read_block("slurm"), "cluster.md", "exec"), names)
    cluster = names["cluster"]
    try:
        script = cluster.job_script().splitlines()
    finally:
        cluster.close()
    assert "#SBATCH --exclusive" in script
    assert "export DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED=False" in script
    (command,) = [line for line in script if "distributed.cli.dask_worker" in line]
    check_worker(["dask", "worker", *shlex.split(command)[3:]])


def test_the_manifest_of_kubernetes_offers_a_slot_on_each_node() -> None:
    service, scheduler, worker = yaml.safe_load_all(read_block("kubernetes"))
    assert (service["kind"], scheduler["kind"], worker["kind"]) == ("Service", "Deployment", "DaemonSet")
    for found in (scheduler, worker):
        assert found["spec"]["selector"]["matchLabels"] == found["spec"]["template"]["metadata"]["labels"]
    assert service["spec"]["selector"] == scheduler["spec"]["selector"]["matchLabels"]
    (container,) = worker["spec"]["template"]["spec"]["containers"]
    check_worker(container["command"])
    assert f"tcp://{service['metadata']['name']}:8786" in container["command"]
    (container,) = scheduler["spec"]["template"]["spec"]["containers"]
    assert parse_dask(container["command"])["port"] == "8786"
    settings = {each["name"]: each["value"] for each in container["env"]}
    check = (
        settings["DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL"],
        settings["DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES"],
    )
    assert check_scheduler(float(check[0].removesuffix("s")), int(check[1])) == ""


def test_every_option_of_the_page_is_one_of_the_command() -> None:
    import typer

    run = typer.main.get_command(app).commands["run"]  # type: ignore[attr-defined]
    options = {name for parameter in run.params for name in parameter.opts}
    assert {"--scheduler", "--placement", "--insecure"} <= options
    assert {*re.findall(r"^\| `(--[a-z]+)", PAGE, re.MULTILINE)} <= options
