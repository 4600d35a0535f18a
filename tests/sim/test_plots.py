"""Pictures of runs and replays."""

from __future__ import annotations

import re
import struct
import sys
from collections.abc import Callable, Collection
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plateau_rule import load
from plateau_rule.controller.binding import Binding
from plateau_rule.sim.logs import Log, read
from plateau_rule.sim.plots import PlotError, draw, draw_run
from plateau_rule.sim.plots.picture import picture_of, picture_of_log, smoothed
from plateau_rule.sim.replayer.replay import replay
from plateau_rule.sim.replayer.trace import ROOM, Floats, Trace, Tracer
from tests.sim.conftest import run_of, write_run

MakeLog = Callable[..., Log]
GIVEN = Binding(epochs=10, steps_per_epoch=100)


def losses(count: int = 1000) -> list[float]:
    """A curve that flattens, with noise."""
    random = np.random.default_rng(0)
    values: list[float] = (
        (2 + 3 * np.exp(-np.arange(count) / 100)) * (1 + 0.01 * random.standard_normal(count))
    ).tolist()
    return values


def words(svg: Path) -> set[str]:
    """The texts in an SVG whose text is text."""
    return set(re.findall(r">([^<>]+)</text>", svg.read_text()))


def test_a_replay_is_drawn_with_states_knobs_rate_and_epochs(log_of: MakeLog, tmp_path: Path) -> None:
    """An SVG names every state, labels loss, knob, rate, step and epoch, and has a tick for each rung."""
    picture = picture_of(replay(load("plateau"), log_of(range(1000), losses()), GIVEN))
    found = words(draw([picture], tmp_path / "curve.svg", "plateau over a log"))
    assert {"syntax", "words", "spelling", "full"} <= found
    assert {
        "loss (as logged)",
        "cutoff",
        "(rfft bins)",
        "learning rate",
        "step",
        "epoch",
        "plateau over a log",
    } <= found
    assert {"128", "256", "512"} <= found
    assert any("hatched" in text for text in found)


def test_a_png_is_a_png_of_a_readable_size(log_of: MakeLog, tmp_path: Path) -> None:
    """A PNG begins as PNGs do, and is at least 1000 pixels wide."""
    path = draw([picture_of(replay(load("plateau"), log_of(range(1000), losses()), GIVEN))], tmp_path / "curve.png")
    content = path.read_bytes()
    assert content.startswith(b"\x89PNG")
    assert struct.unpack(">I", content[16:20])[0] >= 1000


def test_a_run_is_drawn_from_its_folder_as_it_was_written_down(tmp_path: Path) -> None:
    """`draw_run` takes states, knobs, rates and the length of an epoch from the folder; nothing in it is a stand-in."""
    rows, decisions, _, controller = run_of(
        load("plateau"), losses(), limits={"cutoff": 1025}, epochs=10, steps_per_epoch=100
    )
    write_run(tmp_path, rows, controller)
    found = words(draw_run(tmp_path, tmp_path / "curve.svg"))
    assert {"syntax", *(decision.to_state for decision in decisions)} <= found
    assert "epoch" in found
    assert not any("hatched" in text for text in found)
    picture = picture_of_log(read(tmp_path), "run")
    assert [span.start for span in picture.spans] == [0, *(decision.step for decision in decisions)]
    assert picture.per_epoch == 100
    assert picture.rate is not None
    assert picture.rate[1].tolist() == [row["lr"] for row in rows]


def test_a_foreign_log_is_drawn_without_what_it_lacks(log_of: MakeLog, tmp_path: Path) -> None:
    """A log of losses alone becomes one panel."""
    found = words(draw([picture_of_log(log_of(range(1000), losses()), "foreign")], tmp_path / "curve.svg"))
    assert "loss (as logged)" in found
    assert not {"cutoff", "rate", "epoch"} & found


def test_several_curricula_share_one_picture(log_of: MakeLog, tmp_path: Path) -> None:
    """Replays of one log stand side by side: a lane for each, and the log drawn once."""
    log = log_of(range(1000), losses())
    pictures = [picture_of(replay(load(name), log, GIVEN)) for name in ("plateau", "fixed-epochs", "full")]
    found = words(draw(pictures, tmp_path / "curve.svg"))
    assert {"plateau", "fixed-epochs", "full"} <= found
    assert any(text.startswith("plateau: ") for text in found)
    assert "smoothed" in found


