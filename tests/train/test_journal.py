"""What a training tells: event files that TensorFlow reads, curves, lines."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from bids_flairseg.train.cursor import Progress
from bids_flairseg.train.curves import draw_curves
from bids_flairseg.train.events import append_scalars
from bids_flairseg.train.journal import Journal, describe

ROWS: list[dict[str, Any]] = [
    {"epoch": 0, "steps": 0, "validation_dice": 0.5},
    {"epoch": 1, "steps": 10, "loss": 1.25, "learning_rate": 1e-3, "validation_dice": 0.625},
    {"epoch": 2, "steps": 20, "loss": 0.75, "learning_rate": 5e-4, "validation_dice": None},
]


def test_an_event_file_is_a_row_of_records(tmp_path: Path) -> None:
    path = tmp_path / "events.out.tfevents.0.x"
    append_scalars(path, 1, {"loss": 0.5})
    append_scalars(path, 300, {"loss": 0.25, "validation_dice": 0.75})
    data, messages = path.read_bytes(), []
    while data:
        (length,) = struct.unpack("<Q", data[:8])
        messages.append(data[12 : 12 + length])
        data = data[16 + length :]
    assert len(messages) == 3
    assert b"brain.Event:2" in messages[0]
    assert b"validation_dice\x15" + struct.pack("<f", 0.75) in messages[2]


def test_curves_go_where_the_numbers_are() -> None:
    root = ET.fromstring(draw_curves(ROWS, best_epoch=1))
    titles = [item.text for item in root.iter("{http://www.w3.org/2000/svg}title")]
    assert titles == ["1.25", "0.75", "0.5", "0.625"]
    assert "kept: epoch 1" in [item.text for item in root.iter("{http://www.w3.org/2000/svg}text")]
    assert ET.fromstring(draw_curves([])) is not None


@pytest.mark.parametrize(("epoch", "anchor"), [(0, "start"), (1, "middle"), (2, "end")])
def test_words_of_a_curve_do_not_lie_on_each_other(epoch: int, anchor: str) -> None:
    root = ET.fromstring(draw_curves(ROWS, best_epoch=epoch))
    words = {item.text: item for item in root.iter("{http://www.w3.org/2000/svg}text")}
    kept = words[f"kept: epoch {epoch}"]
    assert kept.get("text-anchor") == anchor
    lines = {float(words[name].get("y", "0")) for name in ("Loss", "Dice of held-out cases")}
    assert all(abs(float(kept.get("y", "0")) - y) > 15 for y in lines)


def test_the_table_has_a_row_for_each_epoch(tmp_path: Path) -> None:
    Journal(tmp_path).epoch(ROWS, 1)
    lines = (tmp_path / "history.tsv").read_text().splitlines()
    assert len(lines) == 4
    assert lines[3].split("\t")[:3] == ["2", "20", "0.75"]
    assert lines[1].split("\t")[2] == "n/a"


def test_a_full_disk_silences_the_journal_and_ends_nothing(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "gone")
    journal.say("nobody reads this")
    journal.epoch(ROWS, 1)


def test_a_line_says_where_training_is_and_how_long_it_takes() -> None:
    now = Progress(3, 30, 12, 100, 0.5, dice=0.7, seconds_left=5000)
    assert describe(now) == (
        "epoch 3/30, step 12/100, loss 0.5000, validation Dice 0.700, 1 h 23 min left"
    )
