"""The page of the article's figures, which the report links to: what the article says, and the claims."""

from collections.abc import Mapping, Sequence

from deconvbench.plots.article import CAPTIONS
from deconvbench.report.claims import ClaimRow, count_verdicts, list_undrawn, name_anchor, view_claims
from deconvbench.report.embedding import embed_picture, gather_parts
from deconvbench.report.templates import load_template

# where a PNG says of what kind its colours are
_COLOUR_TYPE = 25


def render_article(
    pictures: Mapping[str, bytes],
    claims: Sequence[ClaimRow] | None,
    *,
    title: str,
    meta: str,
    report_address: str,
    sections: Mapping[str, str],
) -> str:
    """Write the page of the article's figures.

    Parameters
    ----------
    pictures : mapping of str to bytes
        PNG by the names of `deconvbench.plots.article.CAPTIONS`; others are not shown.
    claims : sequence of ClaimRow or None
        The claims table; None where there is none.
    title : str
        Of the run.
    meta : str
        Machine and date.
    report_address : str
        Where the report is, relative to this page.
    sections : mapping of str to str
        Sections of the report that show what figures of the run show, by the figure's name.

    Returns
    -------
    str
        HTML with everything embedded.
    """
    drawn = {name: f"#{name_anchor(name)}" for name in CAPTIONS if name in pictures}
    addresses = {**{name: f"{report_address}{anchor}" for name, anchor in sections.items()}, **drawn}
    return load_template("article.html.j2").render(
        parts=gather_parts(),
        title=f"the article's figures, {title}",
        heading=f"The article's figures: {title}",
        meta=meta,
        report_address=report_address,
        figures=[
            {
                "anchor": name_anchor(name),
                "short": caption.title.partition(":")[0],
                "heading": caption.title,
                "claim": caption.claim,
                "caption": caption.text,
                "image": embed_picture(pictures[name]),
                "is_exact": has_full_colour(pictures[name]),
            }
            for name, caption in CAPTIONS.items()
            if name in pictures
        ],
        undrawn=list_undrawn(pictures),
        claims=view_claims(claims or (), name_figures(), addresses),
        counts=count_verdicts(claims or ()),
    )


def name_figures() -> dict[str, str]:
    """Name every figure that a claim may point to, by its name in the claims table."""
    return {name: caption.title.partition(":")[0] for name, caption in CAPTIONS.items()}


def has_full_colour(picture: bytes) -> bool:
    """Say whether a PNG has no palette, as figures with photographs have none (`plots.encode_figures`).

    Parameters
    ----------
    picture : bytes
        The file.
    """
    return picture[_COLOUR_TYPE : _COLOUR_TYPE + 1] == b"\x02"
