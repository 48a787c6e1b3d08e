"""An audit as text."""

from dataclasses import replace
from typing import Any

from deconvbench.records.audit import Attribution, Audit
from deconvbench.records.findings import RULES, Finding
from deconvbench.records.sites import Site, SiteReport

SITE = Site(
    number=1,
    path="up",
    kind="transposed_convolution",
    operation="conv_transpose2d",
    dims=2,
    scale=(2, 2),
    kernel_size=(3, 3),
    stride=(2, 2),
    in_shape=(1, 64, 16, 16),
    out_shape=(1, 32, 33, 33),
    in_channels=64,
    out_channels=32,
    macs=4_718_592,
)
REPORT = SiteReport(
    site=SITE, gains_from="weights", relative_ripple=0.0312, flat_levels=1.234, time_share=0.5, memory_share=0.25
)
AUDIT = Audit(
    judgement="checkerboards",
    sites=(REPORT,),
    findings=(),
    flat_field={2: 1.3, 4: 0.0},
    flat_noise_levels=0.1,
    periodicity_error=0.0,
    is_two_tone=False,
    hidden={},
    last_activation="",
    real={2: 1.2},
    real_detection_level=0.4,
    attributions=(Attribution(period=2, levels=1.3, site=1, path="up", removed_share=0.9),),
    output_range=(0.0, 1.0),
    is_range_guessed=True,
    inputs="photographs",
)


def find(code: str, path: str = "up", **changes: Any) -> Finding:
    rule = RULES.get(code, RULES["DB001"])
    values = {"message": "as it is", "remedy": rule.remedy, "is_risk": rule.is_risk, "site": 1}
    return Finding(**{"code": code, "path": path, **values, **changes})


def test_all_of_a_network_is_in_it() -> None:
    assert str(AUDIT).splitlines() == [
        "checkerboards: 1 upsampling site, 0 findings",
        "",
        "   site  layer                  input → output    MACs  time  memory  ripple  plain  images",
        "1  up    transposed k3 ×2  64×16×16 → 32×33×33  4.72 M   50%     25%   3.12%   1.23       –",
        "",
        "plain colours: 1.30 levels at period 2, 0.00 levels at period 4; chance makes 0.10",
        "photographs: 1.20 levels at period 2; a grid is detected from 0.4",
        "cause: period 2: 1.30 levels in plain colours, from 1. up, which has 90% of it",
        "levels are 1/255 of an output range of 0 to 1 (guessed)",
    ]


def test_columns_stand_below_each_other() -> None:
    second = replace(REPORT, site=replace(SITE, number=12, path="a.long.path." * 9, macs=12_000_000_000))
    lines = str(replace(AUDIT, sites=(REPORT, second))).splitlines()[2:5]
    assert (
        len({line.rindex(word) + len(word) for line, word in zip(lines, ("MACs", "4.72 M", "12 G"), strict=True)})
        == 1
    )
    assert "…" in lines[2]


def test_findings_of_one_code_stand_together_with_what_to_do_once() -> None:
    findings = (find("DB001"), find("DB003", path=""), find("DB001", path="down", site=2))
    text = str(replace(AUDIT, findings=findings))
    assert "DB001 uneven overlap (a risk)\n  1. up, 2. down: as it is\n  → take a kernel that is" in text
    assert "DB003 resize-convolution in its slow form\n  1. (the model): as it is\n  → deconvbench.fuse" in text
    assert text.count("take a kernel") == 1


def test_of_many_sites_the_first_are_named() -> None:
    text = str(replace(AUDIT, findings=tuple(find("DB009", path=f"up{n}", site=n) for n in range(1, 10))))
    assert "1. up1, 2. up2, 3. up3, 4. up4, 5. up5, 6. up6 and 3 more: as it is" in text


def test_ignored_findings_are_said_to_be() -> None:
    text = str(replace(AUDIT, judgement="clean", findings=(find("DB001", is_ignored=True), find("DB009"))))
    assert text.startswith("clean: 1 upsampling site, 2 findings, 1 of them ignored\n")
    assert "DB001 uneven overlap (ignored)" in text


def test_a_network_that_does_not_upsample_says_so() -> None:
    nothing = replace(
        AUDIT, judgement="clean", sites=(), flat_field={}, real={}, attributions=(), not_covered=("x: y",)
    )
    assert str(nothing).splitlines() == [
        "clean: 0 upsampling sites, 0 findings",
        "",
        "nothing in it upsamples, as far as can be seen",
        "",
        "not covered",
        "  x: y",
    ]


def test_what_a_last_activation_hides_is_in_it() -> None:
    text = str(replace(AUDIT, hidden={2: 3.0}, last_activation="sigmoid", is_two_tone=True, flat_noise_levels=0.0))
    assert "plain colours, each half its own: 1.30 levels at period 2, 0.00 levels at period 4\n" in text
    assert "before the last sigmoid, which may hide it: 3.00 levels at period 2" in text


def test_a_rule_of_a_later_version_has_no_title() -> None:
    assert "DB999 (a risk)" in str(replace(AUDIT, findings=(find("DB999"),)))


def test_levels_that_round_to_zero_have_no_sign() -> None:
    assert "-0.00" not in str(replace(AUDIT, sites=(replace(REPORT, flat_levels=-0.001, real_levels=-0.2),)))
