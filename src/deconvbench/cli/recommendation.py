"""The command that says which layer to take."""

from pathlib import Path
from typing import Annotated

import typer

from deconvbench.cli.options import ForceOption, JsonOption, ResultsOption, parse_number, parse_path, parse_whole
from deconvbench.cli.output import OWN_RECOMMENDATION, print_rows
from deconvbench.system.texts import print_text
from deconvbench.system.writing import check_target, write_whole


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
    results: ResultsOption = None,
    as_json: JsonOption = False,
    markdown: Annotated[
        Path | None,
        typer.Option("--markdown", metavar="FILE", parser=parse_path, help="Write the answer as Markdown."),
    ] = None,
    force: ForceOption = False,
) -> int:
    """Say which layer to take: the cheapest measured one that satisfies all limits, with the code that builds it.

    Exit 1 if no layer satisfies them; what was not measured at all is invalid input.
    """
    from deconvbench.report.recommendation import describe_answer, format_markdown, list_rows
    from deconvbench.workflows import recommendation

    if markdown is not None:
        check_target(markdown, "--markdown", OWN_RECOMMENDATION, force=force)
    answer = recommendation.recommend(
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
    if as_json:
        print_rows("recommend", list_rows(answer), describe_answer(answer))
    else:
        print_text(answer)
    if markdown is not None:
        write_whole(markdown, format_markdown(answer).encode())
    return int(answer.chosen is None)
