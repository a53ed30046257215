"""A network as tensors by name and metadata of strings, which safetensors files and .npz archives hold.

In the metadata ``format`` is ``"portable_nn"``, ``version`` is ``"2"``, ``architecture`` is a JSON list with one
object a layer: its class under ``layer``, and its options. A field that is an array is a tensor instead, named
after the layer's index and the field: ``1.weight``. ``meaning`` is a JSON object of what is known of inputs and
outputs. The tensors ``samples.inputs`` and ``samples.outputs`` are a few samples and what the network makes of
them in float64, to which it is held when it is read; of several inputs or outputs each has its place in the name:
``samples.inputs.0``.

Version 1 had no meaning and no samples, and called the tanh form of gelu ``gelu``.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar, get_args

import numpy as np

from portable_nn._typing import NumPyArray
from portable_nn.errors import AccuracyError, FormatError, PortableNNError
from portable_nn.layers import Layer, Layers
from portable_nn.network import Network
from portable_nn.parts import known, named, taken_by
from portable_nn.placing import plain
from portable_nn.verification import cause, excess, expected, samples_of

__all__ = ["FORMAT", "check_metadata", "network_of", "parts_of"]

FORMAT = {"format": "portable_nn", "version": "2"}
SAMPLES = "samples.inputs", "samples.outputs"
MOST_SAMPLES = 64  # each takes as long as the weights are many

Kind = TypeVar("Kind", list[Any], dict[str, Any])

LAYERS = {layer.__name__: layer for layer in get_args(Layer)}


def parts_of(net: Network) -> tuple[dict[str, str], dict[str, NumPyArray]]:
    """The metadata and the tensors of a network.

    Parameters
    ----------
    net : Network
        Of any library: its weights are fetched.

    Returns
    -------
    metadata : dict of str to str
    tensors : dict of str to array

    Examples
    --------
    >>> import portable_nn as pnn
    >>> from portable_nn.formats.architecture import parts_of
    >>> metadata, tensors = parts_of(pnn.Network([pnn.Rescaling(0.5)]))
    >>> metadata["architecture"], sorted(tensors)
    ('[{"layer": "Rescaling", "scale": 0.5, "offset": 0.0}]', ['samples.inputs', 'samples.outputs'])
    """
    layers = net.to_numpy().layers
    architecture = [{"layer": type(layer).__name__} | layer.options for layer in layers]
    metadata = FORMAT | {"architecture": json.dumps(architecture), "meaning": json.dumps(net.meaning.given())}
    samples: dict[str, NumPyArray] = {}
    if all(known(value) is not None for value in taken_by(layers).values()):
        inputs = samples_of(layers, net.input_shape, net.input_range)
        for kind, arrays in zip(SAMPLES, (inputs, plain(layers, inputs)), strict=True):
            samples |= {name: np.asarray(array, np.float64) for name, array in _numbered(kind, arrays).items()}
    tensors = {
        f"{i}.{name}": np.ascontiguousarray(array)
        for i, layer in enumerate(layers)
        for name, array in layer.arrays.items()
    }
    return metadata, tensors | samples


def check_metadata(metadata: Mapping[str, str]) -> None:
    """Raise a `ValueError` if metadata are of no network, or of a later version."""
    if metadata.get("format") != FORMAT["format"]:
        raise ValueError("its metadata are of something else")
    version = metadata.get("version")
    if version not in ("1", FORMAT["version"]):
        raise ValueError(f"its version is {version!r}, wanted {FORMAT['version']!r}: upgrade portable_nn")


def network_of(
    metadata: Mapping[str, str], tensors: Mapping[str, NumPyArray], source: object, *, verify: bool = True
) -> Network:
    """Build the network of what `parts_of` gave.

    Parameters
    ----------
    metadata : mapping of str to str
    tensors : mapping of str to array
    source : object
        What error messages name as the origin.
    verify : bool
        Whether it must make of the samples what they say.

    Returns
    -------
    Network

    Raises
    ------
    FormatError
        If these are not the parts of a network.
    AccuracyError
        If the network makes something else of the samples.

    Examples
    --------
    >>> import portable_nn as pnn
    >>> from portable_nn.formats.architecture import network_of, parts_of
    >>> network_of(*parts_of(pnn.Network([pnn.Rescaling(0.5)])), "a dict").layers
    (Rescaling(0.5, 0),)
    """
    left = dict(tensors)
    try:
        check_metadata(metadata)
        meaning = _parsed(metadata.get("meaning", "{}"), "meaning", dict)
        samples = {name: left.pop(name) for name in tensors if name.startswith(SAMPLES)}
        arrays: dict[str, dict[str, NumPyArray]] = {}
        for name, array in left.items():
            i, _, field = name.partition(".")
            arrays.setdefault(i, {})[field] = array
        architecture = _architecture(metadata)
        layers = tuple(_layer(i, entry, arrays.pop(str(i), {})) for i, entry in enumerate(architecture))
        if strays := [f"{i}.{field}" for i, fields in arrays.items() for field in fields]:
            raise ValueError(f"no layer takes the tensors {', '.join(strays)}")
        net = Network(layers).described(**meaning)
        if samples:
            inputs, outputs = (
                _of_numbers(kind, names, samples)
                for kind, names in zip(SAMPLES, (net.passes.inputs, net.passes.outputs), strict=True)
            )
            if verify:
                _check(source, layers, inputs, outputs)
        return net
    except (FormatError, AccuracyError):
        raise
    except (ValueError, TypeError, OverflowError) as error:
        raise FormatError(f"{source} is not a network that portable_nn.save wrote: {error}") from error


def _numbered(kind: str, x: Any) -> dict[str, NumPyArray]:
    """An array under the name of its kind, those of a dict with their places after it."""
    return {f"{kind}.{i}": array for i, array in enumerate(x.values())} if isinstance(x, dict) else {kind: x}


def _of_numbers(kind: str, names: Iterable[str], tensors: Mapping[str, NumPyArray]) -> Any:
    """The array, or the dict of them by name, that `_numbered` took apart."""
    several = tuple(names)
    wanted = [f"{kind}.{i}" for i in range(len(several))] if len(several) > 1 else [kind]
    if {name for name in tensors if name.startswith(kind)} != set(wanted):
        raise ValueError("its samples lack some of their inputs or outputs")
    arrays = [tensors[name] for name in wanted]
    return dict(zip(several, arrays, strict=True)) if len(several) > 1 else arrays[0]


def _architecture(metadata: Mapping[str, str]) -> list[dict[str, Any]]:
    architecture = _parsed(metadata.get("architecture", ""), "architecture", list)
    if not all(isinstance(entry, dict) for entry in architecture):
        raise ValueError("its architecture is not a list of objects")
    if metadata["version"] == "1":
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


def _layer(i: int, entry: dict[str, Any], arrays: dict[str, NumPyArray]) -> Layer:
    """Build layer `i` of its entry and its arrays by name."""
    kind: Any = LAYERS.get(entry.get("layer", ""))
    if kind is None:
        raise ValueError(f"layer {i} is a {entry.get('layer')!r:.80}, known are {', '.join(LAYERS)}")
    options = {name: value for name, value in entry.items() if name != "layer"}
    layer: Layer = kind(**options, **arrays)
    if options.keys() != layer.options.keys() or arrays.keys() != layer.arrays.keys():
        raise ValueError(
            f"layer {i} has {', '.join([*options, *arrays])}, a {kind.__name__} takes "
            f"{', '.join([*layer.options, *layer.arrays])}"
        )
    return layer


def _check(source: object, layers: Layers, inputs: Any, outputs: Any) -> None:
    """Raise an `AccuracyError` unless the layers make those outputs of those inputs."""
    shapes = [tuple(array.shape) for x in (inputs, outputs) for array in named(x).values()]
    if not all(shapes) or len({shape[0] for shape in shapes}) > 1 or shapes[0][0] > MOST_SAMPLES:
        raise ValueError(
            f"its samples have inputs and outputs of shapes {', '.join(map(str, shapes))}, wanted as many of "
            f"each, at most {MOST_SAMPLES}"
        )
    taken = taken_by(layers).values()
    dtypes = ["float64" if value.is_floating else value.dtype for value in taken] or ["float64"]
    with np.errstate(all="ignore"):
        cast = [array.astype(dtype) for array, dtype in zip(named(inputs).values(), dtypes, strict=True)]
    x = dict(zip(inputs, cast, strict=True)) if isinstance(inputs, dict) else cast[0]
    try:
        found, allowed = expected(layers, x, "float32")
    except (PortableNNError, ValueError) as error:
        raise ValueError(f"its samples do not fit: {error}") from error
    off, share = excess(found, outputs, allowed)
    why = "" if share <= 1 else cause(layers, x, outputs)
    if not share <= 1:
        raise AccuracyError(
            f"{source}: what the network makes of the file's samples is up to {off:.1e} off what the file says"
            + (f" ({why})" if why else "")
            + ": fetch or write it anew, or, to look at it, load it with verify=False"
        )
