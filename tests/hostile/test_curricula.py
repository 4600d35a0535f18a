"""Files that nobody wrote in good faith: each is a curriculum, or refused with a place, in bounded time and memory."""

from __future__ import annotations

import itertools
import json
import random
import subprocess
import sys
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plateau_rule import CurriculumError, loads
from plateau_rule.controller.language.reading import shipped

GOOD = {name: file.read_bytes() for name, file in shipped().items()}
BASE = """name = "hostile"
lr = { peak = 1e-3 }
knob.cutoff = { ladder = [128, "full"] }
state = [{ name = "low", set = { cutoff = 128 } }, { name = "high", set = { cutoff = "full" } }]
"""
WAY = '[[transition]]\nfrom = "*"\nto = "next"\n'

# What stands where a number should.
NO_NUMBERS = [
    *("nan", "inf", "-inf", "1e400", "-1e400", "1e16", "9" * 30, "-" + "9" * 30, "9" * 900, "0x" + "f" * 300),
    *("true", '"1"', '""', '"nan"', '"\\u0000"', "[]", "{}", "[[[[1]]]]", "{ a = 1 }", "2020-01-01", "07:32:00"),
]
NUMBERS = {
    "peak": BASE.replace("1e-3", "VALUE"),
    "floor": BASE.replace("1e-3", "1, floor = VALUE"),
    "epochs": BASE + "run.epochs = VALUE\n",
    "steps": BASE + "[guard.g]\npatience = { steps = VALUE }\n",
    "threshold": BASE + "[guard.g]\nplateau = { threshold = VALUE }\n",
    "format": BASE + "format = VALUE\n",
    "sustain": BASE + WAY + "sustain = VALUE\n",
    "limit": BASE + "[nonfinite]\nlimit = VALUE\n",
    "lr_scale": BASE + WAY + "actions = [{ lr_scale = VALUE }]\n",
}
AMOUNTS = [
    *("", " ", "3", "run", "rest ", "REST", "3epochs", "3  epochs", "3 epochs\\n", "-3 epochs", "3.5 steps", "2 run"),
    *("1e400 steps", "1e99 tokens", "nan steps", "0x10 steps", "1_ steps", "9" * 500 + " steps"),
    *("\u0663 epochs", "3 \u0435pochs"),  # an Arabic digit, a Cyrillic letter
]
NAMES = [
    *("", " ", "a b", "a.b", "a\\nb", "1st", "-a", "a" * 65, "*", "next", "%s%n", "{0.__class__}", "../../etc/passwd"),
    *("\\u0000", "\\u202e", "low\u200c", "\u00e9t\u00e9", "a\u0301"),
    *("l\u043ew", "\u2160", "\uff41", "\U0001f680"),  # a Cyrillic letter, a Roman numeral, a wide letter, a rocket
]
HIDDEN = [
    *"\x00\x01\x08\x0b\x0c\x1b\x1f\x7f\x85\xad\r\u061c\u200b\u200e\u200f\u2028\u2029\u202a\u202e\u2060\u2066\u2069",
    *("\ufeff", "\ufff9", "\U000e0041"),
]


def text_of_a_curriculum_with(hidden: str) -> Iterator[str]:
    """A character in a comment, in a text, in a name and between keys."""
    yield BASE + f"# a comm{hidden}ent\n"
    yield f'description = "a te{hidden}xt"\n' + BASE
    yield BASE.replace("low", f"lo{hidden}w")
    yield BASE + f"{hidden}\n"


