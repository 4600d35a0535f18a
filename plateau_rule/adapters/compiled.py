"""One compiled step of JAX for each form that a curriculum gives its batches, the next ones ahead of time.

`jax.jit` compiles when it first meets a form, while the device waits; and what `lower().compile()` gives, its own cache
does not know. So the compiled objects are kept here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

import jax
import numpy as np

from plateau_rule.adapters.base import Rule
from plateau_rule.controller.controller import Controller

Form = tuple[Any, ...]
"""What a compiled step depends on: values of static knobs, and shapes and dtypes of the batch."""


class CompiledSteps:
    """A step, compiled once for each form.

    Args:
        step: a function whose last argument is the batch.
        rule: gives the rule, begun.
        static: knobs whose values it is compiled for; it is given them by name.
        donate_argnums: as `jax.jit` takes them.
        ahead: whether forms that may come next are compiled in another thread.

    Attributes:
        compilations: how many forms were compiled, or are being compiled.
    """

    def __init__(
        self,
        step: Callable[..., Any],
        rule: Callable[[], Rule],
        *,
        static: Iterable[str] = (),
        donate_argnums: int | tuple[int, ...] = (),
        ahead: bool = True,
    ) -> None:
        self._step, self._rule = step, rule
        self._static, self._donated = tuple(static), donate_argnums
        self._kept: dict[Form, Future[Any]] = {}
        self._thread = ThreadPoolExecutor(1, "compile ahead") if ahead else None
        self._prepared: str | None = None  # the state whose followers were looked at
        self._batch: Any = None  # the newest one, before its knobs were applied

    @property
    def compilations(self) -> int:
        """How many forms were compiled, or are being compiled."""
        return len(self._kept)

    def note_batch(self, batch: Any) -> None:
        """Remember a batch before its knobs are applied: the ones that come next will be made of such a one."""
        self._batch = batch

    def __call__(self, *given: Any) -> Any:
        """Take a step; the last argument is the batch."""
        rule = self._rule()
        static = {name: rule.knobs[name] for name in self._static}
        form = _form_of(static, given[-1])
        if form not in self._kept:
            self._compile(form, static, given)
        self._prepare(rule, given)
        return self._kept[form].result()(*given)

    def close(self) -> None:
        """Compile nothing more ahead."""
        if self._thread is not None:
            self._thread.shutdown(wait=False, cancel_futures=True)
            self._thread = None

    def _compile(self, form: Form, static: Mapping[str, Any], given: tuple[Any, ...], ahead: bool = False) -> None:
        step = jax.jit(partial(self._step, **static), donate_argnums=self._donated)
        lowered = partial(_compiled, step, jax.tree_util.tree_map(_abstract, given))
        if ahead and self._thread is not None:
            self._kept[form] = self._thread.submit(lowered)
            return
        done: Future[Any] = Future()
        done.set_result(lowered())
        self._kept[form] = done

    def _prepare(self, rule: Rule, given: tuple[Any, ...]) -> None:
        """When a state begins: compile what the states after it need."""
        state = rule.plan.state
        if self._thread is None or state == self._prepared:
            return
        self._prepared = state
        for knobs in _next_knobs(rule.controller):
            batch = given[-1] if self._batch is None else rule.form(self._batch, knobs)
            static = {name: knobs[name] for name in self._static}
            form = _form_of(static, batch)
            if form not in self._kept:
                self._compile(form, static, (*given[:-1], batch), ahead=True)
        self._batch = None


def _next_knobs(controller: Controller) -> list[Mapping[str, Any]]:
    """The knobs that may come next: those that are certain to, then those of each state that can be entered."""
    machine, plan = controller.machine, controller.plan
    certain = controller.ahead(max(1, *controller.lead.values()) if controller.lead else 1).knobs
    ways = machine.by_name[plan.state].transitions
    return [certain, *(machine.by_name[way.target].knobs for way in ways)]


def _form_of(static: Mapping[str, Any], batch: Any) -> Form:
    leaves, tree = jax.tree_util.tree_flatten(batch)
    return (*static.items(), tree, *map(_kind, leaves))


def _kind(value: Any) -> tuple[tuple[int, ...], Any]:
    """Shape and dtype, of a number in Python too."""
    return (value.shape, value.dtype) if hasattr(value, "dtype") else (np.shape(value), np.result_type(value))


def _abstract(value: Any) -> Any:
    """A value's shape and dtype, and where it lies, if it is bound to a place."""
    shape, dtype = _kind(value)
    if isinstance(value, jax.Array):
        bound = value.sharding if getattr(value, "committed", False) else None
        return jax.ShapeDtypeStruct(shape, dtype, sharding=bound)
    return jax.ShapeDtypeStruct(shape, jax.dtypes.canonicalize_dtype(dtype))


def _compiled(step: Any, given: tuple[Any, ...]) -> Any:
    return step.lower(*given).compile()
