"""Kinds of findings of an audit: a code, a reason and what to do; and one finding, as plain data.

What is found where is decided by `networks.inspection.findings`. Codes are never used again for something else.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from deconvbench.errors import UsageError, quote, suggest


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One kind of finding.

    Parameters
    ----------
    code : str
        ``DB`` and three digits.
    title : str
        In a few words.
    explanation : str
        Why it matters.
    remedy : str
        What to do.
    is_risk : bool
        Whether a network with it may draw checkerboards.
    """

    code: str
    title: str
    explanation: str
    remedy: str
    is_risk: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One finding.

    Parameters
    ----------
    code : str
        One of `RULES`.
    site : int
        Number of the site; 0 for the network itself.
    path : str
        Of its module.
    message : str
        What was found there.
    remedy : str
        What to do.
    is_risk : bool
        Whether it may draw checkerboards.
    is_ignored : bool
        Whether it was asked not to count.
    """

    code: str
    site: int
    path: str
    message: str
    remedy: str
    is_risk: bool
    is_ignored: bool = False

    def __str__(self) -> str:
        return f"{self.code} {self.path or '(the model)'}: {self.message}"


RULES: Mapping[str, Rule] = {
    rule.code: rule
    for rule in (
        Rule(
            code="DB001",
            title="uneven overlap",
            explanation="The kernel is not divisible by the stride, so output pixels see different numbers of"
            " taps: the variance of the output alternates with the phase, and the mean too unless training has"
            " cancelled it.",
            remedy="take a kernel that is a multiple of the stride (k4 s2, or k2 s2), or resize-convolution"
            " (deconvbench.nn.ResizeConv2d), and train again",
            is_risk=True,
        ),
        Rule(
            code="DB002",
            title="phase ripple of the weights",
            explanation="A constant input, at the mean of the activations on real images, comes out of this layer"
            " as a checkerboard: its phases have different gains. A kernel divisible by the stride does not"
            " prevent that.",
            remedy="train on with a layer that keeps its phase gains equal"
            " (deconvbench.nn.EqualGainConvTranspose2d for a transposed convolution, deconvbench.nn.SubpixelConv2d"
            " with icnr and blur for a sub-pixel one), or with resize-convolution (deconvbench.nn.ResizeConv2d)",
            is_risk=True,
        ),
        Rule(
            code="DB003",
            title="resize-convolution in its slow form",
            explanation="Nearest-neighbour upsampling makes the large map first and convolves that: the same"
            " result takes fewer multiplications and no large map.",
            remedy="deconvbench.fuse(model, example_input), exact but for rounding and without training",
            is_risk=False,
        ),
        Rule(
            code="DB004",
            title="dense kernel that is diagonal",
            explanation="Only the weights from each channel to itself differ from zero, but all are multiplied (a"
            " bilinear kernel without groups, as in FCN).",
            remedy="give the layer groups=channels with the diagonal as its weight, or interpolate",
            is_risk=False,
        ),
        Rule(
            code="DB005",
            title="order of the shuffle is suspect",
            explanation="Another order of the channels before the shuffle gives a smoother map for the same"
            " features: the weights were probably trained, or converted, for that order.",
            remedy="compare the shuffle with that of the framework that the weights come from (PixelShuffle and"
            " ONNX CRD: c i j; TensorFlow's depth_to_space and ONNX DCR: i j c)",
            is_risk=True,
        ),
        Rule(
            code="DB006",
            title="resize that depends on the framework",
            explanation="align_corners=True, factors that are not whole and bicubic coefficients are computed"
            " differently elsewhere (ONNX Resize has other defaults), and the first two are not the same at every"
            " pixel.",
            remedy="resize by a whole factor with align_corners=False, and compare outputs after an export",
            is_risk=False,
        ),
        Rule(
            code="DB007",
            title="interpolation in an odd dtype",
            explanation="The map is converted for the interpolation alone, or interpolated with few bits or as"
            " whole numbers: it costs time and memory, or precision.",
            remedy="interpolate in the dtype of the layers around; torch interpolates half precision as it is",
            is_risk=False,
        ),
        Rule(
            code="DB008",
            title="holes",
            explanation="Values are put at some pixels of each block, with zeros around (max-unpooling, or a"
            " transposed convolution whose kernel is smaller than its stride).",
            remedy="see that a convolution at least as large as the block follows, or upsample by nearest"
            " neighbour or bilinearly",
            is_risk=True,
        ),
        Rule(
            code="DB009",
            title="the last layer upsamples",
            explanation="No convolution comes after it that could smooth what it leaves: its ripple is in the"
            " picture.",
            remedy="add a convolution after it (3×3, as many channels in as out), or upsample one layer earlier",
            is_risk=False,
        ),
        Rule(
            code="DB010",
            title="Resize attributes that differ from torch's",
            explanation="A Resize of ONNX can be computed in ways that torch's interpolate does not have:"
            " asymmetric with linear or cubic, half_pixel with round_prefer_floor, another cubic coefficient,"
            " tf_crop_and_resize. Weights that were trained with one way and run with another get maps that are"
            " off by a part of a pixel.",
            remedy="export with the attributes of the framework that trained the weights (torch: nearest with"
            " asymmetric and floor, linear and cubic with half_pixel or align_corners, cubic_coeff_a −0.75),"
            " and compare outputs",
            is_risk=False,
        ),
        Rule(
            code="DB011",
            title="output is not finite",
            explanation="The network's output, or a weight of it, holds NaN or infinity, so that nothing can be"
            " said of the ripple there.",
            remedy="check that the weights were loaded whole and that the input has the range that the network is"
            " meant for; in half precision, run what overflows in single",
            is_risk=True,
        ),
    )
}


def check_codes(codes: Iterable[str], where: str) -> tuple[str, ...]:
    """Check codes of findings.

    Parameters
    ----------
    codes : iterable of str
        Such as ``DB001``.
    where : str
        What they were given for, for the message.

    Returns
    -------
    tuple of str
        None twice.

    Raises
    ------
    UsageError
        If there is no such code.
    """
    given = [codes] if isinstance(codes, str) else list(codes)
    for code in given:
        if code not in RULES:
            known = list(RULES)
            raise UsageError(f"{where}: {quote(code)} is not one of {', '.join(known)}{suggest(code, known)}")
    return tuple(dict.fromkeys(given))
