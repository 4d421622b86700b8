"""Tables: whatever is in the file, reading it ends with rows and warnings."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bids_flairseg.bids.atomic import write_tsv
from bids_flairseg.bids.tables import read_participants, read_tsv


def participants(tmp_path: Path, content: bytes | str) -> Path:
    raw = content.encode() if isinstance(content, str) else content
    (tmp_path / "participants.tsv").write_bytes(raw)
    return tmp_path


def test_reading_undoes_writing(tmp_path: Path) -> None:
    rows = [{"a": "1", "b": 'say "x"'}, {"a": "n/a", "b": "ü"}]
    write_tsv(tmp_path / "t.tsv", ["a", "b"], rows)
    table = read_tsv(tmp_path / "t.tsv")
    assert (list(table.rows), table.columns, table.warnings) == (rows, ("a", "b"), ())


def test_labels_lose_their_prefix_and_values_stay_text(tmp_path: Path) -> None:
    found = read_participants(participants(tmp_path, "participant_id\tage\nsub-01\t089\n02\tn/a\n"))
    assert found.rows == {"01": {"age": "089"}, "02": {"age": "n/a"}}
    assert found.columns == ("age",)
    assert found.warnings == ()


def test_byte_order_mark_and_line_ends_of_windows_do_no_harm(tmp_path: Path) -> None:
    text = "\ufeffparticipant_id\tage\r\nsub-01\t3\r\n\r\n"
    found = read_participants(participants(tmp_path, text.encode("utf-8")))
    assert found.rows == {"01": {"age": "3"}}
    assert found.warnings == ()


def test_no_table_is_no_problem(tmp_path: Path) -> None:
    assert read_participants(tmp_path).warnings == ()


@pytest.mark.parametrize(
    ("content", "rows", "words"),
    [
        ("", 0, "empty"),
        ("\n\n", 0, "empty"),
        (b"\x1f\x8b\x08\x00\x00\x00", 0, "binary|other bytes"),
        (b"participant_id\tsite\nsub-01\tK\xf6ln\n", 1, "UTF-8"),
        ("id\tage\nsub-01\t3\n", 0, "expected a column participant_id"),
        ("participant_id,age\nsub-01,3\n", 0, "expected a column participant_id"),
        ("participant_id\tage\nsub-01\nsub-02\t4\n", 1, "1 of 2 rows differ"),
        ("participant_id\tage\tage\nsub-01\t3\t4\n", 0, "a name of its own"),
        ("participant_id\tage\nsub-01\t3\nsub-01\t4\n", 1, "repeat a participant"),
    ],
)
def test_what_is_broken_becomes_a_warning(
    tmp_path: Path, content: bytes | str, rows: int, words: str
) -> None:
    found = read_participants(participants(tmp_path, content))
    assert len(found.rows) == rows
    assert any("participants.tsv" in text for text in found.warnings)
    assert re.search(words, " ".join(found.warnings))


def test_a_link_without_content_becomes_a_warning(tmp_path: Path) -> None:
    (tmp_path / "participants.tsv").symlink_to(tmp_path / ".git/annex/gone")
    found = read_participants(tmp_path)
    assert found.rows == {}
    assert "cannot be read" in found.warnings[0]


def test_a_folder_in_place_of_the_table_becomes_a_warning(tmp_path: Path) -> None:
    (tmp_path / "participants.tsv").mkdir()
    assert "cannot be read" in read_participants(tmp_path).warnings[0]
