"""The command that says which layer to take."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deconvbench.cli.options import (
    ForceOption,
    JsonOption,
    ResultsOption,
    name_options,
    parse_number,
    parse_path,
    parse_whole,
)
from deconvbench.cli.output import OWN_RECOMMENDATION, print_rows
from deconvbench.errors import UsageError
from deconvbench.system.texts import print_text
from deconvbench.system.writing import check_target, write_whole

if TYPE_CHECKING:
    from deconvbench.workflows.recommendation import Question


def recommend(
    run: Annotated[
        Path | None,
        typer.Argument(
            metavar="[RUN]", parser=parse_path, help="Run folder [default: the newest, else results/reference]."
        ),
    ] = None,
    device: Annotated[str | None, typer.Option("--device", metavar="D", help="As measured: cpu, cuda.")] = None,
    size: Annotated[
        str | None,
        typer.Option(
            "--size", metavar="HxW", help="Input in pixels: 64x64, or 64 [default: the largest measured]."
        ),
    ] = None,
    channels: Annotated[
        str | None, typer.Option("--channels", metavar="INxOUT", help="Channels in and out: 64x32.")
    ] = None,
    scale: Annotated[
        int | None, typer.Option("--scale", metavar="S", parser=parse_whole, help="Scale factor.")
    ] = None,
    step: Annotated[
        str | None, typer.Option("--step", metavar="STEP", help="forward (default where measured) or train.")
    ] = None,
    batch: Annotated[
        int | None, typer.Option("--batch", metavar="N", parser=parse_whole, help="Images at a time.")
    ] = None,
    dtype: Annotated[str | None, typer.Option("--dtype", metavar="T", help="float32, bfloat16, ...")] = None,
    memory_format: Annotated[
        str | None, typer.Option("--memory-format", metavar="F", help="contiguous or channels_last.")
    ] = None,
    threads: Annotated[
        int | None, typer.Option("--threads", metavar="N", parser=parse_whole, help="Threads on the CPU.")
    ] = None,
    execution: Annotated[
        str | None, typer.Option("--execution", metavar="E", help="eager, compile or cudagraph.")
    ] = None,
    memory: Annotated[
        str | None, typer.Option("--memory", metavar="BYTES", help="Limit: most peak memory, such as 64MiB.")
    ] = None,
    ripple: Annotated[
        float | None,
        typer.Option(
            "--ripple",
            metavar="SHARE",
            parser=parse_number,
            help="Limit: most ripple of a constant input at initialisation, 0 to 1.",
        ),
    ] = None,
    checkerboard: Annotated[
        float | None,
        typer.Option(
            "--checkerboard",
            metavar="LEVELS",
            parser=parse_number,
            help="Limit: most checkerboard after training, in 8-bit levels.",
        ),
    ] = None,
    psnr: Annotated[
        float | None,
        typer.Option("--psnr", metavar="DB", parser=parse_number, help="Limit: least PSNR after training."),
    ] = None,
    extrapolate: Annotated[
        bool, typer.Option("--extrapolate", help="Estimate beyond the measured sizes, too.")
    ] = False,
    target: Annotated[
        str | None,
        typer.Option(
            "--for",
            metavar="TARGET",
            help="A network: a recommendation for each of its upsampling sites (as audit takes it).",
        ),
    ] = None,
    measure: Annotated[
        bool, typer.Option("--measure", help="With --for: measure the settings that the run does not have.")
    ] = False,
    inputs: Annotated[
        list[str] | None,
        typer.Option("--input", metavar="[NAME=]SHAPE", help="With --for: as for audit; repeat for more."),
    ] = None,
    state_dict: Annotated[
        str | None, typer.Option("--state-dict", metavar="FILE", help="With --for: as for audit.")
    ] = None,
    results: ResultsOption = None,
    as_json: JsonOption = False,
    markdown: Annotated[
        Path | None,
        typer.Option("--markdown", metavar="FILE", parser=parse_path, help="Write the answer as Markdown."),
    ] = None,
    force: ForceOption = False,
) -> int:
    """Say which layer to take: the cheapest measured one that satisfies all limits, with the code that builds it.

    Exit 1 if no layer satisfies them; what was not measured at all is invalid input. With --for it answers for
    each site of a network, with --ripple 0 unless an artifact is limited; exit 1 if a site has no answer.
    """
    from deconvbench.workflows import recommendation

    if markdown is not None:
        check_target(markdown, "--markdown", OWN_RECOMMENDATION, force=force)
    of_sites = {"--measure": measure or None, "--input": inputs or None, "--state-dict": state_dict}
    of_setting = {"--size": size, "--channels": channels, "--scale": scale, "--batch": batch, "--dtype": dtype}
    for option, value in (of_sites if target is None else of_setting).items():
        if value is not None:
            why = "is for --for TARGET" if target is None else "is that of each site with --for; leave it out"
            raise UsageError(f"{option}: {why}")
    with name_options(**_OPTIONS):
        question = recommendation.make_question(
            run,
            device=device,
            size=size,
            channels=channels,
            scale_factor=scale,
            step=step,
            batch=batch,
            dtype=dtype,
            memory_format=memory_format,
            threads=threads,
            execution=execution,
            memory=memory,
            ripple=ripple,
            checkerboard=checkerboard,
            psnr=psnr,
            extrapolate=extrapolate,
            results=results,
        )
        if target is not None:
            return _recommend_for(
                target, question, inputs, state_dict, measure=measure, as_json=as_json, markdown=markdown
            )
        return _recommend(question, as_json=as_json, markdown=markdown)


# what the functions call what these options became
_OPTIONS = {
    "device": "--device",
    "size": "--size",
    "height": "--size",
    "width": "--size",
    "channels": "--channels",
    "in_channels": "--channels",
    "out_channels": "--channels",
    "scale_factor": "--scale",
    "step": "--step",
    "batch": "--batch",
    "dtype": "--dtype",
    "memory_format": "--memory-format",
    "threads": "--threads",
    "execution": "--execution",
    "memory": "--memory",
    "ripple": "--ripple",
    "checkerboard": "--checkerboard",
    "psnr": "--psnr",
    "results": "--results",
    "run": "RUN",
}


def _recommend(question: "Question", *, as_json: bool, markdown: Path | None) -> int:
    """Answer for one setting."""
    from deconvbench.report.recommendation import format_markdown
    from deconvbench.report.recommendation_rows import describe_answer, list_rows
    from deconvbench.workflows.recommendation import answer_question, read_source

    answer = answer_question(question, read_source(question))
    if as_json:
        print_rows("recommend", list_rows(answer), describe_answer(answer))
    else:
        print_text(answer)
    if markdown is not None:
        write_whole(markdown, format_markdown(answer).encode())
    return int(answer.chosen is None)


def _recommend_for(
    target: str,
    question: "Question",
    inputs: list[str] | None,
    state_dict: str | None,
    *,
    measure: bool,
    as_json: bool,
    markdown: Path | None,
) -> int:
    """Audit a network in its own process, and answer for each of its sites."""
    from deconvbench.progress import show_progress, show_stages
    from deconvbench.report.site_recommendation import format_sites_markdown, list_site_rows
    from deconvbench.workflows import audit_settings, auditing
    from deconvbench.workflows.site_recommendation import recommend_for

    given = audit_settings.read_settings(
        {
            "target": target,
            "input": inputs or None,
            "state-dict": state_dict,
            "device": question.setting.get("device"),
        },
        lambda key: "--for" if key == "target" else f"--{key}",
    )
    settings, request = auditing.make_request(given)
    with name_options(TARGET="--for"), show_stages(sys.stderr) as stage:
        audited = auditing.audit_target(
            request,
            timeout_s=settings.timeout or auditing.TIMEOUT_S,
            max_memory_bytes=settings.max_memory,
            observer=stage,
        )
    with show_progress(sys.stderr) as observer:
        found = recommend_for(
            audited.audit,
            question,
            target=audited.target,
            measure=measure,
            observer=observer,
            say=lambda line: print_text(line, sys.stderr),
        )
    if as_json:
        print_rows("recommend-for", list_site_rows(found), {"target": found.target, "limits": dict(found.limits)})
    else:
        print_text(found)
    if markdown is not None:
        write_whole(markdown, format_sites_markdown(found).encode())
    return int(not found.is_complete)
