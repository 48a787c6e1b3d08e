"""The result of an audit, in words and as a dict."""

import json
import math

import torch
from torch import nn

import deconvbench
from deconvbench.records.sites import SiteReport
from tests.networks.inspection.networks import make_dcgan, make_espcn
from tests.networks.inspection.test_attribution import make_site


def test_an_audit_is_json() -> None:
    audit = deconvbench.audit(make_espcn(), torch.rand(1, 1, 24, 24))
    data = json.loads(json.dumps(audit.to_dict(), allow_nan=False))
    assert data["judgement"] == "checkerboards"
    assert data["sites"][0]["site"]["scale"] == [3, 3]
    assert data["sites"][0]["site"]["convolution"]["path"] == "4"
    assert {finding["code"] for finding in data["findings"]} == {"DB002", "DB009"}
    assert set(data["flat_field"]) == {"3"}


def test_what_was_not_measured_is_none_and_named() -> None:
    audit = deconvbench.audit(make_dcgan(), torch.randn(1, 16, 1, 1))
    data = audit.to_dict()
    assert data["flat_noise_levels"] is None
    assert data["flat_field"] == {}
    assert any("no input is a map of more than one pixel" in text for text in audit.not_covered)


def test_words_name_site_cause_and_remedy() -> None:
    torch.manual_seed(0)
    text = str(
        deconvbench.audit(
            nn.Sequential(nn.Conv2d(3, 4, 3), nn.ConvTranspose2d(4, 3, 3, 2)), torch.rand(1, 3, 32, 32)
        )
    )
    assert text.startswith("checkerboards: 1 upsampling site, ")
    assert "1. 1: transposed convolution k3, ×2" in text
    assert "from 1. 1, which has " in text
    assert "deconvbench.nn.ResizeConv2d" in text


def test_a_site_without_measurements_has_no_numbers_in_words() -> None:
    words = str(SiteReport(site=make_site(path=""), time_share=0.5, memory_share=0.25))
    assert words == "1. (the model): transposed convolution, ×2: 50% of the time, 25% of the memory"
    assert math.isnan(SiteReport(site=make_site()).time_share)
