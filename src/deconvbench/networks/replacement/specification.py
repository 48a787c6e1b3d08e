"""The words that say what to replace by what: ``transposed-k3 -> nearest_conv``.

Names are those of the grid, with the kernel and the stride behind them as in a case's id. Knows no layers.
"""

import re
from dataclasses import dataclass

from deconvbench.arguments import is_text
from deconvbench.errors import UsageError, quote, suggest

# interpolation of another mode, and convolution: named where it is meant, and never replaced
OTHER_CONV = "other_conv"
# what is looked for, with the names of the layers in it
SOURCES: dict[str, frozenset[str]] = {
    "transposed": frozenset({"transposed"}),
    "subpixel": frozenset({"subpixel"}),
    "nearest_conv": frozenset({"nearest_conv"}),
    "bilinear_conv": frozenset({"bilinear_conv"}),
    "interpolate+conv": frozenset({"nearest_conv", "bilinear_conv", OTHER_CONV}),
}
TARGETS = (
    *("nearest_conv", "bilinear_conv", "equal_gain_transposed", "transposed_fir", "transposed"),
    *("subpixel", "subpixel_icnr", "subpixel_icnr_blur"),
)
# other names of the same layers
_ALIASES = {"nearest_conv_fast": "nearest_conv", "equal_gain": "equal_gain_transposed"}
# these keep the size for odd kernels only
_ODD_ONLY = frozenset({"nearest_conv", "bilinear_conv"})
_WORD = re.compile(r"(?P<name>[a-z][a-z_+]*)(-k(?P<kernel>[1-9]\d{0,2}))?(-s(?P<stride>[1-9]\d{0,2}))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Specification:
    """What is replaced by what.

    Parameters
    ----------
    source : str
        One of `SOURCES`.
    source_kernel_size, source_stride : int or None
        Only layers of this kernel and stride; None: of any.
    target : str
        One of `TARGETS`.
    target_kernel_size : int or None
        Of the new layer; None: the smallest that holds the old one.
    """

    source: str
    source_kernel_size: int | None = None
    source_stride: int | None = None
    target: str
    target_kernel_size: int | None = None

    def is_meant(self, name: str, kernel_size: tuple[int, ...], stride: tuple[int, ...]) -> bool:
        """Whether a layer is to be replaced.

        Parameters
        ----------
        name : str
            Of the kind of layer.
        kernel_size, stride : tuple of int
            Of the layer, along each axis.
        """
        sizes = ((self.source_kernel_size, kernel_size), (self.source_stride, stride))
        return name in SOURCES[self.source] and all(
            wanted is None or set(found) == {wanted} for wanted, found in sizes
        )


def parse_specification(text: str) -> Specification:
    """Read what to replace by what.

    Parameters
    ----------
    text : str
        ``OLD -> NEW``: OLD is a name of `SOURCES`, with ``-kN`` and ``-sN`` behind it for layers of that kernel
        and stride only; NEW is a name of `TARGETS`, with ``-kN`` behind it for a kernel of that size.

    Raises
    ------
    UsageError
        If it is anything else; the message has all that is allowed.
    """
    allowed = (
        f"'OLD -> NEW', OLD one of {', '.join(SOURCES)} (-kN, -sN behind it: of that kernel, stride only), NEW one"
        f" of {', '.join(TARGETS)} (-kN behind it: with that kernel)"
    )
    halves = re.split(r"->|→", text) if is_text(text) else []
    if len(halves) != 2:
        raise UsageError(f"specification: {quote(text)} is not {allowed}")
    old, new = (_WORD.fullmatch(half.strip()) for half in halves)
    for half, word in zip(halves, (old, new), strict=True):
        if word is None:
            raise UsageError(
                f"specification: {quote(half.strip())} in {quote(text)} is not a layer; allowed is {allowed}"
            )
    assert old is not None and new is not None  # noqa: PT018 -- for the type checker; both were looked at above
    source, target = (_ALIASES.get(word["name"], word["name"]) for word in (old, new))
    for name, known, use in ((source, SOURCES, "replace"), (target, TARGETS, "put in")):
        if name not in known:
            hint = suggest(name, known)
            raise UsageError(f"specification: {name!r} is not a layer to {use}{hint}; allowed is {allowed}")
    if new["stride"] is not None:
        raise UsageError(
            f"specification: -s{new['stride']} behind {target}: the new layer has the old one's scale"
        )
    size = None if new["kernel"] is None else int(new["kernel"])
    if size is not None and size % 2 == 0 and target in _ODD_ONLY:
        raise UsageError(f"specification: -k{size} behind {target}: it takes odd kernels only")
    return Specification(
        source=source,
        source_kernel_size=None if old["kernel"] is None else int(old["kernel"]),
        source_stride=None if old["stride"] is None else int(old["stride"]),
        target=target,
        target_kernel_size=size,
    )
