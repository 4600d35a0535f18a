"""A GPU that is not there: what runs on it has devices, types and shapes, and no values.

torch's FakeTensorMode carries them out, on any build: an operation whose tensors are on two devices raises, and so does
one that has to know a value, for which a GPU would have to be waited for. What the mode does not do by itself on a
build without CUDA is added here: a device guard, the way back through a graph, copies that wait, and torch.cuda.
"""

from __future__ import annotations

import ctypes
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
import torch._dynamo  # which notes what torch is when it is loaded: before anything is replaced
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode, unset_fake_temporarily
from torch._utils import _get_device_index
from torch.utils._python_dispatch import TorchDispatchMode

from plateau_rule.fftcore import data, introduction, spectral
from plateau_rule.fftcore import learner as learner_module
from plateau_rule.fftcore.learner import Learner
from plateau_rule.fftcore.model import SpectralLM
from plateau_rule.fftcore.train import Stats

CUDA, META = 1, 14  # in c10::DeviceType
GUARDS = "_ZN3c104impl26device_guard_impl_registryE"
PIN_MEMORY = torch.ops.aten._pin_memory.default
TO_COPY = torch.ops.aten._to_copy.default
VALUE = 5.0  # what is read of a tensor, where reading is allowed


class Waited(AssertionError):
    """The GPU was waited for where it must not be."""


class FakeCuda(TorchDispatchMode):
    """What watches a fake GPU; `hurried` while nothing may wait for it."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.hurried = False

    @contextmanager
    def hurry(self) -> Iterator[None]:
        """Let nothing wait for the GPU."""
        self.hurried = True
        try:
            yield
        finally:
            self.hurried = False

    def wait(self, what: str) -> None:
        """Take note that something waits."""
        if self.hurried:
            raise Waited(what)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Carry an operation out; copies between devices wait, unless they say that they do not."""
        kwargs = kwargs or {}
        if func is PIN_MEMORY:
            return args[0].clone()
        if func is torch.ops.aten.is_pinned.default:
            return False
        found = func(*args, **kwargs)
        if func in (torch.ops.aten.copy_.default, TO_COPY):
            copied = args[1] if func is torch.ops.aten.copy_.default else args[0]
            waits = not (args[2] if len(args) > 2 else kwargs.get("non_blocking", False))
            if waits and copied.device.type != found.device.type:
                self.wait(f"{func} from {copied.device} to {found.device}")
        return found


class Event:
    """A moment on the GPU."""

    def record(self) -> None:
        """Do nothing."""

    def synchronize(self) -> None:
        """Do nothing."""


@contextmanager
def fake_cuda() -> Iterator[FakeCuda]:
    """Give torch a fake GPU, `cuda:0`, for as long as this lasts."""
    if sys.platform != "linux":
        pytest.skip("finds torch's device guards by the names that they have on Linux")
    _guard()
    gpu = FakeCuda()
    with pytest.MonkeyPatch.context() as patch, FakeTensorMode(allow_non_fake_inputs=True), gpu:
        _patch_torch(patch, gpu)
        _patch_cuda(patch)
        # Made for real, and moved to the fake GPU afterwards.
        patch.setattr(learner_module, "SpectralLM", _real(SpectralLM))
        patch.setattr(spectral, "band_limit", _real(spectral.band_limit))
        patch.setattr(introduction, "pass_band_db", _real(spectral.pass_band_db))
        patch.setattr(data, "read_text", _real(data.read_text))
        patch.setattr(safetensors.torch, "save", lambda tensors: b"fake")
        for kind, name in ((Learner, "step"), (Stats, "__init__")):
            patch.setattr(kind, name, _hurried(gpu, getattr(kind, name)))
        yield gpu


def _guard() -> None:
    """Let torch's C++ parts take a tensor on a GPU that is not there: the guard of the meta device does nothing."""
    library = ctypes.CDLL(str(Path(torch.__file__).parent / "lib" / "libc10.so"))
    guards = (ctypes.c_void_p * (META + 1)).in_dll(library, GUARDS)
    guards[CUDA] = guards[CUDA] or guards[META]


