"""TensorBoard's event files, without TensorBoard: numbers only, so any backend can write them.

The file is a row of records: length, its checksum, the message, its checksum (TFRecord,
https://www.tensorflow.org/tutorials/load_data/tfrecord); the message is ``Event`` of
TensorFlow's ``event.proto``: time (1), step (2), version (3), summary (5) with values (1) of
tag (1) and number (2).
"""

from __future__ import annotations

import struct
import time
from collections.abc import Mapping
from functools import cache
from pathlib import Path

_POLYNOMIAL = 0x82F63B78  # CRC-32C, reversed
_VERSION = b"brain.Event:2"


def append_scalars(path: Path, step: int, values: Mapping[str, float]) -> None:
    """Add numbers of one step to an event file.

    Parameters
    ----------
    path : Path
        The file, named ``events.out.tfevents.*`` for TensorBoard to find; begun if missing.
    step : int
        Where on the axis.
    values : mapping of str to float
        Numbers by tag, for instance ``loss``.

    Raises
    ------
    OSError
        The disk is full, or the folder cannot be written.
    """
    records = b"" if path.exists() else _record(_event(0, _field(3, _VERSION)))
    summary = b"".join(
        _field(1, _field(1, tag.encode()) + b"\x15" + struct.pack("<f", value))
        for tag, value in values.items()
    )
    with path.open("ab") as stream:
        stream.write(records + _record(_event(step, _field(5, summary))))


def _event(step: int, content: bytes) -> bytes:
    return b"\x09" + struct.pack("<d", time.time()) + b"\x10" + _varint(step) + content


def _field(number: int, content: bytes) -> bytes:
    return bytes([number << 3 | 2]) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    parts = []
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])


def _record(message: bytes) -> bytes:
    length = struct.pack("<Q", len(message))
    return length + _masked(length) + message + _masked(message)


def _masked(data: bytes) -> bytes:
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _table()[(crc ^ byte) & 0xFF] ^ crc >> 8
    crc ^= 0xFFFFFFFF
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


@cache
def _table() -> tuple[int, ...]:
    table = []
    for value in range(256):
        crc = value
        for _ in range(8):
            crc = crc >> 1 ^ (_POLYNOMIAL if crc & 1 else 0)
        table.append(crc)
    return tuple(table)
