"""What tests need to look at one run of a network."""

from typing import Any

from torch import nn

from deconvbench.networks.frames import FrameStack
from deconvbench.networks.fusion.observation import keep_state
from deconvbench.networks.inspection.running import Runner
from deconvbench.networks.inspection.sites import TracedSite, collect_sites
from deconvbench.networks.inspection.tracing import Tracer


def trace_sites(model: nn.Module, example: Any) -> list[TracedSite]:
    """Run a model once, and list its sites."""
    stack = FrameStack()
    with keep_state(model), stack.follow(model):
        tracer = Tracer(stack)
        Runner(model, stack).run(example, tracer)
    return collect_sites(tracer.upsamplings)
