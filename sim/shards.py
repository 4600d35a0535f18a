"""Work on many runs, cut into shards and spread over processes, or with Ray over machines; the same result everywhere.

A shard's result does not depend on which others there are, so neither the number of workers nor the size of a shard
changes anything. The engine distributes, we do not: the standard library's process pool, or Ray (an extra).
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from itertools import pairwise
from typing import Any, Literal, TypeVar

from plateau_rule.controller.language.own_words import OwnWordError, load_words, loaded_words

Task = TypeVar("Task")
Result = TypeVar("Result")
Engine = Literal["processes", "ray"]
LARGEST = 4096  # runs in a shard: their arrays then stay in a core's cache


def cores() -> int:
    """How many processes can run at a time."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cut(runs: int, workers: int) -> list[tuple[int, int]]:
    """Shards as (first run, how many): equal ones, as many as there are workers or a multiple of it."""
    rounds = -(-runs // (workers * LARGEST)) or 1
    shards = min(max(1, runs), workers * rounds)
    bounds = [runs * place // shards for place in range(shards + 1)]
    return [(first, last - first) for first, last in pairwise(bounds)]


def spread(
    work: Callable[[Task], Result], tasks: Sequence[Task], workers: int, engine: Engine = "processes"
) -> Iterator[Result]:
    """The results of `work` for each task, in their order, as they come in.

    work: a function of a module, so that another process finds it. workers: processes at a time; 1 is this process.
    engine: `processes` of this machine, or `ray`: the cluster that RAY_ADDRESS names, or one of this machine's cores.
    Raises ImportError where Ray is not installed.
    """
    if engine == "ray":
        yield from _by_ray(work, tasks, workers)
    elif workers <= 1 or len(tasks) <= 1:
        yield from map(work, tasks)
    else:
        # Not fork: it would copy the locks of other threads as they happen to be.
        context = multiprocessing.get_context("spawn" if sys.platform == "win32" else "forkserver")
        if context.get_start_method() == "forkserver":
            context.set_forkserver_preload([work.__module__])
        with ProcessPoolExecutor(
            min(workers, len(tasks)), mp_context=context, initializer=load_words, initargs=(loaded_words(),)
        ) as pool:
            yield from pool.map(work, tasks)


def _by_ray(work: Callable[[Task], Result], tasks: Sequence[Task], workers: int) -> Iterator[Result]:
    with ray_cluster(workers) as ray:
        remote = ray.remote(work)
        for reference in [remote.remote(task) for task in tasks]:
            yield ray.get(reference)


@contextmanager
def ray_cluster(workers: int) -> Iterator[Any]:
    """Ray, connected to the cluster that RAY_ADDRESS names, or to one of this machine that ends with the block.

    Args:
        workers: cores of this machine that its own cluster has.

    Raises:
        OwnWordError: guards of a user's own are loaded.
        ImportError: Ray is not installed.
    """
    if loaded_words():  # on another machine there is no such file, and a task that holds such a guard cannot be read
        raise OwnWordError("--engine ray: guards of your own are known on this machine alone. Leave --engine out")
    import ray

    started = not ray.is_initialized()
    if started:
        address = os.environ.get("RAY_ADDRESS")
        own: dict[str, Any] = {} if address else {"num_cpus": workers, "include_dashboard": False}
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **own)
    try:
        yield ray
    finally:
        if started:
            ray.shutdown()
