"""The command: exit codes, and one clear sentence where a user can mend what is wrong."""

from __future__ import annotations

import importlib
import json
import os
import re
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
from cyclopts import App
from rich.console import Console

from plateau_rule.commands import app as plateau
from plateau_rule.commands.options import Lines
from plateau_rule.controller.errors import BindingWarning, PlateauError
from plateau_rule.controller.language.reading import shipped

PLATEAU = shipped()["plateau"].read_text(encoding="utf-8")


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
            "This needs torch, which is not installed. It belongs to the extra plateau-rule[train]: "
            "pip install 'matplotlib>=3.10' 'safetensors>=0.5' 'torch>=2.6'\n",
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
    assert capfd.readouterr() == ("", "plateau check: unknown option --nonsense. See: plateau check --help\n")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("check plateau --epoch 3", 'plateau check: unknown option --epoch. Did you mean "--epochs"?'),
        ("check plateau -limit a=3", 'plateau check: unknown option -limit. Did you mean "--limit"?'),
        ("check plateau --limits a=3", 'plateau check: unknown option --limits. Did you mean "--limit"?'),
        ("check plateau --no-json", 'plateau check: unknown option --no-json. Did you mean "--json"?'),
        ("check plateau --sideways", "plateau check: unknown option --sideways."),
        ("draw plateau other", 'plateau draw: "other" is one word too many.'),
        ("schema other", 'plateau schema: "other" is one word too many.'),
        ("check", "plateau check: FILE is missing."),
        ("train", "plateau train: CURRICULUM is missing."),
        ("tune --log x", "plateau tune: CURRICULUM is missing."),
        ("check plateau --epochs", "plateau check: --epochs needs a value."),
        ("check plateau --limit", "plateau check: --limit needs a value."),
        ("check plateau --epochs 3 --epochs 4", "plateau check: --epochs is given twice; expected once."),
        ("check plateau --epochs many", 'plateau check: --epochs "many"; expected a whole number.'),
        ("check plateau --epochs 3.7", 'plateau check: --epochs "3.7"; expected a whole number.'),
        ("check plateau --epochs 3.0", 'plateau check: --epochs "3.0"; expected a whole number.'),
        ("train plateau --layers 2.5", 'plateau train: --layers "2.5"; expected a whole number.'),
        ("check plateau --peak high", 'plateau check: --peak "high"; expected a number.'),
        ("check plateau --json=maybe", 'plateau check: --json "maybe"; expected nothing, for it is a flag.'),
        ("draw plateau --as svgg", 'plateau draw: --as "svgg"; expected mermaid, dot or svg. Did you mean "svg"?'),
        ("simulate plateau --engine cloud", 'plateau simulate: --engine "cloud"; expected processes or ray.'),
        ("train plateau --seed -1", "plateau train: --seed -1; expected at least 0."),
        (f"train plateau --seed {2**63}", f"plateau train: --seed {2**63}; expected at most {2**63 - 1}."),
    ],
)
def test_usage(words: str, sentence: str, capfd: pytest.CaptureFixture[str]) -> None:
    """Words that a command cannot take are answered with what was found, what was expected, and where to look."""
    assert plateau.main(words.split()) == 2
    assert capfd.readouterr() == ("", f"{sentence} See: plateau {words.split()[0]} --help\n")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("check plateau --epochs -3", "--epochs: -3; expected a whole number of at least 1 [bad-run]"),
        ("check plateau --steps-per-epoch 0", "--steps-per-epoch: 0; expected a whole number of at least 1 [bad-run]"),
        ("simulate plateau --peak nan", "--peak: nan; expected a number above 0 [bad-run]"),
        ("replay plateau x --lag -1", "--lag: -1; expected a whole number of at least 0 [bad-run]"),
        ("check plateau --limit cutof=5", '--limit cutof: this curriculum has no knob "cutof". Did you mean "cutoff"?'),
        (
            "check plateau full --lead cutof=5",
            '--lead cutof: these curricula have no knob "cutof". Did you mean "cutoff"?',
        ),
        (
            "replay plateau x --lead cutof=5",
            '--lead cutof: this curriculum has no knob "cutof". Did you mean "cutoff"?',
        ),
        ("simulate plateau --limit k=5", '--limit k: this curriculum has no knob "k". Known here: cutoff.'),
        ("tune plateau --log x --limit k=5", '--limit k: this curriculum has no knob "k". Known here: cutoff.'),
        (
            "check two-knobs-with-retreat --limit seq_len=512",
            'no limit of "cutoff" is given, and it asks for "full"; expected one beside those that are given: '
            "--limit cutoff=NUMBER [bad-limit]",
        ),
        ("noise plateau", "plateau is a curriculum; expected a log, or the folder of a run"),
        ("fit mine.toml", "mine.toml is a curriculum; expected a log, or the folder of a run"),
    ],
)
def test_what_cannot_be_bound(words: str, sentence: str, capfd: pytest.CaptureFixture[str]) -> None:
    """A number that cannot be bound is named by its option, not by a line of a file that is right."""
    assert plateau.main(words.split()) == 2
    assert capfd.readouterr() == ("", f"{sentence}\n")


@pytest.mark.parametrize("command", ["check", "draw"])
def test_a_limit_of_one_knob_of_two(command: str, capfd: pytest.CaptureFixture[str]) -> None:
    """A knob that no limit names has none: its largest value is that of the file."""
    assert plateau.main([*command.split(), "two-knobs-with-retreat", "--limit", "cutoff=1025"]) == 0
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("command", ["check plateau", "draw plateau", "replay plateau x", "simulate plateau",
                                     "tune plateau --log x", "test x"])  # fmt: skip
