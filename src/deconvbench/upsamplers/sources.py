"""Whether an upsampler of the user's own is from the source that it was from: in another process, or on resume."""

import sys
from collections.abc import Iterable

from deconvbench.upsamplers.registry import get_upsampler, load_upsampler


def identify_sources(paths: Iterable[str]) -> tuple[str, ...]:
    """Digest the sources of upsamplers, as they were when they were registered.

    Parameters
    ----------
    paths : iterable of str
        Each ``pkg.mod:factory``, as `load_upsampler` takes it.

    Returns
    -------
    tuple of str
        Twelve hexadecimal digits for each; empty for one of this package and one whose module has no file.
    """
    return tuple(get_upsampler(load_upsampler(path)).digest for path in paths)


def name_changed_sources(paths: Iterable[str], digests: Iterable[str]) -> list[str]:
    """Name the upsamplers whose sources are not those that they were.

    Parameters
    ----------
    paths : iterable of str
        Each ``pkg.mod:factory``.
    digests : iterable of str
        Of `identify_sources`, for each; fewer where none were recorded.

    Returns
    -------
    list of str
        A line for each, with the file that it has here.
    """
    paths = list(paths)
    changed = []
    for path, now, digest in zip(paths, identify_sources(paths), digests, strict=False):
        if now != digest:
            module = path.partition(":")[0]
            file = getattr(sys.modules.get(module), "__file__", None) or module
            changed.append(f"{path} had source {digest or 'without a file'}, has {now or 'none'} in {file}")
    return changed
