"""The sentence about the gain says what ran and how fast."""

import re

import torch

from deconvbench.measure.latency import LatencyPolicy
from deconvbench.measure.native_gain import measure_native_gain


def test_the_sentence_names_the_form_that_ran_and_three_ratios() -> None:
    torch.set_num_threads(2)
    sentence = measure_native_gain(LatencyPolicy(time_cap_s=0.0, warmup_s=0.0, min_time_s=0.0))
    assert torch.get_num_threads() == 2
    assert sentence.startswith("c128x64, 32×32, one thread, weight kept: tiled is ")
    ratios = [float(number) for number in re.findall(r"\d+\.\d", sentence)]
    assert len(ratios) == 3
    assert min(ratios) > 0