def _patch_torch(patch: pytest.MonkeyPatch, gpu: FakeCuda) -> None:
    def item(self: Tensor) -> float:  # which FakeTensor.tolist calls as well
        gpu.wait("Tensor.item")
        return VALUE if self.dtype.is_floating_point else int(VALUE)

    def truth(self: Tensor) -> bool:
        gpu.wait("Tensor.__bool__")
        return True

    patch.setattr(Tensor, "item", item)
    patch.setattr(Tensor, "__bool__", truth)
    patch.setattr(torch.autograd, "backward", backward)
    patch.setattr(torch, "get_rng_state", _real(torch.get_rng_state))
    generator = torch.Generator
    patch.setattr(torch, "Generator", lambda device: generator())
    patch.setattr(torch, "equal", lambda one, other: truth(one))


def _patch_cuda(patch: pytest.MonkeyPatch) -> None:
    def set_device(device: torch.device) -> None:
        _get_device_index(device)  # refuses one without a number, as the true one does

    given: dict[str, Callable[..., Any]] = {
        "set_device": set_device,
        "device_count": lambda: 1,
        "get_device_name": lambda device: "a fake card",
        "is_bf16_supported": lambda including_emulation=True: True,
        "get_rng_state": lambda device: torch.zeros(16, dtype=torch.uint8),
        "max_memory_allocated": lambda device: 3 << 29,
        "Event": Event,
    }
    for name, value in given.items():
        patch.setattr(torch.cuda, name, value)
    patch.setattr(torch.cuda.amp.common, "amp_definitely_not_available", lambda: False)


def _real(made: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(made, updated=())
    def make(*given: Any, **named: Any) -> Any:
        with unset_fake_temporarily():
            return made(*given, **named)

    return make


def _hurried(gpu: FakeCuda, made: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(made)
    def make(*given: Any, **named: Any) -> Any:
        with gpu.hurry():
            return made(*given, **named)

    return make


# The way back through a graph: torch's own engine asks for a thread of the device's, and finds none.


@torch.no_grad()
def backward(root: Tensor) -> None:
    """Do as torch.autograd.backward: add the gradients of a loss to its parameters."""
    first: Any = root.grad_fn
    waiting = _edges(first)
    gradients: dict[Any, dict[int, Tensor]] = defaultdict(dict)
    gradients[first][0] = torch.ones_like(root)
    ready = [first]
    while ready:
        node = ready.pop()
        received = gradients.pop(node, {})
        passed = _passed(node, received) if received else ()
        for place, (following, number) in enumerate(node.next_functions):
            if following is None:
                continue
            passing = passed[place] if place < len(passed) else None
            if passing is not None:
                gradient = _fitting(following, number, passing)
                before = gradients[following].get(number)
                gradients[following][number] = gradient if before is None else before + gradient
            waiting[following] -= 1
            if not waiting[following]:
                ready.append(following)


def _edges(root: Any) -> Counter[Any]:
    """Count the edges that lead to each node of a graph."""
    found: Counter[Any] = Counter()
    ahead, seen = [root], {root}
    while ahead:
        for following, _ in ahead.pop().next_functions:
            if following is not None:
                found[following] += 1
                if following not in seen:
                    seen.add(following)
                    ahead.append(following)
    return found


def _passed(node: Any, received: dict[int, Tensor]) -> tuple[Tensor | None, ...]:
    """Carry a node of a graph out: the gradients that it passes on."""
    if hasattr(node, "variable"):
        variable, gradient = node.variable, received[0]
        variable.grad = gradient if variable.grad is None else variable.grad + gradient
        return ()
    given = [received.get(number) for number in range(len(node._input_metadata))]
    found = node.apply(*given) if hasattr(node, "apply") else node(*given)
    return found if isinstance(found, tuple) else (found,)


def _fitting(node: Any, number: int, gradient: Tensor) -> Tensor:
    """Return a gradient in the shape and type that a node takes, as torch's engine does; its device must be there."""
    asked = node._input_metadata[number]
    assert gradient.device == asked.device, f"{node}: a gradient on {gradient.device} where {asked.device} belongs"
    return gradient.sum_to_size(asked.shape).to(asked.dtype)
