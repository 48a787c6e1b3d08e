"""What a comparison of two commits measures: what changed at more and larger sizes, all else at a few small ones.

Chooses cases and says why; measures nothing.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from deconvbench.errors import UsageError, quote
from deconvbench.grid.expansion import expand_axes
from deconvbench.grid.grid import Grid, load_preset
from deconvbench.grid.keywords import compile_keyword
from deconvbench.records.case import Case
from deconvbench.runner.checkout import PRODUCTS
from deconvbench.upsamplers import UpsamplerSpec, list_upsamplers, register_upsampler
from deconvbench.workflows.changes import SourceTree, list_differences
from deconvbench.workflows.worktrees import Commit

# the presets whose sizes are taken for layers whose code differs, and for all others
CHANGED_PRESET, OTHER_PRESET = "quick", "smoke"
# files, at the top of a repository, that say which versions of others are installed
_VERSION_FILES = ("constraints", "requirements")
# of a package, what a layer cannot depend on
_TEXT_ENDINGS = (".md", ".rst", ".pyi")
_MOST_NAMED = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Layers:
    """The layers of a repository, and how they differ between two commits.

    Parameters
    ----------
    changed : dict of str to list of str
        By upsampler whose code differs: because of what.
    same : tuple of str
        The others.
    modules : tuple of str
        Top-level modules of a user's repository that must come from each commit's worktree; empty where only the
        upsamplers of this package are compared.
    """

    changed: dict[str, list[str]]
    same: tuple[str, ...]
    modules: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """What is measured of two commits.

    Parameters
    ----------
    grid : Grid
        Whose settings hold for all cases.
    cases : tuple of Case
        Each once.
    lines : tuple of str
        What is measured at which sizes, and what is not measured, for a reader.
    """

    grid: Grid
    cases: tuple[Case, ...]
    lines: tuple[str, ...]


def find_layers(
    base: Commit, head: Commit, changed_files: Sequence[str], loaded: Mapping[str, str] | None = None
) -> Layers:
    """Find the layers of a repository and which of them differ.

    Parameters
    ----------
    base, head : Commit
        Checked out.
    changed_files : sequence of str
        From `list_changed_files`.
    loaded : mapping of str to str, optional
        By upsampler that the user named: ``pkg.mod:factory``.

    Raises
    ------
    UsageError
        If no layer is the repository's.
    """
    trees = [SourceTree(commit.folders, _is_product if head.has_products else _is_any) for commit in (base, head)]
    modules = {name: find_module(spec) for name, spec in list_upsamplers().items()}
    modules |= {name: path.partition(":")[0] for name, path in (loaded or {}).items()}
    own = {name: module for name, module in modules.items() if any(module in tree for tree in trees)}
    if not own:
        raise UsageError(
            "this repository has no upsamplers that deconvbench knows: name them with --upsampler pkg.mod:factory,"
            " or install the package with entry points in deconvbench.upsamplers"
        )
    parts = {part for tree in trees for module in own.values() for part in tree.digest_code(module)}
    tops = tuple(sorted({part.partition(".")[0] for part in parts}))
    packages = [name.replace(".", "/") for name in (PRODUCTS if head.has_products else tops)]
    common = _list_common_changes(changed_files, packages)
    causes = {name: [*list_differences(trees[0], trees[1], module), *common] for name, module in own.items()}
    return Layers(
        changed={name: found for name, found in causes.items() if found},
        same=tuple(name for name, found in causes.items() if not found),
        modules=() if head.has_products else tops,
    )


def _is_product(module: str) -> bool:
    return module == "deconvbench" or any(module == name or module.startswith(f"{name}.") for name in PRODUCTS)


def _is_any(_: str) -> bool:
    return True


def find_module(spec: UpsamplerSpec) -> str:
    """Name the module that a layer comes from: what registered it, or, registered by us, what holds its factory.

    Parameters
    ----------
    spec : UpsamplerSpec
        Of the layer.
    """
    if spec.module != register_upsampler.__module__:
        return spec.module
    return str(getattr(spec.factory, "__module__", ""))


def _list_common_changes(changed_files: Sequence[str], packages: Collection[str]) -> list[str]:
    """List the files that count for every layer: data of the packages, and versions of what is installed."""
    found = []
    for path in changed_files:
        is_inside = any(f"/{package}/" in f"/{path}" for package in packages)
        is_data = is_inside and not path.endswith((".py", *_TEXT_ENDINGS))
        is_versions = "/" not in path and path.startswith(_VERSION_FILES) and path.endswith(".txt")
        if is_data or is_versions:
            found.append(path)
    return found


def choose_extent(
    layers: Layers, *, preset: str | None = None, settings: Sequence[str] = (), keyword: str = ""
) -> Extent:
    """Choose the cases of a comparison.

    Parameters
    ----------
    layers : Layers
        From `find_layers`.
    preset : str or None
        Measure this one's cases of all its layers; None takes the sizes of `quick` for layers whose code differs
        and those of `smoke` for the others.
    settings : sequence of str
        ``AXIS=V,V``, each replacing an axis.
    keyword : str
        As pytest's ``-k``.

    Raises
    ------
    UsageError
        If the preset, a setting or the keyword is wrong, or no case is left.
    """
    axes = [setting for setting in settings if not setting.startswith("upsampler=")]
    asked = _read_names(settings)
    matches = compile_keyword(keyword) if keyword else _is_any
    # what -k names is measured whether or not its code differs
    for shares in (_share_out(layers, preset, asked), _share_out(layers, preset, (*layers.changed, *layers.same))):
        grids: list[Grid] = []
        found: dict[str, list[Case]] = {}
        for name, upsamplers in shares:
            grid = load_preset(name).override(axes)
            grid = replace(grid, axes={**grid.axes, "upsampler": tuple(upsamplers)}, quality_axes={}, speedup=None)
            cases = [c for c in expand_axes(grid.axes, grid.constraints, grid.source) if matches(c.case_id)]
            if cases:
                grids.append(grid)
                found[name] = cases
        if found or not keyword or asked:
            break
    if not found:
        raise UsageError(
            f"-k: {quote(keyword)} matches none of the cases" if keyword else "no case is left to compare"
        )
    chosen = {case.case_id: case for members in found.values() for case in members}
    grid = replace(grids[0], replicates=1, timeout_s=max(grid.timeout_s for grid in grids))
    sizes = {name: list(dict.fromkeys(case.upsampler for case in members)) for name, members in found.items()}
    return Extent(grid=grid, cases=tuple(chosen.values()), lines=tuple(_describe(layers, sizes)))


def check_choice(preset: str | None, settings: Sequence[str], keyword: str) -> None:
    """Check what can be checked before any commit is known; see `choose_extent`.

    Raises
    ------
    UsageError
        If the preset, a setting or the keyword is wrong.
    """
    load_preset(preset or OTHER_PRESET).override([s for s in settings if not s.startswith("upsampler=")])
    if keyword:
        compile_keyword(keyword)


def _read_names(settings: Sequence[str]) -> tuple[str, ...]:
    """Read which upsamplers ``--set upsampler=`` names, each checked."""
    wanted = [setting for setting in settings if setting.startswith("upsampler=")]
    return tuple(load_preset(OTHER_PRESET).override(wanted).axes["upsampler"]) if wanted else ()


def _share_out(layers: Layers, preset: str | None, asked: Sequence[str]) -> list[tuple[str, list[str]]]:
    """Say which layers are measured at the sizes of which preset: those that are asked for, or the usual ones."""
    known = (*layers.changed, *layers.same)
    others = known if layers.modules else load_preset(preset or OTHER_PRESET).axes["upsampler"]
    chosen = [name for name in others if name in known]
    if asked:
        chosen = list(asked)
    elif preset is None:
        chosen = [*layers.changed, *(name for name in chosen if name in layers.same)]
    if preset is not None:
        return [(preset, chosen)] if chosen else []
    changed = [name for name in chosen if name in layers.changed]
    same = [name for name in chosen if name not in layers.changed]
    return [(name, names) for name, names in ((CHANGED_PRESET, changed), (OTHER_PRESET, same)) if names]


def _describe(layers: Layers, sizes: Mapping[str, Sequence[str]]) -> list[str]:
    lines = []
    measured = {name for names in sizes.values() for name in names}
    for preset, names in sizes.items():
        lines.append(f"measured at the sizes of {preset}: {', '.join(names)}")
    if changed := [name for name in layers.changed if name in measured]:
        causes: dict[tuple[str, ...], list[str]] = {}
        for name in changed:
            causes.setdefault(tuple(layers.changed[name]), []).append(name)
        for reasons, names in causes.items():
            lines.append(f"changed: {_list_some(names)}, by {_list_some(reasons)}")
    if missed := [name for name in layers.changed if name not in measured]:
        lines.append(f"changed, but not measured: {_list_some(missed)}")
    if same := [name for name in layers.same if name not in measured]:
        lines.append(f"not measured, as their code is the same: {_list_some(same)}")
    if not layers.changed:
        lines.insert(0, "the code of no layer differs between the commits")
    return lines


def _list_some(names: Sequence[str]) -> str:
    left = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {left} more" if left > 0 else "")
