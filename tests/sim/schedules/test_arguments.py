"""In whatever form the arguments of a trainer come, the same curriculum is read; and what is none is said in a line."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plateau_rule.controller.errors import PlateauError
from plateau_rule.controller.extras import EXTRAS
from plateau_rule.sim.schedules import ScheduleError, import_schedule
from plateau_rule.sim.schedules.arguments import LARGEST_BYTES

PLAIN = "--lr 6e-5 --min-lr 6e-6 --train-iters 1000 --lr-warmup-iters 10 --lr-decay-style cosine"
FORMS = {
    "a command": f"torchrun --nproc-per-node 8 pretrain_gpt.py --num-layers 96 {PLAIN} --bf16",
    "lines": PLAIN.replace(" --", "\n--") + "\n",
    "equals": PLAIN.replace(" --", "\n--").replace(" ", "="),
    "underscores": "--lr 6e-5 --min_lr 6e-6 --train_iters 1000 --lr_warmup_iters 10 --lr_decay_style cosine",
    "continued": "train \\\n  " + PLAIN.replace(" --", " \\\n  --"),
    "Windows": "train \\\r\n  " + PLAIN.replace(" --", " \\\r\n  --") + "\r\n",
    "quoted": f'ARGS="\n{PLAIN}\n"\ntrain $ARGS\n',
    "an array": "ARGS=(\n    " + PLAIN.replace(" --", "\n    --") + "\n)\ntrain ${ARGS[@]}\n",
    "an array that starts at once": f"ARGS=({PLAIN})\ntrain ${{ARGS[@]}}\n",
    "comments": f"# --lr 1\n{PLAIN} # --lr 2\necho it's a pity\n",
    "variables": "LR=6e-5\nexport MIN=${MIN:-6e-6}\nN=$(( 10 * 100 ))\n"
    'train --lr $LR --min-lr "${MIN}" --train-iters $N --lr-warmup-iters $((N / 100)) --lr-decay-style ${S:-cosine}',
    "twice the same": f"{PLAIN} --lr 6e-5",
    "JSON": json.dumps({"lr": 6e-5, "min_lr": 6e-6, "train_iters": 1000, "lr_warmup_iters": 10,
                        "lr_decay_style": "cosine", "lr_warmup_fraction": None, "num_layers": 2}),
    "JSON in a table": json.dumps({"model": {"layers": 2}, "rate": {"lr": 6e-5, "min_lr": 6e-6, "train_iters": 1000,
                                   "lr_warmup_iters": 10, "lr_decay_style": "cosine"}}),
    "YAML": "# args\nlr: 6e-5\nmin_lr: 6e-6\ntrain_iters: 1000\nlr-warmup-iters: 10\nlr_decay_style: cosine\n",
}  # fmt: skip


def meaning(text: str) -> str:
    """A curriculum without its comments."""
    lines = (line.partition("#")[0] for line in text.splitlines())
    return "\n".join(" ".join(line.split()) for line in lines if line.strip())


@pytest.mark.parametrize("form", FORMS)
def test_one_schedule_in_every_form(form: str) -> None:
    """A command, a script, a file of arguments, JSON and YAML say the same."""
    if form == "YAML":
        pytest.importorskip("yaml")
    plain, _ = import_schedule(PLAIN.encode(), "x.sh")
    text, _ = import_schedule(FORMS[form].encode(), "x.sh")
    assert meaning(text) == meaning(plain)


def test_transformers_on_a_command_line() -> None:
    """Flags of Transformers, with `_` or `-`, and a table in JSON."""
    flags = (b"""python run_clm.py --learning-rate 1e-4 --max_steps 100 --lr_scheduler_type cosine_with_min_lr"""
             b""" --lr_scheduler_kwargs '{"min_lr": 1e-5}' --do_train""")  # fmt: skip
    text, _ = import_schedule(flags, "run.sh")
    assert re.search(r"floor +=.*# lr_scheduler_kwargs min_lr: 1e-05", text)


def test_the_name_is_that_of_the_file() -> None:
    """The curriculum has the file's name, as far as a name may hold it."""
    assert 'name   = "my-run-2"' in import_schedule(PLAIN.encode(), "runs/my run.2.sh")[0]
    assert 'name   = "imported"' in import_schedule(PLAIN.encode(), "7.sh")[0]


