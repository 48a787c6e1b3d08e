"""Random networks with upsampling, written as the source code that a person might have written.

A network is a class whose forward pass is a list of statements over named tensors. Only sizes that hold for every
image are used, so that one network can be called with many. Runs nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from bench.fusion_fuzz.draws import Draw, happens, pick

_MOST_CHANNELS = 8
_MOST_SCALE = 6
_MOST_DEPTH = 2
HEADER = """\
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """A tensor of the forward pass: (N, channels, scale·H + offset, scale·W + offset).

    Parameters
    ----------
    name : str
        Of the variable.
    channels, scale, offset : int
        Its shape.
    """

    name: str
    channels: int
    scale: int = 1
    offset: int = 0

    @property
    def size(self) -> tuple[int, int]:
        """What two tensors of one height and width have in common."""
        return self.scale, self.offset


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A network.

    Parameters
    ----------
    source : str
        Python source of its classes; the network is ``Network``.
    channels : int
        Of its input.
    """

    source: str
    channels: int


@dataclass(slots=True)
class _Scope:
    """One forward pass that is being written."""

    draw: Draw
    depth: int
    modules: list[str]
    classes: list[str]
    values: list[Value]
    lines: list[str] = field(default_factory=list)
    prefix: str = "v"

    def name(self) -> str:
        return f"{self.prefix}{len(self.values)}"

    def add(self, value: Value, code: str) -> None:
        self.lines.append(f"{value.name} = {code}")
        self.values.append(value)

    def add_module(self, code: str) -> str:
        name = f"m{len(self.modules)}"
        self.modules.append(f"self.{name} = {code}")
        return f"self.{name}"

    def choose(self) -> Value:
        """Choose a tensor, rather a late one."""
        late = self.draw.integer(0, min(len(self.values), 3) - 1)
        return self.values[-1 - late]


def draw_program(draw: Draw) -> Program:
    """Draw a network.

    Parameters
    ----------
    draw : Draw
        Where decisions come from.

    Returns
    -------
    Program
    """
    channels = draw.integer(1, 4)
    classes: list[str] = []
    _write_class("Network", draw, channels, 0, classes)
    return Program(source="\n\n".join([HEADER, *classes]), channels=channels)


def _write_class(name: str, draw: Draw, channels: int, depth: int, classes: list[str]) -> Value:
    scope = _Scope(draw, depth, [], classes, [Value(name="v0", channels=channels)])
    for _ in range(draw.integer(2, 9 if depth == 0 else 4)):
        _add_statement(scope)
    last = scope.values[-1]
    answer = last.name
    if depth == 0:
        if last.scale == 1:
            _upsample(scope)
            _convolve(scope)
            last = scope.values[-1]
        answer = _write_answer(scope)
    body = [
        *(f"class {name}(nn.Module):", "    def __init__(self):", "        super().__init__()"),
        *(f"        {line}" for line in scope.modules),
        *("", "    def forward(self, v0):"),
        *(f"        {line}" for line in scope.lines),
        f"        return {answer}",
    ]
    classes.append("\n".join(body))
    return last


def _write_answer(scope: _Scope) -> str:
    last, other = scope.values[-1].name, scope.choose().name
    return pick(scope.draw, [last, last, f"({last}, {other})", f"{{'a': {last}, 'b': [{other}]}}"])


def _add_statement(scope: _Scope) -> None:
    pick(scope.draw, _STATEMENTS)(scope)


def _upsample(scope: _Scope) -> None:
    value, factor = scope.choose(), pick(scope.draw, [2, 2, 3])
    if value.scale * factor > _MOST_SCALE:
        return
    made = replace(value, name=scope.name(), scale=value.scale * factor, offset=value.offset * factor)
    mode = pick(scope.draw, ["nearest", "nearest", "nearest-exact", "bilinear"])
    size = f"size=({value.name}.shape[2] * {factor}, {value.name}.shape[3] * {factor})"
    code = pick(
        scope.draw,
        [
            f"F.interpolate({value.name}, scale_factor={factor}, mode={mode!r})",
            f"nn.Upsample(scale_factor={factor}, mode={mode!r})",
            f"F.interpolate({value.name}, {size}, mode={mode!r})",
        ],
    )
    scope.add(made, f"{scope.add_module(code)}({value.name})" if code.startswith("nn.") else code)


def _convolve(scope: _Scope) -> None:
    draw, value = scope.draw, scope.choose()
    size = pick(draw, [3, 3, 1, 5])
    groups = 2 if value.channels % 2 == 0 and happens(draw, 15) else 1
    channels = pick(draw, [2, 4, 1, 3]) * groups
    mode = pick(draw, ["zeros", "zeros", "zeros", "replicate", "reflect", "circular"])
    keeps_size = value.scale > 1 or value.offset >= 0
    padding = size // 2 if keeps_size and not happens(draw, 15) else 0
    offset = value.offset + 2 * padding - size + 1
    if value.scale + offset < 1:
        return
    made = Value(name=scope.name(), channels=channels, scale=value.scale, offset=offset)
    options = f"padding={padding}, groups={groups}, bias={happens(draw, 70)}, padding_mode={mode!r}"
    name = scope.add_module(f"nn.Conv2d({value.channels}, {channels}, {size}, {options})")
    if mode == "zeros" and happens(draw, 20):
        call = f"F.conv2d({value.name}, {name}.weight, {name}.bias, padding={padding}, groups={groups})"
    else:
        call = f"{name}({value.name})"
    scope.add(made, call)


def _deconvolve(scope: _Scope) -> None:
    value = scope.choose()
    stride, size, padding = pick(scope.draw, [(3, 3, 0), (2, 4, 1), (3, 5, 1), (4, 4, 0), (2, 3, 1)])
    if value.scale * stride > _MOST_SCALE:
        return
    channels = pick(scope.draw, [2, 1, 3])
    offset = (value.offset - 1) * stride + size - 2 * padding
    made = Value(name=scope.name(), channels=channels, scale=value.scale * stride, offset=offset)
    code = f"nn.ConvTranspose2d({value.channels}, {channels}, {size}, {stride}, {padding})"
    scope.add(made, f"{scope.add_module(code)}({value.name})")


def _pad(scope: _Scope) -> None:
    value, amount = scope.choose(), pick(scope.draw, [1, 1, 0, 2])
    mode = pick(scope.draw, ["constant", "constant", "reflect", "replicate", "circular"])
    if mode in {"reflect", "circular"} and value.scale + value.offset <= amount:
        return
    made = replace(value, name=scope.name(), offset=value.offset + 2 * amount)
    modules = {"constant": "Zero", "reflect": "Reflection", "replicate": "Replication", "circular": "Circular"}
    if happens(scope.draw, 40):
        pad = f"nn.{modules[mode]}Pad2d({amount})"
        scope.add(made, f"{scope.add_module(pad)}({value.name})")
    else:
        number = f", value={pick(scope.draw, [0, 0.0, 1])}" if mode == "constant" else ""
        scope.add(made, f"F.pad({value.name}, ({amount}, {amount}, {amount}, {amount}), mode={mode!r}{number})")


def _activate(scope: _Scope) -> None:
    value = scope.choose()
    made = replace(value, name=scope.name())
    code = pick(
        scope.draw,
        [
            *("F.relu({})", "torch.relu({})", "F.leaky_relu({}, 0.1)", "F.silu({})", "torch.sigmoid({})"),
            *("{}.tanh()", "{0} * torch.sigmoid({0})", "F.relu({}, inplace=True)", "F.elu({})", "{} * 0.5"),
            *("{} + 1", "2 - {}", "{} / 3", "F.dropout({}, 0.5, self.training)", "F.gelu({})"),
            *("nn.ReLU()", "nn.ReLU(inplace=True)", "nn.SiLU()", "nn.Identity()", "nn.Dropout(0.3)"),
            *("nn.LeakyReLU(0.2, inplace=True)", "nn.Sigmoid()", f"nn.PReLU({value.channels})"),
        ],
    )
    scope.add(
        made, f"{scope.add_module(code)}({value.name})" if code.startswith("nn.") else code.format(value.name)
    )


def _normalise(scope: _Scope) -> None:
    value = scope.choose()
    channels = value.channels
    # not nn.GroupNorm: its backward pass crashes torch 2.13 for some channels_last images
    code = pick(scope.draw, [f"nn.BatchNorm2d({channels})", f"nn.InstanceNorm2d({channels})"])
    # an instance of one pixel cannot be normalised
    if value.scale * 3 + value.offset > 1:
        scope.add(replace(value, name=scope.name()), f"{scope.add_module(code)}({value.name})")


def _join(scope: _Scope) -> None:
    value = scope.choose()
    others = [other for other in scope.values if other.size == value.size]
    other = pick(scope.draw, others[::-1])
    if other.channels == value.channels and happens(scope.draw, 40):
        code = pick(scope.draw, ["{} + {}", "{} - {}", "torch.add({}, {})", "{} * {}", "{}.add_({})"])
        scope.add(replace(value, name=scope.name()), code.format(value.name, other.name))
    elif value.channels + other.channels <= _MOST_CHANNELS:
        made = replace(value, name=scope.name(), channels=value.channels + other.channels)
        scope.add(made, f"torch.cat([{value.name}, {other.name}], 1)")


def _look(scope: _Scope) -> None:
    """Add a view or a copy, which is or is not of the same memory."""
    value = scope.choose()
    code = pick(
        scope.draw,
        [
            *("{0}.contiguous()", "{0}.clone()", "F.pad({0}, (0, 0, 0, 0))", "{0}.to({0}.dtype)", "{0}[:]"),
            *("{0}.view({0}.shape) if {0}.is_contiguous() else {0}", "{0}.reshape({0}.shape)"),
            *("{0}.permute(0, 2, 3, 1).permute(0, 3, 1, 2)", "{0}.transpose(2, 3).transpose(2, 3)"),
            *("{0}.contiguous(memory_format=torch.channels_last)", "{0}.double()", "torch.cat([{0}], 1)"),
            *(
                "{0}.flatten(2).unflatten(2, {0}.shape[2:])",
                "{0}.detach()",
                "{0} if type({0}) is torch.Tensor else {0} * 2",
            ),
            *(
                "{0}[..., :]",
                "{0}.unsqueeze(0)[0]",
                "{0}.expand({0}.shape)",
                "{0} if {0}.shape[2] > 8 else {0} * 2",
            ),
            *("F.dropout({0}, 0.0)", "{0}.type_as(v0)", "torch.chunk({0}, 1, 1)[0]", "{0}.flip(3)", "{0}.abs()"),
        ],
    )
    scope.add(replace(value, name=scope.name()), code.format(value.name))


def _write(scope: _Scope) -> None:
    """Write in place, into any tensor so far or part of one."""
    value = scope.choose()
    scope.lines.append(
        pick(
            scope.draw,
            [
                *("{0}.mul_(0.9)", "{0}.add_(0.1)", "{0}.relu_()", "torch.relu_({0})", "{0}[:, :1] = 0"),
                *("{0}[..., ::2].mul_(2)", "{0}.data.clamp_(-1)", "{0}.detach().mul_(2)", "{0}.data[:, 0] += 1"),
                *("{0}.data = {0}.data * 2", "torch.mul({0}, 2, out={0}.detach())", "{0} += 1", "{0} *= 0.5"),
                *("{0}.detach().numpy()[:] += 1", "torch.from_dlpack({0}.detach()).add_(1)", "{0}.copy_({0} * 2)"),
                *(
                    "torch._foreach_mul_([{0}.detach()], 2)",
                    "{0}.clamp_(-1, 1)",
                    "F.hardtanh_({0})",
                    "{0}.zero_()",
                ),
            ],
        ).format(value.name)
    )


def _keep(scope: _Scope) -> None:
    """Let others see a tensor, or its gradient."""
    value = scope.choose()
    scope.lines.append(
        pick(
            scope.draw,
            [
                *(
                    "self.kept = {0}",
                    "self.kept = [{0}]",
                    "if {0}.requires_grad: {0}.retain_grad(); self.kept = {0}",
                ),
                *("if {0}.requires_grad: {0}.register_hook(lambda g: g * 0.5)", "self.mean = {0}.mean().item()"),
                *("self.kept = {0}.detach()", "self.steps = getattr(self, 'steps', 0) + 1"),
            ],
        ).format(value.name)
    )


def _sequence(scope: _Scope) -> None:
    """Add a container of upsampling, something in between, and a convolution."""
    draw, value = scope.draw, scope.choose()
    factor, size = pick(draw, [2, 2, 3]), pick(draw, [3, 3, 5, 1])
    if value.scale * factor > _MOST_SCALE:
        return
    channels = pick(draw, [2, 4, 3])
    between = [
        pick(draw, ["nn.ReLU()", "nn.ReLU(inplace=True)", "nn.Identity()", f"nn.BatchNorm2d({value.channels})"])
        for _ in range(draw.integer(0, 2))
    ]
    pads = pick(draw, [[], [], [f"nn.ReflectionPad2d({size // 2})"], [f"nn.ZeroPad2d({size // 2})"]])
    padding = 0 if pads else size // 2
    parts = [
        *(f"nn.Upsample(scale_factor={factor})", *between, *pads),
        f"nn.Conv2d({value.channels}, {channels}, {size}, padding={padding})",
    ]
    made = Value(name=scope.name(), channels=channels, scale=value.scale * factor, offset=value.offset * factor)
    container = scope.add_module(f"nn.Sequential({', '.join(parts)})")
    scope.add(made, f"{container}({value.name})")


def _call_block(scope: _Scope) -> None:
    """Add a module with a forward pass of its own, called in one of many ways."""
    if scope.depth >= _MOST_DEPTH:
        return
    value = scope.choose()
    name = f"Block{len(scope.classes)}_{scope.depth}_{len(scope.modules)}"
    inner = _write_class(name, scope.draw, value.channels, scope.depth + 1, scope.classes)
    scale = value.scale * inner.scale
    if scale > _MOST_SCALE or inner.scale + inner.offset < 1:
        return
    made = Value(
        name=scope.name(),
        channels=inner.channels,
        scale=scale,
        offset=inner.scale * value.offset + inner.offset,
    )
    module = scope.add_module(f"{name}()")
    code = pick(
        scope.draw,
        [
            *("{0}({1})", "{0}({1})", "checkpoint({0}, {1}, use_reentrant=False)"),
            *("checkpoint({0}, {1}, use_reentrant=True)", "{0}.forward({1})", "{0}(v0={1})"),
            "checkpoint(lambda x: {0}(x), {1}, use_reentrant=False)",
        ],
    )
    scope.add(made, code.format(module, value.name))


def _enter(scope: _Scope) -> None:
    """Add statements in another context, or within a function that is checkpointed."""
    draw = scope.draw
    if scope.depth >= _MOST_DEPTH:
        return
    context = pick(
        draw,
        [
            *("torch.no_grad()", "torch.enable_grad()", "torch.autocast('cpu', torch.bfloat16)"),
            *("torch.autograd.graph.save_on_cpu()", "torch.device('cpu')", "checkpoint"),
        ],
    )
    start = scope.choose()
    inner = _Scope(
        draw,
        scope.depth + 1,
        scope.modules,
        scope.classes,
        [replace(start, name=f"{scope.name()}x0")],
        prefix=f"{scope.name()}x",
    )
    for _ in range(draw.integer(1, 3)):
        _add_statement(inner)
    last = inner.values[-1]
    made, first = replace(last, name=scope.name()), inner.values[0].name
    if context == "checkpoint":
        scope.lines += [f"def part_{made.name}({first}):", *(f"    {line}" for line in inner.lines)]
        scope.lines.append(f"    return {last.name}")
        scope.add(made, f"checkpoint(part_{made.name}, {start.name}, use_reentrant=False)")
    else:
        scope.lines += [f"{first} = {start.name}", f"with {context}:", *(f"    {line}" for line in inner.lines)]
        scope.lines += [] if inner.lines else ["    pass"]
        scope.add(made, last.name)


_STATEMENTS: list[Callable[[_Scope], None]] = [
    *(_upsample, _convolve, _upsample, _convolve, _sequence, _activate, _pad, _join, _look, _convolve),
    *(_normalise, _call_block, _write, _keep, _enter, _deconvolve, _sequence, _activate),
]
