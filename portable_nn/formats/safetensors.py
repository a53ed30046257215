"""safetensors files that hold a network as `portable_nn.formats.architecture` says."""

import json
import os
from typing import Any

import safetensors.numpy

from portable_nn.errors import FormatError
from portable_nn.formats.architecture import FORMAT, check_metadata, network_of, parts_of
from portable_nn.formats.given import check_unsaid
from portable_nn.network import Network
from portable_nn.readers.safetensors import read_arrays, read_metadata
from portable_nn.writing import write

__all__ = ["read_safetensors", "write_safetensors"]


def write_safetensors(net: Network, path: str | os.PathLike[str]) -> None:
    """Write a network to a safetensors file; if that fails, an older file stays as it was.

    Parameters
    ----------
    net : Network
    path : str or path-like

    Raises
    ------
    OSError
        If the file cannot be written.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import portable_nn as pnn
    >>> from portable_nn.formats.safetensors import read_safetensors, write_safetensors
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "pixels.safetensors")
    ...     write_safetensors(pnn.Network([pnn.Rescaling(1 / 255)]), path)
    ...     read_safetensors(path).layers
    (Rescaling(0.00392157, 0),)
    """
    metadata, tensors = parts_of(net)
    write(path, _ordered(safetensors.numpy.save(tensors, metadata)))


def _ordered(data: bytes) -> bytes:
    """The file with its metadata in order, which safetensors leaves to chance: one network is one file."""
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return b"".join([len(text).to_bytes(8, "little"), text, memoryview(data)[8 + length :]])


def read_safetensors(path: str | os.PathLike[str], *, verify: bool = True, **given: Any) -> Network:
    """Read a network from a safetensors file: one that `write_safetensors` wrote, or a state dict of PyTorch's.

    Parameters
    ----------
    path : str or path-like
    verify : bool
        Whether it must make of the file's samples what the file says.
    **given
        What a state dict does not say, as `portable_nn.formats.pytorch.read_pytorch` takes it.

    Returns
    -------
    Network

    Raises
    ------
    FormatError
        If the file cannot be read, or is not such a file.
    AccuracyError
        If the network makes something else of the samples.

    Examples
    --------
    >>> from portable_nn.datasets.embedded import embedded
    >>> from portable_nn.formats.safetensors import read_safetensors
    >>> read_safetensors(embedded("mnist.safetensors")).input_shape
    (784,)
    """
    metadata, _ = read_metadata(path)
    if metadata.get("format") != FORMAT["format"]:
        from portable_nn.formats.pytorch import read_pytorch  # which most files do not need

        return read_pytorch(path, **given)
    check_unsaid(given, f"{path} was written by portable_nn.save, which says all itself")
    try:
        check_metadata(metadata)
    except ValueError as error:
        raise FormatError(f"{path} is not a network that portable_nn.save wrote: {error}") from error
    return network_of(metadata, read_arrays(path), path, verify=verify)
