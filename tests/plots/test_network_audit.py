"""Figures of an audit's page."""

import re

from matplotlib.colors import to_rgba

from deconvbench.plots.network_audit import draw_pattern, draw_spectra, encode_themed_svg

PATTERN = [[[1.0], [-1.0]], [[-1.0], [1.0]]]


def test_inks_are_those_of_the_page() -> None:
    spectra = draw_spectra([1.0, 2.0, 3.0], [3.0, 2.0, 1.0], [2, 4])
    assert spectra is not None
    for figure in (draw_pattern(PATTERN), spectra):
        svg = encode_themed_svg(figure, "name")
        colours = set(re.findall(r"(?:fill|stroke): (#[0-9a-f]{6}|var\(--[a-z]+\))", svg))
        assert "var(--ink)" in colours
        # whatever is left is no ink: the patch below a bar of shades
        assert {one for one in colours if one.startswith("#")} <= {"#ffffff"}


def test_a_bar_of_shades_lies_on_white_and_the_rest_on_the_page() -> None:
    figure = draw_pattern(PATTERN)
    encode_themed_svg(figure, "name")
    faces = {axes.get_label() == "<colorbar>": to_rgba(axes.patch.get_facecolor()) for axes in figure.axes}
    assert faces[True] == (1.0, 1.0, 1.0, 1.0)
    assert faces[False][3] == 0.0


def test_a_spectrum_without_power_is_not_drawn() -> None:
    assert draw_spectra([0.0, 0.0], None, [2]) is None
