"""Modules of PyTorch with a forward pass of their own: traced by `torch.fx`, and tried against the module itself.

PyTorch is loaded already where a live module comes, and is imported where it is needed alone.
"""

import copy
import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeAlias

import numpy as np

from portable_nn.errors import NetworkError, PortableNNError
from portable_nn.formats.modules import stock_layers, unwrapped
from portable_nn.formats.onnx_graph import Body
from portable_nn.formats.onnx_layers import layers_of
from portable_nn.formats.onnx_nodes import Nodes
from portable_nn.formats.torch_calls import Made, Traced, called
from portable_nn.layers import Shape
from portable_nn.network import Network
from portable_nn.readers.onnx import Value

__all__ = ["traced_network"]

EXPORT = "export the model with torch.onnx.export and load that"

FEW, MORE = 3, 5
"""Samples that a module is tried on: twice, as what depends on their number is to be found."""

SAME = (
    "add",
    "sub",
    "mul",
    "truediv",
    "div",
    "relu",
    "tanh",
    "sigmoid",
    "silu",
    "gelu",
    "clone",
    "float",
    "contiguous",
)
"""Functions and methods whose outputs have the shape of what they are given first, or of both."""

SINGLE = 2.0**-23
"""Of float32, which some part of a module may compute in whatever its weights are."""

Inputs: TypeAlias = dict[str, Any]


def traced_network(module: Any, sample_shape: Shape | Mapping[str, Shape] | None = None) -> Network:
    """The network of a live module with a forward pass of its own.

    Parameters
    ----------
    module : torch.nn.Module
        It is traced, and run on a few random samples; neither changes it.
    sample_shape : tuple of int, or mapping of str to tuple of int, optional
        Of its inputs, by their names in `forward` if there are several. Without it, what the modules say that
        take the inputs.

    Returns
    -------
    Network

    Raises
    ------
    NetworkError
        If it cannot be traced, or does what has no counterpart here, or the network is another function of the
        random samples than the module.

    Examples
    --------
    >>> import torch
    >>> from portable_nn.formats.traced import traced_network
    >>> class Residual(torch.nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.inner, self.last = torch.nn.Linear(4, 4), torch.nn.Linear(4, 2)
    ...     def forward(self, x):
    ...         return self.last(x + torch.tanh(self.inner(x)))
    >>> traced_network(Residual()).layers
    (Graph(Gemm, Tanh, Add), Dense(4, 2, 'identity'))
    """
    import torch

    module = unwrapped(module)
    with _evaluating(module), torch.no_grad():
        graph = _graph(module)
        inputs = [node for node in graph.graph.nodes if node.op == "placeholder" and not node.args]
        shapes = _shapes(graph, inputs, sample_shape)
        few, more = (_values(graph, _samples(module, shapes, n)) for n in (FEW, MORE))
        net = Network(layers_of(_body(graph, inputs, shapes, few, more)))
        _compare(net, module, shapes)
    return net


@contextmanager
def _evaluating(module: Any) -> Iterator[None]:
    """All modules in evaluation, and then as they were."""
    modes = [(each, each.training) for each in module.modules()]
    try:
        for each, _ in modes:
            each.training = False
        yield
    finally:
        for each, mode in modes:
            each.training = mode


def _graph(module: Any) -> Any:
    """The traced module; arguments with defaults keep these."""
    from torch.fx import GraphModule, Tracer

    if "torch.jit" in type(module).__module__:
        raise NetworkError(f"it is a module of TorchScript, whose forward is no code of Python: {EXPORT}")
    parameters = inspect.signature(module.forward).parameters.values()
    if any(each.kind in (each.VAR_POSITIONAL, each.VAR_KEYWORD) for each in parameters):
        raise NetworkError(f"its forward takes any number of arguments, and inputs need names: {EXPORT}")
    defaults = {each.name: each.default for each in parameters if each.default is not each.empty}
    tracer = Tracer()
    try:
        found = tracer.trace(copy.copy(module), defaults)  # a copy, as constants become its attributes
        return GraphModule(tracer.root, found)
    except Exception as error:  # of whatever its forward does
        raise NetworkError(f"its forward cannot be traced, {error}: {EXPORT}") from error


