"""What is said before the first step."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from plateau_rule import UnsoundError, curricula, loads
from plateau_rule.controller.binding import bind
from plateau_rule.fftcore.config import PRESETS
from plateau_rule.fftcore.introduction import UNCHECKED, silent_states
from plateau_rule.fftcore.knobs import limits
from plateau_rule.fftcore.record import read_record
from tests.fftcore.micro import CURRICULUM, run

# The rate has decayed where the knob rises at the end of epoch 1, and no restart is asked for.
MISALIGNED = CURRICULUM.replace(b'"lr_restart", ', b"").replace(b"{ plateau = { window = 6, threshold = 0.9 } }", b"")
SHIPPED = sorted(Path(curricula.__file__).parent.glob("*.toml"))


def test_broken_is_not_trained(tmp_path: Path) -> None:
    """A curriculum that `plateau check` calls broken is refused with the finding and its line; nothing is written."""
    with pytest.raises(UnsoundError) as caught:
        run(tmp_path / "run", curriculum=MISALIGNED)
    told = str(caught.value)
    assert told.startswith(
        '"micro" is not trained, because it is broken:\nmicro.toml:26:11: error: cutoff rises from 64'
    )
    assert "[misaligned]" in told
    command = "plateau check micro.toml --epochs 4 --steps-per-epoch 8 --tokens-per-step 48 --limit cutoff=1025"
    assert f"{command} --peak {PRESETS['tiny'].peak:g}\n" in told
    assert told.endswith("--unchecked")
    assert not (tmp_path / "run").exists()


def test_unchecked_is_trained_and_recorded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nobody is to ask it is trained; the run says so before its first step, its record and its summary too."""
    monkeypatch.setattr("plateau_rule.fftcore.finish.draw_run", lambda *given: None)
    out = tmp_path / "run"
    assert run(out, curriculum=MISALIGNED, unchecked=True, log_every=1) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines.index(UNCHECKED) < next(n for n, line in enumerate(lines) if line.startswith("step 0/"))
    assert read_record(out).checked is None
    assert json.loads((out / "summary.json").read_text())["checked"] is None
    assert run(out, curriculum=MISALIGNED, resume=True) == 0  # what was begun unchecked goes on so
    assert read_record(out).checked is None


def test_checked_is_recorded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The record of a sound run says what is known of each property; an edit that breaks one is not resumed under."""
    monkeypatch.setattr("plateau_rule.fftcore.finish.draw_run", lambda *given: None)
    out = tmp_path / "run"
    assert run(out) == 0
    assert "checked: nothing is broken; escape conditional" in capsys.readouterr().out.splitlines()
    answers = read_record(out).checked
    assert answers is not None
    assert (answers["aligned"], answers["escape"]) == ("proved", "conditional")
    assert json.loads((out / "summary.json").read_text())["checked"] == answers
    with pytest.raises(UnsoundError, match="misaligned"):
        run(out, curriculum=MISALIGNED, resume=True, on_change="accept", epochs=6)
    assert read_record(out).checked == answers
    assert run(out, curriculum=MISALIGNED, resume=True, on_change="accept", epochs=6, unchecked=True) == 0
    assert read_record(out).checked is None


PAIR = """
format = 1
name = "pair"
[run]
epochs = 4
steps_per_epoch = 8
[lr]
peak = 1e-2
[knob.cutoff]
ladder = [16, 64, 128, "full"]
[knob.kernel_taps]
ladder = [16, 64, "full"]
[[state]]
name = "low"
set = { cutoff = %s, kernel_taps = %s }
"""


@pytest.mark.parametrize(
    ("cutoff", "taps", "told"),
    [
        ("64", '"full"', None),
        ("16", '"full"', 'state "low": 128 taps are too few for a cutoff of 16 bins: they are damped by 57 dB'),
        ("128", "16", 'state "low": 16 taps are too few for a cutoff of 128 bins: they are damped by 32 dB'),
        ("128", "64", None),
        ('"full"', "16", None),
    ],
)
def test_silent_pairs(cutoff: str, taps: str, told: str | None) -> None:
    """A cutoff too low for the taps that go with it is said, with the state that sets the pair."""
    found = list(silent_states(bind(loads(PAIR % (cutoff, taps), ""), limits(PRESETS["tiny"]))))
    assert len(found) == (told is not None)
    assert told is None or found[0].startswith(told)


def test_a_ramp_into_silence() -> None:
    """A cutoff that rises from too low a value is said as well, though the state ends at a high one."""
    source = PAIR % ("16", '"full"') + 'ramp = { cutoff = { to = 128, over = "1 epoch" } }'
    (line,) = silent_states(bind(loads(source, ""), limits(PRESETS["tiny"])))
    assert "too few for a cutoff of 16 bins" in line


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_no_shipped_curriculum_is_silent(path: Path) -> None:
    """No curriculum that we ship sets such a pair."""
    curriculum = loads(path.read_bytes(), path.name)
    if any(knob not in limits(PRESETS["base"]) for knob in curriculum.knob):
        pytest.skip("turns knobs that this trainer has not")
    assert list(silent_states(bind(curriculum, limits(PRESETS["base"])))) == []


def test_memories_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Where blocks mix by a memory, a run says so: no cutoff limits those. Where there is none, nothing is said."""
    monkeypatch.setattr("plateau_rule.fftcore.finish.draw_run", lambda *given: None)
    for layers, told in ((2, True), (1, False)):
        assert run(tmp_path / f"{layers}", overrides={"layers": layers}) == 0
        assert ("every second one a memory, which no cutoff limits, 24 bytes" in capsys.readouterr().out) == told


@pytest.mark.parametrize(("overrides", "told"), [({}, True), ({"peak": 3e-4}, False)])
def test_the_peak_of_the_preset_is_told(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    overrides: dict[str, float],
    told: bool,
) -> None:
    """Where the preset's peak rate is taken and not the file's, a run says so; one that was asked for needs no word."""
    monkeypatch.setattr("plateau_rule.fftcore.finish.draw_run", lambda *given: None)
    assert run(tmp_path / "run", overrides=overrides) == 0
    own = loads(CURRICULUM).lr.peak
    sentence = f"that of the preset tiny; the file's {own:g} is not taken: --peak {own:g} does that"
    assert (sentence in capsys.readouterr().out) is told
