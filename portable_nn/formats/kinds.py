"""Of what format a file is: told by its content, and by its suffix only where that says nothing."""

import os
from pathlib import Path

from portable_nn.errors import FormatError
from portable_nn.readers.buffers import reading
from portable_nn.readers.zips import Archive

__all__ = ["FORMATS", "format_of"]

FORMATS: dict[str, tuple[str, ...]] = {
    "safetensors": (".safetensors",),
    "npz": (".npz",),
    "pytorch": (".pt", ".pth", ".ckpt", ".bin"),
    "keras": (".keras", ".h5", ".hdf5"),
    "pickle": (".pkl", ".pickle", ".joblib"),
    "onnx": (".onnx",),
}
"""The suffixes that files of each format usually have."""

HDF5, ZIP, TAR = b"\x89HDF\r\n\x1a\n", b"PK\3\4", b"ustar"
LEGACY_PYTORCH = b"\x80\2\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # the pickled number that its files begin with
COMPRESSED = b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x78\1", b"\x78\x5e", b"\x78\x9c", b"\x78\xda", b"\x5d\0\0"
"""How joblib's files begin where they are compressed."""

ONNX = b"\x12", b"\x3a", b"\x42"
"""What follows the version that an ONNX file usually begins with: its producer, its graph, or its opsets."""

HEAD = 512


def format_of(path: str | os.PathLike[str]) -> str:
    """The name of the format that a model file has.

    Parameters
    ----------
    path : str or path-like

    Returns
    -------
    str
        One of `FORMATS`.

    Raises
    ------
    FormatError
        If the file cannot be read, or is of none of them.

    Examples
    --------
    >>> from portable_nn.datasets.embedded import embedded
    >>> from portable_nn.formats.kinds import format_of
    >>> format_of(embedded("mnist.safetensors"))
    'safetensors'
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if path.is_dir():
        raise FormatError(
            f"{path} is a folder, and models are read from files: of a TensorFlow SavedModel save a .keras file, "
            "model.save('model.keras')"
        )
    with reading(path, "a model", "give a file of a format that is read", ValueError):
        found = _by_content(path)
    if found is None:
        found = next((name for name, suffixes in FORMATS.items() if suffix in suffixes), None)
    if found is None:
        suffixes = ", ".join(suffix for suffixes in FORMATS.values() for suffix in suffixes)
        raise FormatError(f"{path} is of no format that is read: those files end in {suffixes}")
    return found


def _by_content(path: Path) -> str | None:
    with path.open("rb") as file:
        head = file.read(HEAD)
        if head.startswith(ZIP):
            return _of_zip(Archive(file).names)
    if head.startswith(HDF5):
        return "keras"
    if head.startswith(LEGACY_PYTORCH) or head[257:262] == TAR:
        return "pytorch"
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < path.stat().st_size:
        return "safetensors"
    if head[:1] == b"\x08" and head[2:3] in ONNX:
        return "onnx"
    if (head[:1] == b"\x80" and head[1:2] in b"\2\3\4\5") or head.startswith(COMPRESSED):
        return "pickle"
    return None


def _of_zip(names: tuple[str, ...]) -> str | None:
    if "config.json" in names or "model.weights.h5" in names:
        return "keras"
    if any(name.endswith(("data.pkl", "constants.pkl", ".pt2", "archive_format")) for name in names):
        return "pytorch"
    return "npz" if any(name.endswith(".npy") for name in names) else None
