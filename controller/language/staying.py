"""Imports for good: some libraries crash the process once the thread that imported them has ended."""

from __future__ import annotations

from importlib import import_module
from threading import Event, Thread, current_thread, main_thread
from typing import Any


def import_to_stay(name: str) -> Any:
    """Import a module in the main thread, or in one that never ends.

    Args:
        name: of the module.
    """
    if current_thread() is not main_thread():
        done = Event()
        Thread(target=_import_and_stay, args=(name, done), daemon=True, name=f"keeps {name}").start()
        done.wait()
    return import_module(name)


def _import_and_stay(name: str, done: Event) -> None:
    try:
        import_module(name)
    finally:  # what went wrong goes wrong again for whoever waits
        done.set()
    Event().wait()
