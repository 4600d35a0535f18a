"""Scenario files: streams in words, what must have happened by when, and clear sentences where something is wrong."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from plateau_rule.commands import app as plateau
from plateau_rule.controller.errors import PlateauError
from plateau_rule.controller.language.amounts import RunLength
from plateau_rule.controller.language.places import Places
from plateau_rule.controller.language.reading import shipped
from plateau_rule.sim.testing.scenario import At, Result, Scenario, Suite, losses, read, run

HEAD = 'curriculum = "plateau"\nlimits = { cutoff = 1025 }\nepochs = 10\nsteps_per_epoch = 100\n'
ONE = HEAD + '[[scenario]]\nname = "it"\n'
RUN = RunLength(10, 100, None)
HERE = At(Places("", "here"))


def suite(tmp_path: Path, *scenarios: str, head: str = HEAD) -> Suite:
    """A scenario file with these scenarios, read."""
    path = tmp_path / "mine.test.toml"
    path.write_text(head + "".join(f"[[scenario]]\n{text}\n" for text in scenarios))
    return read(path)


def result(tmp_path: Path, pieces: str, expect: str, more: str = "", head: str = HEAD) -> Result:
    """What becomes of one scenario."""
    found = suite(tmp_path, f'name = "it"\nlosses = [{pieces}]\nexpect = [{expect}]\n{more}', head=head)
    return run(found, found.file.scenario[0])


def stream(*pieces: str) -> list[float]:
    """The losses that pieces stand for."""
    scenario = Scenario(name="it", losses=list(pieces), expect=[{"raises": 0}])  # type: ignore[list-item]
    return [loss for loss, _ in losses(scenario, RUN, HERE)]


def test_pieces_mean_what_they_say() -> None:
    """Each piece gives the losses that its words say; `flat` and `falls` go on from where the last one ended."""
    assert stream("flat 3.0 for 3 steps") == [3.0] * 3
    assert stream("falls from 5 to 4 over 4 steps", "flat for 2 steps") == [4.75, 4.5, 4.25, 4.0, 4.0, 4.0]
    assert stream("flat 2 for 1 step", "rises to 3 over 2 steps") == [2.0, 2.5, 3.0]
    assert stream("flat 1 for 1 epoch") == [1.0] * 100
    assert stream("flat 1 for 0.1 run") == [1.0] * 100
    assert stream("3.0 2.5, -1e-3", "flat for 1 step") == [3.0, 2.5, -1e-3, -1e-3]
    assert stream("flat 2 for 1 step", "spike 9.5", "flat for 1 step") == [2.0, 9.5, 2.0]
    lost = stream("flat 2 for 1 step", "nan 2", "inf", "flat for 1 step")
    assert [math.isfinite(loss) for loss in lost] == [True, False, False, False, True]


def test_noise_is_seeded() -> None:
    """Noise is relative, the same every time, and another with another seed; evaluations are without it."""

    def noisy(seed: int) -> list[tuple[float, float]]:
        pieces = ["flat 2 for 50 steps"]
        one = Scenario(name="it", losses=pieces, noise=0.01, seed=seed, expect=[{"raises": 0}])  # type: ignore[list-item]
        return list(losses(one, RUN, HERE))

    assert noisy(1) == noisy(1) != noisy(2)
    assert {clean for clean, _ in noisy(1)} == {2.0}
    assert 0 < max(abs(loss - 2.0) for _, loss in noisy(1)) < 0.2


@pytest.mark.parametrize(
    "expect",
    [
        '{ at = "2 epochs", state = "words", cutoff = 256, lr = 2e-4, epoch = 2 }',
        '{ before = "2 epochs", raises = 0, state = "words" }',
        '{ by = "2 epochs", state = "words" }',
        '{ by = "9 epochs", state = "syntax" }',
        '{ never = "full" }',
        '{ raises = 1, state = "words", dead = false }',
        '{ at = "0 steps", state = "syntax", cutoff = 128 }',
    ],
)
def test_what_happens_is_found_to_have_happened(tmp_path: Path, expect: str) -> None:
    """A flat loss raises the cutoff when the second epoch closes, and every way to say so holds."""
    assert result(tmp_path, '"falls from 5 to 3 over 1 epoch", "flat for 1 epoch", "falls to 1 over 7 epochs"',
                  expect).failures == []  # fmt: skip


@pytest.mark.parametrize(
    ("expect", "sentence"),
    [
        ('{ at = "2 epochs", state = "syntax" }', 'at 2 epochs: expected state "syntax", found "words" on step 200'),
        ('{ at = "2 epochs", cutoff = 512 }', "at 2 epochs: expected cutoff 512, found 256 on step 200 (epoch 2)"),
        ('{ at = "200 steps", lr = 1e-4 }', "at 200 steps: expected lr 0.0001, found 0.0002 on step 200 (epoch 2)"),
        ('{ at = "3 epochs", epoch = 2 }', "at 3 epochs: expected epoch 2, found 3 on step 300"),
        ('{ before = "201 steps", state = "words" }', 'before 201 steps: expected state "words" not to be entered'),
        ('{ by = "199 steps", state = "words" }', 'by 199 steps: expected state "words" to be entered; step 199 '),
        ('{ never = "words" }', 'expected state "words" never to be entered; it is, on step 200'),
        ("{ raises = 2 }", "at the end: expected 2 transitions, found 1 by step 300 (epoch 3)"),
        ("{ dead = true }", "expected the run to die of NaN; it did not"),
        ('{ at = "5 epochs", state = "words" }', "5 epochs is never reached: there are no more losses, at step 300"),
    ],
)
def test_what_does_not_happen_is_said(tmp_path: Path, expect: str, sentence: str) -> None:
    """An expectation that fails says what was expected, what was found and when."""
    found = result(tmp_path, '"flat 3.0 for 2 epochs", "falls to 1 over 1 epoch"', expect)
    assert len(found.failures) == 1
    assert found.failures[0].startswith(sentence)


def test_a_run_may_have_to_die(tmp_path: Path) -> None:
    """NaN in a row end the run, and that can be what is expected."""
    assert result(tmp_path, '"flat 3 for 10 steps", "nan 25"', "{ dead = true }").failures == []
    found = result(tmp_path, '"flat 3 for 10 steps", "nan 25"', '{ dead = false }, { at = "1 epoch", raises = 0 }')
    assert found.failures == [
        "expected the run not to die of NaN; it did",
        "1 epoch is never reached: the run died of NaN, at step 35",
    ]


def test_evaluations_come_when_asked_for(tmp_path: Path) -> None:
    """With eval_every a guard on val_loss is asked, on the loss without noise."""
    path = tmp_path / "by-eval.toml"
    path.write_text(
        'name = "by-eval"\n[run]\nepochs = 4\nsteps_per_epoch = 10\n[lr]\npeak = 1.0\nlength = "rest"\n'
        '[[state]]\nname = "a"\n[[state]]\nname = "b"\n[[transition]]\nfrom = "a"\nto = "b"\nat = "eval"\n'
        'guards = [{ below = { metric = "val_loss", value = 2.0 } }]\n'
    )
    found = result(tmp_path, '"falls from 4 to 1 over 20 steps"', '{ at = "15 steps", state = "b" }',
                   "eval_every = 5\nnoise = 0.3", head='curriculum = "by-eval.toml"\n')  # fmt: skip
    assert found.failures == []


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[[scenario]", "bad.test.toml:1:1: a header with one closing bracket"),
        (HEAD, 'bad.test.toml:1:1: there is no "scenario"'),
        (ONE + 'losses = ["x"]\nexpct = []', 'bad.test.toml:8:1: unknown key "expct". Did you mean "expect"?'),
        (ONE + "losses = []\nexpect = [{}]", "bad.test.toml:7:10: list should have at least 1"),
        (ONE + 'losses = ["nan"]\nexpect = [{ at = "1 step", by = "2 steps" }]', "bad.test.toml:8:11: one of at, by"),
        (ONE + 'losses = ["nan"]\nexpect = [{ by = "2 steps" }]', "bad.test.toml:8:11: by asks for a state"),
        ('curriculum = "plateu"\n[[scenario]]\nname = "it"\nlosses = ["nan"]\nexpect = [{}]', "toml:1:14: there is"),
    ],
)  # fmt: skip
def test_a_file_that_is_wrong_is_refused(tmp_path: Path, text: str, sentence: str) -> None:
    """What is no scenario file is refused in words that name the place."""
    path = tmp_path / "bad.test.toml"
    path.write_text(text)
    with pytest.raises(PlateauError) as error:
        read(path)
    assert sentence in str(error.value)


@pytest.mark.parametrize(
    ("pieces", "expect", "sentence"),
    [
        ('"flat for 3 steps"', "{ raises = 0 }", 'mine.test.toml:7:11: "flat for 3 steps" does not say from where'),
        ('"drops 3"', "{ raises = 0 }", "expected a piece such as"),
        ('"flat 3 for ages"', "{ raises = 0 }", "expected an amount of time"),
        ('"flat 3 for 1e14 steps"', "{ raises = 0 }", "expected at most 10,000,000"),
        ('"flat 3 for 3 steps"', '{ at = "2 parsecs" }', "expected an amount of time"),
        ('"flat 3 for 3 steps"', '{ state = "word" }', 'no state "word". Did you mean "words"?'),
        ('"flat 3 for 3 steps"', "{ cutof = 3 }", 'mine.test.toml:8:13: no knob "cutof". Did you mean "cutoff"?'),
    ],
)
def test_words_without_meaning_are_refused(tmp_path: Path, pieces: str, expect: str, sentence: str) -> None:
    """Pieces, times, states and knobs that mean nothing are refused, with what was probably meant."""
    with pytest.raises(PlateauError) as error:
        result(tmp_path, pieces, expect)
    assert sentence in str(error.value)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`plateau test` exits with 0, 1 or 2, and shows of a failure what was decided and what the guards said."""
    suite(tmp_path, 'name = "good"\nlosses = ["flat 3 for 2 epochs"]\nexpect = [{ raises = 1 }]')
    path = str(tmp_path / "mine.test.toml")
    assert plateau.main(["test", path]) == 0
    assert capsys.readouterr().out.splitlines()[1:] == ["  ok: good"]
    suite(tmp_path, 'name = "bad"\nlosses = ["flat 3 for 1 epoch"]\nexpect = [{ at = "1 epoch", state = "words" }]')
    assert plateau.main(["test", path]) == 1
    out = capsys.readouterr().out
    assert "FAILED: bad" in out
    assert "no transition was taken" in out
    assert "min_epoch: 1 epoch complete, 2 needed" in out
    assert plateau.main(["test", str(tmp_path / "none.toml")]) == 2
    assert "No such file" in capsys.readouterr().err
    assert plateau.main(["test"]) == 2


