"""The command `check`, as it is called from a shell; what it says of planted defects is in tests/machines."""

from __future__ import annotations

import json
import random
import re
import shlex
from pathlib import Path

import pytest

from plateau_rule.commands import app as plateau
from plateau_rule.controller.language.reading import shipped

PLATEAU = shipped()["plateau"].read_text(encoding="utf-8")


def words(path: Path) -> set[str]:
    """The words of an SVG."""
    return set(re.findall(r">([^<>]+)</text>", path.read_text(encoding="utf-8")))


def test_plot(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """--plot draws both climbs with states, knobs, units, rate, steps and epochs; the report stays the same."""
    assert plateau.main(["check", "plateau"]) == 0
    alone = capfd.readouterr().out
    assert plateau.main(["check", "plateau", "--plot", str(tmp_path / "a.svg")]) == 0
    out, err = capfd.readouterr()
    assert (out, err) == (alone, f"Drawn: {tmp_path / 'a.svg'}\n")
    assert words(tmp_path / "a.svg") >= {
        "plateau: what is planned, earliest and latest", "earliest", "latest, ends in syntax",
        "cutoff", "(rfft bins)", "learning rate", "step", "epoch", "128", "256", "512", "full",
    }  # fmt: skip
    assert "loss" not in words(tmp_path / "a.svg")


def test_plot_of_one_climb(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Where the losses decide nothing there is one climb; an unbound ramp to `full` is said not to be drawn."""
    assert plateau.main(["check", "sequence-length", "--plot", str(tmp_path / "a.svg")]) == 0
    assert capfd.readouterr().err == (
        f"Drawn: {tmp_path / 'a.svg'}\n"
        "Where full is, and so the ramp of seq_len, is drawn with --limit seq_len=NUMBER\n"
    )
    assert "sequence-length: what is planned, whatever the losses" in words(tmp_path / "a.svg")
    assert plateau.main(["check", "sequence-length", "--limit", "seq_len=1024", "--plot", str(tmp_path / "a.png")]) == 0
    assert capfd.readouterr().err == f"Drawn: {tmp_path / 'a.png'}\n"
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_plot_refuses(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Another ending, and a run whose length is not known, are mistakes with exit code 2 and a sentence."""
    assert plateau.main(["check", "plateau", "--plot", "a.pdf"]) == 2
    out, err = capfd.readouterr()
    assert (out, err) == ("", "a.pdf: pictures are written as PNG or SVG; name a file that ends in .png or .svg\n")
    file = tmp_path / "mine.toml"
    file.write_text('name = "mine"\nlr.peak = 1\nlr.shape = "constant"\n[[state]]\nname = "only"\nset = {}\n')
    assert plateau.main(["check", str(file), "--plot", str(tmp_path / "a.svg")]) == 2
    assert capfd.readouterr().err == (
        "run: the length of the run is not known; expected epochs and steps_per_epoch. "
        "State them in [run], or as --epochs and --steps-per-epoch [unresolved-amount]\n"
    )


@pytest.mark.parametrize(
    "text", ["cutoff", "cutoff=", "=5", "cutoff=many", "cutoff=inf", "cutoff=nan", "cutoff=0", "cutoff=-1"]
)
def test_bad_limit(text: str, capfd: pytest.CaptureFixture[str]) -> None:
    """A limit is KNOB=NUMBER."""
    assert plateau.main(["check", "plateau", "--limit", text]) == 2
    assert capfd.readouterr().err == (
        f'--limit "{text}"; expected KNOB=NUMBER with a number above 0, such as --limit cutoff=1025 [bad-limit]\n'
    )


def test_limits_clamp(capfd: pytest.CaptureFixture[str]) -> None:
    """A limit merges the states above it, says so as a note, and binds `full` in the table of raises."""
    assert plateau.main(["check", "plateau", "--limit", "cutoff=300"]) == 0
    out = capfd.readouterr().out
    assert out.startswith("plateau: 50 epochs of 1000 steps; cutoff at most 300. ")
    assert "note: " in out
    assert "[merged-states]" in out
    assert "cutoff 256 -> 300" in out


def test_the_replay_of_a_counterexample_is_bound_in_the_same_way(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The command beside a counterexample carries the length of the run and the limits, and replays its transitions."""
    bound = ["--epochs", "20", "--limit", "cutoff=1025"]
    assert plateau.main(["check", "misaligned", *bound, "--counterexample", str(tmp_path)]) == 1
    losses = tmp_path / "1-misaligned.jsonl"
    line, *_ = [line for line in capfd.readouterr().out.splitlines() if str(losses) in line]
    told = shlex.split(line.partition("See: plateau ")[2])
    assert told == ["replay", str(shipped()["misaligned"]), str(losses), "--epochs", "20", "--steps-per-epoch", "1000",
                    "--limit", "cutoff=1025"]  # fmt: skip
    assert plateau.main([*told, "--json"]) == 0
    found = json.loads(capfd.readouterr().out)["transitions"]
    assert [(one["step"], one["from"], one["to"]) for one in found] == [(2000, "syntax", "words")]


def test_a_trace_without_losses(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Where the run is too long to look for losses, the trace is written alone, and the report says so."""
    assert plateau.main(["check", "plateau", "--epochs", "1000", "--counterexample", str(tmp_path)]) == 0
    (trace,) = tmp_path.iterdir()
    assert trace.name == "1-may-stay.txt"
    assert trace.read_text(encoding="utf-8").splitlines()[-2:] == [
        "step       0  epoch 0  begins in syntax: cutoff 128",
        'step 1000000  epoch 1000  the run is over, in state "syntax"',
    ]
    said = f"  The trace: {trace}; no losses were found that bring it about"
    assert said in capfd.readouterr().out.splitlines()


def test_strict(capfd: pytest.CaptureFixture[str]) -> None:
    """--strict exits with 3 where something is open, and changes no verdict."""
    assert plateau.main(["check", "plateau"]) == 0
    plain = capfd.readouterr().out.splitlines()
    assert plain[-1] == "nothing broken: 1 warning."
    assert plateau.main(["check", "plateau", "--strict"]) == 3
    strict = capfd.readouterr().out.splitlines()
    assert strict[-1] == "open: 1 warning."
    assert strict[:-1] == plain[:-1]


def test_budget(capfd: pytest.CaptureFixture[str]) -> None:
    """With a small budget less is decided: nothing is broken that is not, and the report says what is missing."""
    assert plateau.main(["check", "plateau", "--budget", "1"]) == 0
    out = capfd.readouterr().out
    assert "escape    not decided" in out
    assert "the budget ran out" in out
    assert plateau.main(["check", "plateau", "--budget", "1", "--strict"]) == 3


def test_progress(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal a line says how much of the budget was spent, once that takes a while; then it is taken away."""
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setattr("plateau_rule.commands.check.QUIET_S", -1.0)
    assert plateau.main(["check", "plateau"]) == 0
    err = capfd.readouterr().err
    assert "% of the budget" in err
    assert err.endswith("\r\033[K")


def test_json(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """--json says the same as data: findings with their places, entries, raises, counterexamples with their files."""
    words = ["check", "misaligned", "--epochs", "20", "--counterexample", str(tmp_path), "--json"]
    assert plateau.main(words) == 1
    found = json.loads(capfd.readouterr().out)
    assert found["run"] == {"epochs": 20, "steps_per_epoch": 1000, "total_steps": 20_000}
    assert (found["broken"], found["exit_code"], found["exact"], found["limits"]) == (True, 1, True, None)
    verdicts = {one["property"]: one["answer"] for one in found["properties"]}
    assert verdicts == {
        "names": "proved", "reach": "proved", "escape": "proved", "monotone": "proved", "aligned": "broken",
        "order": "proved", "timing": "table", "noise": "not asked", "resume": "tested",
    }  # fmt: skip
    first = found["findings"][0]
    assert {key: first[key] for key in ("code", "property", "severity", "line", "column", "end_column", "text")} == {
        "code": "misaligned", "property": "aligned", "severity": "error",
        "line": 40, "column": 1, "end_column": 14, "text": "[[transition]]",
    }  # fmt: skip
    example = first["counterexample"]
    assert example["transitions"] == [
        {"step": 2000, "from": "syntax", "to": "words", "transition": "transition 1", "line": 40}
    ]
    assert example["happened"]
    assert Path(example["file"]) == tmp_path / "1-misaligned.jsonl"
    assert found["entries"][1] == {
        "state": "words", "earliest": 2000, "latest": 2000, "certain": True, "left": [0.9, 0.9],
    }  # fmt: skip
    assert found["raises"][0]["knobs"] == {"cutoff": [128, 256]}


def test_log(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """With a log, windows that its noise deceives are found, with a place; a waiver with a reason lets them pass."""
    log, mine, draw = tmp_path / "noisy.jsonl", tmp_path / "mine.toml", random.Random(1)
    rows = [{"step": i, "loss": 3.0 + draw.choice((0.3, -0.3))} for i in range(3000)]
    log.write_text("".join(json.dumps(row) + "\n" for row in rows))
    mine.write_text(PLATEAU)
    assert plateau.main(["check", str(mine), "--log", str(log), "--json"]) == 0
    (found,) = [f for f in json.loads(capfd.readouterr().out)["findings"] if f["code"] == "noise"]
    assert (found["severity"], found["line"]) == ("warning", 24)
    mine.write_text(PLATEAU + '\n[check]\nwaive = { noise = "it is tried out", escape = "meant so" }\n')
    assert plateau.main(["check", str(mine), "--log", str(log), "--strict"]) == 0
    assert '  waived: "it is tried out"' in capfd.readouterr().out
