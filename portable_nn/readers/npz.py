"""NumPy's .npz archives: a zip of .npy files, one for each array."""

import os
from typing import Any

import numpy as np

from portable_nn.readers.buffers import reading
from portable_nn.readers.npy import array_in, read_header
from portable_nn.readers.pickles import interpret
from portable_nn.readers.zips import Archive

__all__ = ["read_arrays", "read_members"]


def read_arrays(path: str | os.PathLike[str]) -> dict[str, np.ndarray[Any, Any]]:
    """Read the arrays of an .npz by name.

    Nothing is allocated before the sizes that the archive and its arrays promise were found to fit each other
    and the file. Pickled objects are refused.

    Parameters
    ----------
    path : str or path-like
        As `numpy.savez` and `numpy.savez_compressed` write it, of at most 64 MiB more uncompressed than
        the file has.

    Returns
    -------
    dict of str to array
        NumPy, of real dtypes in native byte order.

    Raises
    ------
    FormatError
        If the file cannot be read, or is not an .npz of arrays of real numbers.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import numpy as np
    >>> from portable_nn.readers.npz import read_arrays
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "data.npz")
    ...     np.savez(path, labels=np.array([7, 2]))
    ...     read_arrays(path)
    {'labels': array([7, 2])}
    """
    kind, remedy = "an .npz of arrays of real numbers", "write it anew with numpy.savez"
    with reading(path, kind, remedy, ValueError), open(path, "rb") as file:
        return _read(Archive(file), "")


def read_members(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read the arrays of an .npz by name, those of strings and pickled ones too; nothing is unpickled.

    Parameters
    ----------
    path : str or path-like
        As of `read_arrays`.

    Returns
    -------
    dict of str to array
        NumPy. A pickled member is what `portable_nn.readers.pickles.read_records` makes of it.

    Raises
    ------
    FormatError
        If the file cannot be read, or is not an .npz.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import numpy as np
    >>> from portable_nn.readers.npz import read_members
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "data.npz")
    ...     np.savez(path, names=np.array(["a", "b"]), steps=np.array([1, None]))
    ...     read_members(path)
    {'names': array(['a', 'b'], dtype='<U1'), 'steps': array([1, None], dtype=object)}
    """
    kind, remedy = "an .npz of arrays", "write it anew with numpy.savez"
    with reading(path, kind, remedy, ValueError), open(path, "rb") as file:
        return _read(Archive(file), "UO")


def _read(archive: Archive, others: str) -> dict[str, Any]:
    return {name.removesuffix(".npy"): _read_array(archive, name, others) for name in archive.names}


def _read_array(archive: Archive, name: str, others: str) -> Any:
    file = archive.open(name)
    header = read_header(file, others)
    if header.dtype.hasobject:
        return interpret(file, budget=archive.budget)
    try:
        return array_in(file, header)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
