"""Each fault of a curriculum's text has a file that shows it, with the message that it gets, to the letter."""

from __future__ import annotations

from pathlib import Path

import pytest

from plateau_rule import CurriculumError, loads
from tests.controller.codes_used import codes_of_reading

BAD = Path(__file__).parent / "bad"
SHOWN = sorted(codes_of_reading() & {file.stem for file in BAD.glob("*.toml")})


@pytest.mark.source
def test_every_fault_has_a_file() -> None:
    """No fault of reading is without its file."""
    assert codes_of_reading() == set(SHOWN)


@pytest.mark.parametrize("code", SHOWN)
def test_message(code: str) -> None:
    """The file is refused with its code and no other, and with exactly the message beside it."""
    file = BAD / f"{code}.toml"
    with pytest.raises(CurriculumError) as caught:
        loads(file.read_bytes(), file.name)
    assert {fault.code for fault in caught.value.faults} == {code}
    assert f"{caught.value}\n" == file.with_suffix(".expected").read_text(encoding="utf-8")


@pytest.mark.parametrize("code", SHOWN)
def test_fields(code: str) -> None:
    """As JSON, a fault says the same: its place in the file, what was found, what was expected, what to do."""
    file = BAD / f"{code}.toml"
    with pytest.raises(CurriculumError) as caught:
        loads(file.read_bytes(), file.name)
    for fault in caught.value.faults:
        fields = fault.fields()
        assert fields["file"] == file.name
        assert fields["code"] == code
        assert f"{file.name}:{fields['line']}:{fields['column']}: " in str(fault)
        assert fields["found"] in str(fault)
        assert fields["expected"] in str(fault)
        assert fields["suggestion"] in str(fault)
