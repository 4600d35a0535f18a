"""What is said before the first step."""

from __future__ import annotations

from pathlib import Path

import pytest

from plateau_rule import curricula, loads
from plateau_rule.controller.binding import bind
from plateau_rule.fftcore.config import PRESETS
from plateau_rule.fftcore.introduction import broken_properties, silent_states
from plateau_rule.fftcore.learner import limits
from tests.fftcore.micro import CURRICULUM, run

# The rate has decayed where the knob rises at the end of epoch 1, and no restart is asked for.
MISALIGNED = CURRICULUM.replace(b'"lr_restart", ', b"").replace(b"{ plateau = { window = 6, threshold = 0.9 } }", b"")
SHIPPED = sorted(Path(curricula.__file__).parent.glob("*.toml"))


def test_broken_is_said_before_the_first_step(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A curriculum that `plateau check` calls broken is trained, but the finding comes before the first step."""
    monkeypatch.setattr("plateau_rule.fftcore.finish.draw_run", lambda *given: None)
    assert run(tmp_path / "run", curriculum=MISALIGNED, log_every=1) == 0
    lines = capsys.readouterr().out.splitlines()
    said = [
        number for number, line in enumerate(lines) if line.startswith("plateau check calls this curriculum broken")
    ]
    first = next(number for number, line in enumerate(lines) if line.startswith("step 0/"))
    assert said
    assert said[-1] < first
    assert "[misaligned]" in " ".join(lines[number] for number in said)


def test_nothing_is_said_of_a_sound_one() -> None:
    """Of the shipped curriculum that restarts its rate with every raise, nothing is called broken."""
    sound = loads((SHIPPED[0].parent / "plateau.toml").read_bytes(), "plateau.toml")
    assert list(broken_properties(bind(sound, limits(PRESETS["base"])))) == []


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
    if any(knob not in ("cutoff", "kernel_taps", "seq_len", "batch_size") for knob in curriculum.knob):
        pytest.skip("turns knobs that this trainer has not")
    assert list(silent_states(bind(curriculum, limits(PRESETS["base"])))) == []
