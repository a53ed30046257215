"""What a Keras config says of a model: its layers by name, and which takes whose outputs.

Configs differ: those of Keras 3 name a module for each class, and hold calls as objects with arguments; those of
Keras 1 and 2 hold them as lists; a Sequential of Keras 1 is a mere list of layers.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from portable_nn._typing import NumPyArray
from portable_nn.errors import NetworkError
from portable_nn.readers.buffers import MAX_DIMENSIONS

__all__ = ["Argument", "Model", "Node", "Tensor", "read_model"]

MODELS = ("Sequential", "Functional", "Model")

Tensor: TypeAlias = tuple[str, int, int]
"""The name of a layer, the number of the call of it, and the number of the output."""

Argument: TypeAlias = Tensor | NumPyArray
"""What a call takes: operations of `keras.ops` take numbers, too."""


@dataclass(frozen=True, eq=False)
class Node:
    """A layer of a model, or a model in it.

    Attributes
    ----------
    names : tuple of str
        Of the models that it is in, the whole one excepted, and its own.
    path : str
        Of the group of its weights in a `.keras` file.
    elsewhere : str
        Where these are instead, if they are not there: it may be a layer that another model has too.
    class_name : str
        Of a layer, or of an operation as of ``x + y``.
    config : mapping
    calls : tuple of tuple of Argument
        For each call of it, what it takes.
    model : Model or None
        What is in it.
    """

    names: tuple[str, ...]
    path: str
    elsewhere: str
    class_name: str
    config: Mapping[str, Any]
    calls: tuple[tuple[Argument, ...], ...]
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
    inputs, outputs : dict of str to Tensor
        In the order in which a call of the model takes and gives them.
    shapes : tuple of tuple of int, or None
        Of one sample of each input, None where the config does not say.
    """

    nodes: dict[str, Node]
    inputs: dict[str, Tensor]
    outputs: dict[str, Tensor]
    shapes: tuple[tuple[int, ...] | None, ...]


def read_model(
    entry: object, names: tuple[str, ...] = (), path: str = "", shared: dict[Any, str] | None = None
) -> Model:
    """Read the config of a model: an object with its class and its own config.

    Parameters
    ----------
    entry : object
        As in `config.json`, `model_config` and `model.to_json()`.
    names : tuple of str
        Of the models that it is in.
    path : str
        Of the group of its weights in a `.keras` file.
    shared : dict, optional
        The paths of layers that several models have, by what the config calls each: weights are where Keras came
        to them first.

    Returns
    -------
    Model

    Raises
    ------
    NetworkError
        If it is no such config, or has a class that is not Keras's own.

    Examples
    --------
    >>> from portable_nn.formats.keras_config import read_model
    >>> dense = {"class_name": "Dense", "config": {"name": "hidden", "batch_input_shape": [None, 4]}}
    >>> model = read_model({"class_name": "Sequential", "config": [dense]})
    >>> model.shapes, [node.name for node in model.nodes.values()]
    (((4,),), ['hidden'])
    """
    kind = class_name(entry)
    if kind not in MODELS:
        raise NetworkError(f"it is a {kind}, not a Sequential or Functional model: save such a one")
    config = _object(entry, "config", (dict, list))
    read = _sequential if kind == "Sequential" else _functional
    return read(config, names, path, {} if shared is None else shared)


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
            "imported: only Keras's own layers are read; where it is, model.export('model.onnx', format='onnx') "
            "writes what is read"
        )
    return str(name)


def _sequential(config: Any, names: tuple[str, ...], path: str, shared: dict[Any, str]) -> Model:
    whole = config if isinstance(config, dict) else {}
    entries = _object(config, "layers", list) if isinstance(config, dict) else config
    shape = _sample_shape(whole)
    if entries:
        shape = shape or _sample_shape(_object(entries[0], "config", dict)) or _sample_shape(entries[0])
    previous: Tensor = ("", 0, 0)
    nodes: dict[str, Node] = {}
    entries = [entry for entry in entries if class_name(entry) != "InputLayer"]
    for entry, place in zip(entries, _places(entries, path), strict=True):
        node = _node(entry, names, place, ((previous,),), shared)
        previous = (node.names[-1], 0, 0)
        _add(nodes, node)
    return Model(nodes, {"input": ("", 0, 0)}, {"output": previous}, (shape,))


def _functional(config: Any, names: tuple[str, ...], path: str, shared: dict[Any, str]) -> Model:
    entries = _object(config, "layers", list)
    called = [[_taken(entry, call) for call in _object(entry, "inbound_nodes", list)] for entry in entries]
    inputs, outputs = _named(config.get("input_layers")), _named(config.get("output_layers"))
    first, last = _firsts(entries, called, outputs.values())
    nodes: dict[str, Node] = {}
    for entry, calls, place in zip(entries, called, _places(entries, path), strict=True):
        counted_calls = tuple(tuple(_counted(x, first) for x in call) for call in calls)
        _add(nodes, _node(entry, names, place, counted_calls, shared))
    shapes = [_sample_shape(nodes[name].config) if name in nodes else None for name, _, _ in inputs.values()]
    counted = {name: _tensor(_counted(tensor, last)) for name, tensor in outputs.items()}
    return Model(nodes, inputs, counted, tuple(shapes))


