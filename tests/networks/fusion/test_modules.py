"""Fused modules in daily use: hooks that come later, slices, pickles, wrong inputs."""

import copy
import ctypes
import inspect
import io
import multiprocessing
import pickle
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.reduction import ForkingPickler
from typing import Any, Generic, TypeVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.dlpack import from_dlpack, to_dlpack  # type: ignore[attr-defined] # torch says so
from torch.utils.flop_counter import FlopCounterMode

from deconvbench.networks.fusion import fuse, resizing
from deconvbench.networks.fusion.modules import FusedConvTranspose2d, FusedScope, attach, detach, find_fused
from tests.networks.fusion.comparing import differentiate_both, run_both
from tests.networks.fusion.networks import Up, Upsample2D
from tests.networks.fusion.test_sequential import FastCalls, make_sequential


@pytest.mark.parametrize("name", ["sequential", "scope"])
def test_wrong_inputs_raise_what_they_raised(name: str) -> None:
    model, fused, x = make_sequential()
    if name == "scope":
        model = Up().double()
        fused = fuse(model).model
    for wrong in (x.float(), x[:, :3], x[0, 0], x.to(torch.complex128)):
        with pytest.raises(Exception) as expected:  # noqa: PT011 -- whatever torch raises
            model(wrong)
        with pytest.raises(type(expected.value)) as found:
            fused(wrong)
        assert str(found.value)[:20] == str(expected.value)[:20]


def test_signatures_stay_readable() -> None:
    fused = fuse(Upsample2D(4)).model
    assert list(inspect.signature(fused.forward).parameters) == ["hidden", "output_size"]
    assert fused.forward.__doc__ == Upsample2D.forward.__doc__


def test_a_fused_module_is_what_it_was_and_becomes_it_again() -> None:
    module = Up()
    before = dict(vars(module))
    attach(module, FusedScope)
    assert type(find_fused(module)) is FusedScope
    assert type(module) is Up
    detach(module)
    assert vars(module) == before
    assert find_fused(module) is None


@pytest.mark.parametrize("name", ["sequential", "scope"])
def test_calls_without_gain_are_remembered(
    name: str, fast_calls: FastCalls, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, fused, x = make_sequential()
    if name == "scope":
        model = Up().double()
        fused = fuse(model).model
    monkeypatch.setattr(resizing, "choose", lambda *_, **__: "plain")
    for _ in range(3):
        assert run_both(model, fused, x) == 0
    assert len(fused.idle) == 1
    with torch.no_grad():
        fused(x)
    fused(x[:1])
    fused(x.contiguous(memory_format=torch.channels_last))
    assert len(fused.idle) == 4
    # who watches operations gets other forms
    with FlopCounterMode(display=False):
        fused(x[:, :, :1])
    assert len(fused.idle) == 4
    assert run_both(model, copy.deepcopy(fused), x) == 0
    assert not fast_calls
    monkeypatch.undo()
    # what was remembered was about these calls only
    assert run_both(model, fused, torch.randn(3, 4, 64, 64, dtype=torch.float64)) <= 1e-10


def test_only_so_many_calls_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resizing, "choose", lambda *_, **__: "plain")
    fused: Any = fuse(Up()).model
    with torch.no_grad():
        for width in range(1, 70):
            fused(torch.zeros(1, 4, 1, width))
    assert 0 < len(fused.idle) <= 64


@pytest.mark.parametrize("name", ["sequential", "scope"])
def test_extraordinary_inputs_are_looked_at_every_time(name: str) -> None:
    class Special(Tensor):
        pass

    model = make_sequential()[0].float() if name == "sequential" else Up()
    fused: Any = fuse(model).model
    x = torch.randn(1, 4, 2, 2).as_subclass(Special)
    assert torch.equal(fused(x), model(x))
    assert "idle" not in vars(fused)


class Reduced(Up):
    """Pickles itself in a way of its own."""

    def __reduce_ex__(self, protocol: Any) -> Any:
        return (Up, (), self.__dict__)


def test_a_pickle_of_ones_own_is_kept() -> None:
    model = Reduced()
    fused = fuse(model, inplace=True).model
    assert isinstance(find_fused(fused), FusedScope)
    assert type(pickle.loads(pickle.dumps(fused))) is Up


