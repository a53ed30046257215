"""Files that are written whole or not at all, never over what is read, and by one process at a time."""

import os
import shutil
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from portable_nn.errors import OutputError

__all__ = ["check_output", "lock", "naming", "settle", "write"]


def check_output(
    path: str | os.PathLike[str],
    *inputs: str | os.PathLike[str] | None,
    overwrite: bool,
    files: Collection[str] = (),
) -> None:
    """Refuse to write over what the user may want; what a killed run had put aside for that comes back first.

    Parameters
    ----------
    path : str or path-like
        Where a file is to go, or a folder if its name ends in ``.zarr``.
    inputs : str, path-like or None
        Files that are read meanwhile: none may be written over, under whatever name or link.
    overwrite : bool
        Whether another file may.
    files : collection of str
        What is to be in a folder: one that holds nothing else may be written over, as a file may.

    Raises
    ------
    OutputError
        If there is an input, a folder, a device, or a file that is to stay, or no folder for it.

    Examples
    --------
    >>> from portable_nn.writing import check_output
    >>> check_output("no such file.npy", overwrite=False)
    """
    _recover(Path(path))
    if not os.path.lexists(path):
        if not Path(path).absolute().parent.is_dir():
            raise OutputError(f"{path} cannot be written: there is no folder {Path(path).parent}")
        return
    if any(file is not None and (_are_one(path, file) or _is_in(path, file)) for file in inputs):
        raise OutputError(f"{path} is an input, which it would destroy: write to another file")
    is_ours = _is_zarr(path) or (os.path.isdir(path) and bool(files) and set(os.listdir(path)) <= set(files))
    if os.path.isdir(path) and not is_ours:
        remedy = "is a folder: name a file in it"
        if files or Path(path).suffix == ".zarr":
            remedy = "is a folder that holds other files: name another one"
        raise OutputError(f"{path} {remedy}")
    if os.path.exists(path) and not os.path.isfile(path) and not is_ours:
        raise OutputError(f"{path} is no regular file, and would be replaced by one: write to another file")
    if not overwrite:
        raise OutputError(f"{path} exists: write to another file, or overwrite it (overwrite=True, --force)")


def _is_zarr(path: str | os.PathLike[str]) -> bool:
    return Path(path).suffix == ".zarr" and os.path.isfile(os.path.join(path, "zarr.json"))


def _are_one(path: str | os.PathLike[str], other: str | os.PathLike[str]) -> bool:
    try:
        return os.path.samefile(path, other)
    except OSError:  # one is not there
        return False


def _is_in(folder: str | os.PathLike[str], file: str | os.PathLike[str]) -> bool:
    return Path(os.path.realpath(folder)) in Path(os.path.realpath(file)).parents


@contextmanager
def naming(path: str | os.PathLike[str]) -> Iterator[None]:
    """Errors of the system name the file that was wanted, where they name another one or none."""
    try:
        yield
    except OSError as error:
        if error.errno is None:  # not of the system
            raise
        raise OSError(error.errno, error.strerror, os.fspath(path)) from error


def write(path: str | os.PathLike[str], data: bytes) -> None:
    """Write a new file that then takes the place of `path`: if that fails, an older file stays as it was.

    Parameters
    ----------
    path : str or path-like
    data : bytes

    Raises
    ------
    OSError
        If the file cannot be written.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from portable_nn.writing import write
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "a.txt")
    ...     write(path, b"whole")
    ...     path.read_bytes()
    b'whole'
    """
    new = Path(path).with_name(f".{uuid4().hex}.tmp")
    with naming(path):
        try:
            with new.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            new.replace(path)
            _sync_folder(new.parent)
        finally:
            new.unlink(missing_ok=True)


def lock(file: int, path: str | os.PathLike[str]) -> None:
    """Hold an open file against other processes until it is closed.

    Parameters
    ----------
    file : int
        Its descriptor.
    path : str or path-like
        Its name, or that of what it stands for.

    Raises
    ------
    OutputError
        If another process holds it.
    """
    if sys.platform == "win32":  # pragma: no cover: Windows
        return
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise OutputError(
            f"{path} is being written by another process: wait until it is done, or write to another file"
        ) from None


def settle(partial: Path, path: Path, *, overwrite: bool) -> None:
    """Give what is whole its name, so that it is there after a loss of power too.

    Parameters
    ----------
    partial : Path
        A file or a folder, in the same folder as `path`.
    path : Path
    overwrite : bool
        Whether it may take the place of what has come there meanwhile.

    Raises
    ------
    OutputError
        If something has, and may not be replaced: all is kept then.
    """
    with naming(path):
        if partial.is_dir():
            _sync_folder(partial)
        if os.path.lexists(path):
            if not overwrite:
                raise OutputError(f"{path} has come into being meanwhile; the results are kept in {partial}")
            if partial.is_dir():  # which can take the place of nothing but an empty folder
                path.rename(_beside(path, "older"))
        partial.replace(path)
        _sync_folder(path.parent)
    _recover(path)


def _beside(path: Path, end: str) -> Path:
    return path.with_name(f".{path.name}.portable_nn-{end}")


def _recover(path: Path) -> None:
    """Bring an older folder back that had made room, or away where the new one has its name: a kill leaves it."""
    with suppress(OSError, ValueError):  # another process may do the same, or the path be none
        older, waste = _beside(path, "older"), _beside(path, "waste")
        _remove(waste)
        if os.path.lexists(older):
            older.rename(waste if os.path.lexists(path) else path)
            _remove(waste)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Have the names in a folder on disk, where the system lets one."""
    with suppress(PermissionError):  # Windows opens no folders
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
