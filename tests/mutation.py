"""Does any test see it, if `controller/` is changed in one place? mutmut makes the changes, this asks the tests.

mutmut itself collects the tests anew for each change, asks them in no order, and looks at every call for the change to
make, which takes a day. Here they are collected once, each change is a fork of that process in which a function was
given other code, and its tests are asked up to the first that fails: those first that saw another change of the same
function, then the quickest. The verdicts go where mutmut looks for them: `mutmut results` and `mutmut show NAME` work
as ever. A change that matters only while tests are collected is not seen here; `mutmut run NAME` asks one in mutmut's
own way.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import signal
import sys
import tomllib
from collections import defaultdict
from collections.abc import Sequence
from fnmatch import fnmatch
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from time import monotonic, process_time
from typing import Any

import pytest

LARGEST_MEMORY_BYTES = 2 << 30  # a change that fills the memory makes a test fail
REACHED = Path("reached.json")  # for each test its seconds, when watched twice as many, and the functions it calls
LONG_S = 1.0  # tests that take longer are asked about the module that they are named after, and no other
NO_TESTS, SUSPICIOUS = 33, 35  # mutmut's numbers: no test calls the function; something went wrong

_changed: list[tuple[Any, dict[str, Any]]] = []  # every function that can be changed, and what it can be changed into


def _shared() -> set[tuple[str, int]]:
    """The files that all changes and tests have in common, and when they were written."""
    found = set[tuple[str, int]]()
    for folder, folders, files in os.walk("."):
        folders[:] = [name for name in folders if name != "__pycache__" and not name.startswith(".")]
        found |= {
            (f"{folder}/{name}", Path(folder, name).stat().st_mtime_ns)
            for name in files
            if not name.endswith((".meta", REACHED.name))
        }
    return found


def _as_it_is(changes: dict[str, Any], is_classmethod: bool = False) -> Any:
    """What mutmut decorates functions with, in the place of its own: the function is left alone, and remembered."""

    def remember(function: Any) -> Any:
        _changed.append((function, changes))
        return function

    return remember


def _asked(test: str, seconds: float, function: str) -> bool:
    """Whether a test is asked about changes in a function that it calls, by where the two stand.

    A room's functions are left to the tests of that room, and to those from outside that drive whole commands; a long
    test is asked about the module that it is named after.
    """
    path = Path(test.partition("::")[0]).with_suffix("")
    mirrored = (*path.parts[1:-1], path.name.removeprefix("test_"))  # tests/controller/test_guards: controller.guards
    module = tuple(function.removeprefix("plateau_rule.").split(".")[:-1])
    if seconds > LONG_S:
        return mirrored[-1] == module[-1]
    return mirrored[0] != "controller" or mirrored[:-1] == module[:-1]


def _change(name: str) -> None:
    """Give a function the code of a change."""
    short = name.rpartition(".")[2]
    function, changes = next(one for one in _changed if short in one[1] and name.startswith(f"{one[0].__module__}."))
    for part in ("__code__", "__defaults__", "__kwdefaults__"):
        setattr(function, part, getattr(changes[short], part))


class Mutants:
    """Runs, in the place of pytest's loop over all tests, those that reach a changed function, change by change.

    patterns: of the names of changes, or of all. processes: how many are asked at once.
    """

    def __init__(self, patterns: Sequence[str], processes: int) -> None:
        self.patterns, self.processes = patterns, processes
        # A process: a file's verdicts, the change, since when, and a pipe that brings the test that saw it.
        self.running: dict[int, tuple[Any, str, float, int]] = {}
        self.saw: dict[str, list[str]] = defaultdict(list)  # the tests that saw a change of a function, the latest last
        self.answered: dict[Path, Any] = {}  # files with verdicts that are not saved yet
        self.asked, self.stopped = 0, False

        self.shared = _shared()

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Ask about every change that has no verdict yet, those with quick tests first."""
        items = {item.nodeid: item for item in session.items}
        if not REACHED.exists() or set(json.loads(REACHED.read_text())) != set(items):
            process = os.fork()
            if not process:
                _leave(lambda: _note_what_is_reached(session.items))
            if os.waitpid(process, 0)[1]:
                pytest.exit("a test fails though nothing is changed, or is not to be repeated", 2)
        tests: dict[str, list[tuple[float, str]]] = defaultdict(list)
        for test, (seconds, functions) in json.loads(REACHED.read_text()).items():
            for function in functions:
                if _asked(test, seconds, function):
                    tests[function].append((seconds, test))
        todo = []
        for file, name in self._unasked():
            quick_first = sorted(tests[name.partition("__mutmut_")[0]])
            todo.append((sum(time for time, _ in quick_first), name, file, [items[test] for _, test in quick_first]))
        gc.collect()
        gc.freeze()  # what forks have in common is not looked through, and so not copied, in each of them
        # An exception could be raised, and be lost, anywhere; and every test after it would fail.
        signal.signal(signal.SIGTERM, self._stop)
        try:
            for seconds, name, file, of_it in sorted(todo, key=lambda one: one[:2]):
                if self.stopped:
                    break
                while len(self.running) >= self.processes:
                    self._wait()
                self._ask(file, name, of_it, seconds)
                if self.asked % 500 == 0:
                    self._save()
                    print(f"{self.asked} of {len(todo)}, up to {seconds:.1f} s a change", file=sys.stderr, flush=True)
            while self.running:
                self._wait()
        finally:
            self._save()
        return True

    def _unasked(self) -> list[tuple[Any, str]]:
        file_data = import_module("mutmut.mutation.data").SourceFileMutationData
        found = []
        for path in sorted(Path("plateau_rule", "controller").rglob("*.meta")):
            file = file_data(path=path.with_suffix(""))
            file.meta_path = path  # seen from inside `mutants`
            file.load()
            found += [
                (file, name)
                for name, verdict in file.exit_code_by_key.items()
                if (verdict is None and not self.patterns) or any(fnmatch(name, one) for one in self.patterns)
            ]
        return found

    def _ask(self, file: Any, name: str, tests: Sequence[pytest.Item], seconds: float) -> None:
        self.asked += 1
        if not tests:
            file.exit_code_by_key[name] = NO_TESTS
            self.answered[file.path] = file
            return
        latest_first = self.saw[name.partition("__mutmut_")[0]][::-1]
        order = {test: place for place, test in enumerate(latest_first)}
        tests = sorted(tests, key=lambda test: order.get(test.nodeid, len(order)))
        answer, tell = os.pipe()
        if process := os.fork():
            os.close(tell)
            self.running[process] = (file, name, monotonic(), answer)
        else:
            _leave(lambda: _seen(name, tests, seconds, tell))

    def _wait(self) -> None:
        process, status = os.wait()
        file, name, since, answer = self.running.pop(process)
        if wrong := _shared() ^ self.shared:
            self.running.clear()  # what was asked beside it may have seen no more than that
            raise SystemExit(
                f"{name} changed {min(wrong)[0]}, which all share: a test should work on a copy of its own"
            )
        with os.fdopen(answer) as told:
            if test := told.read():
                saw = self.saw[name.partition("__mutmut_")[0]]
                saw[:] = [*(one for one in saw if one != test), test]
        file.exit_code_by_key[name] = os.waitstatus_to_exitcode(status)
        file.durations_by_key[name] = monotonic() - since
        self.answered[file.path] = file

    def _stop(self, number: int, frame: Any) -> None:
        self.stopped = True

    def _save(self) -> None:
        for file in self.answered.values():
            file.save()
        self.answered.clear()


