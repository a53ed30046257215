"""Files that are written whole or not at all, and never over what is read."""

import os
from pathlib import Path
from uuid import uuid4

from portable_nn.errors import OutputError

__all__ = ["check_output", "write"]


def check_output(path: str | os.PathLike[str], *inputs: str | os.PathLike[str] | None, overwrite: bool) -> None:
    """Refuse to write over what the user may want.

    Parameters
    ----------
    path : str or path-like
        Where a file is to go.
    inputs : str, path-like or None
        Files that are read meanwhile: none may be written over, under whatever name or link.
    overwrite : bool
        Whether another file may.

    Raises
    ------
    OutputError
        If there is an input, a folder, a device, or a file that is to stay.

    Examples
    --------
    >>> from portable_nn.writing import check_output
    >>> check_output("no such file.npy", overwrite=False)
    """
    if not os.path.lexists(path):
        return
    if any(file is not None and _are_one(path, file) for file in inputs):
        raise OutputError(f"{path} is an input, which it would destroy: write to another file")
    if os.path.isdir(path):
        raise OutputError(f"{path} is a folder: name a file in it")
    if os.path.exists(path) and not os.path.isfile(path):
        raise OutputError(f"{path} is no regular file, and would be replaced by one: write to another file")
    if not overwrite:
        raise OutputError(f"{path} exists: write to another file, or overwrite it (overwrite=True, --force)")


def _are_one(path: str | os.PathLike[str], other: str | os.PathLike[str]) -> bool:
    try:
        return os.path.samefile(path, other)
    except OSError:  # one is not there
        return False


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
    try:
        with new.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    except OSError as error:
        raise OSError(error.errno, error.strerror, os.fspath(path)) from error  # rather than the name of `new`
    finally:
        new.unlink(missing_ok=True)