def hostile() -> dict[str, bytes]:
    """The files, each by what is wrong with it; the same on every run."""
    files: dict[str, str | bytes] = {
        "empty": "",
        "blank": "\n\n",
        "comment": "# nothing\n",
        "null": "\x00",
        "bom": "\ufeff",
    }
    for key, frame in NUMBERS.items():
        files |= {f"{key} = {value[:20]} ({len(value)})": frame.replace("VALUE", value) for value in NO_NUMBERS}
    clock = BASE + "[run]\nepochs = 2\n[guard.g]\ndwell = "
    files |= {f"amount {amount[:20]!r}": f'{clock}"{amount}"\n' for amount in AMOUNTS}
    files |= {f"state {name[:20]!r}": BASE.replace("low", name) for name in NAMES}
    files |= {f"knob {name[:20]!r}": BASE + f'[knob."{name}"]\nladder = [1]\n' for name in NAMES if name != "next"}
    files |= {f"from {name[:20]!r}": BASE + WAY.replace("*", name) for name in NAMES if name != "*"}
    for hidden in HIDDEN:
        files |= {f"hidden {ord(hidden):x} {i}": text for i, text in enumerate(text_of_a_curriculum_with(hidden))}
    for depth in (33, 100, 1000, 30000):
        files[f"arrays {depth}"] = BASE + "x = " + "[" * depth + "]" * depth
        files[f"arrays in lines {depth}"] = BASE + "x = " + "[\n" * depth + "]\n" * depth
        files[f"unclosed {depth}"] = BASE + "x = " + "[\n" * depth
        files[f"tables {depth}"] = BASE + "x = " + "{a=" * depth + "1" + "}" * depth
        files[f"dotted {depth}"] = BASE + ".".join("a" * depth) + " = 1\n"
        files[f"quoted dotted {depth}"] = BASE + ".".join(['"a"'] * min(depth, 16000)) + " = 1\n"
        files[f"header {depth}"] = BASE + "[" + ".".join("a" * depth) + "]\n"
        files[f"not {depth}"] = BASE + "[guard.g]\n" + "not = {" * min(depth, 9000) + "}" * min(depth, 9000)
    files |= large()
    files |= {f"cut {name} {at}": content[:at] for name, content in GOOD.items() for at in range(7, len(content), 193)}
    files["latin-1"] = BASE.encode() + "# \xe9\n".encode("latin-1")
    files["utf-16"] = BASE.encode("utf-16")
    files["surrogate"] = BASE.encode() + b"# \xed\xa0\x80\n"
    files["overlong"] = BASE.encode() + b"# \xc0\xaf\n"
    files["escaped surrogate"] = BASE + 'description = "\\ud800"\n'
    files["two byte order marks"] = "\ufeff\ufeff" + BASE
    files["same key twice"] = BASE + "name = 'other'\n"
    files["same table twice"] = BASE + "[run]\n[run]\n"
    files["table and list"] = BASE + "[state]\n"
    files["python's word"] = BASE + WAY + 'from_ = "low"\n'
    files["circle"] = BASE + '[guard.a]\nnot = "b"\n[guard.b]\nnot = "a"\n'
    files["itself"] = BASE + '[guard.a]\nany = ["a", "a"]\n'
    return {name: content if isinstance(content, bytes) else content.encode() for name, content in files.items()}


