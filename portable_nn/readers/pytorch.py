"""What PyTorch's `torch.save` wrote, as records: the zip of today, and the several pickles of before 1.6.

Both hold a pickle whose tensors are views of storages: the zip keeps each storage in a member of its own, the
older file appends them to the pickles. A tensor becomes an array that views its storage, once its sizes and
strides were found to lie inside it.
"""

import os
from dataclasses import dataclass
from functools import cached_property
from typing import IO, Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from portable_nn.readers.buffers import Budget, check_shape, reading
from portable_nn.readers.pickles import Record, interpret
from portable_nn.readers.zips import Archive

__all__ = ["read_checkpoint"]

ZIP = b"PK\x03\x04"
MAGIC = 0x1950A86A20F9469CFC6C
VERSION = 1001
BFLOAT16 = "bfloat16"

STORAGES = {
    "torch.DoubleStorage": "f8",
    "torch.FloatStorage": "f4",
    "torch.HalfStorage": "f2",
    "torch.BFloat16Storage": BFLOAT16,
    "torch.LongStorage": "i8",
    "torch.IntStorage": "i4",
    "torch.ShortStorage": "i2",
    "torch.CharStorage": "i1",
    "torch.ByteStorage": "u1",
    "torch.BoolStorage": "b1",
    "torch.storage.UntypedStorage": "u1",
}
DTYPES = {"torch.uint16": "u2", "torch.uint32": "u4", "torch.uint64": "u8"}
"""Those whose storages have no type of their own, without float8, which NumPy has not."""


@dataclass(frozen=True)
class _Storage:
    kind: str | None  # a code of NumPy's, "bfloat16", or None where NumPy has no such
    data: Any  # a buffer
    order: str

    @cached_property
    def widened(self) -> np.ndarray[Any, Any]:
        """The values of bfloat16 in float32, whose upper half they are: once, however many tensors view them."""
        values = np.frombuffer(self.data or b"", f"{self.order}u2").astype(np.uint32)
        values <<= 16
        return values.view(np.float32)


def read_checkpoint(path: str | os.PathLike[str]) -> Any:
    """Read a file of `torch.save` without PyTorch, running nothing that it names.

    Parameters
    ----------
    path : str or path-like

    Returns
    -------
    object
        As of `portable_nn.readers.pickles.read_records`, with an array for each tensor: read-only, of the sizes
        and strides that it has, those of bfloat16 in float32.

    Raises
    ------
    FormatError
        If the file cannot be read, or is not one of `torch.save`, or tensors reach out of their storages.

    Examples
    --------
    >>> import pathlib, tempfile, torch
    >>> from portable_nn.readers.pytorch import read_checkpoint
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "tensors.pt")
    ...     torch.save({"bias": torch.tensor([0.5, 2.0])}, path)
    ...     read_checkpoint(path)
    {'bias': array([0.5, 2. ], dtype=float32)}
    """
    kind, remedy = "a model of torch.save", "save its state_dict() anew with torch.save"
    with reading(path, kind, remedy, ValueError), open(path, "rb") as file:
        head = file.read(512)
        file.seek(0)
        if head.startswith(ZIP):
            return _zipped(file)
        if head[257:262] == b"ustar":
            raise ValueError("it is a tar archive, as PyTorch wrote them before version 0.1.10")
        return _appended(file)


def _zipped(file: IO[bytes]) -> Any:
    archive = Archive(file)
    names = set(archive.names)
    pickles = [name for name in archive.names if name.endswith("/data.pkl") and name.count("/") == 1]
    if any("/code/" in name or name.endswith("/constants.pkl") for name in names):
        raise ValueError(
            "it is TorchScript, which holds its forward pass as source: export the model with torch.onnx.export"
        )
    if any(name.rpartition("/")[2] == "archive_format" for name in names):
        raise ValueError("it is a program of torch.export: export the model with torch.onnx.export")
    if len(pickles) != 1:
        raise ValueError("it is a zip without the pickle of a model")
    folder = pickles[0].removesuffix("/data.pkl")
    byteorder = archive.open(f"{folder}/byteorder").read() if f"{folder}/byteorder" in names else b"little"
    orders = {b"little": "<", b"big": ">"}
    if byteorder not in orders:
        raise ValueError(f"its byte order is {byteorder[:20]!r}")
    found: dict[str, Any] = {}
    storages: dict[tuple[str, str | None], _Storage] = {}

    def persistent(key: object) -> object:
        match key:
            case ("storage", Record(args=None) as kind, str() as name, _, _):
                if name not in found:
                    found[name] = archive.open(f"{folder}/data/{name}").getbuffer()
                code = STORAGES.get(kind.name)
                return storages.setdefault((name, code), _Storage(code, found[name], orders[byteorder]))
        return Record("persistent_id", (key,))

    return interpret(archive.open(pickles[0]), called=_tensor, persistent=persistent, budget=archive.budget)


