"""Ways to damage a run's folder, each drawn anew: its commits, logs, records and names, and hashes that fit again."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

from plateau_rule.fftcore.sealed import seal, unseal

Damage = Callable[[Path, Path, random.Random], None]
DAMAGES: list[Damage] = []
LOGS = ("metrics.jsonl", "decisions.jsonl")
ODD: tuple[Any, ...] = (
    None, True, False, -1, 0, 1, 2, 1e300, 0.5, 10**40, "", "x", "NaN", "0", [], {}, [[]], "../..", "\x00", -1e-300
)  # fmt: skip


def damage(how: Damage) -> Damage:
    """Take a way into the list: it gets a run's folder, a folder outside of it, and chance."""
    DAMAGES.append(how)
    return how


def commits(run: Path) -> list[Path]:
    """The run's commits, oldest first."""
    return sorted(path for path in (run / "checkpoints").iterdir() if path.name.startswith("step-"))


def some_file(run: Path, chance: random.Random) -> Path:
    """Any file of the run."""
    return chance.choice(sorted(path for path in run.rglob("*") if path.is_file()))


def in_place(path: Path, outside: Path, chance: random.Random) -> None:
    """Put something else where a path leads to: a link, a pipe, a folder, or nothing."""
    kind = chance.randrange(6)
    if path.is_dir() and not path.is_symlink():
        aside = outside / f"moved-{path.name}"
        shutil.move(path, aside)
    elif os.path.lexists(path):
        aside = outside / f"moved-{path.name}"
        path.rename(aside)
    else:
        aside = outside / "precious"
    if kind == 0:
        path.symlink_to(aside)
    elif kind == 1:
        path.symlink_to(outside / "absent")
    elif kind == 2:
        os.mkfifo(path)
    elif kind == 3:
        path.mkdir()
        (path / "file").write_bytes(b"x")
    elif kind == 4:
        path.symlink_to("/dev/zero")


def edited(content: Any, chance: random.Random) -> Any:
    """Change one value, anywhere in a document, or take it away."""
    place, way = content, list[tuple[Any, Any]]()
    while isinstance(place, dict | list) and place and (not way or chance.random() < 0.8):
        key = chance.choice(sorted(place)) if isinstance(place, dict) else chance.randrange(len(place))
        way.append((place, key))
        place = place[key]
    holder, key = way[-1]
    if chance.random() < 0.3:
        del holder[key]
    else:
        holder[key] = chance.choice([value for value in ODD if value != place])
    return content


