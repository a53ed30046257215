"""Files of joblib: pickles, compressed or not, with the bytes of arrays in between.

Where the pickle has built a `NumpyArrayWrapper`, the array's bytes follow in the stream: since joblib 1.2 after a
byte that holds the length of a padding, and the padding. Arrays of objects follow as a pickle of their own.
Source: `joblib/numpy_pickle.py` and `joblib/compressor.py` of joblib 1.6.
"""

import bz2
import lzma
import os
import zlib
from collections.abc import Callable
from io import BytesIO
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from portable_nn.readers.buffers import MAX_BYTES, Budget, check_shape, reading
from portable_nn.readers.pickles import Record, array_of, dtype_of, interpret

__all__ = ["read_joblib"]

MEMORY = 2**27  # bytes that LZMA may take for its dictionary: its highest preset takes half of them
PIECE = 2**20  # bytes to decompress at once


DECOMPRESSORS: dict[bytes, Callable[[], Any]] = {
    b"\x78": lambda: zlib.decompressobj(),
    b"\x1f\x8b": lambda: zlib.decompressobj(16 + zlib.MAX_WBITS),  # gzip
    b"BZ": bz2.BZ2Decompressor,
    b"\x5d\x00": lambda: lzma.LZMADecompressor(lzma.FORMAT_ALONE, MEMORY),
    b"\xfd7zXZ": lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, MEMORY),
}
"""By the first bytes of a file."""

UNREADABLE = {
    b"\x04\x22\x4d\x18": "it is compressed by LZ4, which takes a package to read: write it with compress='zlib'",
    b"ZF": "joblib before 0.10 wrote it: load it there and write it with a later version",
}


def read_joblib(path: str | os.PathLike[str]) -> Any:
    """Read a file that `joblib.dump` or `pickle.dump` wrote, without unpickling it.

    Parameters
    ----------
    path : str or path-like
        Compressed by zlib, gzip, bz2, lzma or xz, or not at all; of at most 1 GiB, and decompressed of at most
        64 MiB more than the file.

    Returns
    -------
    object
        As of `portable_nn.readers.pickles.read_records`.

    Raises
    ------
    FormatError
        If the file cannot be read, or is no such file.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import joblib
    >>> import numpy as np
    >>> from portable_nn.readers.joblib import read_joblib
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "weights.joblib")
    ...     _ = joblib.dump({"b1": np.array([0.1, 0.2])}, path, compress=3)
    ...     read_joblib(path)
    {'b1': array([0.1, 0.2])}
    """
    with reading(path, "a file of joblib or a pickle", "fetch or write it anew", ValueError):
        return _records(*_inflated(_content(Path(path))))


def _content(path: Path) -> bytes:
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise ValueError(f"it has {size} bytes, the limit is {MAX_BYTES}")
    return path.read_bytes()


def _inflated(data: bytes) -> tuple[BytesIO, Budget]:
    """The file, what is compressed in it decompressed up to the limit, and what may still be made of it."""
    budget = Budget(len(data))
    for magic, reason in UNREADABLE.items():
        if data.startswith(magic):
            raise ValueError(reason)
    new = next((new for magic, new in DECOMPRESSORS.items() if data.startswith(magic)), None)
    if new is None:
        return BytesIO(data), budget
    decompressor, whole = new(), BytesIO()
    try:
        while piece := decompressor.decompress(data, PIECE):
            budget.spend(len(piece))
            whole.write(piece)
            data = getattr(decompressor, "unconsumed_tail", b"")  # of zlib; the others keep it themselves
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:  # EOFError: asked for more after the end
        if not decompressor.eof:
            raise ValueError(f"its compression is damaged ({error})") from error
    if not decompressor.eof:
        raise ValueError("it is cut short")
    whole.seek(0)
    return whole, budget


def _records(file: BytesIO, budget: Budget) -> Any:
    """What a decompressed file describes; its arrays share its bytes."""
    data = file.getbuffer()

    def array(dtype: np.dtype[Any] | None, shape: tuple[Any, ...], order: str, padded: bool) -> object:
        if dtype is None:
            raise ValueError("it has an array of neither numbers nor strings nor objects")
        if dtype.hasobject:
            return interpret(file, budget=budget)
        if padded:
            file.seek(ord(file.read(1)), os.SEEK_CUR)
        check_shape(shape)
        start, length = file.tell(), prod(shape) * dtype.itemsize
        file.seek(min(start + length, len(data)))
        return array_of(data[start : start + length], dtype, shape, order)

    def built(record: Record) -> object:
        """The array that follows its wrapper, or what else was built."""
        match record:
            case Record(
                name="joblib.numpy_pickle.NumpyArrayWrapper",
                state={
                    "dtype": Record() as dtype,
                    "shape": tuple() as shape,
                    "order": "C" | "F" as order,
                    **rest,
                },
            ):
                padded = rest.get("numpy_array_alignment_bytes") is not None
                return array(dtype_of(dtype), shape, order, padded)
        return record

    return interpret(file, built=built, budget=budget)
