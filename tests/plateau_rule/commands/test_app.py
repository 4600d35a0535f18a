"""The command: exit codes, and one clear sentence where a user can mend what is wrong."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from collections.abc import Callable

import pytest
from cyclopts import App

from plateau_rule.commands import app as plateau
from plateau_rule.controller.errors import PlateauError


def run(monkeypatch: pytest.MonkeyPatch, command: Callable[[], object]) -> int:
    """Let `plateau` run `command` in place of its own."""
    app = App()
    app.default(command)
    monkeypatch.setattr(plateau, "app", app)
    return plateau.main([])


def raising(error: BaseException) -> Callable[[], None]:
    """Make a command that fails with `error`."""

    def command() -> None:
        raise error

    return command


@pytest.mark.parametrize(("result", "code"), [(None, 0), (0, 0), (1, 1), (2, 2)])
def test_exit_code(monkeypatch: pytest.MonkeyPatch, result: int | None, code: int) -> None:
    """What a command returns is the exit code, and nothing means that all went well."""
    assert run(monkeypatch, lambda: result) == code


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (PlateauError("a.toml:3:1: unknown key"), "a.toml:3:1: unknown key\n"),
        (FileNotFoundError(2, "No such file or directory", "a.toml"), "a.toml: No such file or directory\n"),
        (
            ModuleNotFoundError("No module named 'torch.nn'", name="torch.nn"),
            "This needs torch, which is not installed: pip install 'plateau-rule[train]'\n",
        ),
    ],
)
def test_mistakes_are_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], error: Exception, sentence: str
) -> None:
    """A mistake that the user can mend is one sentence on the standard error, with exit code 2 and no traceback."""
    assert run(monkeypatch, raising(error)) == 2
    assert capfd.readouterr() == ("", sentence)


def test_misspelling_loads_no_room() -> None:
    """A misspelt command is answered without loading what the others are made of."""
    code = (
        "import sys; from plateau_rule.commands import app as plateau; "
        "plateau.main(['chekc']); sys.exit(any(m in sys.modules for m in ('numpy', 'torch')))"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


@pytest.mark.parametrize("error", [ValueError("ours"), OSError("ours"), ImportError("ours")])
def test_our_own_mistakes_are_not_hidden(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """An error that is no user's mistake keeps its traceback."""
    with pytest.raises(type(error), match="ours"):
        run(monkeypatch, raising(error))


def test_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C ends a command with exit code 130."""
    with pytest.raises(SystemExit) as caught:
        run(monkeypatch, raising(KeyboardInterrupt()))
    assert caught.value.code == 130


@pytest.mark.skipif(os.name != "posix", reason="pipes are closed otherwise on this system")
def test_closed_pipe_is_quiet() -> None:
    """A reader that has seen enough and closes the pipe ends the command without a word."""
    code = (
        "import sys; from plateau_rule.commands import app as plateau; from cyclopts import App; plateau.app = App(); "
        "plateau.app.default(lambda: print('x' * 2**20)); sys.exit(plateau.main([]))"
    )
    command = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert command.stdout is not None
    command.stdout.close()
    assert command.stderr is not None
    with command.stderr as errors:
        assert errors.read() == ""
    assert command.wait() == 141


@pytest.mark.parametrize(
    ("word", "sentence"),
    [("chekc", 'Unknown command "chekc". Did you mean "check"? '), ("--nonsense", 'Unknown command "--nonsense". ')],
)
def test_unknown_command(capfd: pytest.CaptureFixture[str], word: str, sentence: str) -> None:
    """A word that is no command is named on the standard error, with the nearest one and the list of all."""
    assert plateau.main([word]) == 2
    assert capfd.readouterr() == ("", f"{sentence}Commands: {', '.join(plateau.COMMANDS)}.\n")


def test_unknown_option(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    """An option that a command does not know is named, with where to look."""
    app = App()
    app.command(lambda: None, name="check")
    monkeypatch.setattr(plateau, "app", app)
    assert plateau.main(["check", "--nonsense"]) == 2
    assert capfd.readouterr() == ("", "Unknown option: --nonsense. See: plateau check --help\n")


def test_version(capfd: pytest.CaptureFixture[str]) -> None:
    """`plateau --version` names the version and nothing else."""
    assert plateau.main(["--version"]) == 0
    assert capfd.readouterr().out == "0.1.0\n"


def test_help_names_every_command(capfd: pytest.CaptureFixture[str]) -> None:
    """`plateau --help` names every command."""
    assert plateau.main(["--help"]) == 0
    out = capfd.readouterr().out
    assert all(f" {name} " in out for name in plateau.COMMANDS)


@pytest.mark.parametrize("name", plateau.COMMANDS)
def test_every_command_is_there(name: str) -> None:
    """Every command is the function of its name in the file of its name, and says in its docstring what it does."""
    module = importlib.import_module(f"plateau_rule.commands.{name}")
    assert getattr(module, name).__doc__


def test_help_stays_light() -> None:
    """`plateau --help` loads neither numpy nor torch."""
    code = (
        "import sys; from plateau_rule.commands import app as plateau; "
        "plateau.main(['--help']); sys.exit(any(m in sys.modules for m in ('numpy', 'torch')))"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
