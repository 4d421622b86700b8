"""A user without a name and without a home."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import pytest

from bids_flairseg.streams import find_home


def nobody(_: int) -> pwd.struct_passwd:
    raise KeyError("uid not found")


def test_a_user_without_name_and_home_gets_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "x")  # so that it is put back
    monkeypatch.delenv("HOME")
    monkeypatch.setattr(pwd, "getpwuid", nobody)
    with pytest.raises(RuntimeError):
        Path.home()
    find_home()
    assert Path.home() == Path("/")


@pytest.mark.parametrize("home", ["/nowhere", "/root"])
def test_a_home_that_is_named_stays(home: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", home)
    find_home()
    assert os.environ["HOME"] == home


def test_a_home_that_the_system_knows_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOME", raising=False)
    find_home()
    assert "HOME" not in os.environ
