"""Three crops of one picture: the original, and what a deconvolution and the recommended layer make of it.

They come from training experiments of one's own where those have pictures, else from the few that ship with the
package (`report/assets/crops`). What is shown is labelled as what it is: where the recommended layer has no
picture of its own, the nearest relative that has one is shown under its own name.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from io import BytesIO
from typing import Any

from PIL import Image

from deconvbench.analysis.selection import EmptyFigureError
from deconvbench.plots.article.crops import (
    find_strongest,
    list_crops,
    pick_last,
    pick_layer,
    read_crop,
    read_original,
)
from deconvbench.records.case import format_layer
from deconvbench.records.layers import FAST_ORIGINAL, FAST_UPSAMPLERS, NamedLayer
from deconvbench.report.embedding import embed_picture
from deconvbench.tables.trained import Trained

_FOLDER = ("assets", "crops")
_DECONVOLUTIONS: tuple[NamedLayer, ...] = (("transposed", 4), ("transposed", 3), ("transposed", 2))
# who stands in for a layer without pictures: resize-convolutions all put the convolution behind the resize
_STAND_INS: tuple[NamedLayer, ...] = (("nearest_conv", 3), ("bilinear_conv", 3))


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownCrop:
    """One crop, ready for the page.

    Parameters
    ----------
    title : str
        What it is.
    text : str
        Its numbers, for the caption and the alternative text.
    address : str
        The picture itself.
    """

    title: str
    text: str
    address: str


def list_shown(trained: Trained, recommended: NamedLayer | None) -> tuple[list[ShownCrop], str]:
    """Choose the three crops.

    Parameters
    ----------
    trained : Trained
        Training experiments; its own pictures are preferred.
    recommended : (str, int or None) or None
        The layer to show beside the deconvolution.

    Returns
    -------
    crops : list of ShownCrop
        Original, deconvolution, remedy.
    note : str
        Where they come from.
    """
    own = _read_own(trained, recommended)
    return own or _read_shipped(recommended)


def _list_wanted(recommended: NamedLayer | None) -> Sequence[NamedLayer]:
    if recommended is None:
        return _STAND_INS
    original = FAST_ORIGINAL if recommended[0] in FAST_UPSAMPLERS else recommended[0]
    return ((original, recommended[1]), *_STAND_INS)


def _read_own(trained: Trained, recommended: NamedLayer | None) -> tuple[list[ShownCrop], str] | None:
    try:
        rows = list_crops(trained)
        pairs = []
        for wanted in (_DECONVOLUTIONS, _list_wanted(recommended)):
            for layer in wanted:
                try:
                    pairs.append((layer, pick_last(pick_layer(rows, layer))))
                    break
                except EmptyFigureError:
                    continue
        if len(pairs) < 2:
            return None
        image = find_strongest(pairs[0][1])
        crops = [read_crop(trained, frame[frame["image"] == image].iloc[0]) for _, frame in pairs]
        original = read_original(trained, image)
    except (EmptyFigureError, IndexError):
        return None
    shown = [ShownCrop(title="The original", text=f"{image}, as it is", address=embed_picture(_encode(original)))]
    shown += [
        _label(
            _explain(crop.layer, layer, recommended), crop.checkerboard_levels, crop.psnr_db, _encode(crop.pixels)
        )
        for (layer, _), crop in zip(pairs, crops, strict=True)
    ]
    note = f"Parts of {image} from networks of {trained.folder}, after {crops[0].step:,} training steps."
    return shown, note


def _encode(pixels: Any) -> bytes:
    packed = BytesIO()
    Image.fromarray(pixels).save(packed, format="png", optimize=True)
    return packed.getvalue()


def _label(title: str, levels: float, psnr_db: float, picture: bytes) -> ShownCrop:
    checkerboard = f"a checkerboard of {levels:.1f} levels" if levels >= 0.05 else "no checkerboard"
    return ShownCrop(title=title, text=f"{checkerboard}, PSNR {psnr_db:.1f} dB", address=embed_picture(picture))


def _explain(name: str, layer: NamedLayer, recommended: NamedLayer | None) -> str:
    if layer[0] in {each[0] for each in _DECONVOLUTIONS}:
        return f"A deconvolution: {name}"
    if recommended is None or layer == recommended:
        return f"{'A resize-convolution' if recommended is None else 'Recommended'}: {name}"
    if recommended[0] in FAST_UPSAMPLERS and layer == (FAST_ORIGINAL, recommended[1]):
        return f"Recommended: {name}"
    return f"A relative of it: {name}"


def _read_shipped(recommended: NamedLayer | None) -> tuple[list[ShownCrop], str]:
    folder = files("deconvbench.report").joinpath(*_FOLDER)
    facts = json.loads(folder.joinpath("crops.json").read_text(encoding="utf-8"))
    known = {(entry["upsampler"], entry["kernel_size"]): entry for entry in facts["crops"]}
    chosen = [
        next(layer for layer in wanted if layer in known)
        for wanted in (_DECONVOLUTIONS, _list_wanted(recommended))
    ]
    shown = [
        ShownCrop(
            title="The original",
            text=f"{facts['image']}, as it is",
            address=embed_picture(folder.joinpath("original.png").read_bytes()),
        )
    ]
    for layer in chosen:
        entry = known[layer]
        name = format_layer(entry["upsampler"], entry["kernel_size"], entry["scale_factor"])
        picture = folder.joinpath(entry["file"]).read_bytes()
        shown.append(
            _label(_explain(name, layer, recommended), entry["checkerboard_levels"], entry["psnr_db"], picture)
        )
    return shown, str(facts["note"])
