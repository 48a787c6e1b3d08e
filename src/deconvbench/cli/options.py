"""The options that several commands share, and the selection that they make together."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from deconvbench.workflows.run import Selection

PresetOption = Annotated[
    str | None,
    typer.Option("--preset", metavar="NAME", help="One of smoke, quick (default), article, full, fast."),
]
GridOption = Annotated[Path | None, typer.Option("--grid", metavar="FILE", help="A grid of your own, as TOML.")]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="AXIS=V,V", help="Replace an axis: --set height=32,64.")
]
KeywordOption = Annotated[
    str, typer.Option("-k", metavar="EXPR", help="Only cases whose id matches, as pytest's -k.")
]
UpsamplerOption = Annotated[
    list[str] | None,
    typer.Option("--upsampler", metavar="MODULE:FACTORY", help="An upsampler of your own; repeat for more."),
]
DeviceOption = Annotated[str, typer.Option("--device", metavar="D,D", help="Devices: cpu, cuda, cuda:1, mps.")]
ReplicatesOption = Annotated[
    int | None, typer.Option("--replicates", metavar="N", help="Passes over the cases, each in a fresh process.")
]
TimeoutOption = Annotated[
    float | None, typer.Option("--timeout", metavar="S", help="Seconds after which a case counts as hanging.")
]
PrecisionOption = Annotated[
    str | None,
    typer.Option("--precision", metavar="SHARE", help="Further replicates of cells whose interval is wider: 2%."),
]
SeedOption = Annotated[int | None, typer.Option("--seed", metavar="N", help="Of orders, weights and inputs.")]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")]


def make_selection(
    preset: str | None,
    grid_file: Path | None,
    settings: list[str] | None,
    keyword: str,
    upsampler: list[str] | None,
    device: str,
    replicates: int | None,
    *,
    timeout_s: float | None = None,
    precision: str | None = None,
    seed: int | None = None,
) -> "Selection":
    """Make a selection of what the words of a command say; torch is imported only here."""
    from deconvbench.workflows.run import Selection

    return Selection(
        preset=preset,
        grid=grid_file,
        settings=tuple(settings or ()),
        keyword=keyword,
        upsamplers=tuple(upsampler or ()),
        device=device,
        replicates=replicates,
        timeout_s=timeout_s,
        precision=precision,
        seed=seed,
    )