def _firsts(
    entries: list[Any], called: list[list[tuple[Argument, ...]]], outputs: Iterable[Tensor]
) -> tuple[dict[str, int], dict[str, int]]:
    """From which number on calls of each model in the model are counted: where one is taken, and as an output.

    Keras 3 counts calls of a Functional model from 1 where it is an output of the whole, else from 0, as those of
    all others; Keras 1 and 2 count those of models from 1.
    """
    models = {_own_name(entry): class_name(entry) for entry in entries if class_name(entry) in MODELS}
    new = any(isinstance(call, dict) for entry in entries for call in entry["inbound_nodes"])
    if new:
        return {}, {name: 1 for name, kind in models.items() if kind != "Sequential"}
    taken = [x for calls in called for call in calls for x in call if isinstance(x, tuple)]
    zeros = {name for name, call, _ in [*taken, *outputs] if call == 0}
    first = {name: 1 for name in models if name not in zeros}
    return first, first


def _counted(argument: Argument, first: Mapping[str, int]) -> Argument:
    """A tensor with its call counted from 0."""
    if not isinstance(argument, tuple):
        return argument
    name, call, output = argument
    return name, call - first.get(name, 0), output


def _node(
    entry: Any,
    names: tuple[str, ...],
    path: str,
    calls: tuple[tuple[Argument, ...], ...],
    shared: dict[Any, str],
) -> Node:
    kind, config = class_name(entry), _object(entry, "config", (dict, list))
    names = (*names, _own_name(entry))
    known, alike = entry.get("shared_object_id"), (kind, names[-1])
    elsewhere = (
        shared.get(alike, "") if isinstance(known, int) else ""
    )  # Keras may leave out the first one's number
    if isinstance(known, int):
        path = shared.setdefault(known, path)
    shared[alike] = "" if alike in shared else path
    model = read_model(entry, names, path, shared) if kind in MODELS else None
    return Node(names, path, elsewhere, kind, config if isinstance(config, dict) else {}, calls, model)


def _own_name(entry: Any) -> str:
    config = _object(entry, "config", (dict, list))
    own = entry.get("name") or (config.get("name") if isinstance(config, dict) else None)
    own = own or class_name(entry).lower()
    if not isinstance(own, str):
        raise NetworkError(f"it has a layer named {own!r}: the config is damaged")
    return own


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


def _taken(entry: Any, call: Any) -> tuple[Argument, ...]:
    """What one call of a layer takes."""
    if isinstance(call, list):  # Keras 1 and 2: [name, call, output, arguments] for each tensor
        taken: list[Argument] = list(map(_tensor, _single(call)))
        arguments = [item[3] for item in call if isinstance(item, list) and len(item) > 3]
    else:
        taken = [_argument(item) for given in _object(call, "args", list) for item in _flat(given)]
        arguments = [_object(call, "kwargs", dict)]
    for options in arguments:
        given = options.items() if isinstance(options, dict) else [("arguments", options)]
        told = [f"{key}={value!r:.40}" for key, value in given if not _is_nothing(value)]
        if told:
            raise NetworkError(f"a {class_name(entry)} is called with {', '.join(told)}, which is not read")
    return tuple(taken)


def _flat(given: Any) -> Iterator[Any]:
    """What one argument of a call holds: a tensor, or a list or a dict of them, that in the order of its keys."""
    if isinstance(given, dict) and "class_name" not in given:
        yield from (given[key] for key in sorted(given))
    elif isinstance(given, list):
        yield from given
    else:
        yield given


def _is_nothing(value: Any) -> bool:
    """Whether an option of a call says nothing: no mask, of each of several inputs too; no training."""
    several = value.values() if isinstance(value, dict) else value if isinstance(value, list) else [value]
    return all(each in (None, False) for each in several)


def _argument(item: Any) -> Argument:
    config = {"value": item} if isinstance(item, int | float) else _object(item, "config", dict)
    if "keras_history" in config:
        return _tensor(config["keras_history"])
    try:
        return np.asarray(config.get("value"), np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise NetworkError(f"it has {str(item)[:80]!r} where an argument was to be: it is not read") from error


def _named(items: Any) -> dict[str, Tensor]:
    """The inputs or outputs of a model by name, which is that of their layer where they are no dict."""
    if isinstance(items, dict):
        return {key: _tensor(items[key]) for key in sorted(items)}
    named: dict[str, Tensor] = {}
    for tensor in map(_tensor, _single(items)):
        others = sum(name.partition(":")[0] == tensor[0] for name in named)
        named[f"{tensor[0]}:{others}" if others else tensor[0]] = tensor
    return named


def _single(items: Any) -> list[Any]:
    """A list of tensors, where there may be one alone in place of it."""
    if isinstance(items, list) and items and isinstance(items[0], str):
        return [items]
    return items if isinstance(items, list) else [items]


def _tensor(item: Any) -> Tensor:
    match item:
        case [str(name), int(call), int(output), *_]:
            return name, call, output
    raise NetworkError(f"it has {item!r:.80} where a tensor was to be named: the config is damaged")


def _sample_shape(config: Mapping[str, Any]) -> tuple[int, ...] | None:
    """The shape of one sample, from whatever key of a config holds it."""
    shape = config.get("batch_shape") or config.get("batch_input_shape") or config.get("build_input_shape")
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