@pytest.mark.parametrize("limit", ["cutoff", "cutoff=nan", "cutoff=many", "=3", "cutoff=0"])
def test_a_limit_is_the_same_everywhere(command: str, limit: str, capfd: pytest.CaptureFixture[str]) -> None:
    """Every command that binds takes --limit KNOB=NUMBER, and refuses anything else in the same words."""
    assert plateau.main([*command.split(), "--limit", limit]) == 2
    assert capfd.readouterr() == (
        "",
        f'--limit "{limit}"; expected KNOB=NUMBER with a number above 0, such as --limit cutoff=1025 [bad-limit]\n',
    )


def test_a_warning_is_a_sentence(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    """A warning is one sentence on the standard error, without the place in our code that it comes from."""
    warned = lambda: warnings.warn("states were merged", BindingWarning, stacklevel=1)  # noqa: E731
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        assert run(monkeypatch, warned) == 0
    assert capfd.readouterr() == ("", "warning: states were merged\n")


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
    called = plateau.python_name(name)
    module = importlib.import_module(f"plateau_rule.commands.{called}")
    assert getattr(module, called).__doc__


def test_help_stays_light() -> None:
    """`plateau --help` loads no room, and nothing that only rooms need."""
    rooms = [f"plateau_rule.{room}" for room in ("controller", "sim", "fftcore")]
    code = (
        "import sys; from plateau_rule.commands import app as plateau; plateau.main(['--help']); "
        f"sys.exit(str([name for name in {[*rooms, 'pydantic', 'numpy', 'torch']} if name in sys.modules]))"
    )
    result = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert result.stderr.strip() == "[]"


@pytest.mark.parametrize("name", plateau.COMMANDS)
def test_the_page_of_a_command(name: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """`plateau COMMAND --help` shows all that the command's docstring says, and a sentence for each option."""
    monkeypatch.setattr(plateau.app, "console", Console(width=1000))
    assert plateau.main([name, "--help"]) == 0
    page = capfd.readouterr().out
    called = plateau.python_name(name)
    module = importlib.import_module(f"plateau_rule.commands.{called}")
    said = getattr(module, called).__doc__.partition("Args:")[0]
    assert all(line.strip() in page for line in said.splitlines())
    options = [line.strip("│ *") for line in page.splitlines() if line.startswith("│")]
    for option in options:
        sentence = re.split(r"  +", option.partition(" [")[0], maxsplit=1)[-1]
        assert re.match(r"[A-Z`.].*\.$", sentence), option


@pytest.mark.parametrize("name", plateau.COMMANDS)
def test_a_page_ends_with_an_example_that_the_command_takes(
    name: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The example is of that command, and has no option that it lacks; those that read logs list what logs may be."""
    monkeypatch.setattr(plateau.app, "console", Console(width=1000))
    assert plateau.main([name, "--help"]) == 0
    page, _, end = capfd.readouterr().out.rpartition("Example: ")
    example = end.splitlines()[0]
    assert example.startswith(f"plateau {name}")
    assert all(re.search(rf"(?<![\w-]){word}(?![\w-])", page) for word in example.split() if word.startswith("-"))
    assert ("Logs: JSON lines" in end) == (re.search(r"--(step-column|log) ", page) is not None)


def test_progress_into_a_pipe_is_a_line_now_and_then(capfd: pytest.CaptureFixture[str]) -> None:
    """What is quick says nothing; of what takes long there is a line each quarter of a minute, with the total."""
    seconds = iter([0.0, 0.0, 14.0, 15.0, 15.0, 20.0, 31.0, 31.0])
    lines = Lines("tuning plateau", "settings", lambda: next(seconds))
    lines(1, 60)
    lines(2, 60)
    lines(3, 60)
    lines(4, 60)
    lines(1000, None)
    assert capfd.readouterr().err == "tuning plateau: 3 of 60 settings\ntuning plateau: 1,000 settings\n"


def test_faults_as_json(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Whoever asks for JSON gets the faults of a file as JSON too, on the standard output, with exit code 2."""
    file = tmp_path / "mine.toml"
    file.write_text(PLATEAU.replace("cutoff = 256", "cutoff = 255").replace("peak   = 2e-4", "peak   = 0"))
    assert plateau.main(["check", str(file), "--json"]) == 2
    out, err = capfd.readouterr()
    found = json.loads(out)
    assert (found["error"], found["more"], err) == ("CurriculumError", 0, "")
    assert [(fault["code"], fault["line"], fault["column"]) for fault in found["faults"]] == [
        ("out-of-range", 14, 10),
        ("off-ladder", 32, 19),
    ]
    assert found["faults"][0]["where"] == "lr.peak"
    assert found["faults"][1]["where"] == 'state "words", set.cutoff'
    assert plateau.main(["explain", "nothing", "--json"]) == 2
    assert json.loads(capfd.readouterr().out)["faults"][0]["code"] == "unknown-code"


def test_closed_streams(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command runs where the shell closed the standard input and output, and reads and writes its files."""
    log, picture = tmp_path / "log.csv", tmp_path / "log.svg"
    log.write_text("step,loss\n" + "".join(f"{step},{9 - step / 50}\n" for step in range(200)))
    monkeypatch.setattr(sys, "stdin", None)
    monkeypatch.setattr(sys, "stdout", None)
    assert plateau.main(["plot", str(log), "-o", str(picture)]) == 0
    assert picture.is_file()
