"""Options from a file: the record of an earlier run, or a file written by hand."""

from __future__ import annotations

import argparse
import difflib
import json
import logging
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bids_flairseg import __version__
from bids_flairseg.errors import InputError, MissingInputError, UsageError
from bids_flairseg.training_options import UNUSED

LOGGER = logging.getLogger(__name__)

OPTION = "--config"
#: The table with the options, and those in which a record tells what happened.
ASKED, TOLD = "arguments", ("run", "versions", "models", "recipe", "recipe_many", "result")
_NEVER = {"config", "help", "version"}
_CARD = "model.json"


def option_name(action: argparse.Action) -> str:
    """Return the name of an option in the file: its first long spelling, with underscores."""
    long = [text for text in action.option_strings if text.startswith("--")]
    return long[0].lstrip("-").replace("-", "_") if long else action.dest


def as_table(arguments: argparse.Namespace, parser: argparse.ArgumentParser) -> dict[str, Any]:
    """Spell arguments so that a file of them gives the same arguments again.

    Parameters
    ----------
    arguments : Namespace
        As parsed.
    parser : ArgumentParser
        What parsed them.

    Returns
    -------
    dict
        Values that TOML knows by the names of the options; what is None or empty is left out.
    """
    values = {
        option_name(action): _plain(getattr(arguments, action.dest))
        for action in parser._actions
        if action.dest not in _NEVER
    }
    return {name: value for name, value in values.items() if value not in (None, [])}


def _plain(value: Any) -> Any:
    """Spell one value; a pair is the two sides of an equals sign."""
    if isinstance(value, tuple):
        return "=".join(str(part) for part in value if part is not None)
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def find_config(words: Sequence[str]) -> Path | None:
    """Return the file that ``--config`` names, None if there is no such option.

    Parameters
    ----------
    words : sequence of str
        The command line without the program's name.

    Returns
    -------
    Path or None
        Absolute.
    """
    found = None
    for position, word in enumerate(words):
        if word.startswith(f"{OPTION}="):
            found = word.partition("=")[2]
        elif word == OPTION and position + 1 < len(words):
            found = words[position + 1]
    return None if found is None else Path(found).absolute()


def complete(words: Sequence[str], path: Path, parser: argparse.ArgumentParser) -> list[str]:
    """Add to a command line the options of a file that it does not give itself.

    A mode on the command line wins over that of the file; what it has no use for is left out.

    Parameters
    ----------
    words : sequence of str
        The command line without the program's name; positionals are all there, or none is.
    path : Path
        The file.
    parser : ArgumentParser
        A parser of all arguments; it is of no use afterwards.

    Returns
    -------
    list of str
        A command line that says everything.

    Raises
    ------
    MissingInputError
        There is no such file.
    InputError
        It is no TOML, or a table or a value in it is not as it should be.
    UsageError
        A key is unknown, or some of the positionals are missing.
    """
    content = _read(path)
    table = content[ASKED]
    options = {option_name(action): action for action in parser._actions}
    _check_keys(path, table, [name for name in options if name not in _NEVER])
    filled = {name: _spell(path, options[name], value) for name, value in table.items()}
    _compare_version(path, content)
    positionals = [action for action in parser._actions if not action.option_strings]
    found, own = _split(words, parser)
    ruled_out = _ruled_out(parser, found)
    if own and len(own) != len(positionals):
        names = " ".join(str(action.metavar) for action in positionals)
        raise UsageError(f"with {OPTION}: expected all of {names} or none, found {' '.join(own)}.")
    missing = [action.dest for action in positionals if action.dest not in table]
    if missing and not own:
        raise UsageError(
            f"{path}: expected {missing[0]!r} in [{ASKED}]. Add it, or say "
            f"{' '.join(str(action.metavar) for action in positionals)} on the command line."
        )
    first = [] if own else [word for action in positionals for word in filled[action.dest]]
    left_to_file = [
        word
        for name, spelled in filled.items()
        if options[name] not in positionals and options[name].dest not in ruled_out
        for word in spelled
    ]
    return [*first, *words, *left_to_file]


