"""The safetensors format: named tensors, and metadata of strings."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from portable_nn.errors import FormatError
from portable_nn.readers.buffers import reading

__all__ = ["read_arrays", "read_metadata", "read_tensors"]

DTYPES = ("F16", "F32", "F64")
ANY = (*DTYPES, "BF16", "I8", "I16", "I32", "I64", "U8", "U16", "U32", "U64", "BOOL")


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
    >>> import pathlib, tempfile
    >>> import numpy as np
    >>> from portable_nn.readers.safetensors import read_metadata
    >>> from safetensors.numpy import save_file
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "net.safetensors")
    ...     save_file({"weight": np.eye(2)}, path, {"author": "me"})
    ...     read_metadata(path)
    ({'author': 'me'}, ['weight'])
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
    >>> import pathlib, tempfile
    >>> import numpy as np
    >>> from portable_nn.readers.safetensors import read_arrays
    >>> from safetensors.numpy import save_file
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "net.safetensors")
    ...     save_file({"bias": np.array([0.5, 2.0])}, path)
    ...     read_arrays(path)
    {'bias': array([0.5, 2. ])}
    """
    with _opened(path) as file:
        for name in file.keys():  # noqa: SIM118
            dtype = file.get_slice(name).get_dtype()
            if dtype not in DTYPES:
                raise FormatError(f"{path}: tensor {name} has dtype {dtype}, wanted one of {', '.join(DTYPES)}")
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def read_tensors(path: str | os.PathLike[str]) -> dict[str, np.ndarray[Any, Any]]:
    """Read the tensors of a file by name, in its order, whoever wrote it.

    Parameters
    ----------
    path : str or path-like

    Returns
    -------
    dict of str to array
        NumPy, of any real dtype or bool, those of bfloat16 in float32.

    Raises
    ------
    FormatError
        If the file cannot be read, is no safetensors file, or has tensors of dtypes that NumPy has not.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import numpy as np
    >>> from portable_nn.readers.safetensors import read_tensors
    >>> from safetensors.numpy import save_file
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "net.safetensors")
    ...     save_file({"steps": np.array([3])}, path)
    ...     read_tensors(path)
    {'steps': array([3])}
    """
    with _opened(path) as file, open(path, "rb") as raw:
        start = 8 + int.from_bytes(raw.read(8), "little")
        header = json.loads(raw.read(start - 8))  # that was found whole

        def tensor(name: str) -> np.ndarray[Any, Any]:
            entry = header[name]
            if entry["dtype"] != "BF16":
                return file.get_tensor(name)  # type: ignore[no-any-return]
            raw.seek(start + entry["data_offsets"][0])
            upper = np.fromfile(raw, "<u2", prod(entry["shape"])).astype(np.uint32)
            return (upper << 16).view(np.float32).reshape(entry["shape"])

        strays = [name for name in header if name != "__metadata__" and header[name]["dtype"] not in ANY]
        if strays:
            raise FormatError(
                f"{path}: tensor {strays[0]} has dtype {header[strays[0]]['dtype']}: cast it to F32"
            )
        return {name: tensor(name) for name in header if name != "__metadata__"}


@contextmanager
def _opened(path: str | os.PathLike[str]) -> Iterator[Any]:
    kind, remedy = "a safetensors file", "fetch or write it anew"
    with reading(path, kind, remedy, SafetensorError), safe_open(path, framework="np") as file:
        yield file