def test_the_same_run_gives_the_same_picture(log_of: MakeLog, tmp_path: Path) -> None:
    """No date and no random name stands in a picture."""
    log = log_of(range(1000), losses())
    paths = [tmp_path / "one.svg", tmp_path / "other.svg"]
    for path in paths:
        draw([picture_of(replay(load("plateau"), log, GIVEN))], path)
    assert paths[0].read_bytes() == paths[1].read_bytes()


@pytest.mark.parametrize(
    "values",
    [
        [1.0, 2.0],
        [3.0] * 40,
        [float("nan")] * 5 + [1.0] * 5,
        [1e300, -1e300, 0.0, 5.0] * 10,
        [10.0 ** (-i / 10) for i in range(60)],
        [0.0] * 30,
    ],
)
def test_odd_losses_are_drawn_without_a_complaint(log_of: MakeLog, tmp_path: Path, values: list[float]) -> None:
    """Few points, constant ones, NaN, huge ones and such that fall over decades: a picture, and no warning."""
    log = log_of(range(len(values)), values)
    assert draw([picture_of(replay(load("plateau"), log, GIVEN))], tmp_path / "odd.png").exists()


def test_pyplot_is_never_loaded(log_of: MakeLog, tmp_path: Path) -> None:
    """Pictures need no display and no global state."""
    draw([picture_of(replay(load("plateau"), log_of(range(1000), losses()), GIVEN))], tmp_path / "curve.png")
    assert "matplotlib.pyplot" not in sys.modules


# Refusals


def test_a_missing_matplotlib_is_one_sentence(log_of: MakeLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where matplotlib is not installed, the error names the extra that brings it."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    picture = picture_of(replay(load("plateau"), log_of(range(1000), losses()), GIVEN))
    with pytest.raises(PlotError, match=r"plateau-rule\[plot\]: pip install 'matplotlib>="):
        draw([picture], tmp_path / "curve.png")


@pytest.mark.parametrize(
    ("name", "count", "sentence"),
    [
        ("curve.pdf", 1, "ends in .png or .svg"),
        ("nowhere/curve.png", 1, "there is no folder"),
        ("curve.png", 8, "expected 1 to 7"),
        ("curve.png", 0, "expected 1 to 7"),
        ("a.png", 1, "cannot be written"),
    ],
)
def test_what_cannot_be_drawn_is_refused(log_of: MakeLog, tmp_path: Path, name: str, count: int, sentence: str) -> None:
    """Another format, a missing folder, too many curves, a folder in the way: a sentence each."""
    (tmp_path / "a.png").mkdir()
    picture = picture_of(replay(load("plateau"), log_of(range(1000), losses()), GIVEN))
    with pytest.raises(PlotError, match=sentence):
        draw([picture] * count, tmp_path / name)


# Curves


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=300), st.sets(st.integers(0, 300), max_size=4))
@settings(max_examples=60)
def test_a_smoothed_curve_stays_within_its_losses(values: list[float], cuts: Collection[int]) -> None:
    """A moving mean has as many points as the curve, lies between its extremes, and begins at its first point."""
    tracer = Tracer(len(values))
    tracer.add(np.arange(len(values)), np.array(values))
    found = smoothed(tracer.trace(), sorted(cuts))
    assert len(found) == len(values)
    assert found.min() >= min(values) - 1e-3
    assert found.max() <= max(values) + 1e-3
    assert found[0] == pytest.approx(values[0], abs=1e-3)


