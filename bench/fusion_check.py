"""Whether `fuse` is exact on the architectures that people use: ``python -m bench.fusion_check [NAME...]``.

Fuses a tiny network of each, uses it in the ways that people use networks, and compares with the original. The
networks are from packages that must be installed beside this one. Prints a table; exit code 1 if anything differs.
"""

import argparse
import copy
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from bench.fusion_architectures import ARCHITECTURES, Architecture
from bench.fusion_fuzz.forcing import force_fast_forms
from deconvbench.errors import DeconvbenchError, UsageError
from deconvbench.networks.fusion.checking import TOLERANCES, compare_gradients
from deconvbench.networks.fusion.observation import find_tensors
from deconvbench.networks.fusion.report import FuseReport
from deconvbench.networks.fusion.rewriting import fuse
from deconvbench.networks.fusion.tensors import compare

_TITLES = ("architecture", "found", "fused", "left, and why", "differs")
# through whole networks rounding grows
_ALLOWANCE = 1e3
# a network that rounds elsewhere strays about as far
_AUTOCAST_ALLOWANCE = 2.0
_WORDS = 90


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """What came of one architecture.

    Parameters
    ----------
    report : FuseReport
        Of `fuse`.
    errors : dict of str to float or str
        By use: the largest relative difference over what rounding may do, or what was raised; above 1 is wrong.
    """

    report: FuseReport
    errors: dict[str, float | str]

    @property
    def differences(self) -> list[str]:
        """The uses in which the networks differ."""
        named = {
            use: error if isinstance(error, str) else f"{error:.1g} times what rounding does"
            for use, error in self.errors.items()
            if isinstance(error, str) or not error <= 1
        }
        return [f"{use}: {error}" for use, error in named.items()]


def check_architecture(architecture: Architecture) -> Check:
    """Fuse a network and compare it with the original in every use.

    Parameters
    ----------
    architecture : Architecture
        Which.

    Raises
    ------
    UnsupportedError
        If its package is not installed.
    """
    original, fused = (_build(architecture) for _ in range(2))
    report = fuse(fused, architecture.make_input(1, 1, torch.float64), inplace=True)
    pair = (original, report.model)
    return Check(report=report, errors={name: _attempt(use, pair, architecture) for name, use in USES.items()})


def _build(architecture: Architecture) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return architecture.build().double().eval()


Pair = tuple[nn.Module, nn.Module]


def _attempt(use: Callable[[Pair, Architecture], float], pair: Pair, architecture: Architecture) -> float | str:
    try:
        return use(pair, architecture)
    except Exception as error:  # noqa: BLE001 -- to be told beside the others
        return f"{type(error).__name__}: {' '.join(str(error).split())[:_WORDS]}"


def _run(net: nn.Module, inputs: Sequence[Tensor], context: Callable[[], Any] = nullcontext) -> list[Tensor]:
    """Find the outputs without gradients."""
    torch.manual_seed(1)
    with torch.no_grad(), context():
        return list(find_tensors(net(*inputs)))


def _compare(pair: Pair, inputs: Sequence[Tensor]) -> float:
    """Compare outputs, in units of what rounding may do."""
    outputs = [_run(net, inputs) for net in pair]
    return max(
        compare(one, other) / (TOLERANCES[one.dtype] * _ALLOWANCE) for one, other in zip(*outputs, strict=True)
    )


def _differentiate(pair: Pair, inputs: Sequence[Tensor], call: Callable[..., Any]) -> float:
    """Compare the gradients to inputs and parameters."""
    found = []
    for net in pair:
        torch.manual_seed(1)
        given = [tensor.clone().requires_grad_(tensor.is_floating_point()) for tensor in inputs]
        outputs = [tensor for tensor in find_tensors(call(net, *given)) if tensor.requires_grad]
        leaves = [tensor for tensor in (*given, *net.parameters()) if tensor.requires_grad]
        total = torch.stack([tensor.square().mean() for tensor in outputs]).sum()
        found.append(torch.autograd.grad(total, leaves, allow_unused=True))
    return compare_gradients(*found) / (TOLERANCES[torch.float64] * _ALLOWANCE)


def _call(net: nn.Module, *inputs: Tensor) -> Any:
    return net(*inputs)


def _checkpoint(net: nn.Module, *inputs: Tensor) -> Any:
    return checkpoint(net, *inputs, use_reentrant=False)


@contextmanager
def _in_mode(pair: Pair, *, is_training: bool) -> Iterator[None]:
    for net in pair:
        net.train(is_training)
    try:
        yield
    finally:
        for net in pair:
            net.eval()


def _evaluate(pair: Pair, architecture: Architecture) -> float:
    return _compare(pair, architecture.make_input(1, 1, torch.float64))


def _train(pair: Pair, architecture: Architecture) -> float:
    with _in_mode(pair, is_training=True):
        return _differentiate(pair, architecture.make_input(2, 1, torch.float64), _call)


