"""Keras's models: `.keras` archives, `.h5` files, and live ones.

A `.keras` file is a zip of a config and an HDF5 file of weights, numbered as `keras_config` says. An `.h5` file
holds its config as an attribute and its weights by name. A live model gives the same config, and its weights
numbered. Nothing that a config names is imported, and Keras is not needed.
"""

import json
import os
import warnings
from collections.abc import Callable, Iterable
from functools import partial, reduce
from typing import Any, TypeAlias

import numpy as np

from portable_nn._typing import ActivationName, Array, NumPyArray
from portable_nn.errors import FormatError, InputError, NetworkError
from portable_nn.formats.given import check_live, check_unsaid, rescaled
from portable_nn.formats.keras_branches import branched, chain, shape_after
from portable_nn.formats.keras_config import Node, read_model
from portable_nn.formats.keras_layers import LAYERS, Described
from portable_nn.formats.keras_losses import task_of_loss
from portable_nn.formats.keras_merging import EXPORT, MERGING
from portable_nn.formats.keras_weights import weights_alone
from portable_nn.formats.onnx_layers import layers_of as layers_of_graph
from portable_nn.layers import IDENTITY, Activation, Flatten, Layer, Layers, Shape, fused
from portable_nn.network import Network
from portable_nn.readers.buffers import reading
from portable_nn.readers.hdf5 import HDF5, open_hdf5
from portable_nn.readers.zips import Archive

__all__ = ["from_keras", "read_keras"]

ZIP_MAGIC = b"PK\3\4"

MAX_CONFIG = 2**21
"""Characters of a config: Python takes twenty times as many bytes for what JSON says in short."""

Weights: TypeAlias = Callable[..., list[NumPyArray]]
"""Gives the arrays of a node of these names, all that it has, in Keras's order."""


def read_keras(
    path: str | os.PathLike[str],
    *,
    layers: Iterable[str | Layer] | None = None,
    activation: ActivationName | Activation | None = None,
    last: ActivationName | Activation | None = None,
    epsilon: float | None = None,
    rescale: Array = None,
) -> Network:
    """Read a `.keras` or `.h5` file of a Sequential or Functional model: what branches becomes a `Graph`.

    Parameters
    ----------
    path : str or path-like
        As `model.save` of Keras 3 writes it; an HDF5 file also as Keras 1 and 2 do, or `model.save_weights`.
    layers, activation, last, epsilon, rescale : optional
        As `portable_nn.load` takes them.

    Returns
    -------
    Network
        With weights of the dtypes in the file, bfloat16 as float32.

    Raises
    ------
    FormatError
        If the file cannot be read, or does not say enough, or the model has a layer that has no counterpart here.

    References
    ----------
    Keras 3.15, `keras/src/saving/saving_lib.py` and `keras/src/legacy/saving/legacy_h5_format.py`.

    Examples
    --------
    >>> import json, pathlib, tempfile
    >>> import h5py
    >>> import numpy as np
    >>> from portable_nn.formats.keras import read_keras
    >>> dense = {"class_name": "Dense", "config": {"name": "out", "activation": "softmax"}}
    >>> config = {"class_name": "Sequential", "config": {"layers": [dense]}}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "model.h5")
    ...     with h5py.File(path, "w") as file:
    ...         file.attrs["model_config"] = json.dumps(config)
    ...         file["model_weights/out/out/kernel:0"] = np.ones((4, 3))
    ...         file["model_weights/out/out/bias:0"] = np.zeros(3)
    ...     read_keras(path).layers
    (Dense(4, 3, 'softmax'),)
    """
    given = {"layers": layers, "activation": activation, "last": last, "epsilon": epsilon}
    with reading(path, "a .keras or HDF5 file", "save the model anew"), open(path, "rb") as file:
        zipped = file.read(len(ZIP_MAGIC)) == ZIP_MAGIC
    try:
        net = _archived(path) if zipped else _stored(path)
        if net is None:
            with open_hdf5(path) as weights:
                found = weights_alone(weights, **given)  # type: ignore[arg-type]
            return Network(rescaled(found, rescale))
        check_unsaid(given, f"{path} holds a whole model, which says which layers it has")
        return net if rescale is None else Network(rescaled(net.layers, rescale), **net.meaning.given())
    except NetworkError as error:
        raise FormatError(f"{path}: {error}") from error


