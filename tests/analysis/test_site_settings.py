"""Sites in the terms of the grid."""

from deconvbench.analysis.site_settings import count_channels, find_size, make_setting, name_present
from deconvbench.records import sites as kinds
from tests.report.made_audits import make_nearest, make_transposed


def test_layers_are_named_as_in_the_grid() -> None:
    assert name_present(make_nearest(operation="interpolate(mode=bicubic)")) == (("bicubic_conv", 3), "")
    assert name_present(make_transposed(kind=kinds.SUBPIXEL_CONVOLUTION, kernel_size=(5, 5))) == (
        ("subpixel", 5),
        "",
    )
    assert name_present(make_transposed(kind=kinds.MAX_UNPOOLING, kernel_size=())) == (("max_unpool_conv", 3), "")


def test_a_setting_is_that_of_the_site() -> None:
    assert make_setting(make_transposed()) == (
        {"scale_factor": 2, "in_channels": 64, "out_channels": 32, "batch": 1, "dtype": "float32"},
        (64, 64),
    )
    # its convolution makes four times the channels
    subpixel = make_transposed(kind=kinds.SUBPIXEL_CONVOLUTION, out_channels=128)
    assert count_channels(subpixel) == (64, 32)
    last = make_nearest(is_channels_last=True, in_shape=(2, 5, 7, 32), dtype="complex64")
    assert find_size(last, last.in_shape) == (5, 7)
    assert make_setting(last) == ({"scale_factor": 2, "in_channels": 32, "out_channels": 16, "batch": 2}, (5, 7))