def _train_checkpointed(pair: Pair, architecture: Architecture) -> float:
    with _in_mode(pair, is_training=True):
        return _differentiate(pair, architecture.make_input(2, 1, torch.float64), _checkpoint)


def _train_own_checkpoints(pair: Pair, architecture: Architecture) -> float:
    """Use the checkpoints that diffusers and transformers have built in, where a model supports them."""
    models = [getattr(net, "model", net) for net in pair]
    for name in ("gradient_checkpointing_enable", "enable_gradient_checkpointing"):
        switches = [getattr(model, name, None) for model in models]
        try:
            for switch in filter(None, switches):
                switch()
        except ValueError:  # it does not support them
            return 0.0
        if None not in switches:
            return _train(pair, architecture)
    return 0.0


def _at_another_size(pair: Pair, architecture: Architecture) -> float:
    return _compare(pair, architecture.make_input(1, 2, torch.float64))


def _in_batches(pair: Pair, architecture: Architecture) -> float:
    return _compare(pair, architecture.make_input(3, 1, torch.float64))


@contextmanager
def _converted(pair: Pair) -> Iterator[None]:
    for net in pair:
        net.float()
    try:
        yield
    finally:
        for net in pair:
            net.double()


def _in_single_precision(pair: Pair, architecture: Architecture) -> float:
    with _converted(pair):
        return _compare(pair, architecture.make_input(1, 1, torch.float32))


def _under_autocast(pair: Pair, architecture: Architecture) -> float:
    """Compare both with single precision: how far the original strays from it is what rounding does."""
    with _converted(pair):
        inputs = architecture.make_input(1, 1, torch.float32)
        exact = _run(pair[0], inputs)
        plain, fused = (_run(net, inputs, lambda: torch.autocast("cpu", torch.bfloat16)) for net in pair)
    return max(
        compare(one, own.to(one.dtype)) / (_AUTOCAST_ALLOWANCE * max(compare(one, other.to(one.dtype)), 2**-9))
        for one, other, own in zip(exact, plain, fused, strict=True)
    )


def _as_a_copy(pair: Pair, architecture: Architecture) -> float:
    try:
        copy.deepcopy(pair[0])
    except RuntimeError:  # weights that are computed before every call
        return 0.0
    return _compare((pair[0], copy.deepcopy(pair[1])), architecture.make_input(1, 1, torch.float64))


def _with_other_weights(pair: Pair, architecture: Architecture) -> float:
    """Load the weights of each into the other, changed."""
    originals, fused = (
        {key: value * 0.9 if value.is_floating_point() else value for key, value in net.state_dict().items()}
        for net in pair
    )
    pair[0].load_state_dict(fused)
    pair[1].load_state_dict(originals)
    return _compare(pair, architecture.make_input(1, 1, torch.float64))


USES: Mapping[str, Callable[[Pair, Architecture], float]] = {
    "evaluation": _evaluate,
    "another size": _at_another_size,
    "batch of 3": _in_batches,
    "training": _train,
    "checkpoint around": _train_checkpointed,
    "float32": _in_single_precision,
    "autocast": _under_autocast,
    "deepcopy": _as_a_copy,
    "state_dict": _with_other_weights,
    "own checkpoints": _train_own_checkpoints,
}


def format_checks(checks: Mapping[str, Check]) -> str:
    """Write checks as a table in Markdown.

    Parameters
    ----------
    checks : mapping of str to Check
        By architecture.
    """
    rows = [_TITLES, ("---",) * len(_TITLES)]
    for name, check in checks.items():
        report = check.report
        reasons = sorted({left.reason for left in report.left})
        found = str(len(report.changed) + len(report.left))
        cells = (
            name,
            found,
            str(len(report.changed)),
            "; ".join(reasons) or "–",
            "; ".join(check.differences) or "–",
        )
        rows.append(cells)
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Parameters
    ----------
    arguments : sequence of str, optional
        Without the program's name; those of this process by default.

    Returns
    -------
    int
        The exit code.
    """
    parser = argparse.ArgumentParser("python -m bench.fusion_check", description=f"{__doc__}".split(":")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(ARCHITECTURES)}; all by default")
    names = parser.parse_args(arguments).names or list(ARCHITECTURES)
    checks: dict[str, Check] = {}
    try:
        for name in names:
            if name not in ARCHITECTURES:
                raise UsageError(f"NAME: {name} is not one of {', '.join(ARCHITECTURES)}")
        force_fast_forms(setattr)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for name in names:
                checks[name] = check_architecture(ARCHITECTURES[name])
                print(f"[{len(checks)}/{len(names)}] {name}", file=sys.stderr, flush=True)
    except DeconvbenchError as error:
        print(f"deconvbench: {' '.join(str(error).split())}", file=sys.stderr)
        return error.exit_code
    print(format_checks(checks))
    return 1 if any(check.differences for check in checks.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
