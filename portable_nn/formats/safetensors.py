"""safetensors files whose metadata holds the architecture of the network.

The metadata are strings: ``format`` is ``"portable_nn"``, ``version`` is ``"2"``, ``architecture`` is a JSON
list with one object a layer: its class under ``layer``, and its options. A field that is an array is a tensor
instead, named after the layer's index and the field: ``1.weight``. ``meaning`` is a JSON object of what is known
of inputs and outputs. The tensors ``samples.inputs`` and ``samples.outputs`` are a few samples and what the
network makes of them in float64, to which it is held when it is read.

Version 1 had no meaning and no samples, and called the tanh form of gelu ``gelu``.
"""

import json
import os
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar, get_args

import numpy as np
import safetensors.numpy

from portable_nn._typing import NumPyArray
from portable_nn.errors import AccuracyError, FormatError, PortableNNError
from portable_nn.layers import Layer, Layers
from portable_nn.network import Network
from portable_nn.placing import plain
from portable_nn.readers.safetensors import read_arrays, read_metadata
from portable_nn.verification import cause, excess, samples_of, summed
from portable_nn.writing import write

__all__ = ["read_safetensors", "write_safetensors"]

FORMAT = {"format": "portable_nn", "version": "2"}
SAMPLES = "samples.inputs", "samples.outputs"
Kind = TypeVar("Kind", list[Any], dict[str, Any])

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
    architecture = [{"layer": type(layer).__name__} | layer.options for layer in layers]
    metadata = FORMAT | {"architecture": json.dumps(architecture), "meaning": json.dumps(net.meaning.given())}
    inputs = samples_of(layers, net.input_shape, net.input_range)
    samples = dict(zip(SAMPLES, (inputs, plain(layers, inputs)), strict=True))
    tensors = {
        f"{i}.{name}": np.ascontiguousarray(array)
        for i, layer in enumerate(layers)
        for name, array in layer.arrays.items()
    }
    write(path, safetensors.numpy.save(tensors | samples, metadata))


def read_safetensors(path: str | os.PathLike[str], *, verify: bool = True) -> Network:
    """Read a network from a safetensors file that `write_safetensors` wrote.

    Parameters
    ----------
    path : str or path-like
    verify : bool
        Whether it must make of the file's samples what the file says.

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
    metadata, names = read_metadata(path)
    try:
        architecture = _architecture(metadata, names)
        meaning = _parsed(metadata.get("meaning", "{}"), "meaning", dict)
        arrays = read_arrays(path)
        samples = [arrays.pop(name) for name in SAMPLES if name in arrays]
        layers = tuple(_layer(i, entry, arrays) for i, entry in enumerate(architecture))
        if arrays:
            raise ValueError(f"no layer takes the tensors {', '.join(arrays)}")
        net = Network(layers).described(**meaning)
        if verify and samples:
            _check(path, layers, *samples)
        return net
    except (FormatError, AccuracyError):
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
    version = metadata.get("version")
    if version not in ("1", FORMAT["version"]):
        raise ValueError(f"its version is {version!r}, wanted {FORMAT['version']!r}: upgrade portable_nn")
    architecture = _parsed(metadata.get("architecture", ""), "architecture", list)
    if not all(isinstance(entry, dict) for entry in architecture):
        raise ValueError("its architecture is not a list of objects")
    if version == "1":
        for entry in architecture:
            if entry.get("activation") == "gelu":
                entry["activation"] = "gelu_tanh"
    return architecture


def _parsed(text: str, name: str, kind: type[Kind]) -> Kind:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"its {name} is not JSON: {error}") from error
    if not isinstance(found, kind):
        raise ValueError(f"its {name} is not a JSON {kind.__name__}")
    return found


def _check(path: object, layers: Layers, inputs: NumPyArray, outputs: NumPyArray) -> None:
    """Raise an `AccuracyError` unless the layers make those outputs of those inputs."""
    try:
        found, scale = summed(layers, inputs)
    except PortableNNError as error:
        raise ValueError(f"its samples do not fit: {error}") from error
    off, share = excess(found, outputs, scale, "float32")
    if not share <= 1:
        why = cause(layers, inputs, outputs)
        raise AccuracyError(
            f"{path}: what the network makes of the file's samples is up to {off:.1e} off what the file says"
            + (f" ({why})" if why else "")
            + ": fetch or write it anew, or, to look at it, load it with verify=False"
        )


def _layer(i: int, entry: dict[str, Any], tensors: dict[str, Any]) -> Layer:
    """Build layer `i` of its entry and of its tensors, which are taken out of `tensors`."""
    kind: type[Layer] | None = LAYERS.get(entry.get("layer"))
    if kind is None:
        raise ValueError(f"layer {i} is a {entry.get('layer')!r}, known are {', '.join(LAYERS)}")
    options = {name: value for name, value in entry.items() if name != "layer"}
    mine = [name for name in tensors if name.startswith(f"{i}.")]
    arrays = {name.removeprefix(f"{i}."): tensors.pop(name) for name in mine}
    layer = kind(**options, **arrays)
    if options.keys() != layer.options.keys() or arrays.keys() != layer.arrays.keys():
        raise ValueError(
            f"layer {i} has {', '.join([*options, *arrays])}, a {kind.__name__} takes "
            f"{', '.join([*layer.options, *layer.arrays])}"
        )
    return layer