def _leave(work: Any) -> None:
    """Work in a process of its own, silently, and leave it."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)
    try:
        os._exit(work())
    except BaseException:
        os._exit(SUSPICIOUS)


def _note_what_is_reached(tests: Sequence[pytest.Item]) -> int:
    """Run every test as it is, and write down how long it takes and which functions it calls."""
    names = {
        function.__code__: f"{function.__module__}.{short.partition('__mutmut_')[0]}"
        for function, changes in _changed
        for short in [*changes][1:2]  # the first is the function as it is
    }
    hits, found = set[Any](), {}

    def note(frame: Any, event: str, arg: Any) -> None:  # at each call; None: not at its lines
        hits.add(frame.f_code)

    for test, following in pairwise([*tests, None]):
        assert test is not None
        hits.clear()
        since = process_time()
        sys.settrace(note)
        test.config.hook.pytest_runtest_protocol(item=test, nextitem=following)
        sys.settrace(None)
        found[test.nodeid] = (process_time() - since, sorted({names[code] for code in hits & names.keys()}))
    if tests[0].session.testsfailed:
        return 1
    REACHED.write_text(json.dumps(found))
    return 0


def _seen(name: str, tests: Sequence[pytest.Item], seconds: float, tell: int) -> int:
    """1 as soon as a test fails under the change, which is told through a pipe; else 0."""
    limit = int(seconds) + 4  # of processor time: a loop without end is ended, and counts as seen
    resource.setrlimit(resource.RLIMIT_CPU, (limit, limit + 1))
    resource.setrlimit(resource.RLIMIT_AS, (LARGEST_MEMORY_BYTES, LARGEST_MEMORY_BYTES))
    _change(name)
    for test, following in pairwise([*tests, None]):
        assert test is not None
        test.config.hook.pytest_runtest_protocol(item=test, nextitem=following)
        if test.session.testsfailed:
            os.write(tell, test.nodeid.encode())
            return 1
    return 0


def main(patterns: Sequence[str]) -> int:
    """Make the changes, collect the tests that pyproject.toml names, and ask them."""
    process = os.fork()
    if not process:
        mutmut = import_module("mutmut.__main__")
        mutmut.set_mutant_under_test("mutant_generation")
        Path("mutants").mkdir(exist_ok=True)
        mutmut.copy_src_dir()
        mutmut.copy_also_copy_files()
        mutmut.setup_source_paths()
        mutmut.create_mutants(os.cpu_count() or 2)
        os._exit(0)
    if os.waitpid(process, 0)[1]:
        return 2
    os.chdir("mutants")
    sys.path[0] = str(Path.cwd())  # in the place of this file's folder
    import_module("mutmut.mutation.trampoline").__dict__["wrap_in_trampoline"] = _as_it_is
    for file in Path("plateau_rule", "controller").rglob("*.py"):  # also those that are imported where they are used
        import_module(".".join(file.with_suffix("").parts).removesuffix(".__init__"))
    settings = tomllib.loads(Path("pyproject.toml").read_text())["tool"]["mutmut"]
    arguments = [*settings["pytest_add_cli_args_test_selection"], *settings["pytest_add_cli_args"]]
    arguments += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]  # the changed modules are imported before pytest
    return int(pytest.main(["-qq", "-s", "--rootdir=.", *arguments], plugins=[Mutants(patterns, os.cpu_count() or 2)]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