REFUSED = {
    b"": "the file is empty",
    b" \n": "the file is empty",
    b"\x80\x02}q\x00": "this is no text",
    b"--lr 1\x00": "this is no text",
    b"--lr 1 " + b"x" * LARGEST_BYTES: "larger than 256 KiB",
    b"hello": "no argument here says",
    b"--hidden-size 12": "no argument here says",
    b'{"hidden_size": 12}': "no argument here says",
    b'{"lr": 1,': "this JSON is broken in line 1",
    b"[1, 2]": "holds no table of arguments",
    b"[" * 100_000: "this JSON is broken",
    b'{"lr": 1e-4, "a": {"lr": 3}, "train_iters": "many"}': "train_iters: many is not a number",
    b'{"a": {"lr": 1}, "b": {"lr": 2}}': "stand beside each other",
    b'{"lr": {"a": 1}, "train_iters": 3}': "is not a number",
    b'{"lr": true, "train_iters": 3}': "is not a number",
    b'{"learning_rate": 1e999}': "is not a number",
    b"A=$B\nB=$A\ntrain --lr $A --train-iters 3": "depends on",
    b"A=${B}${B}${B}${B}\nB=${C}${C}${C}${C}\nC=${D}${D}${D}${D}\nD=12345678901234567890\n--lr $A": "very long",
    b"N=$((10 ** 99999999))\n--lr 1e-4 --train-iters $N": "depends on the sum",
    b"N=$((1 / 0))\n--lr 1e-4 --train-iters $N": "depends on the sum",
    b"--lr $(cat rate) --train-iters 3": "is not a number",
}


@pytest.mark.parametrize("content", REFUSED)
def test_what_is_no_schedule(content: bytes) -> None:
    """An empty file, one that is too large, no text, broken JSON, and values that nothing sets: one line each."""
    with pytest.raises(ScheduleError) as error:
        import_schedule(content, "x.sh")
    assert REFUSED[content] in str(error.value)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 500


def test_broken_yaml() -> None:
    """What YAML cannot be read is said with its line."""
    pytest.importorskip("yaml")
    with pytest.raises(ScheduleError, match="this YAML is broken in line 2"):
        import_schedule(b"lr: 1\n  x: [", "x.yaml")


def test_yaml_belongs_to_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the library for it, what is missing is the one that the command has a sentence for."""
    monkeypatch.setitem(__import__("sys").modules, "yaml", None)
    with pytest.raises(ImportError) as error:
        import_schedule(b"lr: 1\ntrain_iters: 3", "x.yaml")
    assert error.value.name in EXTRAS


TOKENS = st.sampled_from([
    "--lr", "1e-4", "--min-lr", "--train-iters", "100", "--train-samples", "--global-batch-size", "8", "$N", "${N:-3}",
    "--rampup-batch-size", "2", "2", "50", "--lr-decay-style", "cosine", "WSD", "(", ")", '"', "'", "N=4", "\n", "\\\n",
    "$((", "))", "{", "}", "--learning_rate", "--lr_scheduler_type", "--max_steps", "#", "--lr-warmup-samples", ":",
])  # fmt: skip


@given(st.lists(TOKENS, max_size=30).map(" ".join) | st.text(max_size=60) | st.binary(max_size=60).map(repr))
def test_nothing_else_is_raised(text: str) -> None:
    """Whatever stands in a file, it becomes a curriculum or is refused in one line."""
    said = ""
    try:
        curriculum, report = import_schedule(text.encode("utf-8", "replace"), "x.sh")
    except PlateauError as error:
        said = str(error)
    except ImportError as error:
        said = error.name or ""
    else:
        assert curriculum.startswith("# Imported from x.sh")
        assert not report.broken
    assert said == "" or said == "yaml" or (said.startswith("x.sh: ") and len(said.splitlines()) == 1)


def test_every_argument_is_on_the_page(pytestconfig: pytest.Config) -> None:
    """docs/coming-from.md names every argument that is read."""
    from plateau_rule.sim.schedules import megatron, transformers

    page = (Path(pytestconfig.rootpath) / "docs" / "coming-from.md").read_text(encoding="utf-8")
    names = {f"--{name.replace('_', '-')}" for name in megatron.KNOWN} | set(transformers.KNOWN)
    assert {name for name in names if name not in page} == set()
