"""`plateau generate`, `evaluate` and `export`: what was trained is used, and whatever else is named is one sentence."""

from __future__ import annotations

import io
import json
import os
import re
import runpy
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("torch", reason="what was trained needs torch")

import safetensors.torch
import torch

from plateau_rule.commands import app as plateau
from plateau_rule.commands.generate import Shown
from plateau_rule.fftcore.checkpoint import Checkpoints, read_commit
from plateau_rule.fftcore.errors import CheckpointError
from plateau_rule.fftcore.evaluate import score_text
from plateau_rule.fftcore.export import read_export
from plateau_rule.fftcore.generate import generate
from plateau_rule.fftcore.model import SpectralLM
from plateau_rule.fftcore.reading import read_trained
from plateau_rule.fftcore.sealed import seal, unseal
from plateau_rule.fftcore.storage import Disk
from tests.conftest import ROOT
from tests.fftcore.micro import contents, micro_text, run

STEPS = 32
USES = ("generate {}", "evaluate {} --data text", "export {} -o new")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a micro run; it ends at the full cutoff, and its checkpoint of step 20 is under one of 256 bins."""
    out = tmp_path_factory.mktemp("whole") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("plateau_rule.fftcore.finish.draw_run", lambda *given: None)
        assert run(out, keep=10) == 0
    return out


@pytest.fixture
def here(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder we are in: a copy of that run, and a text."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(whole, "run")
    Path("text").write_bytes(micro_text()[:3000])
    return tmp_path


def refused(capfd: pytest.CaptureFixture[str], words: str) -> str:
    """The one sentence that a command is refused with; whatever is in the folder stays as it is."""
    before = contents(Path())
    assert plateau.main(words.split()) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1, err
    assert contents(Path()) == before
    return err.strip()


def written(capfdbinary: pytest.CaptureFixture[bytes], *words: str) -> bytes:
    """What `generate` writes, and nothing beside it."""
    assert plateau.main(["generate", *words]) == 0
    out, err = capfdbinary.readouterr()
    assert err == b""
    return out


# Generating


def test_a_pipe_gets_the_bytes_as_they_are(here: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    """The standard output holds the bytes that the model draws, as many as were asked for, and nothing else."""
    model = read_trained(Path("run")).model
    out = written(capfdbinary, "run", "--prompt", "To be", "--bytes", "70", "--seed", "5", "--temperature", "1.5")
    assert out == generate(model, b"To be", 70, seed=5, temperature=1.5)
    assert not out.isascii()  # so early, it writes anything
    out = written(capfdbinary, "run", "--prompt", "To be", "--bytes", "20", "--top-p", "0.3", "--byte-by-byte")
    assert out == generate(model, b"To be", 20, top_p=0.3)


def test_prompts(here: Path, capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    """A prompt is bytes: from the command line, a file or the standard input; by default, a blank line."""
    prompt = "h\xe9las \N{GREEK SMALL LETTER ALPHA}".encode() + b"\xff\x00"
    Path("prompt").write_bytes(prompt)
    expected = generate(read_trained(Path("run")).model, prompt, 30)
    assert written(capfdbinary, "run", "--prompt-file", "prompt", "--bytes", "30") == expected
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(prompt)))
    assert written(capfdbinary, "run", "--prompt-file", "-", "--bytes", "30") == expected
    told = os.fsdecode(prompt[:-1])  # a command line holds no zero byte
    expected = generate(read_trained(Path("run")).model, prompt[:-1], 30)
    assert written(capfdbinary, "run", "--prompt", told, "--bytes", "30") == expected
    expected = generate(read_trained(Path("run")).model, b"\n\n", 30)
    assert written(capfdbinary, "run", "--bytes", "30") == expected


@pytest.mark.parametrize(
    ("pieces", "shown"),
    [
        ([b"To be\n"], "To be\n"),
        ([b"\xc3", b"\xa9t", b"\xc3\xa9"], "\xe9t\xe9\n"),
        ([b"a\xffb\xc3"], "a\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}\n"),
        ([b"\x1b[2J", b"a\tb\r"], "\N{REPLACEMENT CHARACTER}[2Ja\tb\N{REPLACEMENT CHARACTER}\n"),
        ([b"\xe2\x82", b"\xac"], "\N{EURO SIGN}\n"),
    ],
)  # fmt: skip
def test_a_terminal_shows_text(pieces: list[bytes], shown: str) -> None:
    """A character is shown when its last byte is there; what is no UTF-8, or would be obeyed, as a mark."""
    terminal = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", newline="\n")
    show = Shown(terminal)
    for piece in pieces:
        show.write(piece)
    show.close()
    terminal.seek(0)
    assert terminal.read() == shown


def test_a_terminal_of_few_characters() -> None:
    """What a terminal's encoding cannot spell is a question mark, and no error."""
    terminal = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    show = Shown(terminal)
    show.write("\xe9".encode())
    show.close()
    terminal.seek(0)
    assert terminal.read() == "?\n"


