"""Only figures of ours become part of a page."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from bids_flairseg.reports.embed import read_figure
from bids_flairseg.reports.figures import draw_lesions
from tests.reports.heads import make_head

OPEN = '<svg xmlns="http://www.w3.org/2000/svg">'


def test_our_own_figures_pass_unchanged(tmp_path: Path) -> None:
    flair, brain, lesions = make_head()
    figure = draw_lesions(flair, lesions, brain)
    path = tmp_path / "figure.svg"
    path.write_text(figure, encoding="utf-8")
    assert read_figure(path) == figure


@pytest.mark.parametrize(
    "text",
    [
        f"{OPEN}<script>1</script></svg>",
        f"{OPEN}<foreignObject/></svg>",
        f'{OPEN}<path d="M0 0" onclick="1"/></svg>',
        f'{OPEN}<path d="M0 0" ONLOAD="1"/></svg>',
        f'{OPEN}<g style="background: red"/></svg>',
        f'{OPEN}<g fill="url(https://example.org)"/></svg>',
        f'{OPEN}<image href="https://example.org/a.jpg"/></svg>',
        f'{OPEN}<image href="data:image/svg+xml;base64,AAAA"/></svg>',
        f'{OPEN[:-1]} xmlns:x="http://www.w3.org/1999/xlink"><image x:href="a.jpg"/></svg>',
        f'<!DOCTYPE svg [<!ENTITY a "b">]>{OPEN}<text>&a;</text></svg>',
        f"{OPEN}<!-- hidden --></svg>",
        "<svg><path/></svg>",
        f"{OPEN}<g></svg>",
        "",
    ],
)
def test_anything_else_is_left_out_and_logged(
    text: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "figure.svg"
    path.write_text(text, encoding="utf-8")
    with caplog.at_level(logging.WARNING):
        assert read_figure(path) is None
    assert "figure.svg" in caplog.text


def test_files_that_are_missing_or_no_text_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "binary.svg").write_bytes(b"\xff\xfe\x00")
    assert read_figure(tmp_path / "binary.svg") is None
    assert read_figure(tmp_path / "missing.svg") is None
    assert read_figure(None) is None
