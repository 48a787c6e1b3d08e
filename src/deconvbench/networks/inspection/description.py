"""What a site is by itself: its gains, ripples and what is odd about its weights.

From its weights, and from what its layer was given and has given in a run.
"""

import math
from dataclasses import replace

import torch
from torch import Tensor

from deconvbench.networks.inspection.checks import is_finite
from deconvbench.networks.inspection.orders import find_smoother_order
from deconvbench.networks.inspection.running import Collector
from deconvbench.networks.inspection.sites import TracedSite
from deconvbench.networks.inspection.weights import (
    count_overlap,
    find_channels,
    measure_rejection,
    read_gains,
    take_ripple_share,
)
from deconvbench.records import sites as kinds
from deconvbench.records.sites import Site, SiteReport

# share of a weight that may lie beside the diagonal
_NEGLIGIBLE = 1e-6


def describe_site(site: Site, traced: TracedSite, collector: Collector) -> SiteReport:
    """Describe a site.

    Parameters
    ----------
    site : Site
        As it is in the network.
    traced : TracedSite
        The same as it was run.
    collector : Collector
        Has seen real images.

    Returns
    -------
    SiteReport
        Without what concerns the network's output, time and memory.
    """
    layer = traced.upsampling.weighted
    if layer is not None and not is_finite(layer.weight):
        # the network's own finding says so
        return SiteReport(site=site, overlap_cv=count_overlap(traced))
    report = SiteReport(
        site=site,
        overlap_cv=count_overlap(traced),
        image_rejection_db=measure_rejection(traced),
        is_diagonal=layer is not None and is_diagonal(layer.weight, layer.groups),
    )
    if site.kind in {kinds.RESIZE, kinds.RESIZE_CONVOLUTION}:
        return replace(
            report, gains_from="construction", phase_ripple=0.0, effective_ripple=0.0, relative_ripple=0.0
        )
    report = replace(report, smoother_order=_find_smoother_order(site, traced, collector))
    gains, means = read_gains(traced.upsampling), collector.find_means(site.number)
    if gains is None:
        return report
    report = replace(report, gains_from="weights", phase_ripple=take_ripple_share(gains.values))
    if means is None:
        return report
    ripple, power = gains.respond(means).var(-1, correction=0).mean(), collector.find_power(site.number)
    return replace(
        report,
        effective_ripple=take_ripple_share(gains.respond(means.mean(0))),
        relative_ripple=math.sqrt(float(ripple) / power) if power > 0 else 0.0,
    )


def _find_smoother_order(site: Site, traced: TracedSite, collector: Collector) -> str:
    shuffled, layer = collector.shuffled.get(site.number), traced.upsampling.weighted
    if shuffled is None or (layer is not None and layer.weight.ndim == 2) or shuffled.ndim != site.dims + 2:
        return ""
    scale = tuple(int(one) for one in site.scale)
    channels = find_channels(traced.upsampling)
    if channels is None:
        channels = torch.arange(shuffled.shape[1]).reshape(-1, math.prod(scale))
    return find_smoother_order(shuffled, channels, scale)


def is_diagonal(weight: Tensor, groups: int) -> bool:
    """Whether a dense layer's weight is zero but from each channel to itself."""
    if groups != 1 or weight.ndim < 3 or weight.shape[0] != weight.shape[1] or weight.shape[0] < 2:
        return False
    channels = torch.arange(weight.shape[0])
    magnitude = weight.detach().double().abs().flatten(2).sum(-1)
    total, own = float(magnitude.sum()), float(magnitude[channels, channels].sum())
    return total > 0 and total - own <= _NEGLIGIBLE * total
