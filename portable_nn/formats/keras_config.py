"""What a Keras config says of a model: its layers by name, and which takes whose outputs.

Configs differ: those of Keras 3 name a module for each class, and hold calls as objects with arguments; those of
Keras 1 and 2 hold them as lists; a Sequential of Keras 1 is a mere list of layers.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from portable_nn.errors import NetworkError
from portable_nn.readers.buffers import MAX_DIMENSIONS

__all__ = ["Model", "Node", "Tensor", "chain", "read_model"]

MODELS = ("Sequential", "Functional", "Model")

BRANCHES = (
    "only chains of layers are read: export it with model.export('model.onnx', format='onnx') and load that"
)

MOST = 10_000
"""Layers of a chain; a model that is used twice, of models that are used twice, … would have any number."""

Tensor: TypeAlias = tuple[str, int, int]
"""The name of a layer, the number of the call of it, and the number of the output."""


@dataclass(frozen=True, eq=False)
class Node:
    """A layer of a model, or a model in it.

    Attributes
    ----------
    names : tuple of str
        Of the models that it is in, the whole one excepted, and its own.
    path : str
        Of the group of its weights in a `.keras` file.
    class_name : str
    config : mapping
    calls : tuple of tuple of Tensor
        For each call of it, what it takes.
    model : Model or None
        What is in it.
    """

    names: tuple[str, ...]
    path: str
    class_name: str
    config: Mapping[str, Any]
    calls: tuple[tuple[Tensor, ...], ...]
    model: "Model | None"

    @property
    def name(self) -> str:
        """Its name with those of the models that it is in."""
        return "/".join(self.names)


@dataclass(frozen=True, eq=False)
class Model:
    """Layers by name, and which tensors go in and come out.

    Attributes
    ----------
    nodes : dict of str to Node
    inputs, outputs : tuple of Tensor
    shape : tuple of int or None
        Of one sample, None where the config does not say.
    """

    nodes: dict[str, Node]
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    shape: tuple[int, ...] | None


def read_model(entry: object, names: tuple[str, ...] = (), path: str = "") -> Model:
    """Read the config of a model: an object with its class and its own config.

    Parameters
    ----------
    entry : object
        As in `config.json`, `model_config` and `model.to_json()`.
    names : tuple of str
        Of the models that it is in.
    path : str
        Of the group of its weights in a `.keras` file.

    Returns
    -------
    Model

    Raises
    ------
    NetworkError
        If it is no such config, or has a class that is not Keras's own.

    Examples
    --------
    >>> from portable_nn.formats.keras_config import chain, read_model
    >>> dense = {"class_name": "Dense", "config": {"name": "hidden", "batch_input_shape": [None, 4]}}
    >>> model = read_model({"class_name": "Sequential", "config": [dense]})
    >>> model.shape, [node.name for node in chain(model)]
    ((4,), ['hidden'])
    """
    kind = class_name(entry)
    if kind not in MODELS:
        raise NetworkError(f"it is a {kind}, not a Sequential or Functional model: save such a one")
    config = _object(entry, "config", (dict, list))
    if kind == "Sequential":
        return _sequential(config, names, path)
    return _functional(config, names, path)


def class_name(entry: object) -> str:
    """Return the class of a serialised object, a `NetworkError` unless it is one of Keras's own by its module.

    Configs of Keras 1 and 2, and in `.h5` files, name no modules; those of Keras 3 name one for each class of its
    own, and of someone else's none or another.

    Examples
    --------
    >>> from portable_nn.formats.keras_config import class_name
    >>> class_name({"module": "keras.layers", "class_name": "Dense", "config": {}})
    'Dense'
    """
    name = _object(entry, "class_name", str)
    module, registered = entry.get("module"), entry.get("registered_name")  # type: ignore[attr-defined]
    says = "module" in entry or registered is not None  # type: ignore[operator]
    if says and str(module).partition(".")[0] != "keras":
        raise NetworkError(
            f"it has an object of a class of its own, {registered or name!r} of module {module!r}, which is not "
            "imported: only Keras's own layers are read"
        )
    return str(name)


def chain(model: Model) -> list[Node]:
    """Order the layers of a model, and of those in it, from the input to the output.

    Parameters
    ----------
    model : Model

    Returns
    -------
    list of Node
        Layers alone; one that is used twice comes twice.

    Raises
    ------
    NetworkError
        If the model branches.
    """
    steps: dict[int, list[Node]] = {}

    def ordered(model: Model) -> list[Node]:
        nodes: list[Node] = []
        for node in _path(model):
            if node.model is not None and id(node) not in steps:
                steps[id(node)] = ordered(node.model)
            nodes += steps[id(node)] if node.model is not None else [node]
            if len(nodes) > MOST:
                raise NetworkError(f"its layers are used more than {MOST} times")
        return nodes

    return ordered(model)


def _path(model: Model) -> list[Node]:
    """Follow a model from its output back to its input."""
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise NetworkError(f"it has {len(model.inputs)} inputs and {len(model.outputs)} outputs: {BRANCHES}")
    (tensor,), (first,) = model.outputs, model.inputs
    most = sum(len(node.calls) for node in model.nodes.values())
    path: list[Node] = []
    while tensor != first:
        name, call, output = tensor
        node = model.nodes.get(name)
        if node is None or not 0 <= call < len(node.calls) or output != 0:
            raise NetworkError(f"it has no output {output} of call {call} of {name!r}: the config is damaged")
        if len(node.calls[call]) != 1:
            raise NetworkError(f"layer {node.name!r} takes {len(node.calls[call])} tensors: {BRANCHES}")
        path.append(node)
        if len(path) > most:
            raise NetworkError(f"layer {node.name!r} takes its own outputs: the config is damaged")
        (tensor,) = node.calls[call]
    return path[::-1]


def _sequential(config: Any, names: tuple[str, ...], path: str) -> Model:
    whole = config if isinstance(config, dict) else {}
    entries = _object(config, "layers", list) if isinstance(config, dict) else config
    shape = _sample_shape(whole)
    if entries:
        shape = shape or _sample_shape(_object(entries[0], "config", dict)) or _sample_shape(entries[0])
    previous: Tensor = ("", 0, 0)
    nodes: dict[str, Node] = {}
    entries = [entry for entry in entries if class_name(entry) != "InputLayer"]
    for entry, place in zip(entries, _places(entries, path), strict=True):
        node = _node(entry, names, place, ((previous,),))
        previous = (node.names[-1], 0, 0)
        _add(nodes, node)
    return Model(nodes, (("", 0, 0),), (previous,), shape)


def _functional(config: Any, names: tuple[str, ...], path: str) -> Model:
    entries = _object(config, "layers", list)
    nodes: dict[str, Node] = {}
    for entry, place in zip(entries, _places(entries, path), strict=True):
        calls = _object(entry, "inbound_nodes", list)
        _add(nodes, _node(entry, names, place, tuple(_taken(entry, call) for call in calls)))
    inputs, outputs = _tensors(config.get("input_layers")), _tensors(config.get("output_layers"))
    first = nodes.get(inputs[0][0]) if inputs else None
    return Model(nodes, inputs, outputs, _sample_shape(first.config) if first else None)


def _node(entry: Any, names: tuple[str, ...], path: str, calls: tuple[tuple[Tensor, ...], ...]) -> Node:
    kind, config = class_name(entry), _object(entry, "config", (dict, list))
    own = entry.get("name") or (config.get("name") if isinstance(config, dict) else None) or kind.lower()
    if not isinstance(own, str):
        raise NetworkError(f"it has a layer named {own!r}: the config is damaged")
    names = (*names, own)
    model = read_model(entry, names, path) if kind in MODELS else None
    return Node(names, path, kind, config if isinstance(config, dict) else {}, calls, model)


def _add(nodes: dict[str, Node], node: Node) -> None:
    if node.names[-1] in nodes:
        raise NetworkError(f"it has two layers named {node.name!r}: the config is damaged")
    nodes[node.names[-1]] = node


def _places(entries: list[Any], path: str) -> list[str]:
    """The group of each layer in a `.keras` file: its class in snake case, numbered where it came before."""
    counts: dict[str, int] = {}
    places = []
    for entry in entries:
        name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", re.sub(r"\W+", "", class_name(entry)))
        name = re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()
        count = counts[name] = counts.get(name, -1) + 1
        places.append(f"{path}/layers/{name}" + (f"_{count}" if count else ""))
    return [place.removeprefix("/") for place in places]


def _taken(entry: Any, call: Any) -> tuple[Tensor, ...]:
    """What one call of a layer takes."""
    if isinstance(call, list):  # Keras 1 and 2: [name, call, output, arguments] for each tensor
        taken = call
        arguments = [item[3] for item in taken if isinstance(item, list) and len(item) > 3]
    else:
        taken, arguments = [], [_object(call, "kwargs", dict)]
        for argument in _object(call, "args", list):
            for item in argument if isinstance(argument, list) else [argument]:
                taken.append(_object(_object(item, "config", dict), "keras_history", list))
    for options in arguments:
        given = [f"{key}={value!r:.40}" for key, value in options.items() if value not in (None, False)]
        if given:
            raise NetworkError(f"a {class_name(entry)} is called with {', '.join(given)}, which is not read")
    return _tensors(taken)


def _tensors(items: Any) -> tuple[Tensor, ...]:
    if isinstance(items, list) and items and isinstance(items[0], str):
        items = [items]
    try:
        tensors = tuple((name, call, output) for name, call, output, *_ in items)
    except (TypeError, ValueError):
        tensors = ((None, None, None),)
    if not all(isinstance(a, str) and isinstance(b, int) and isinstance(c, int) for a, b, c in tensors):
        raise NetworkError(f"it has {items!r:.80} where tensors were to be named: the config is damaged")
    return tensors


def _sample_shape(config: Mapping[str, Any]) -> tuple[int, ...] | None:
    """The shape of one sample, from whatever key of a config holds it."""
    shape = config.get("batch_shape") or config.get("batch_input_shape") or config.get("build_input_shape")
    if shape is None and isinstance(config.get("build_config"), dict):
        shape = config["build_config"].get("input_shape")
    if shape is None and isinstance(config.get("input_dim"), int):
        shape = [None, config["input_dim"]]
    sample: list[Any] = shape[1:] if isinstance(shape, list) else [None]
    if len(sample) > MAX_DIMENSIONS or not all(isinstance(n, int) and 0 < n < 2**63 for n in sample):
        return None
    return tuple(map(int, sample))


def _object(entry: Any, key: str, kind: Any) -> Any:
    """The value of a key, a `NetworkError` where there is none of that kind."""
    value = entry.get(key) if isinstance(entry, dict) else None
    if not isinstance(value, kind):
        raise NetworkError(f"it has {str(entry)[:80]!r} where a {key} was to be: the config is damaged")
    return value