def test_statistics(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """With --stats, the last lines say what wrote, how fast, and what drafts brought; the text is compared."""
    assert plateau.main(["generate", "run", "--bytes", "300", "--stats"]) == 0
    first, second = capfd.readouterr().err.splitlines()
    assert first.startswith("step 32, cutoff 1025 bins (0.5 cycles/byte), 12 taps: 300 bytes in ")
    assert "times as fast as byte by byte" in second or "none: on this machine" in second
    assert "ANOTHER" not in second
    assert plateau.main(["generate", "run", "--bytes", "3", "--stats", "--byte-by-byte"]) == 0
    assert capfd.readouterr().err.endswith("drafts: none were asked for\n")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("--temperature -1", "--temperature -1: expected a number of at least 0"),
        ("--temperature nan", "--temperature nan: expected a number of at least 0"),
        ("--top-p 0", "--top-p 0: expected a number above 0, up to 1"),
        ("--top-p 1.5", "--top-p 1.5: expected a number above 0, up to 1"),
        ("--bytes 0", "plateau generate: --bytes 0; expected at least 1. See: plateau generate --help"),
        ("--prompt= ", "the prompt is empty; expected at least one byte"),
        ("--prompt a --prompt-file text", "--prompt and --prompt-file: name one of them"),
        ("--prompt-file none", "none: No such file or directory"),
        ("--step 7", "run: has no checkpoint of step 7; it has those of 0, 5, 10, 15, 16, 20, 24, 25, 30, 32"),
    ],
)
def test_what_cannot_be_generated(here: Path, capfd: pytest.CaptureFixture[str], words: str, sentence: str) -> None:
    """What cannot be is one sentence, and exit code 2."""
    assert refused(capfd, f"generate run {words}") == sentence


# Evaluating


