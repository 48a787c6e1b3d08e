"""One word about a network."""

import pytest

from deconvbench.measure.artifacts.spectrum import CheckerboardResult
from deconvbench.networks.inspection.judgement import judge
from deconvbench.records.audit import Attribution
from deconvbench.records.findings import Finding
from deconvbench.records.sites import SiteReport
from tests.networks.inspection.test_attribution import make_site


@pytest.mark.parametrize(
    ("flat", "real", "changed", "risk", "word"),
    [
        pytest.param(0.1, 0.1, 0.1, False, "clean", id="nothing"),
        pytest.param(0.1, 5.0, 0.1, False, "clean", id="content of images"),
        pytest.param(0.1, 0.1, 5.0, False, "clean", id="what equal gains uncover"),
        pytest.param(0.1, 0.1, 0.1, True, "at risk", id="a finding"),
        pytest.param(0.5, 0.1, 0.1, False, "at risk", id="half a level"),
        pytest.param(1.0, 0.1, 0.1, False, "checkerboards", id="plain colours"),
        pytest.param(0.1, 1.5, 1.2, False, "checkerboards", id="images"),
    ],
)
def test_words(flat: float, real: float, changed: float, risk: bool, word: str) -> None:
    report = SiteReport(site=make_site(), real_levels=changed)
    finding = Finding(code="DB001", site=1, path="", message="", remedy="", is_risk=risk)
    attribution = Attribution(period=2, levels=flat, site=1, path="", removed_share=1.0)
    score = CheckerboardResult(
        amplitude=real, detection_level=0.1, noise_level=0.1, by_scale={2: real}, period=2, patches=9
    )
    assert judge([report], [finding], [attribution], score) == word
    assert judge([], [], [], None) == "clean"