def repaired(commit: Path) -> None:
    """Make a commit's hashes fit what it holds now."""
    manifest = unseal((commit / "manifest.json").read_bytes())
    manifest["files"] = {
        path.name: {"bytes": path.stat().st_size, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
        for path in sorted(commit.iterdir())
        if path.name != "manifest.json"
    }
    (commit / "manifest.json").write_bytes(seal(manifest))


# Bytes


@damage
def truncated(run: Path, outside: Path, chance: random.Random) -> None:
    """Cut any file anywhere."""
    path = some_file(run, chance)
    os.truncate(path, chance.randrange(path.stat().st_size))


@damage
def flipped(run: Path, outside: Path, chance: random.Random) -> None:
    """Flip one bit of any file."""
    path = some_file(run, chance)
    content = bytearray(path.read_bytes())
    content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    path.write_bytes(content)


@damage
def lengthened(run: Path, outside: Path, chance: random.Random) -> None:
    """Add some bytes at the end of any file."""
    path = some_file(run, chance)
    path.write_bytes(path.read_bytes() + chance.randbytes(chance.randrange(1, 50)) + b"x")


@damage
def zeroed(run: Path, outside: Path, chance: random.Random) -> None:
    """Put zeros where a block of any file was, as some file systems do after a power cut."""
    path = some_file(run, chance)
    content = bytearray(path.read_bytes())
    at = chance.randrange(len(content))
    content[at : at + 512] = bytes(len(content[at : at + 512]))
    path.write_bytes(content)


@damage
def swapped(run: Path, outside: Path, chance: random.Random) -> None:
    """Let two files change places."""
    one, other = chance.sample(sorted(path for path in run.rglob("*") if path.is_file()), 2)
    content = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(content)


@damage
def removed(run: Path, outside: Path, chance: random.Random) -> None:
    """Remove any file."""
    some_file(run, chance).unlink()


@damage
def replaced(run: Path, outside: Path, chance: random.Random) -> None:
    """Put a link, a pipe, a folder or nothing in place of any file."""
    in_place(some_file(run, chance), outside, chance)


@damage
def several(run: Path, outside: Path, chance: random.Random) -> None:
    """Do some of this to several files."""
    for how in chance.sample([truncated, flipped, lengthened, zeroed, swapped], 3):
        how(run, outside, chance)


# Logs


@damage
def log_of_the_same_length(run: Path, outside: Path, chance: random.Random) -> None:
    """Change digits of a log."""
    path = run / "metrics.jsonl"
    content = bytearray(path.read_bytes())
    digits = [at for at, letter in enumerate(content) if letter in b"0123456789"]
    for at in chance.sample(digits, chance.randrange(1, 5)):
        content[at] = ord("0") + (content[at] - ord("0") + chance.randrange(1, 10)) % 10
    path.write_bytes(content)


@damage
def rows(run: Path, outside: Path, chance: random.Random) -> None:
    """Remove, repeat or exchange rows of a log."""
    path = run / LOGS[0]
    lines = path.read_bytes().splitlines(keepends=True)
    at = chance.randrange(len(lines) - 1)
    kind = chance.randrange(3)
    lines[at : at + 2] = [lines[at : at + 1], [lines[at], lines[at], lines[at + 1]], [lines[at + 1], lines[at]]][kind]
    path.write_bytes(b"".join(lines))


@damage
def log_replaced(run: Path, outside: Path, chance: random.Random) -> None:
    """Put something else in place of a log."""
    in_place(run / chance.choice(LOGS), outside, chance)


@damage
def log_linked_hard(run: Path, outside: Path, chance: random.Random) -> None:
    """Give a log another name outside, by which it must not be changed."""
    os.link(run / chance.choice(LOGS), outside / "log")


# The record and the curriculum


@damage
def record_edited(run: Path, outside: Path, chance: random.Random) -> None:
    """Change one value of the record."""
    content = json.loads((run / "run.json").read_bytes())
    (run / "run.json").write_text(json.dumps(edited(content, chance), indent=1) + "\n")


@damage
def record_resealed(run: Path, outside: Path, chance: random.Random) -> None:
    """Change one value of the record, and its checksum with it."""
    content = unseal((run / "run.json").read_bytes())
    (run / "run.json").write_bytes(seal(edited(content, chance)))


@damage
def record_odd(run: Path, outside: Path, chance: random.Random) -> None:
    """Put something in place of the record that is hard to read."""
    odd = [b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 100_000, b'{"a":' * 5_000, b'{"format": 2, "format": NaN}']
    odd += [b'{"format": 1e400}', b"1" * 10_000, b'{"checksum": Infinity}', b'{"format": 2}', b" " * (5 << 20)]
    (run / "run.json").write_bytes(chance.choice(odd))


@damage
def record_replaced(run: Path, outside: Path, chance: random.Random) -> None:
    """Put something else in place of the record or the curriculum."""
    in_place(run / chance.choice(("run.json", "curriculum.toml")), outside, chance)


@damage
def curriculum_edited(run: Path, outside: Path, chance: random.Random) -> None:
    """Change a letter of the curriculum in the folder."""
    content = bytearray((run / "curriculum.toml").read_bytes())
    content[chance.randrange(len(content))] = chance.choice(b"abc123[]=")
    (run / "curriculum.toml").write_bytes(content)


# Names


@damage
def commit_replaced(run: Path, outside: Path, chance: random.Random) -> None:
    """Put something else in place of a commit, its bytes still there outside."""
    in_place(chance.choice(commits(run)), outside, chance)


@damage
def commits_replaced(run: Path, outside: Path, chance: random.Random) -> None:
    """Put something else in place of all commits."""
    in_place(run / "checkpoints", outside, chance)


@damage
def named_like_a_commit(run: Path, outside: Path, chance: random.Random) -> None:
    """Put something there that has, or nearly has, a commit's name."""
    step = chance.choice((0, 1, 3, 16, 27, 30, 31, 33, 99_999_999))
    name = chance.choice(
        (f"step-{step:08d}", f"step-{step:09d}", f"step-{step}", f"step-{step:08d}x", f"Step-{step:08d}")
    )
    path = run / "checkpoints" / name
    if not os.path.lexists(path):
        ways: list[Callable[[], object]] = [
            lambda: path.write_bytes(b"x"),
            path.mkdir,
            lambda: path.symlink_to(outside),
            lambda: path.symlink_to(commits(run)[0].name),
            lambda: os.mkfifo(path),
            lambda: shutil.copytree(commits(run)[0], path),
        ]
        chance.choice(ways)()


@damage
def left_behind(run: Path, outside: Path, chance: random.Random) -> None:
    """Put something there that has the name of what a kill leaves behind."""
    names = [run / "checkpoints" / ".unfinished", run / "checkpoints" / ".gone-00000004"]
    names += [run / f".{name}.unfinished" for name in ("run.json", "summary.json", "curriculum.toml", "curve.png")]
    path = chance.choice(names)
    kind = chance.randrange(5)
    if kind == 0:
        path.symlink_to(outside)
    elif kind == 1:
        path.mkdir()
        (path / "link").symlink_to(outside)
    elif kind == 2:
        os.mkfifo(path)
    elif kind == 3:
        deep = path
        for _ in range(600):
            deep = deep / "a"
        deep.mkdir(parents=True)
    else:
        path.write_bytes(b"x")


@damage
def set_aside_before(run: Path, outside: Path, chance: random.Random) -> None:
    """Take the names that a damaged commit would be given, and damage one."""
    newest = commits(run)[-1]
    (newest / "manifest.json").write_bytes(b"")
    for name in chance.sample(("", "-1", "-2", "-3"), chance.randrange(1, 4)):
        path = run / "checkpoints" / f"damaged-{newest.name}{name}"
        path.symlink_to(outside) if chance.random() < 0.5 else path.write_bytes(b"x")


@damage
def results_replaced(run: Path, outside: Path, chance: random.Random) -> None:
    """Put something where the summary or the picture will be written."""
    in_place(run / chance.choice(("summary.json", "curve.png")), outside, chance)


# Commits whose hashes fit again


@damage
def state_repaired(run: Path, outside: Path, chance: random.Random) -> None:
    """Change one value of a commit's state."""
    path = commits(run)[-1] / "state.json"
    path.write_text(json.dumps(edited(json.loads(path.read_bytes()), chance)))
    repaired(path.parent)


@damage
def tensors_repaired(run: Path, outside: Path, chance: random.Random) -> None:
    """Change a tensor's type or shape, take it away, add one, or put what is not finite into it."""
    path = commits(run)[-1] / chance.choice(("weights.safetensors", "optimizer.safetensors"))
    tensors = safetensors.torch.load(path.read_bytes())
    name = chance.choice(sorted(tensors))
    value = tensors[name]
    kind = chance.randrange(9)
    if kind == 0:
        types = (torch.float64, torch.int64, torch.bfloat16, torch.bool)
        tensors[name] = value.to(chance.choice([dtype for dtype in types if dtype != value.dtype]))
    elif kind == 1:
        tensors[name] = torch.zeros(3, 1, 2, dtype=value.dtype)
    elif kind == 2:
        del tensors[name]
    elif kind == 3:
        tensors[chance.choice(("x", "exp_avg/x", "random/x", "momentum/norm.weight", "count/x"))] = torch.zeros(2)
    elif kind == 4:
        tensors = {}
    elif kind == 5:
        tensors = {key: value for key, value in tensors.items() if key.startswith(("random", "blocks"))}
    elif value.is_floating_point():
        value.view(-1)[chance.randrange(value.numel())] = chance.choice((float("nan"), float("inf"), -float("inf")))
    else:
        tensors[name] = torch.zeros(value.numel() + 1, dtype=value.dtype)
    path.write_bytes(safetensors.torch.save(tensors))
    repaired(path.parent)


@damage
def file_repaired(run: Path, outside: Path, chance: random.Random) -> None:
    """Put something else into a commit's file, take it away or add one."""
    commit = commits(run)[-1]
    path = commit / chance.choice(("state.json", "weights.safetensors", "optimizer.safetensors"))
    kind = chance.randrange(4)
    if kind == 0:
        path.unlink()
    elif kind == 1:
        (commit / "more").write_bytes(b"x")
    elif kind == 2:
        content = path.read_bytes()
        path.write_bytes(content[: chance.randrange(min(400, len(content)))])
    else:
        path.write_bytes(chance.choice((b"", b"{}", b"[]", b"null", b"[" * 9_999, b"\xff" * 40, b'{"step": NaN}')))
    repaired(commit)


@damage
def manifest_repaired(run: Path, outside: Path, chance: random.Random) -> None:
    """Change one value of a manifest, to one that JSON does not have too, and its checksum with it."""
    path = commits(run)[-1] / "manifest.json"
    manifest = unseal(path.read_bytes())
    if chance.random() < 0.5:
        path.write_bytes(seal(edited(manifest, chance)))
        return
    name = chance.choice(sorted(manifest["files"]))
    manifest["files"][name]["bytes"] = chance.choice((float("inf"), float("-inf"), float("nan"), 1e400, 1.5, -5))
    checksum = hashlib.sha256(json.dumps(manifest, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
    path.write_text(json.dumps({**manifest, "checksum": checksum}))