def test_evaluate(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Bits per byte over a whole file are those of byte by byte to 1e-6, and stand beside the knobs in force."""
    trained = read_trained(Path("run"))
    content = Path("text").read_bytes()
    expected = score_text(trained.model, [content], 1)
    assert plateau.main(["evaluate", "run", "--data", "text", "--json"]) == 0
    found = json.loads(capfd.readouterr().out)
    assert found["bytes"] == expected.predicted == len(content) - 1
    assert found["bits_per_byte"] == pytest.approx(expected.bits_per_byte, abs=1e-6)
    assert (found["step"], found["knobs"]) == (STEPS, {"cutoff": 1025, "kernel_taps": 12, "depth": 1})
    assert found["byte_by_byte"]["bytes"] == 1024
    assert plateau.main(["evaluate", "run", "--data", "text", "--step", "20"]) == 0
    first, second, third = capfd.readouterr().out.splitlines()
    assert first.endswith("on 2,999 bytes of text")
    assert second.startswith("step 20, cutoff 256 bins (0.125 cycles/byte), 12 taps; ")
    assert third.startswith("first 1,024 bytes: ")


@pytest.mark.parametrize("size", [2, 63, 64, 65, 66, 1025, 1026])
def test_evaluate_any_length(here: Path, capfd: pytest.CaptureFixture[str], size: int) -> None:
    """A file of any length of at least two bytes is scored to its last byte."""
    Path("short").write_bytes(micro_text()[:size])
    assert plateau.main(["evaluate", "run", "--data", "short", "--json"]) == 0
    found = json.loads(capfd.readouterr().out)
    expected = score_text(read_trained(Path("run")).model, [micro_text()[:size]], 1)
    assert found["bytes"] == expected.predicted == size - 1
    assert found["bits_per_byte"] == pytest.approx(expected.bits_per_byte, abs=1e-6)


def test_evaluate_sees_a_leak(here: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Canary: a model that sees the next byte of its block is refused, for byte by byte it does not."""
    read = SpectralLM.read

    def peeking(self: SpectralLM, bytes_BW: torch.Tensor, *given: object) -> torch.Tensor:
        hidden_WBD = read(self, bytes_BW, *given)  # type: ignore[arg-type]
        following_WB = bytes_BW.T.long()[1:]
        hidden_WBD[:-1] += 30 * self.table.weight[following_WB]
        return hidden_WBD

    monkeypatch.setattr(SpectralLM, "read", peeking)
    assert refused(capfd, "evaluate run --data text").startswith("leak: ")


@pytest.mark.parametrize("content", [b"", b"a"])
def test_nothing_to_predict(here: Path, capfd: pytest.CaptureFixture[str], content: bytes) -> None:
    """A file with no byte that could be predicted is refused."""
    Path("short").write_bytes(content)
    told = refused(capfd, "evaluate run --data short")
    assert told == f"short: has {len(content)} bytes; expected at least 2, to predict one"


def test_no_file_to_predict(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A file that is missing, and a folder, are named."""
    assert refused(capfd, "evaluate run --data none") == "none: No such file or directory"
    assert refused(capfd, "evaluate run --data run") == "run: Is a directory"
    assert refused(capfd, "evaluate run") == "plateau evaluate: --data is missing. See: plateau evaluate --help"


# Exporting


def test_an_export_is_the_model(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """An export has the run's weights and the knobs of its step in force, and is used as a run is."""
    assert plateau.main(["export", "run", "-o", "model", "--step", "20"]) == 0
    assert capfd.readouterr().out.startswith("Exported: model (step 20, cutoff 256 bins (0.125 cycles/byte), 12 taps; ")
    assert {path.name for path in Path("model").iterdir()} == {"config.json", "model.safetensors"}
    trained, exported = read_trained(Path("run"), 20), read_export("model")
    assert (exported.step, exported.knobs) == (20, trained.knobs)
    assert generate(exported.model, b"To be", 50) == generate(trained.model, b"To be", 50)
    assert generate(exported.model, b"To be", 50) != generate(read_trained(Path("run")).model, b"To be", 50)
    scores = []
    for place in ("model", "run --step 20"):
        assert plateau.main(f"evaluate {place} --data text --json".split()) == 0
        scores.append(json.loads(capfd.readouterr().out)["bits_per_byte"])
    assert scores[0] == scores[1]
    assert refused(capfd, "generate model --step 5") == "model: is an export of step 20, and not of 5"


def test_an_export_takes_the_place_of_an_export(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """An export is written over another, into an empty folder, and of an export; a new one is there whole."""
    Path("empty").mkdir()
    for words in ("run -o model", "run -o model --step 20", "model -o empty", "run -o deep/er/model"):
        assert plateau.main(f"export {words}".split()) == 0
    assert read_export("model").step == read_export("empty").step == 20
    assert read_export("deep/er/model").step == STEPS
    assert not list(Path().rglob(".*"))


def test_nothing_else_is_written_over(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A folder with anything but an export in it is refused, even if its files have the names of ours."""
    assert "run: holds files that are no export (checkpoints, " in refused(capfd, "export run -o run")
    assert refused(capfd, "export run -o text").startswith("text: is a file, and an export is a folder.")
    Path("other").mkdir()
    Path("other/config.json").write_text('{"model_type": "gpt2"}\n')
    Path("other/model.safetensors").write_bytes(b"theirs")
    told = refused(capfd, "export run -o other")
    assert told.startswith("other/config.json: no config of an export of ours: ")
    assert told.endswith("It is not written over: name a new folder by --out")
    Path("other/config.json").unlink()
    assert "is missing" in refused(capfd, "export run -o other")


def damaged(folder: Path) -> list[str]:
    """Damage an export in every way, one after the other, and return what is said of each."""
    whole, told = contents(folder), []

    def say(**changed: bytes | None) -> None:
        for name, content in {"config.json": "config", "model.safetensors": "weights"}.items():
            given = changed.get(content, whole[name])
            (folder / name).unlink(missing_ok=True)
            if given is not None:
                (folder / name).write_bytes(given)
        with pytest.raises(CheckpointError) as caught:
            read_trained(folder)
        told.append(str(caught.value))

    config, weights = unseal(whole["config.json"]), whole["model.safetensors"]
    say(weights=None)
    say(config=None)
    say(weights=weights[:-1])
    say(weights=weights[:-1] + bytes([weights[-1] ^ 1]))
    say(config=whole["config.json"].replace(b"12", b"11"))
    say(config=b"{}")
    say(config=b"[" * 100_000)
    say(config=seal(config | {"format": 2}))
    say(config=seal(config | {"kind": "a car"}))
    say(config=seal(config | {"knobs": {"cutoff": 0, "kernel_taps": 12}}))
    say(config=seal(config | {"knobs": {"cutoff": 5, "kernel_taps": 13}}))
    say(config=seal(config | {"model": config["model"] | {"layers": 2**31 - 1}}))
    say(config=seal(config | {"model": config["model"] | {"d_model": 2**31 - 2}}))
    say(config=seal(config | {"model": config["model"] | {"d_model": 16}}))
    say(config=seal(config | {"extra": 1}))
    return told


def test_damaged_exports(here: Path) -> None:
    """An export that was changed, or is another program's, is refused with a sentence that names the file."""
    assert plateau.main(["export", "run", "-o", "model"]) == 0
    for sentence in damaged(Path("model")):
        assert sentence.startswith(("model/config.json: ", "model/model.safetensors: ")), sentence
        assert "\n" not in sentence


def test_links_are_not_followed(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A link, a pipe or a folder in the place of an export's file is refused, and not waited for."""
    assert plateau.main(["export", "run", "-o", "model"]) == 0
    capfd.readouterr()
    for name in ("config.json", "model.safetensors"):
        content = Path("model", name).read_bytes()
        for put in (lambda path: path.symlink_to("../text"), os.mkfifo, Path.mkdir):
            Path("model", name).unlink()
            put(Path("model", name))
            assert refused(capfd, "generate model").startswith(f"model/{name}: ")
            Path("model", name).rmdir() if Path("model", name).is_dir() else Path("model", name).unlink()
            Path("model", name).write_bytes(content)


def test_a_full_disk(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the disk refuses, no folder of that name is there; the next attempt succeeds."""

    def full(self: Disk, file: int, content: memoryview) -> int:
        raise OSError(28, "No space left on device")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Disk, "_write", full)
        assert plateau.main(["export", "run", "-o", "model"]) == 2
    assert not Path("model").exists()
    assert plateau.main(["export", "run", "-o", "model"]) == 0
    assert read_export("model").step == STEPS


def test_the_page_s_programs(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The programs in docs/using.md, five lines each, load an export, score it and let it write."""
    assert plateau.main(["export", "run", "-o", "sizes-model"]) == 0
    capfd.readouterr()
    page = (ROOT / "docs" / "using.md").read_text()
    programs = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert len(programs) == 2
    for program in programs:
        Path("program.py").write_text(program)
        assert len([line for line in program.splitlines() if line and not line.startswith(("import ", "from "))]) <= 5
        runpy.run_path("program.py")
    assert len(capfd.readouterr().out.encode()) > 200


# Whatever is named


@pytest.mark.parametrize("use", USES)
def test_not_a_run(here: Path, capfd: pytest.CaptureFixture[str], use: str) -> None:
    """What is no run, or has saved nothing yet, is one sentence."""
    Path("folder").mkdir()
    Path("begun").mkdir()
    shutil.copy("run/run.json", "begun/run.json")
    assert refused(capfd, use.format("none")) == "none: does not exist. Name the folder of a run"
    assert refused(capfd, use.format("text")) == "text: is no folder. Name the folder of a run"
    assert refused(capfd, use.format("folder")) == (
        "folder: holds no run of `plateau train`: neither run.json nor checkpoints. Name the folder of one"
    )
    assert refused(capfd, use.format("begun")) == (
        "begun: the run has no checkpoint yet; its first is written when training begins"
    )


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("named", ["run", "run/checkpoints", "run/checkpoints/step-00000032"])
def test_a_checkpoint_of_another_run(here: Path, capfd: pytest.CaptureFixture[str], use: str, named: str) -> None:
    """A whole checkpoint that another run made is not taken for this one's; a damaged record keeps none from use."""
    record = unseal(Path("run/run.json").read_bytes())
    Path("run/run.json").write_bytes(seal({**record, "seed": 7}))
    assert "a checkpoint of another model or run: its seed differs from what run.json says" in refused(
        capfd, use.format(named)
    )
    Path("run/run.json").write_bytes(b"damaged")
    assert plateau.main(use.format(named).split()) == 0


@pytest.mark.parametrize("use", USES)
def test_damaged_commits(here: Path, capfd: pytest.CaptureFixture[str], use: str) -> None:
    """Damaged commits are passed over, which is said; where none is whole, or one is named, that is one sentence."""
    for step in (32, 30):
        path = Path(f"run/checkpoints/step-{step:08d}/weights.safetensors")
        path.write_bytes(path.read_bytes()[:-1] + b"?")
    assert plateau.main(use.format("run").split()) == 0
    passed = capfd.readouterr().err.splitlines()
    assert [line.partition(":")[0] for line in passed] == ["passed over"] * 2
    assert all("was changed after it was written" in line for line in passed)
    shutil.rmtree("new", ignore_errors=True)
    assert "step-00000032: weights.safetensors was changed" in refused(capfd, f"{use.format('run')} --step 32")
    assert "step-00000032: weights.safetensors was changed" in refused(
        capfd, use.format("run/checkpoints/step-00000032")
    )
    for path in Path("run/checkpoints").rglob("state.json"):
        path.unlink()
    assert refused(capfd, use.format("run")).startswith("run/checkpoints: no checkpoint here is whole: ")


@pytest.mark.parametrize("place", ["run", "run/checkpoints", "run/checkpoints/step-00000032"])
def test_places_of_a_run(here: Path, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run is named by its folder, by its checkpoints', or by that of one of them, from anywhere."""
    assert read_trained(Path(place)).step == STEPS
    monkeypatch.chdir(place)
    assert read_trained(Path()).step == STEPS


def test_a_run_that_is_going_on(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A commit that is removed while it is read is no reason to fail: the run has made a newer one by then."""
    folder = Path("run/checkpoints")
    for step in (0, 5, 10, 15, 16, 20, 24, 25, 30):
        shutil.move(folder / f"step-{step:08d}", f"aside-{step}")
    newest = Checkpoints.newest

    def overtaken(self: Checkpoints) -> object:
        if Path("aside-30").exists():
            shutil.rmtree(folder / "step-00000032")
            Path(folder / "step-00000032").mkdir()
            try:
                return newest(self)
            finally:
                shutil.rmtree(folder / "step-00000032")
                shutil.move("aside-30", folder / "step-00000030")
        return newest(self)

    monkeypatch.setattr(Checkpoints, "newest", overtaken)
    assert read_trained(Path("run")).step == 30


@pytest.mark.parametrize(
    "knobs",
    [{"cutoff": 0}, {"cutoff": 2000}, {"cutoff": "full"}, {"cutoff": 1.5}, {"kernel_taps": 13}, {"depth": 2}, [], None],
)
def test_knobs_that_cannot_be(here: Path, knobs: object) -> None:
    """A commit whose knobs are none that the model can have is refused, and so is one that says none."""
    commit = read_commit(Path("run/checkpoints/step-00000032"))
    plan = {} if knobs is None else {"knobs": knobs}
    state = json.loads(commit.files["state.json"])
    state["controller"]["plan"] = plan
    path = Checkpoints(Path("other"), 1, Disk()).save(32, {**commit.files, "state.json": json.dumps(state).encode()})
    with pytest.raises(CheckpointError, match=r"other/step-00000032: state\.json cannot be read: "):
        read_trained(path)


def test_a_foreign_model(here: Path) -> None:
    """Weights of another shape than the commit says, or that are not finite, are refused by name."""
    commit = read_commit(Path("run/checkpoints/step-00000032"))
    tensors = safetensors.torch.load(commit.files["weights.safetensors"])
    for changed, told in (
        ({"table.weight": torch.zeros(256, 9)}, r"table\.weight is \[256, 9\] there"),
        ({"table.weight": torch.full((256, 8), torch.nan)}, r"table\.weight is not finite"),
        ({"blocks.1.mix_norm.weight": torch.zeros(8)}, "of 2 layers, and not of 1"),
    ):
        packed = {**commit.files, "weights.safetensors": safetensors.torch.save(tensors | changed)}
        path = Checkpoints(Path("other"), 1, Disk()).save(32, packed)
        with pytest.raises(CheckpointError, match=told):
            read_trained(path)
        shutil.rmtree("other")