def large() -> dict[str, str]:
    """Files that stay within 64 KiB, and ask for as much work as they can."""
    names = [f"n{i}" for i in range(2000)]
    chain = "".join(f'[guard.g{i}]\nnot = "g{i + 1}"\n' for i in range(1900)) + "[guard.g1900]\nmin_epoch = 1\n"
    doubled = (
        "".join(f'[guard.g{i}]\nall = ["g{i + 1}", "g{i + 1}"]\n' for i in range(60)) + "[guard.g60]\nmin_epoch = 1\n"
    )
    wrong = "\n".join(f"k{i} = {i}" for i in range(5000))
    ways = "".join(f'[[transition]]\nfrom="s{i}x"\nto="t{i}"\n' for i in range(1100))
    alike = "".join(f"[[state]]\nname = '{'lI1'[i % 3] * 40}'\n" for i in range(900))
    states = "".join(f'[[state]]\nname="s{i}"\n' for i in range(256))
    rng = random.Random(7)
    noise = "".join(rng.choice("abc=.,[]{}\"'#\n 019") for _ in range(60000))
    return {
        "too large": BASE + "# " + "x" * 70000,
        "too large, in lines": BASE + "# x\n" * 20000,
        "long line": BASE + "# " + "x" * 60000,
        "long text": f'description = "{"x" * 900}"\n' + BASE,
        "long key": f"{'x' * 900} = 1\n" + BASE,
        "keys": wrong,
        "keys below the file": BASE + wrong,
        "headers": BASE + "".join(f"[t{i}]\n" for i in range(6000)),
        "tables of a list": BASE + "[[transition]]\n" * 4000,
        "sub-tables": BASE + "".join(f"[a.b.c.d.e.f{i}]\n" for i in range(3000)),
        "dotted keys": BASE + "".join(f"{'.'.join('a' * 30)}.b{i} = 1\n" for i in range(800)),
        "long headers": BASE + "".join(f"[{'.'.join(['a' * 10] * 30)}.b{i}]\nx = 1\n" for i in range(180)),
        "values": BASE + "x = [\n" + "1,\n" * 20000 + "]\n",
        "tables in a list": BASE + "x = [" + "{},\n" * 15000 + "]\n",
        "inline tables": "".join(f"x{i} = {{{','.join(f'a{j}=1' for j in range(120))}}}\n" for i in range(70)),
        "states": BASE.partition("state")[0] + "".join(f"[[state]]\nname = '{n}'\n" for n in names),
        "states that look alike": BASE.partition("knob")[0] + alike,
        "knobs": BASE + "".join(f"[knob.{n}]\nladder=[1]\n" for n in names),
        "ladder": BASE + f"[knob.k]\nladder = [\n{'1,' * 20000}]\n".replace("1,1,1,1,", "1,\n"),
        "guards": BASE + WAY + "guards = [\n" + '"flat",\n' * 7000 + "]\n",
        "chain of guards": BASE + chain + WAY + 'guards = ["g0"]\n',
        "doubled guards": BASE + doubled + WAY + 'guards = ["g0"]\n',
        "circle of guards": BASE + chain.replace("min_epoch = 1", 'not = "g0"'),
        "transitions": BASE + ways,
        "misspelt keys": BASE + "[[transition]]\nfrm=1\nt=1\n" * 1000 + wrong[:30000],
        "transitions with mistakes": BASE.partition("state")[0] + states + ways,
        "fine words": BASE + WAY * 1000 + "actions = [\n" + '"lr_restrat",\n' * 1000 + "]\n",
        "brackets": "[" * 65000,
        "braces in lines": "a={\n" * 15000,
        "quotation marks": '"' * 65000,
        "quotation marks in lines": '"\n' * 32000,
        "triple": '"""' + "\\\n" * 30000,
        "dots": "." * 65000,
        "dots in lines": "a.\n" * 20000,
        "equal signs": "=\n" * 32000,
        "hashes": "#" * 65000,
        "noise": noise,
        "wide": BASE + "# " + "\u6f22" * 21000,
        "combining": BASE + "# " + "e\u0301" * 20000,
    }


FILES = hostile()
MAY_BE_GOOD = ("cut ", "hidden d")  # the end of a file, and what stands before it, may be complete


def test_there_are_enough() -> None:
    """There are more than 300 hostile files, all different."""
    assert len(FILES) > 300
    assert len(set(FILES.values())) > 0.9 * len(FILES)


@pytest.mark.parametrize("name", FILES)
def test_refused_with_a_place(name: str) -> None:
    """Nothing but a CurriculumError comes out, with at most 20 faults, each with a place that is in the file."""
    content = FILES[name]
    try:
        loads(content, "hostile.toml")
    except CurriculumError as error:
        check_faults(error, content)
    else:
        assert name.startswith(MAY_BE_GOOD), "a hostile file was taken"


def check_faults(error: CurriculumError, content: bytes) -> None:
    """What holds for every error about the text of a file."""
    lines = content.decode("utf-8", "replace").removeprefix("\ufeff").replace("\r\n", "\n").split("\n")
    assert 1 <= len(error.faults) <= CurriculumError.LIMIT
    assert error.more >= 0
    for fault in error.faults:
        place = fault.place
        assert place is not None, fault
        assert place.file == "hostile.toml"
        assert 1 <= place.line <= len(lines), fault
        assert 1 <= place.column <= len(lines[place.line - 1]) + 1, fault
        assert place.column <= place.end_column, fault
        assert fault.found, fault
        json.dumps(fault.fields())
    text = str(error)
    assert all(character.isprintable() or character in "\n\t" or ord(character) > 127 for character in text)
    assert "\x1b" not in text
    assert "input should" not in text.lower()  # pydantic's words


