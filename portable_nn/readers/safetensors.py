"""The safetensors format: named tensors, and metadata of strings."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from portable_nn.errors import FormatError

__all__ = ["read_arrays", "read_metadata"]

DTYPES = ("F16", "F32", "F64")


def read_metadata(path: str | os.PathLike[str]) -> tuple[dict[str, str], list[str]]:
    """Read the metadata of a file and the names of its tensors, which stay on disk.

    Parameters
    ----------
    path : str or path-like

    Returns
    -------
    metadata : dict of str to str
    names : list of str

    Raises
    ------
    FormatError
        If the file cannot be read, or is no safetensors file.

    Examples
    --------
    >>> from portable_nn.datasets._embedded import embedded
    >>> from portable_nn.readers.safetensors import read_metadata
    >>> metadata, names = read_metadata(embedded("mnist.safetensors"))
    >>> metadata["format"], names[:2]
    ('portable_nn', ['1.bias', '1.weight'])
    """
    with _opened(path) as file:
        return file.metadata() or {}, list(file.keys())


def read_arrays(path: str | os.PathLike[str]) -> dict[str, np.ndarray[Any, Any]]:
    """Read the tensors of a file by name.

    Parameters
    ----------
    path : str or path-like

    Returns
    -------
    dict of str to array
        NumPy, of dtype float16, float32 or float64.

    Raises
    ------
    FormatError
        If the file cannot be read, is no safetensors file, or has tensors of other dtypes.

    Examples
    --------
    >>> from portable_nn.datasets._embedded import embedded
    >>> from portable_nn.readers.safetensors import read_arrays
    >>> read_arrays(embedded("mnist.safetensors"))["1.weight"].shape
    (784, 50)
    """
    with _opened(path) as file:
        for name in file.keys():  # noqa: SIM118
            dtype = file.get_slice(name).get_dtype()
            if dtype not in DTYPES:
                raise FormatError(f"{path}: tensor {name} has dtype {dtype}, wanted one of {', '.join(DTYPES)}")
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


@contextmanager
def _opened(path: str | os.PathLike[str]) -> Iterator[Any]:
    try:
        with safe_open(path, framework="np") as file:
            yield file
    except OSError as error:
        raise FormatError(f"{path} cannot be read: {error}") from error
    except SafetensorError as error:
        raise FormatError(f"{path} is not a safetensors file: {error}; fetch or write it anew") from error
