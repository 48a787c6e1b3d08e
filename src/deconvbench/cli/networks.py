"""The command that audits a network: options to one call, the answer to a screen and to files."""

import csv
import io
import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deconvbench.cli.options import ForceOption, JsonOption, parse_number, parse_path, parse_whole
from deconvbench.cli.output import OWN_AUDIT, OWN_AUDIT_PAGE, OWN_AUDIT_ROWS, print_rows
from deconvbench.errors import find_exit_code
from deconvbench.records.decoding import make_strict
from deconvbench.system.texts import guard_formula, print_text
from deconvbench.system.writing import check_target, write_whole

if TYPE_CHECKING:
    from deconvbench.workflows.auditing import TargetAudit


def audit(
    target: Annotated[
        str | None,
        typer.Argument(metavar="TARGET", help="pkg.mod:factory, file.py:factory or a file of ONNX (.onnx)."),
    ] = None,
    inputs: Annotated[
        list[str] | None,
        typer.Option(
            "--input",
            metavar="[NAME=]SHAPE",
            help="Shape of an input: 1x3x256x256, also with name, dtype and range:"
            " image=1x3x64x64:float16:-1..1; repeat for more [default: guessed].",
        ),
    ] = None,
    state_dict: Annotated[
        str | None,
        typer.Option("--state-dict", metavar="FILE", help="Weights: of torch.save (tensors only) or safetensors."),
    ] = None,
    images: Annotated[
        list[str] | None,
        typer.Option(
            "--image", metavar="FILE", help="A real image to run; repeat for more [default: photographs]."
        ),
    ] = None,
    output_range: Annotated[
        tuple[float, float] | None,
        typer.Option("--range", metavar="LOW HIGH", help="Black and white in the output [default: guessed]."),
    ] = None,
    device: Annotated[
        str | None, typer.Option("--device", metavar="D", help="cpu (default), cuda, cuda:1, mps.")
    ] = None,
    dtype: Annotated[
        str | None, typer.Option("--dtype", metavar="T", help="Convert the network to float16, bfloat16, ...")
    ] = None,
    threads: Annotated[
        int | None, typer.Option("--threads", metavar="N", parser=parse_whole, help="Threads on the CPU.")
    ] = None,
    measure_fuse: Annotated[
        bool, typer.Option("--measure-fuse", help="Time what deconvbench.fuse would gain.")
    ] = False,
    ignore: Annotated[
        list[str] | None,
        typer.Option("--ignore", metavar="CODE", help="A finding that does not count; repeat, or use commas."),
    ] = None,
    fail_on: Annotated[
        str | None,
        typer.Option(
            "--fail-on",
            metavar="JUDGEMENT",
            help="Exit 1 if the network is at-risk (or worse) or has checkerboards.",
        ),
    ] = None,
    timeout: Annotated[
        float | None,
        typer.Option(
            "--timeout",
            metavar="S",
            parser=parse_number,
            help="Seconds before the audit is ended [default: 600].",
        ),
    ] = None,
    max_memory: Annotated[
        str | None,
        typer.Option(
            "--max-memory",
            metavar="BYTES",
            help="Memory that it may take, such as 4GiB [default: 90% of what is free].",
        ),
    ] = None,
    as_json: JsonOption = False,
    table: Annotated[
        Path | None, typer.Option("--csv", metavar="FILE", parser=parse_path, help="Write the sites as CSV.")
    ] = None,
    markdown: Annotated[
        Path | None,
        typer.Option("--markdown", metavar="FILE", parser=parse_path, help="Write the audit as Markdown."),
    ] = None,
    page: Annotated[
        Path | None,
        typer.Option("--html", metavar="FILE", parser=parse_path, help="Write a page with spectra and a map."),
    ] = None,
    force: ForceOption = False,
) -> int:
    """Audit a network: where it upsamples, whether it draws checkerboards, which layer causes them, what to do.

    The target runs in a process of its own, with limits. Options may also be in the table [tool.deconvbench.audit]
    of pyproject.toml.
    """
    from deconvbench.progress import show_stages
    from deconvbench.workflows import audit_settings, auditing

    given = audit_settings.read_settings(
        {
            "target": target,
            "state-dict": state_dict,
            "input": inputs or None,
            "image": images or None,
            "range": output_range,
            "device": device,
            "dtype": dtype,
            "threads": threads,
            "measure-fuse": measure_fuse or None,
            "ignore": ignore or None,
            "fail-on": fail_on,
            "timeout": timeout,
            "max-memory": max_memory,
        },
        lambda key: "TARGET" if key == "target" else f"--{key}",
    )
    settings, request = auditing.make_request(given)
    for path, option, own in (
        (table, "--csv", OWN_AUDIT_ROWS),
        (markdown, "--markdown", OWN_AUDIT),
        (page, "--html", OWN_AUDIT_PAGE),
    ):
        if path is not None:
            check_target(path, option, own, force=force)
    try:
        with show_stages(sys.stderr) as observer:
            found = auditing.audit_target(
                replace(request, evidence=page is not None),
                timeout_s=settings.timeout or auditing.TIMEOUT_S,
                max_memory_bytes=settings.max_memory,
                observer=observer,
            )
    except KeyboardInterrupt as error:
        print_text("deconvbench: interrupted; nothing of the audit is kept", sys.stderr)
        raise typer.Exit(find_exit_code(error)) from error
    _show(found, request.device, as_json=as_json, table=table, markdown=markdown, page=page)
    return int(settings.fail_on is not None and found.audit.judgement in audit_settings.FAIL_ON[settings.fail_on])


def _show(
    found: "TargetAudit",
    device: str,
    *,
    as_json: bool,
    table: Path | None,
    markdown: Path | None,
    page: Path | None,
) -> None:
    """Print an audit, and write the files that were asked for."""
    from deconvbench.report.inspection import render_html, render_markdown
    from deconvbench.workflows.remedies import find_remedy_costs

    if as_json:
        facts = {"target": found.target, "inputs": list(found.inputs), "notes": list(found.notes)}
        print_rows("audit", _list_rows(found), {**facts, "audit": found.audit.to_dict(evidence=False)})
    else:
        print_text(found)
    if table is not None:
        write_whole(table, _format_csv(_list_rows(found)).encode())
    if markdown is None and page is None:
        return
    costs = find_remedy_costs(found.audit, device=device)
    if markdown is not None:
        write_whole(markdown, render_markdown(found.audit, target=found.target, costs=costs).encode())
    if page is not None:
        command = shlex.join(["deconvbench", *sys.argv[1:]])
        write_whole(page, render_html(found.audit, target=found.target, command=command, costs=costs).encode())


def _list_rows(found: "TargetAudit") -> list[dict[str, Any]]:
    from deconvbench.report.inspection import list_rows

    return [{"target": found.target, **make_strict(row)} for row in list_rows(found.audit)]


def _format_csv(rows: list[dict[str, Any]]) -> str:
    """Rows as CSV, the fields of the first as its head."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(rows[0] if rows else ["target"])
    for row in rows:
        cells = ("" if value is None else value for value in row.values())
        writer.writerow([guard_formula(cell) if isinstance(cell, str) else cell for cell in cells])
    return stream.getvalue()
