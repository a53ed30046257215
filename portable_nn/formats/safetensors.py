"""safetensors files whose metadata holds the architecture of the network.

The metadata are strings: ``format`` is ``"portable_nn"``, ``version`` is ``"1"``, ``architecture`` is a JSON
list with one object a layer: its class under ``layer``, and its fields. A field that is an array is a tensor
instead, named after the layer's index and the field: ``1.weight``.
"""

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any, get_args

import numpy as np
import safetensors.numpy

from portable_nn.errors import FormatError
from portable_nn.layers import Layer
from portable_nn.network import Network
from portable_nn.readers.safetensors import read_arrays, read_metadata
from portable_nn.writing import write

__all__ = ["read_safetensors", "write_safetensors"]

FORMAT = {"format": "portable_nn", "version": "1"}
LAYERS = {layer.__name__: layer for layer in get_args(Layer)}


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
    ...     read_safetensors(path)
    Network([Rescaling(0.00392157, 0)])
    """
    layers = net.to_numpy().layers
    metadata = FORMAT | {"architecture": json.dumps([_description(layer) for layer in layers])}
    tensors = {
        f"{i}.{name}": np.ascontiguousarray(array)
        for i, layer in enumerate(layers)
        for name, array in layer.arrays.items()
    }
    write(path, safetensors.numpy.save(tensors, metadata))


def _description(layer: Layer) -> dict[str, Any]:
    plain = {field.name: getattr(layer, field.name) for field in fields(layer) if field.name not in layer.arrays}
    return {"layer": type(layer).__name__} | plain


def read_safetensors(path: str | os.PathLike[str]) -> Network:
    """Read a network from a safetensors file that `write_safetensors` wrote.

    Parameters
    ----------
    path : str or path-like

    Returns
    -------
    Network

    Raises
    ------
    FormatError
        If the file cannot be read, or is not such a file.

    Examples
    --------
    >>> from portable_nn.datasets.embedded import embedded
    >>> from portable_nn.formats.safetensors import read_safetensors
    >>> read_safetensors(embedded("mnist.safetensors")).input_shape
    (784,)
    """
    metadata, names = read_metadata(path)
    try:
        architecture = _architecture(metadata, names)
        arrays = read_arrays(path)
        layers = tuple(_layer(i, entry, arrays) for i, entry in enumerate(architecture))
        if arrays:
            raise ValueError(f"no layer takes the tensors {', '.join(arrays)}")
        return Network(layers)
    except FormatError:
        raise
    except (ValueError, TypeError, OverflowError) as error:
        raise FormatError(f"{path} is not a network that portable_nn.save wrote: {error}") from error


def _architecture(metadata: Mapping[str, str], names: Iterable[str]) -> list[dict[str, Any]]:
    if metadata.get("format") != FORMAT["format"]:
        raise ValueError(
            f"its metadata have no architecture for its tensors ({', '.join(names)}); build it, "
            "portable_nn.Network([portable_nn.Dense(weight, bias, 'sigmoid'), …]), and save that; weights of "
            "PyTorch are to be transposed"
        )
    if metadata.get("version") != FORMAT["version"]:
        version = metadata.get("version")
        raise ValueError(f"its version is {version!r}, wanted {FORMAT['version']!r}: upgrade portable_nn")
    try:
        architecture = json.loads(metadata.get("architecture", ""))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"its architecture is not JSON: {error}") from error
    if not isinstance(architecture, list) or not all(isinstance(entry, dict) for entry in architecture):
        raise ValueError("its architecture is not a list of objects")
    return architecture


def _layer(i: int, entry: dict[str, Any], tensors: dict[str, Any]) -> Layer:
    """Build layer `i` of its entry and of its tensors, which are taken out of `tensors`."""
    kind: type[Layer] | None = LAYERS.get(entry.get("layer"))
    if kind is None:
        raise ValueError(f"layer {i} is a {entry.get('layer')!r}, known are {', '.join(LAYERS)}")
    names = [field.name for field in fields(kind)]
    plain = {name: value for name, value in entry.items() if name != "layer"}
    arrays = {name: tensors.pop(f"{i}.{name}") for name in names if f"{i}.{name}" in tensors}
    if sorted([*plain, *arrays]) != sorted(names):
        raise ValueError(
            f"layer {i} has {', '.join([*plain, *arrays])}, a {kind.__name__} takes {', '.join(names)}"
        )
    return kind(**plain, **arrays)