def _read(path: Path) -> dict[str, Any]:
    """Read the file and check its tables."""
    if not path.is_file():
        raise MissingInputError(f"{path}: expected a file, but there is none.")
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: expected TOML, but it cannot be read ({error}).") from error
    if not isinstance(content.get(ASKED), Mapping):
        found = ", ".join(content) or "nothing"
        raise InputError(f"{path}: expected a table [{ASKED}] with options, found {found}.")
    _check_keys(path, content, [ASKED, *TOLD])
    return content


def _check_keys(path: Path, found: Mapping[str, Any], known: Sequence[str]) -> None:
    """Refuse what is unknown; the nearest name is most often the one that was meant."""
    for key in found:
        if key not in known:
            near = difflib.get_close_matches(key.replace("-", "_"), known, n=1, cutoff=0)
            raise UsageError(f"{path}: unknown key {key!r}. Did you mean {near[0]!r}?")


def _spell(path: Path, action: argparse.Action, value: Any) -> list[str]:
    """Write one option of the file as words of a command line."""
    name = option_name(action)
    if not action.option_strings:
        return [str(value)]
    flag = f"--{name.replace('_', '-')}"
    if action.nargs == 0:
        if action.const is None and type(value) is int:  # given several times
            return [flag] * value
        return [flag] * _typed(path, name, value, bool, "true or false")
    if action.nargs == "+":
        items = _typed(path, name, value, list, "a list")
        return [flag, *map(str, items)] if items else []
    return [f"{flag}={_typed(path, name, value, str | int | float, 'a text or a number')}"]


def _typed(path: Path, name: str, value: Any, kind: Any, words: str) -> Any:
    if not isinstance(value, kind) or (kind is not bool and isinstance(value, bool)):
        raise InputError(f"{path}: {name}: expected {words}, found {value!r}.")
    return value


def given_options(words: Sequence[str], parser: argparse.ArgumentParser) -> set[str]:
    """Tell which options a command line itself gives, be it with their default values.

    Parameters
    ----------
    words : sequence of str
        The command line without the program's name.
    parser : ArgumentParser
        A parser of all arguments; it is of no use afterwards.

    Returns
    -------
    set of str
        Names as in the parsed arguments.

    Raises
    ------
    UsageError
        An option is unknown or malformed.
    """
    return set(_split(words, parser)[0])


def _split(
    words: Sequence[str], parser: argparse.ArgumentParser
) -> tuple[dict[str, Any], list[str]]:
    """Tell which options a command line gives, and what is left of it."""
    for action in parser._actions:
        action.default = argparse.SUPPRESS
    parser._actions = [action for action in parser._actions if action.option_strings]
    found, left = parser.parse_known_args(words)
    for word in left:
        if word.startswith("-"):
            parser.error(f"unrecognized arguments: {word}")
    return vars(found), left


def _ruled_out(parser: argparse.ArgumentParser, given: Mapping[str, Any]) -> set[str]:
    """Name the options that a file has no say in when a command line gives some."""
    names = {*given, *UNUSED.get(given.get("mode", ""), ())}
    for group in parser._mutually_exclusive_groups:
        exclusive = {action.dest for action in group._group_actions}
        names |= exclusive if exclusive & given.keys() else set()
    return names


def _compare_version(path: Path, content: Mapping[str, Any]) -> None:
    version = content.get("versions", {}).get("flairseg", __version__)
    if version != __version__:
        LOGGER.warning(
            "%s: a run of flairseg %s, this is %s; results may differ", path, version, __version__
        )


def compare_models(path: Path, models: Mapping[str, Path]) -> None:
    """Warn where a run again has other models than the run that was recorded.

    Parameters
    ----------
    path : Path
        The record.
    models : mapping of str to Path
        Bundles of this run by their role.
    """
    recorded = _read(path).get("models", {})
    for role, bundle in models.items():
        before = recorded.get(role, {}).get("sha256")
        try:
            now = json.loads((bundle / _CARD).read_text(encoding="utf-8")).get("sha256")
        except (OSError, ValueError, AttributeError):
            continue  # the run itself will find out and say more
        if before not in (None, now):
            LOGGER.warning(
                "%s: the %s model had sha256 %s, that of %s is %s; results will differ",
                path, role, before, bundle, now,
            )  # fmt: skip