def from_keras(model: Any) -> Network:
    """Take over a live model, a Sequential or Functional one; one that branches becomes layers and a `Graph`.

    Parameters
    ----------
    model : keras.Model
        On any of Keras's backends. Its weights are copied.

    Returns
    -------
    Network

    Raises
    ------
    InputError
        If it is no model of Keras's own classes.
    NetworkError
        If it is not built yet, or has a layer that has no counterpart here.

    Examples
    --------
    >>> import keras
    >>> from portable_nn.formats.keras import from_keras
    >>> from_keras(keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, "relu")])).layers
    (Dense(4, 3, 'relu'),)
    """
    wanted = "a Sequential or Functional model of Keras's"
    check_live(model, "from_keras", wanted)
    kind = type(model)
    if kind.__module__.partition(".")[0] != "keras" or not hasattr(model, "to_json"):
        raise InputError(f"from_keras takes {wanted}, got an object of {kind.__module__}.{kind.__qualname__}")
    config = _config(model.to_json())
    layers = _chained(config, partial(_live_weights, model), config.get("keras_version", "3"))
    return _network(layers, config.get("compile_config"))


def _network(layers: Layers, compiled: object) -> Network:
    net = Network(layers)
    task = task_of_loss(compiled, net)
    return net if task is None else net.described(task=task)


def _archived(path: str | os.PathLike[str]) -> Network:
    """The network of a `.keras` file."""
    with reading(path, "a .keras file", "save the model anew", ValueError), open(path, "rb") as file:
        archive = Archive(file)
        config, metadata = (archive.open(f"{name}.json").read() for name in ("config", "metadata"))
        data = archive.open("model.weights.h5").getbuffer()
    with open_hdf5(data, path) as weights:
        version, whole = _config(metadata).get("keras_version"), _config(config)
        layers = _chained(whole, partial(_numbered_weights, weights), version)
    return _network(layers, whole.get("compile_config"))


def _stored(path: str | os.PathLike[str]) -> Network | None:
    """The network of an `.h5` file, None of one that has weights alone."""
    with open_hdf5(path) as file:
        config = file.text("", "model_config")
        if config is None:
            return None
        layers = _chained(_config(config), partial(_named_weights, file), file.text("", "keras_version"))
        training = file.text("", "training_config")
    return _network(layers, None if training is None else _config(training))


def _config(text: str | bytes) -> dict[str, Any]:
    if len(text) > MAX_CONFIG:
        raise NetworkError(f"its config has {len(text)} characters, the limit is {MAX_CONFIG}")
    try:
        config = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise NetworkError(f"its config is no JSON: {error}") from error
    if not isinstance(config, dict):
        raise NetworkError("its config is no object: save the model anew")
    return config


def _chained(config: dict[str, Any], weights: Weights, version: object) -> Layers:
    """The layers of a config and of weights, in order."""
    old = str(version or "1").partition(".")[0] in ("0", "1", "2")
    made: dict[tuple[int, Shape | None], list[Layer]] = {}

    def layers_of(node: Node, shape: Shape | None) -> list[Layer]:
        key = id(node), shape
        if key not in made:
            made[key] = _layers(node, shape, partial(_checked, node, weights), old)
        return made[key]

    try:
        model = read_model(config)
        nodes = chain(model)
        if nodes is None:
            return layers_of_graph(branched(model, layers_of))
        (shape,), layers = model.shapes, list[Layer]()
        for node in nodes:
            layers += layers_of(node, shape)
            shape = reduce(lambda shape, layer: shape_after(layer, shape), made[id(node), shape], shape)
        if _flattens_late(layers):
            return layers_of_graph(branched(model, layers_of))
        return fused(layers) or IDENTITY
    except RecursionError as error:
        raise NetworkError("its config is too deep") from error


def _flattens_late(layers: Iterable[Layer]) -> bool:
    """Whether samples of several axes go through layers along the last one before they are flattened."""
    flattening = [isinstance(layer, Flatten) for layer in layers if layer.input_shape is not None]
    return any(flattening[1:]) and not flattening[0]


