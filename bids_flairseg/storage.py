"""Paths as they are written down, and files that appear only when they are complete."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bids_flairseg.errors import FlairsegError, OutputError, StorageError

#: Begin of temporary names: hidden, so that no BIDS tool takes an unfinished file for a result.
TEMPORARY_PREFIX = ".flairseg-"
#: Numbers of system errors that mean a full disk or a used-up quota.
FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_REFUSED = {
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.EEXIST,
    errno.ENAMETOOLONG,
}


def absolute_path(path: str | Path) -> Path:
    """Make a path absolute and take ``..`` out of it, without following links.

    Parameters
    ----------
    path : str or Path
        It need not be there.

    Returns
    -------
    Path
        The same place. Where ``..`` comes after a link to elsewhere it stays, for it leads out
        of where the link leads to.

    Examples
    --------
    >>> absolute_path("/data/study/../bids")
    PosixPath('/data/bids')
    """
    whole = Path(path).absolute()
    plain = Path(os.path.normpath(whole))
    return plain if os.path.realpath(plain) == os.path.realpath(whole) else whole


@contextmanager
def atomic_path(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """Give a temporary path to write to; rename it to the final one at the end.

    The temporary file lies in the same folder, which is made if need be, and has the same
    ending, so that writers that look at it (NIfTI) do the same as they would for the final
    name. It is removed if anything goes wrong, an interrupt included.

    Parameters
    ----------
    path : Path
        Final path. An older file of that name is replaced in one step.
    durable : bool
        Wait until the disk has it, so that not even a power failure leaves half a file.

    Yields
    ------
    Path
        A path that does not exist yet.

    Raises
    ------
    OutputError
        The folder or the file may not be created.
    StorageError
        The disk is full, the folder vanished, or writing failed otherwise.
    """
    extension = "".join(Path(path.name.lstrip(".")).suffixes[-2:])
    temporary = path.parent / f"{TEMPORARY_PREFIX}{secrets.token_hex(6)}{extension}"
    try:
        with suppress(FileExistsError):
            path.parent.mkdir(parents=True)
        yield temporary
        if durable:
            flush(temporary)
        temporary.replace(path)
        if durable:
            flush(path.parent)
    except OSError as error:
        raise as_output_error(error, path) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def flush(path: Path) -> None:
    """Bring a file, or the names in a folder, to the disk.

    Some network file systems cannot do it for a folder; the rename has happened all the same.

    Parameters
    ----------
    path : Path
        File or folder.

    Raises
    ------
    OSError
        The disk is full, or fails.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in {errno.EINVAL, errno.ENOTSUP, errno.EBADF}:
            raise
    finally:
        os.close(descriptor)


def as_output_error(error: OSError, path: Path) -> FlairsegError:
    """Turn an error of the system into one that says what to do.

    Parameters
    ----------
    error : OSError
        What writing gave.
    path : Path
        What should have been written.

    Returns
    -------
    FlairsegError
        `OutputError` if the place is refused, `StorageError` if storing failed.
    """
    reason = os.strerror(error.errno) if error.errno else str(error)
    if error.errno in _REFUSED:
        return OutputError(
            f"{path}: cannot be written ({reason}). Choose a folder that this user may write to."
        )
    if error.errno in FULL:
        return StorageError(
            f"{path}: cannot be written, the disk is full or the quota is used up ({reason}). "
            "Make room and run the same command again; finished scans are kept."
        )
    if error.errno == errno.ENOENT:
        return StorageError(
            f"{path}: its folder vanished while it was written. Do not move or delete the "
            "folders of a run; run the same command again."
        )
    return StorageError(
        f"{path}: writing failed ({reason}). Check the disk and run the same command again."
    )