def _shapes(graph: Any, inputs: list[Any], given: Shape | Mapping[str, Shape] | None) -> dict[str, Shape]:
    """The shape of one sample of each input."""
    if isinstance(given, Mapping):
        told = {name: tuple(shape) for name, shape in given.items()}
    elif given is not None and len(inputs) == 1:
        told = {inputs[0].target: tuple(given)}
    else:
        told = {}
    names = [node.target for node in inputs]
    found = {node.target: told.get(node.target) or _taken(graph, node) for node in inputs}
    unknown = [name for name in names if found[name] is None]
    if unknown or told.keys() - set(names) or (given is not None and not told):
        raise NetworkError(
            f"its inputs are {', '.join(names) or 'none'}: give the shape of one sample of each, "
            + ("sample_shape={" + ", ".join(f"{name!r}: (n,)" for name in names) + "}")
        )
    return {name: shape for name, shape in found.items() if shape is not None}


def _taken(graph: Any, node: Any) -> Shape | None:
    """What the modules take that read a value, or read what has the same shape."""
    waiting, seen = [node], set[Any]()
    while waiting:
        value = waiting.pop(0)
        for user in value.users:
            if user.op == "call_module":
                module = graph.get_submodule(user.target)
                shape = getattr(module, "normalized_shape", None)
                n = getattr(module, "in_features", None) or getattr(module, "num_features", None)
                if shape or n:
                    return tuple(shape or (n,))
                same = not hasattr(module, "dim")
            else:
                same = str(getattr(user.target, "__name__", user.target)).strip("_") in SAME
            if same and user not in seen:
                seen.add(user)
                waiting.append(user)
    return None


def _samples(module: Any, shapes: Mapping[str, Shape], count: int) -> Inputs:
    """Random samples by name, of the dtype and on the device of the module's parameters."""
    import torch

    floats = (each for each in (*module.parameters(), *module.buffers()) if each.is_floating_point())
    like = next(floats, torch.zeros(()))
    rng = np.random.default_rng(count)
    return {
        name: torch.as_tensor(rng.normal(size=(count, *shape))).to(like.device, like.dtype)
        for name, shape in shapes.items()
    }


def _values(graph: Any, inputs: Inputs) -> dict[Any, Any]:
    """What each node makes of inputs."""
    from torch.fx import Interpreter

    interpreter = Interpreter(graph, garbage_collect_values=False)
    shapes = ", ".join(f"{name} of shape {tuple(x.shape)}" for name, x in inputs.items())
    try:
        interpreter.run(*inputs.values())
    except Exception as error:  # of whatever its forward does
        raise NetworkError(
            f"its forward does not take {shapes}, {error}: give sample_shape=, that of one sample, or {EXPORT}"
        ) from error
    return dict(interpreter.env)


def _of_data(graph: Any, inputs: list[Any]) -> dict[Any, None]:
    """The nodes that depend on the inputs, in order."""
    found = dict.fromkeys(inputs)
    for node in graph.graph.nodes:
        if not found.keys().isdisjoint(node.all_input_nodes):
            found[node] = None
    return found


def _alike(few: Any, more: Any) -> bool:
    """Whether two values that depend on data have one part for each sample, or do not depend on their number."""
    if isinstance(few, tuple | list):
        return len(few) == len(more) and all(map(_alike, few, more))
    if hasattr(few, "detach"):
        return bool(few.shape == (FEW, *few.shape[1:]) and more.shape == (MORE, *few.shape[1:]))
    return bool(few == more)