def _layers(node: Node, shape: Shape | None, weights: Weights, old: bool) -> list[Layer]:
    if node.class_name not in LAYERS:
        raise NetworkError(
            f"layer {node.name!r} is a {node.class_name}, which has no counterpart: known are "
            f"{', '.join(LAYERS)}, and of tensors {', '.join(MERGING)}; {EXPORT}, may do"
        )
    try:
        return LAYERS[node.class_name](Described(node.class_name, node.config, weights, shape, old))
    except NetworkError as error:
        raise NetworkError(f"layer {node.name!r}: {error}") from error


def _checked(node: Node, weights: Weights, *names: str) -> list[NumPyArray]:
    arrays = weights(node, *names)
    for name, array in zip(names, arrays, strict=True):
        if array.dtype.kind != "f" and name != "count":
            raise NetworkError(f"its {name} has dtype {array.dtype}: quantised weights are not read")
    return arrays


def _wanted(node: Node, found: list[str], names: tuple[str, ...]) -> NetworkError:
    return NetworkError(
        f"it has arrays {', '.join(found) or 'none'} where a {node.class_name} like it has "
        f"{', '.join(names) or 'none'}"
    )


def _numbered_weights(file: HDF5, node: Node, *names: str) -> list[NumPyArray]:
    """From the HDF5 file in a `.keras` archive."""
    group = f"{node.path}/vars"
    found = file.arrays(group)
    if names and node.elsewhere and not found:
        group = f"{node.elsewhere}/vars"
        found = file.arrays(group)
    if sorted(found) != sorted(map(str, range(len(names)))):
        raise _wanted(node, found, names)
    owner = file.text(group, "name") if found else None
    if owner not in (None, node.names[-1]):
        raise NetworkError(f"its weights are those of {owner!r}: the file is damaged")
    return [file.array(f"{group}/{i}") for i in range(len(names))]


def _named_weights(file: HDF5, node: Node, *names: str) -> list[NumPyArray]:
    """From an `.h5` file, where the group of a model in the model holds the weights of all its layers.

    Names are ``kernel:0`` in Keras 2, ``kernel`` in Keras 3, ``dense_1_W`` in Keras 1.
    """
    group, inner = f"model_weights/{node.names[0]}", list(node.names[1:])
    found = file.arrays(group)
    if inner:
        whole = [path for path in found if path.split("/")[:-1][-len(inner) :] == inner]
        found = whole or [path for path in found if path.split("/")[-2:-1] == inner[-1:]]
    first = {"W": "kernel", "b": "bias", "alphas": "alpha"}
    by_name = {}
    for path in found:
        name = path.rpartition("/")[2].removesuffix(":0").removeprefix(f"{node.names[-1]}_")
        by_name[first.get(name, name)] = path
    if sorted(by_name) != sorted(names) or len(found) != len(names):
        raise _wanted(node, found, names)
    return [file.array(f"{group}/{by_name[name]}") for name in names]


def _live_weights(model: Any, node: Node, *names: str) -> list[NumPyArray]:
    layer, store = model, dict[str, Any]()
    for name in node.names:
        layer = layer.get_layer(name)
    layer.save_own_variables(store)
    if names and not store:
        raise NetworkError("it has no weights yet: give the model an Input, or call it once on a batch")
    if list(store) != [str(i) for i in range(len(names))]:
        raise _wanted(node, list(store), names)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Keras's own, of how it hands arrays to NumPy
        arrays = [_fetched(value) for value in store.values()]
    return [array.astype(np.float32) if array.dtype.kind == "V" else array for array in arrays]  # bfloat16


def _fetched(value: Any) -> NumPyArray:
    """A variable in NumPy, or the bare tensor that a kernel with what LoRA adds to it is."""
    try:
        if hasattr(value, "detach"):
            value = value.detach().cpu()
        return np.asarray(value.numpy() if hasattr(value, "numpy") else value)
    except (RuntimeError, TypeError) as error:  # of no dtype of NumPy's, on no device
        raise NetworkError(f"a weight cannot be fetched: {error}") from error
