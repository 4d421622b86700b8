"""The curve of a training as one small SVG: loss, and Dice of held-out cases, over epochs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_WIDTH, _HEIGHT = 1000.0, 396.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 70.0, 930.0, 56.0, 336.0
_LOSS, _DICE, _INK, _LINE = "#b4531a", "#0b6a72", "#566171", "#dfe4ea"
_FEW = 60
_BESIDE = 60.0  # so near to an axis, words stand beside a line and not above its numbers


def draw_curves(rows: Sequence[Mapping[str, Any]], *, best_epoch: int | None = None) -> str:
    """Draw the history of a training.

    Parameters
    ----------
    rows : sequence of mapping
        Rows of ``history.tsv`` with ``epoch``, ``loss`` and ``validation_dice``; values may
        be None.
    best_epoch : int, optional
        Epoch that is kept; a dashed line.

    Returns
    -------
    str
        The SVG file; loss on the left axis, Dice on the right one.
    """
    last = max([int(row["epoch"]) for row in rows] or [1]) or 1
    losses = [(row["epoch"], row["loss"]) for row in rows if row.get("loss") is not None]
    dices = [
        (row["epoch"], row["validation_dice"])
        for row in rows
        if row.get("validation_dice") is not None
    ]
    top = _nice(max([value for _, value in losses] or [1.0]))
    parts = [*_frame(last, top)]
    parts += _line(losses, last, top, _LOSS)
    parts += _line(dices, last, 1.0, _DICE)
    if best_epoch is not None:
        x = _x(best_epoch, last)
        parts.append(_segment(x, _TOP, x, _BOTTOM, _INK, dash=True))
        anchor = "start" if x < _LEFT + _BESIDE else "end" if x > _RIGHT - _BESIDE else "middle"
        parts.append(_text(x, _TOP - 8, f"kept: epoch {best_epoch}", _INK, anchor))
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH:g} {_HEIGHT:g}" role="img" '
        'aria-label="Loss and Dice of held-out cases over epochs" '
        "font-family=\"system-ui, 'Segoe UI', Roboto, Arial, sans-serif\">\n"
        f'<rect width="{_WIDTH:g}" height="{_HEIGHT:g}" fill="#fff"/>\n{body}\n</svg>\n'
    )


def _frame(last: int, top: float) -> list[str]:
    """Draw axes, ticks and their names."""
    parts = []
    for part in range(5):
        y = _BOTTOM - (_BOTTOM - _TOP) * part / 4
        parts.append(_segment(_LEFT, y, _RIGHT, y, _LINE))
        parts.append(_text(_LEFT - 8, y + 5, f"{top * part / 4:.3g}", _LOSS, "end"))
        parts.append(_text(_RIGHT + 8, y + 5, f"{part / 4:g}", _DICE, "start"))
    step = max(1, -(-last // 10))
    parts += [
        _text(_x(epoch, last), _BOTTOM + 22, str(epoch), _INK, "middle")
        for epoch in range(0, last + 1, step)
    ]
    middle = (_LEFT + _RIGHT) / 2
    parts.append(_text(middle, _BOTTOM + 46, "Epoch", _INK, "middle"))
    parts.append(_text(_LEFT, _TOP - 34, "Loss", _LOSS, "middle"))
    parts.append(_text(_RIGHT, _TOP - 34, "Dice of held-out cases", _DICE, "end"))
    return parts


def _line(points: Sequence[tuple[int, float]], last: int, top: float, colour: str) -> list[str]:
    places = [
        (_x(epoch, last), _BOTTOM - (_BOTTOM - _TOP) * min(max(value / top, 0.0), 1.0), value)
        for epoch, value in points
    ]
    if not places:
        return []
    data = "L".join(f"{x:.1f} {y:.1f}" for x, y, _ in places)
    parts = [f'<path d="M{data}" fill="none" stroke="{colour}" stroke-width="2.5"/>']
    if len(places) <= _FEW:
        parts += [
            f'<path d="M{x - 4:.1f} {y:.1f}a4 4 0 1 0 8 0a4 4 0 1 0 -8 0" fill="{colour}">'
            f"<title>{value:.4g}</title></path>"
            for x, y, value in places
        ]
    return parts


def _x(epoch: float, last: int) -> float:
    return _LEFT + (_RIGHT - _LEFT) * epoch / last


def _segment(
    x: float, y: float, to_x: float, to_y: float, colour: str, *, dash: bool = False
) -> str:
    dashed = ' stroke-dasharray="6 4"' if dash else ""
    return f'<path d="M{x:.1f} {y:.1f}L{to_x:.1f} {to_y:.1f}" stroke="{colour}"{dashed}/>'


def _text(x: float, y: float, text: str, colour: str, anchor: str) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="15" fill="{colour}" '
        f'text-anchor="{anchor}">{text}</text>'
    )


def _nice(value: float) -> float:
    """Round up to one, two or five times a power of ten."""
    power = 1e-6
    while True:
        for factor in (1.0, 2.0, 5.0):
            if value <= factor * power or power > 1e12:
                return factor * power
        power *= 10