def test_a_limit_that_is_none(tmp_path: Path) -> None:
    """A limit that is no number above 0 is a mistake in the scenario file, with its place."""
    with pytest.raises(PlateauError) as error:
        suite(tmp_path, 'name = "it"\nlosses = ["nan"]\nexpect = [{ raises = 0 }]', head=HEAD.replace("1025", "nan"))
    assert str(error.value).startswith(
        f"{tmp_path / 'mine.test.toml'}:2:21: limits.cutoff: nan; expected a number above 0\n"
    )


def test_what_is_said_beside_the_file_comes_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`plateau test --limit` and its like replace what the file says; what is not said there stays the file's."""
    expect = '{ at = "2 epochs", state = "words", lr = 0.5 }, { cutoff = 700 }'
    scenario = f'name = "it"\nlosses = ["flat 2 for 9 epochs"]\nexpect = [{expect}]'
    path = suite(tmp_path, scenario).path
    words = ["--limit", "cutoff=700", "--steps-per-epoch", "60", "--peak", "0.5"]
    assert plateau.main(["test", str(path)]) == 1
    assert plateau.main(["test", str(path), *words]) == 0
    capsys.readouterr()


def test_a_curriculum_is_no_scenario_file() -> None:
    """A curriculum, given as scenarios, is called that in one sentence, with the command that checks it."""
    with pytest.raises(PlateauError) as refused:
        read(shipped()["plateau"])
    assert str(refused.value).split("\n")[0].endswith(f"To check it: plateau check {shipped()['plateau']}")


@pytest.mark.parametrize(
    ("key", "said"), [("by", 'Say the unit: "3000 steps"'), ("state", "a text in quotation marks")]
)
def test_numbers_for_texts(key: str, said: str, tmp_path: Path) -> None:
    """A number where a text is asked for is shown; of a moment, with the unit that it may have had."""
    file = tmp_path / "mine.test.toml"
    scenario = f'name = "x"\nlosses = ["from 3 to 3 over 1 epoch"]\nexpect = [{{ {key} = 3000 }}]\n'
    file.write_text(f'curriculum = "plateau"\n[[scenario]]\n{scenario}')
    with pytest.raises(PlateauError) as refused:
        read(file)
    assert "found 3000; expected a text in quotation marks" in str(refused.value)
    assert said in str(refused.value)