def _appended(file: IO[bytes]) -> Any:
    """Read pickles of a magic number, a version, the writer's machine, the content and the storages' names."""
    size = os.fstat(file.fileno()).st_size
    budget = Budget(size)
    if [interpret(file, budget=budget), interpret(file, budget=budget)] != [MAGIC, VERSION]:
        raise ValueError("it starts as no file of torch.save does")
    interpret(file, budget=budget)
    start = file.tell()
    kinds: dict[str, str | None] = {}
    found: dict[str, bytes] = {}
    storages: dict[tuple[str, str | None], _Storage] = {}

    def persistent(key: object) -> object:
        match key:
            case ("module", Record(args=None) as kind, *_):
                return Record(kind.name)
            case ("storage", Record(args=None) as kind, str() as name, _, _, None):
                code = kinds[name] = STORAGES.get(kind.name)
                return storages.setdefault((name, code), _Storage(code, found.get(name), "<"))
        return Record("persistent_id", (key,))

    interpret(file, persistent=persistent, budget=budget)  # to know the kinds, and where the storages start
    names = interpret(file, budget=budget)
    for name in names if isinstance(names, list) else ():
        kind = kinds.get(name) if isinstance(name, str) else None
        if kind is None:
            raise ValueError("it has a storage of a dtype that NumPy has not: cast it")
        length = int.from_bytes(file.read(8), "little") * _width(kind)
        if length > size - file.tell():
            raise ValueError("it ends early")
        budget.spend(length)
        found[name] = file.read(length)
    file.seek(start)
    storages.clear()
    return interpret(file, called=_tensor, persistent=persistent, budget=budget)


def _tensor(record: Record) -> object:
    """Return the array of a tensor; the record where it is none, or where NumPy has not its dtype."""
    match record.name, record.args:
        case "torch._utils._rebuild_parameter" | "torch._utils._rebuild_parameter_with_state", (data, *_):
            return data
        case "torch._tensor._rebuild_from_type_v2", (Record(args=None) as function, _, tuple() as args, _):
            return _tensor(Record(function.name, args))
        case "torch._utils._rebuild_tensor_v2", (_Storage() as storage, offset, tuple() as shape, stride, *_):
            return record if storage.kind is None else _view(storage, storage.kind, offset, shape, stride)
        case (
            "torch._utils._rebuild_tensor_v3",
            (_Storage() as storage, offset, tuple() as shape, stride, _, _, Record(name=dtype, args=None), *_),
        ) if dtype in DTYPES:
            return _view(storage, DTYPES[dtype], offset, shape, stride)
    return record


def _view(storage: _Storage, kind: str, offset: Any, shape: tuple[Any, ...], stride: Any) -> np.ndarray[Any, Any]:
    check_shape(shape)
    if not isinstance(stride, tuple) or len(stride) != len(shape):
        raise ValueError("a tensor has not one stride for each axis")
    check_shape(stride)
    check_shape((offset,))
    values = storage.widened if kind == BFLOAT16 else np.frombuffer(storage.data or b"", storage.order + kind)
    last = offset + sum((n - 1) * step for n, step in zip(shape, stride, strict=True))
    if 0 not in shape and last >= len(values):
        raise ValueError(f"a tensor reaches to value {last} of a storage of {len(values)}")
    if 0 in shape:
        return np.empty(shape, values.dtype)
    return as_strided(values[offset:], shape, tuple(values.itemsize * step for step in stride), writeable=False)


def _width(kind: str) -> int:
    return 2 if kind == BFLOAT16 else int(kind[1:])