@pytest.mark.parametrize("has_output_size", [False, True], ids=["plain", "output_size"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
def test_a_transposed_convolution(dtype: torch.dtype, has_output_size: bool) -> None:
    model = nn.ConvTranspose2d(5, 2, 9, stride=4, padding=4, output_padding=3).to(dtype)
    fused = fuse(model).model
    assert isinstance(find_fused(fused), FusedConvTranspose2d)
    x = torch.randn(2, 5, 3, 4, dtype=dtype)
    options = [[12, 15]] if has_output_size else []
    assert run_both(model, fused, x, *options) <= 1e-5
    if not has_output_size:
        assert differentiate_both(model, fused, x) <= 1e-5
    assert run_both(model, copy.deepcopy(fused), x[0]) <= 1e-5


class Registered(nn.Module):
    """Keeps a list of its subclasses, as packages with registries do."""

    known: list[str] = []  # noqa: RUF012 -- what a registry is

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if cls.__name__ in Registered.known:
            raise TypeError(f"{cls.__name__} exists")
        Registered.known.append(cls.__name__)


class Entered(Registered):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Any:
        return self.conv(functional.interpolate(x, scale_factor=2))


class Counting(type):
    """Counts the classes that it makes."""

    made = 0

    def __init__(cls, *arguments: Any) -> None:
        super().__init__(*arguments)
        Counting.made += 1


class Counted(Up, metaclass=Counting):
    pass


class Abstract(nn.Module, ABC):
    @abstractmethod
    def forward(self, x: Tensor) -> Any: ...


class Concrete(Abstract):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Any:
        return self.conv(functional.interpolate(x, scale_factor=2))


class Slotted(Up):
    __slots__ = ("extra",)

    def __init__(self) -> None:
        super().__init__()
        self.extra = 3


@dataclass(eq=False)
class Data(nn.Module):
    width: int = 4

    def __post_init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(self.width, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Any:
        return self.conv(functional.interpolate(x, scale_factor=2))


T = TypeVar("T")


class Parametrised(Up, Generic[T]):
    pass


class Static(nn.Module):
    """Its forward pass is a static method, which takes the module from elsewhere."""

    conv = nn.Conv2d(4, 4, 3, padding=1)

    def __init__(self) -> None:
        super().__init__()
        self.conv = Static.__dict__["conv"]

    @staticmethod
    def forward(x: Tensor) -> Any:
        return Static.__dict__["conv"](functional.interpolate(x, scale_factor=2))


class Called(Up):
    """Does something around the call."""

    def __call__(self, x: Tensor) -> Any:
        return 2 * super().__call__(x)


class Rebuilt(Up):
    """Names its class in its pickles."""

    def __reduce__(self) -> Any:
        return (self.__class__, (), dict(self.__dict__))


CLASSES: dict[str, Callable[[], nn.Module]] = {
    "registry": Entered,
    "metaclass": Counted,
    "abstract": Concrete,
    "slots": Slotted,
    "dataclass": Data,
    "generic": Parametrised[int],
    "static_forward": Static,
    "own_call": Called,
    "own_pickle": Rebuilt,
    "plain": lambda: Up(4, 4),
    "container": lambda: nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(4, 4, 3, padding=1)),
}
over_classes = pytest.mark.parametrize("name", CLASSES)


@over_classes
def test_no_class_is_made_and_everything_that_names_it_is_the_same(name: str, fast_calls: FastCalls) -> None:
    model, x = CLASSES[name](), torch.randn(1, 4, 3, 5)
    cls, subclasses, counts = type(model), type(model).__subclasses__(), (list(Registered.known), Counting.made)
    fused = fuse(model, x).model
    assert type(fused) is fused.__class__ is cls
    assert cls.__subclasses__() == subclasses
    assert (list(Registered.known), Counting.made) == counts
    assert isinstance(model, type(fused))
    fast_calls.clear()
    assert run_both(model, fused, x) <= 1e-5
    assert len(fast_calls) == 1
    assert type(fused).forward is cls.forward


@over_classes
def test_copies_and_pickles_of_all_classes_stay_fused(name: str, fast_calls: FastCalls) -> None:
    model, x = CLASSES[name](), torch.randn(1, 4, 3, 5)
    fused = fuse(model, x).model
    for other in (copy.copy(fused), copy.deepcopy(fused), pickle.loads(pickle.dumps(fused))):
        fast_calls.clear()
        assert type(other) is type(model)
        assert run_both(model, other, x) <= 1e-5
        assert len(fast_calls) == 1


class Multiplied(Up):
    def __init__(self) -> None:
        super().__init__(4, 4)
        self.factor = 1

    def forward(self, x: Tensor) -> Any:
        return self.factor * super().forward(x)


def clone(module: Any) -> Any:
    """Copy a module as packages for meta-learning do: its attributes are shared, its tensors are not."""
    cls: Any = type(module)
    made = cls.__new__(cls)
    made.__dict__ = module.__dict__.copy()
    made._parameters = {name: 2 * tensor for name, tensor in module._parameters.items() if tensor is not None}
    made._modules = {name: None if child is None else clone(child) for name, child in module._modules.items()}
    return made


@pytest.mark.parametrize("copied", [copy.copy, clone, lambda module: module._replicate_for_data_parallel()])
def test_copies_that_share_attributes_are_called_themselves(copied: Callable[[Any], Any]) -> None:
    model, x = Multiplied(), torch.randn(1, 4, 3, 5)
    fused: Any = fuse(model).model
    for one in (model, fused):
        one.factor = 1
    pair = [copied(one) for one in (model, fused)]
    for one in pair:
        one.factor = 3
        if not one._parameters and not isinstance(one._modules["conv"], nn.Conv2d):
            one.conv = model.conv
    assert run_both(*pair, x) <= 1e-5
    assert run_both(model, fused, x) <= 1e-5


def test_a_fused_module_is_freed_at_once_and_its_entry_says_so() -> None:
    fused = fuse(Up()).model
    entry, alive = find_fused(fused), weakref.ref(fused)
    assert entry is not None
    del fused
    assert alive() is None
    with pytest.raises(RuntimeError, match="the module of this FusedScope is gone: call the module"):
        entry(torch.zeros(1, 4, 2, 2))
    assert find_fused(nn.Identity()) is None


def test_an_entry_that_is_called_by_itself_calls_its_module() -> None:
    model, x = Up(), torch.randn(1, 4, 3, 5)
    fused: Any = fuse(model).model
    assert torch.allclose(fused._call_impl(x), model(x), atol=1e-5)


def test_an_adapter_that_wraps_forward_can_be_taken_back(fast_calls: FastCalls) -> None:
    model, x = Up(), torch.randn(1, 4, 3, 5)
    fused: Any = fuse(copy.deepcopy(model)).model
    originals = []
    for one in (model, fused):
        original = one.forward
        originals.append(original)
        one.forward = lambda x, original=original: 2 * original(x)  # type: ignore[method-assign] # what adapters do
    assert run_both(model, fused, x) <= 1e-5
    for one, original in zip((model, fused), originals, strict=True):
        one.forward = original
    fast_calls.clear()
    assert run_both(model, fused, x) <= 1e-5
    assert len(fast_calls) == 1


class ByType(nn.Module):
    """Chooses by exact types, as networks that are read from a file do."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([Up(4, 4), nn.Conv2d(4, 4, 1), CLASSES["container"]()])

    def forward(self, x: Tensor) -> Any:
        actions: dict[type, Callable[[Any, Tensor], Tensor]] = {
            Up: lambda layer, x: layer(x),
            nn.Sequential: lambda layer, x: layer(x) + 1,
        }
        for layer in self.layers:
            if type(layer) in actions:
                x = actions[layer.__class__](layer, x)
        return x


@pytest.mark.parametrize("has_example", [False, True], ids=["unseen", "seen"])
def test_exact_types_of_children_are_the_users(has_example: bool, fast_calls: FastCalls) -> None:
    model, x = ByType().eval(), torch.randn(1, 4, 3, 5)
    fused = fuse(model, x if has_example else None).model
    fast_calls.clear()
    assert run_both(model, fused, x) <= 1e-5
    assert len(fast_calls) == 2


class Chosen(nn.Module):
    """Does what its function makes of an upsampled tensor."""

    def __init__(self, choose: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, padding=1)
        self.choose = choose

    def forward(self, x: Tensor) -> Any:
        return self.conv(self.choose(functional.interpolate(x, scale_factor=2)))


QUESTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "type_is": lambda h: h if type(h) is Tensor else h.relu(),
    "type_in": lambda h: h if type(h) in {Tensor, nn.Parameter} else h.relu(),
    "class_attribute": lambda h: h if h.__class__ == Tensor else h.relu(),
    "by_name": lambda h: h if type(h).__name__ == "Tensor" else h.relu(),
}


@pytest.mark.parametrize("question", QUESTIONS)
def test_code_that_asks_for_exact_types_of_tensors_is_left_alone(question: str) -> None:
    model, x = Chosen(QUESTIONS[question]), torch.randn(1, 4, 3, 5)
    for report in (fuse(model), fuse(model, x)):
        assert report.model is model
        assert "asks for the exact type of something" in report.left[0].reason


def hand_over(h: Tensor) -> Tensor:
    loaded: Tensor = from_dlpack(to_dlpack(h))
    return h + loaded


def test_code_that_hands_out_addresses_is_left_alone() -> None:
    model, x = Chosen(hand_over), torch.randn(1, 4, 3, 5)
    for report in (fuse(model), fuse(model, x)):
        assert report.model is model
        assert report.left[0].reason.startswith("hand_over calls to_dlpack")
    later = Chosen(torch.relu)
    fused = fuse(later).model
    for one in (later, fused):
        vars(one)["choose"] = hand_over
    assert run_both(later, fused, x) == 0


def save(h: Tensor) -> Tensor:
    file = io.BytesIO()
    torch.save(h.detach(), file)
    file.seek(0)
    loaded: Tensor = torch.load(file)
    return loaded


def read_address(h: Tensor) -> Tensor:
    numbers = (ctypes.c_float * h.numel()).from_address(h.data_ptr())
    return torch.tensor(list(numbers)).reshape(h.shape)


# all that a tensor's memory is read by from outside torch
READERS: dict[str, Callable[[Tensor], Tensor]] = {
    "from_dlpack": lambda h: from_dlpack(h.detach()),
    "dlpack_method": lambda h: from_dlpack(h.detach().__dlpack__()),
    "dlpack_of_numpy": lambda h: torch.from_numpy(np.from_dlpack(h.detach()).copy()),
    "numpy": lambda h: torch.from_numpy(h.detach().numpy()),
    "array": lambda h: torch.from_numpy(np.asarray(h.detach())),
    "array_method": lambda h: torch.from_numpy(h.detach().__array__()),  # type: ignore[no-untyped-call] # torch has none
    "data_ptr": read_address,
    "untyped_storage": lambda h: torch.empty(0).set_(h.untyped_storage(), 0, h.shape, h.stride()),
    "tolist": lambda h: torch.tensor(h.tolist()),
    "pickle": lambda h: pickle.loads(pickle.dumps(h.detach())),
    "save": save,
    "deepcopy": lambda h: copy.deepcopy(h.detach()),
    "to_another_process": lambda h: ForkingPickler.loads(ForkingPickler.dumps(h.detach())),
}


@pytest.mark.parametrize("is_recorded", [False, True], ids=["no_grad", "grad"])
@pytest.mark.parametrize("name", READERS)
def test_memory_that_is_read_is_that_of_the_upsampled_tensor(
    name: str, is_recorded: bool, fast_calls: FastCalls
) -> None:
    def choose(h: Tensor) -> Tensor:
        found.append(READERS[name](h))
        return h

    found: list[Tensor] = []
    model, x = Chosen(choose), torch.randn(1, 4, 3, 5)
    fused = fuse(model).model
    with torch.set_grad_enabled(is_recorded):
        assert run_both(model, fused, x) <= 1e-5
    assert type(found[1]) is Tensor
    assert torch.equal(*found)


def ask(module: nn.Module, args: Any, y: Tensor) -> Tensor:
    return y if type(y) is Tensor else -y


def test_code_that_comes_later_may_ask_too() -> None:
    x = torch.randn(1, 4, 3, 5)
    for later in (
        lambda model: setattr(model, "conv", nn.Sequential(Chosen(QUESTIONS["type_is"]).conv, Asking())),
        lambda model: setattr(model, "act", Asking()),
        lambda model: model.act.register_forward_hook(ask),
    ):
        torch.manual_seed(0)
        model = Acting()
        fused = fuse(copy.deepcopy(model)).model
        assert run_both(model, fused, x) <= 1e-5
        for one in (model, fused):
            torch.manual_seed(1)
            later(one)
        assert run_both(model, fused, x) <= 1e-5


class Asking(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x if type(x) is Tensor else -x


class Acting(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.act: nn.Module = nn.Identity()
        self.conv: nn.Module = nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Any:
        return self.conv(self.act(functional.interpolate(x, scale_factor=2)))


@pytest.mark.process
def test_a_new_process_reads_a_fused_model() -> None:
    fused, x = fuse(Up()).model, torch.randn(1, 4, 3, 5)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert torch.allclose(pool.apply(call, (fused, x)), fused(x), atol=1e-5)


def call(model: nn.Module, x: Tensor) -> Tensor:
    y: Tensor = model(x).detach()
    return y


@pytest.mark.parametrize(
    "copied",
    [copy.copy, copy.deepcopy, lambda module: pickle.loads(pickle.dumps(module))],
    ids=["copy", "deep", "pickle"],
)
def test_a_graph_that_is_rebuilt_from_its_attributes_can_be_copied(copied: Callable[[Any], Any]) -> None:
    model, x = Up(), torch.randn(1, 4, 3, 5)
    fused = fuse(torch.fx.symbolic_trace(model)).model
    assert find_fused(fused) is not None
    assert run_both(model, copied(fused), x) <= 1e-5


@pytest.mark.parametrize("name", ["plain", "container"])
def test_a_fused_module_can_be_scripted(name: str) -> None:
    model, x = CLASSES[name](), torch.randn(1, 4, 3, 5)
    with pytest.warns(DeprecationWarning, match="torch.jit.script"):
        scripted = torch.jit.script(fuse(model).model)
    assert run_both(model, scripted, x) <= 1e-5