def _body(
    graph: Any, inputs: list[Any], shapes: Mapping[str, Shape], few: dict[Any, Any], more: dict[Any, Any]
) -> Body:
    """The operators of a traced pass."""
    outputs = _outputs(next(node.args[0] for node in graph.graph.nodes if node.op == "output"))
    of_data = [node for node in _of_data(graph, inputs) if node.op != "output"]
    at = Traced(Nodes(), {node: node.target for node in inputs}, few)
    for node in of_data:
        alike = _alike(few[node], more[node])
        if node not in at.named and _is_data(few[node]) and not _fields(node):
            _make(graph, node, at, alike)
        elif not alike:
            del at.values[node]
    if any(isinstance(node, dict | tuple | list) for node in outputs.values()):
        raise NetworkError(
            f"its outputs are dicts or tuples of more such: let it give one dict of arrays, or {EXPORT}"
        )
    wanted = {name: at.name(node) for name, node in outputs.items()}
    return at.nodes.body([Value(name, "", (None, *shape)) for name, shape in shapes.items()], wanted)


def _is_data(value: Any) -> bool:
    several = value if isinstance(value, tuple | list) else [value]
    return bool(several) and all(hasattr(each, "detach") for each in several)


def _make(graph: Any, node: Any, at: Traced, alike: bool) -> None:
    """Make the operators of one node, which is to have one part for each sample."""
    try:
        at.value = at.values[node]
        if node.op == "call_module":
            module = graph.get_submodule(node.target)
            at.named[node] = _of_module(at, node, module)
        else:
            at.named[node] = called(at, node.target, node.args, node.kwargs)
        if not alike:
            raise NetworkError("it mixes samples, each of which is to be computed by itself")
    except PortableNNError as error:
        what = getattr(node.target, "__name__", node.target)
        remedy = "" if "not computed" in str(error) else f": {EXPORT}"
        raise NetworkError(f"node {node.name!r}, which calls {what}: {error}{remedy}") from error


def _of_module(at: Traced, node: Any, module: Any) -> Made:
    given = [*node.args, *node.kwargs.values()]
    if len(given) != 1:
        raise NetworkError(f"it is given {len(given)} arguments, and takes one")
    x = given[0]
    if type(module).__name__ in ("Flatten", "Unflatten"):
        return called(at, "flatten", (x,), {})
    return at.layers(x, stock_layers(node.target, module, len(at.shape(x))))


def _outputs(given: Any) -> dict[str, Any]:
    """The nodes that a pass gives, by name."""
    if isinstance(given, dict):
        return {str(key): node for key, node in given.items()}
    if isinstance(given, tuple | list):
        names = getattr(given, "_fields", None) or [f"output_{i}" for i in range(len(given))]
        return dict(zip(names, given, strict=True))
    if fields := _fields(given):
        return {**dict(zip(fields, given.args, strict=False)), **given.kwargs}
    return {"output": given}


def _fields(node: Any) -> tuple[str, ...]:
    """Of the named tuple that a node makes, if it makes one."""
    return getattr(getattr(node, "target", None), "_fields", ())


def _compare(net: Network, module: Any, shapes: Mapping[str, Shape]) -> None:
    """Raise a `NetworkError` unless the network is the same function of samples, to half of the digits."""
    import torch

    inputs = _samples(module, shapes, MORE)
    arrays = {name: (x.float() if x.dtype == torch.bfloat16 else x).cpu().numpy() for name, x in inputs.items()}
    with np.errstate(all="ignore"):
        found = net(arrays if len(arrays) > 1 else next(iter(arrays.values())))
    wanted = _outputs(module(*(x.clone() for x in inputs.values())))
    found = found if isinstance(found, dict) else dict.fromkeys(wanted, found)
    rounded = 8 * SINGLE * max(float(np.abs(x).max(initial=0)) for x in arrays.values())  # of what cancels to 0
    for name, tensor in wanted.items():
        exact = tensor.double().cpu().numpy()
        largest = np.max(np.abs(exact), where=np.isfinite(exact), initial=1e-30)
        allowed = rounded + max(float(torch.finfo(tensor.dtype).eps), SINGLE) ** 0.5 * largest
        if found[name].shape != exact.shape or not np.allclose(found[name], exact, 0, allowed, equal_nan=True):
            raise NetworkError(
                "what was traced is not what it does: it changes values in place that are read later, or "
                f"does what leaves no trace; {EXPORT}"
            )
