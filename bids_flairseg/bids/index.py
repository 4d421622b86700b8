"""Finding the FLAIR files of a dataset with pybids; the only module that imports it."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bids.layout import BIDSLayout, BIDSLayoutIndexer
from sqlalchemy.exc import SQLAlchemyError

from bids_flairseg.errors import InputError
from bids_flairseg.storage import TEMPORARY_PREFIX, as_output_error

_DATABASE = "layout_index.sqlite"
# All that is neither a FLAIR nor a folder on the way to one: not even looked into.
_ELSEWHERE = re.compile(
    r"^/(?!sub-[^/]+(/ses-[^/]+)?(/anat(/[^/]+_FLAIR\.nii(\.gz)?)?)?$)",
)


def find_flairs(
    root: Path, participants: Sequence[str], *, database_dir: Path | None = None
) -> list[Path]:
    """List the files ``anat/*_FLAIR.nii[.gz]`` of some participants.

    Parameters
    ----------
    root : Path
        The dataset.
    participants : sequence of str
        Labels without ``sub-``; no other folder is opened.
    database_dir : Path, optional
        Folder of a pybids index of the whole dataset, used if there is one, made if not.

    Returns
    -------
    list of Path
        Files below `root`, unsorted. Links without a target are among them.

    Raises
    ------
    InputError
        The index is damaged, or belongs to another dataset.
    OutputError, StorageError
        The index cannot be stored.
    """
    if database_dir is None:
        layout = BIDSLayout(root, validate=False, indexer=_FlairIndexer(participants))
        return _query(layout, root)
    database = database_dir / _DATABASE
    try:
        if not database.exists():
            _build_database(root, database)
        files = _query(BIDSLayout(root, validate=False, database_path=database_dir), root)
    except (SQLAlchemyError, AttributeError) as error:  # AttributeError: tables, but no rows
        raise InputError(
            f"{database}: expected an index made by pybids, but it cannot be read "
            f"({str(error).splitlines()[0]}). Delete the folder to have it made again."
        ) from error
    prefixes = {f"sub-{label}" for label in participants}
    return [path for path in files if path.relative_to(root).parts[0] in prefixes]


class _FlairIndexer(BIDSLayoutIndexer):  # type: ignore[misc]  # pybids carries no types
    """Indexes the FLAIRs of some participants.

    With 10,000 participants pybids takes over a second to compare every folder of the root
    with its patterns; here it goes straight into those that are wanted.
    """

    def __init__(self, participants: Sequence[str]) -> None:
        super().__init__(validate=False, index_metadata=False, ignore=[_ELSEWHERE])
        self._participants = participants

    def _index_dir(self, path: Any, config: Any, force: Any = None) -> tuple[list[Any], list[Any]]:
        """Index one folder; for the root, the wanted folders in it."""
        if path != self._layout._root:
            files, tags = super()._index_dir(path, config, force)
            return files, tags
        folders = [path / f"sub-{label}" for label in self._participants]
        indexed = [super(_FlairIndexer, self)._index_dir(item, config, force) for item in folders]
        return [file for files, _ in indexed for file in files], [
            tag for _, tags in indexed for tag in tags
        ]


def _query(layout: BIDSLayout, root: Path) -> list[Path]:
    """Take all FLAIRs out of an index and close it."""
    if not Path(layout.root).samefile(root):
        raise InputError(
            f"{layout.connection_manager.database_file}: expected an index of {root}, but it is "
            f"one of {layout.root}. Give each dataset its own --bids-database-dir."
        )
    try:
        # No query by datatype: pybids would take it from a folder above the dataset as well.
        found = layout.get(suffix="FLAIR", extension=[".nii", ".nii.gz"], return_type="filename")
        relative = [Path(name).relative_to(layout.root) for name in found]
    finally:
        layout.session.close()
        layout.session.get_bind().dispose()
    return [root / path for path in relative if path.parent.name == "anat"]


def _build_database(root: Path, database: Path) -> None:
    """Index all files of the dataset, so that the index serves any later run."""
    try:
        database.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=database.parent, prefix=TEMPORARY_PREFIX) as folder:
            indexer = BIDSLayoutIndexer(validate=False, index_metadata=False)
            layout = BIDSLayout(root, validate=False, database_path=folder, indexer=indexer)
            layout.session.close()
            layout.session.get_bind().dispose()
            (Path(folder) / _DATABASE).replace(database)
    except OSError as error:
        raise as_output_error(error, database) from error