def test_places_are_in_order() -> None:
    """Faults are told in the order of the file."""
    with pytest.raises(CurriculumError) as caught:
        loads(FILES["keys below the file"])
    places = [(fault.place.line, fault.place.column) for fault in caught.value.faults if fault.place]
    assert places == sorted(places)
    assert caught.value.more == 5000 - 20


@settings(max_examples=200)
@given(name=st.sampled_from(sorted(GOOD)), data=st.data())
def test_damaged_files(name: str, data: st.DataObject) -> None:
    """A shipped file with pieces removed, doubled or exchanged is a curriculum or is refused with a place."""
    content = bytearray(GOOD[name])
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(content)))
        end = min(len(content), start + data.draw(st.integers(0, 30)))
        piece = data.draw(st.one_of(st.binary(max_size=6), st.sampled_from(PIECES), st.just(bytes(content[start:end]))))
        content[start:end] = piece
    try:
        loads(bytes(content), "hostile.toml")
    except CurriculumError as error:
        check_faults(error, bytes(content))


PIECES = [
    *(b"", b"[", b"]", b"{", b"}", b'"', b"'", b'"""', b"=", b".", b",", b"\n", b"#", b"_", b"0.5", b"-1", b"1e400"),
    *(b"true", b"nan", b"[[state]]\n", b"[guard.flat]\n", b"any = ", b"not = {", b'"next"', b'"*"', b"\r\n"),
    *(b"\xf0\x9f\x9a\x80", b"\xff"),
]
WORST = [
    *("inline tables", "values", "tables in a list", "keys", "headers", "sub-tables", "dotted keys", "long headers"),
    *("guards", "chain of guards", "doubled guards", "circle of guards", "transitions with mistakes", "knobs"),
    *("states", "states that look alike", "noise", "brackets", "triple", "combining", "dotted 30000"),
    *("arrays in lines 30000", "tables 30000", "not 30000", "misspelt keys"),
]
LIMITED = """
import resource, sys
from pathlib import Path
from plateau_rule import CurriculumError, load, loads
from plateau_rule.controller.language import places, recovery, vocabulary
load("plateau")
try:
    loads("x = 1")
except CurriculumError:
    pass
size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (size + 64 * 2**20,) * 2)
for file in sys.argv[1:]:
    content = Path(file).read_bytes()
    used = resource.getrusage(resource.RUSAGE_SELF).ru_utime
    resource.setrlimit(resource.RLIMIT_CPU, (int(used) + 3, resource.RLIM_INFINITY))
    try:
        loads(content, file)
    except CurriculumError as error:
        print(file, len(str(error)))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits on memory are Linux's")
def test_bounded(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The worst of them need at most 64 MiB on top of an idle process, and no more time than the kernel is told."""
    folder = tmp_path_factory.mktemp("worst")
    files = []
    for number, name in enumerate(WORST):
        files.append(folder / f"{number}.toml")
        files[-1].write_bytes(FILES[name])
    command = [sys.executable, "-c", LIMITED, *map(str, files)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert len(result.stdout.splitlines()) == len(files)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits on memory are Linux's")
def test_bounds_can_be_seen(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Canary: a parser that takes 100 MiB for a file is stopped by the same limit."""
    file = tmp_path_factory.mktemp("canary") / "a.toml"
    file.write_text(BASE)
    greedy = LIMITED.replace("loads(content, file)", "bytearray(100 * 2**20)")
    result = subprocess.run([sys.executable, "-c", greedy, str(file)], capture_output=True, text=True, check=False)
    assert "MemoryError" in result.stderr


def test_short_texts() -> None:
    """Every text of three marks is refused with a place."""
    for marks in itertools.product("[]{}=\"'#.,\n a1", repeat=3):
        content = "".join(marks).encode()
        with pytest.raises(CurriculumError) as caught:
            loads(content, "hostile.toml")
        check_faults(caught.value, content)
