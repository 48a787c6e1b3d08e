"""One side of a pair: a step that is timed block by block, each time that its process is asked to.

Two processes hold the same case, of two commits, and compute in turns. This is what each of them does; who asks
when, and what the numbers mean, is not known here.
"""

import contextlib
import hashlib
import time
from pathlib import Path

import torch
from torch import Tensor, nn

from deconvbench.measure.accelerator import TorchAccelerator
from deconvbench.measure.blocks import NS, Clock, find_block_length, pause_collector, time_block, warm_up
from deconvbench.measure.noise import BlockWatch
from deconvbench.measure.outputs import find_difference, find_gradients
from deconvbench.measure.slowing import slow_down
from deconvbench.measure.step import prepare_step
from deconvbench.records.case import Case


class PairedStep:
    """A case's step, prepared, run once and ready to be timed in blocks.

    Parameters
    ----------
    case : Case
        What is run.
    seed : int
        Of weights and input, the same on both sides.
    slowdown : float or None
        Share by which each call on the CPU is made slower, to see whether a comparison finds it. A share of 0 only
        has the clock read as the other side reads it, which takes its time too; None does not.
    clock : callable
        Nanoseconds.

    Raises
    ------
    UsageError, UnsupportedError, TooLargeError
        As `prepare_step`, and as the first call of the step.
    """

    def __init__(
        self, case: Case, seed: int, *, slowdown: float | None = None, clock: Clock = time.perf_counter_ns
    ) -> None:
        torch.set_num_threads(case.threads)
        self._clock = clock
        self._held = contextlib.ExitStack()
        layers: list[nn.Module] = []
        step = prepare_step(case, seed, layers.append)
        self._outputs = _run_once(step.run, layers[0], case, seed)
        self._call = step.run if slowdown is None or case.device != "cpu" else slow_down(step.run, slowdown)
        self._accelerator = None if case.device == "cpu" else TorchAccelerator(case.device)
        self._held.enter_context(pause_collector())
        self._watch = self._held.enter_context(BlockWatch(case.threads)) if case.device == "cpu" else None

    def digest(self) -> str:
        """Digest what the step gave: equal texts mean that two sides gave the same numbers."""
        digest = hashlib.blake2b(digest_size=16)
        for output in self._outputs:
            digest.update(repr((tuple(output.shape), output.dtype)).encode())
            digest.update(output.reshape(-1).view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()

    def write_outputs(self, path: Path) -> None:
        """Write what the step gave, for the other side to compare."""
        torch.save(self._outputs, path)

    def find_difference(self, path: Path) -> float:
        """Compare what the step gave with what the other side wrote.

        Parameters
        ----------
        path : Path
            Of `write_outputs`.

        Returns
        -------
        float
            Largest deviation as a share of the largest value, from 0 to 2; the largest over output and gradients.
            2 where shapes differ.
        """
        theirs: list[Tensor] = torch.load(path, weights_only=True)
        return find_difference(theirs, self._outputs)

    def warm_up(self, warmup_s: float, min_block_s: float) -> int:
        """Call the step until it is warm.

        Parameters
        ----------
        warmup_s : float
            Seconds of calls at least.
        min_block_s : float
            Seconds that a block must last.

        Returns
        -------
        int
            Calls that make such a block.
        """
        self._outputs = []  # compared by now
        return warm_up(self._run, warmup_s, find_block_length(min_block_s, self._clock), self._clock)

    def time_block(self, calls: int) -> tuple[float, str]:
        """Time one block, behind a call that is not timed: the other side's block has left the caches cold.

        Parameters
        ----------
        calls : int
            How many.

        Returns
        -------
        seconds : float
            Per call.
        reason : str
            Why the block was disturbed; empty where nothing took time from it, and on an accelerator.
        """
        self._call()
        if self._accelerator is None:
            assert self._watch is not None
            self._watch.begin()
            block_s = time_block(self._call, calls, self._clock)
            return block_s / calls, self._watch.end(block_s)
        self._accelerator.synchronize()
        started = self._clock()
        time_block(self._call, calls, self._clock)
        self._accelerator.synchronize()
        return (self._clock() - started) * NS / calls, ""

    def _run(self) -> None:
        self._call()
        if self._accelerator is not None:
            self._accelerator.synchronize()

    def close(self) -> None:
        """Let garbage be collected again."""
        self._held.close()


def _run_once(run: object, layer: nn.Module, case: Case, seed: int) -> list[Tensor]:
    """Run the step once, which checks its output, and where it trains find its gradients."""
    assert callable(run)
    with torch.random.fork_rng(devices=()):
        torch.default_generator.manual_seed(seed)  # of layers that draw random numbers as they train
        outputs: list[Tensor] = [run()]
        if case.step == "train":
            torch.default_generator.manual_seed(seed)
            outputs = find_gradients(layer, case, seed)
    return [output.detach().to("cpu", copy=True).contiguous() for output in outputs]
