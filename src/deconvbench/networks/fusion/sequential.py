"""Containers that run upsampling, padding and convolution among their children as one: the fast path of fusion.

The conditions are the same as everywhere, asked of modules before any of them runs. Watching a container (see
`session`) finds as much, and more; but it takes 0.1 ms longer a call with one convolution, 0.2 to 0.4 ms with
two or three, and is not possible while ``torch.compile`` traces.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from deconvbench.networks.fusion.chains import Chain, find_chain, gains, is_upsampling, may_pass_over, run_chain
from deconvbench.networks.fusion.history import are_hooks_active
from deconvbench.networks.fusion.modules import (
    FusedScope,
    call_plainly,
    describe_call,
    find_weight_cache,
    is_idle,
    note_idle,
)
from deconvbench.networks.fusion.originals import are_calls_own, is_call_own
from deconvbench.networks.fusion.strips import find_strip_chain, flatten, run_strip_chain
from deconvbench.networks.fusion.tensors import is_usable
from deconvbench.upsamplers.fast.recording import is_recorded


class FusedSequential(FusedScope):
    """A container that runs upsampling, padding and convolution among its children as one."""

    def run(self, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run the children one after another."""
        if len(args) != 1 or kwargs or not is_call_own(module) or not are_calls_own():
            # a session lets everything run that others have put there
            return super().run(module, args, kwargs)
        is_compiling = torch.compiler.is_compiling()
        # of what is packed for gradients, a second pass must save the very same, whatever has changed meanwhile
        if not is_compiling and (is_recorded(*args) or are_hooks_active()):
            return call_plainly(module, args, kwargs)
        call = None if is_compiling else describe_call(module, args)
        if call is not None and is_idle(module, call):
            return call_plainly(module, args, kwargs)
        x, has_gained = self._run_children(module, args[0])
        # hooks, and what was replaced, may go again
        if call is not None and not has_gained and all(map(may_pass_over, module)):
            note_idle(module, call)
        return x

    def _run_children(self, module: nn.Sequential, x: Any) -> tuple[Any, bool]:
        children = list(module) if self.max_memory is None else flatten(module)
        weight_cache = find_weight_cache(module)
        index, has_gained = 0, False
        while index < len(children):
            child = children[index]
            strips = None if self.max_memory is None else self._find_strips(children, index, x)
            if strips is not None:
                x, index = strips
                has_gained = True
                continue
            chain = find_chain(children, index) if is_upsampling(child) and is_usable(x) else None
            if isinstance(chain, Chain) and gains(chain, x, is_prepared=weight_cache is not None):
                x = run_chain(chain, x, weight_cache)
                index, has_gained = chain.stop, True
            else:
                x = child(x)
                index += 1
        return x, has_gained

    def _find_strips(self, children: Sequence[nn.Module], index: int, x: Any) -> tuple[Any, int] | None:
        """Compute what follows in row strips; the result and where it ends, or None where that is not needed."""
        chain = find_strip_chain(children, index) if is_upsampling(children[index]) and is_usable(x) else None
        if chain is None or self.max_memory is None:
            return None
        # what a container has made itself is held meanwhile; what it was given is the caller's
        held = x.numel() * x.element_size() if index else 0
        y = run_strip_chain(chain, x, self.max_memory - held)
        return None if y is None else (y, chain.stop)