@given(st.lists(st.floats(allow_nan=True), min_size=1, max_size=200), st.integers(1, 7), st.integers(1, 60))
@settings(max_examples=60)
def test_a_trace_of_many_points_keeps_count_mean_and_range(values: list[float], size: int, batch: int) -> None:
    """Stretches hold what their points hold, however the points come."""
    tracer = Tracer(size * ROOM)
    for start in range(0, len(values), batch):
        part = values[start : start + batch]
        tracer.add(np.arange(start, start + len(part)), np.array(part))
    trace = tracer.trace()
    finite = [value for value in values if np.isfinite(value)]
    assert trace.count.sum() == len(finite)
    assert len(trace.step) == -(-len(values) // size)
    if finite:
        assert np.nanmin(trace.low) == min(finite)
        assert np.nanmax(trace.high) == max(finite)
    for place, (step, count) in enumerate(zip(trace.step.tolist(), trace.count.tolist(), strict=True)):
        inside = [value for value in values[step : step + size] if np.isfinite(value)]
        assert count == len(inside)
        if inside and max(map(abs, inside)) < 1e100:
            assert trace.mean[place] == pytest.approx(sum(inside) / count, rel=1e-9, abs=1e-9)


def test_between_takes_the_stretches_of_some_steps() -> None:
    """`between` leaves out other steps, and stretches without a finite loss."""
    empty = Trace(*(np.array(values) for values in ([0, 10, 20], [2, 0, 2], [1.0, np.nan, 3.0], [1.0] * 3, [1.0] * 3)))
    assert empty.between(0, 20).step.tolist() == [0]
    assert empty.between(5, None).average == 3.0
    assert np.isnan(empty.between(30, None).average)


def test_a_smoothed_curve_has_no_hooks() -> None:
    """At its ends a smoothed curve does not follow the noise of single points."""
    tracer = Tracer(600)
    random = np.random.default_rng(0)
    tracer.add(np.arange(600), 3 + 0.2 * random.standard_normal(600))
    curve = smoothed(tracer.trace(), [])
    middle = float(np.abs(np.diff(curve[50:-50])).max())
    assert np.abs(np.diff(curve[:20])).max() < 3 * middle
    assert np.abs(np.diff(curve[-20:])).max() < 3 * middle
    assert np.abs(curve - 3).max() < 0.2  # 2.5 standard errors of the end of a line through 25 points


def test_a_smoothed_curve_has_no_steps_where_its_ends_begin() -> None:
    """The line at an end meets the mean: a bent curve without noise stays as smooth as it was."""
    tracer = Tracer(600)
    tracer.add(np.arange(600), 1 + 2 * np.exp(-np.arange(600) / 60))
    curve = smoothed(tracer.trace(), [])
    assert np.abs(np.diff(curve, 2)).max() < 0.01
    assert (np.diff(curve) < 0).all()


def label_of(log_of: MakeLog, tmp_path: Path, losses: Floats) -> str:
    """What the axis of a log's losses is called in its picture."""
    log = log_of(range(len(losses)), losses.tolist())
    text = draw([picture_of_log(log, "run")], tmp_path / "a.svg").read_text()
    (found,) = re.findall(r">(loss \(as logged\)[^<]*)<", text)
    return str(found)


def test_the_axis_of_losses_shows_what_decides_and_is_named(log_of: MakeLog, tmp_path: Path) -> None:
    """Linear while the later part has room; cut where a steep beginning leaves it none; logarithmic over decades."""
    t = np.arange(2000)
    noise = 1 + 0.01 * np.random.default_rng(0).standard_normal(2000)
    assert label_of(log_of, tmp_path, (3 - t / 2000) * noise) == "loss (as logged)"
    assert label_of(log_of, tmp_path, (3 + 8 * np.exp(-t / 50) - t / 20_000) * noise) == "loss (as logged), cut"
    assert "axis cut: the beginning and spikes go up to 1" in (tmp_path / "a.svg").read_text()
    assert label_of(log_of, tmp_path, 10 * (1 + t / 2) ** -1.0 * noise) == "loss (as logged), logarithmic"


def test_names_without_room_in_their_bars_are_written_whole(log_of: MakeLog, tmp_path: Path) -> None:
    """States of a few steps have their whole names in the picture."""
    losses = 2 + np.exp(-np.arange(6000) / 300)
    log = log_of(range(6000), losses.tolist())
    timeline = replay(load("plateau"), log, Binding(epochs=100, steps_per_epoch=60))
    assert len(timeline.decisions) == 3
    text = draw([picture_of(timeline)], tmp_path / "a.svg").read_text()
    for state in ("syntax", "words", "spelling", "full"):
        assert f">{state}<" in text
    assert "…" not in text
