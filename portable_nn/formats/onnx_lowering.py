"""Operators of ONNX as layers, where they are a chain."""

from typing import NamedTuple

import numpy as np

from portable_nn.formats.onnx_classical import Link, affine, against_zero
from portable_nn.formats.onnx_graph import Body
from portable_nn.formats.onnx_links import LINKS
from portable_nn.formats.onnx_motifs import motif
from portable_nn.layers import Activation, Dense, Flatten, Layer, Rescaling, Shape, fused
from portable_nn.readers.onnx import Node

__all__ = ["Chain", "chain"]

UNJOINED = 3
"""The most layers that one Dense may come in: a product, a sum, an activation."""


class Chain(NamedTuple):
    """Layers, the value that they end in, and the shape of a sample of it, None where it is not known."""

    layers: tuple[Layer, ...]
    end: str
    shape: Shape | None


def chain(body: Body, start: str, shape: Shape | None) -> Chain:
    """The layers from a value on, as far as they are a chain.

    Parameters
    ----------
    body : Body
    start : str
    shape : tuple of int, or None
        Of one sample there.

    Returns
    -------
    Chain

    Examples
    --------
    >>> from portable_nn.formats.onnx_graph import Body
    >>> from portable_nn.formats.onnx_lowering import chain
    >>> from portable_nn.readers.onnx import Node, Value
    >>> body = Body((Node("Tanh", ("x",), ("y",)),), {}, (Value("x"),), {"y": "y"}, {"": 20})
    >>> chain(body, "x", (3,))
    Chain(layers=(Activation('tanh'),), end='y', shape=(3,))
    """
    readers = body.readers
    layers: list[Layer] = []
    name = start
    while name not in body.ends:
        found = _two_classes(body, name, layers, readers) or _step(body, name, shape, layers, readers)
        if found is None:
            break
        more, name = found
        for layer in more:
            if isinstance(layer, Flatten):
                shape = layer.output_shape(shape)
            elif isinstance(layer, Dense) and shape:
                shape = (*shape[:-1], int(layer.weight.shape[1]))
            layers.append(layer)
    return Chain(_joined(layers), name, shape)


def _step(
    body: Body, name: str, shape: Shape | None, before: list[Layer], readers: dict[str, list[Node]]
) -> tuple[tuple[Layer, ...], str] | None:
    """The next layers, and the value that they end in."""
    found = motif(body, name, readers)
    if found is not None:
        return (found[0],), found[1]
    if len(readers.get(name, [])) != 1:
        return None
    (node,) = readers[name]
    if node.operator == "ai.onnx.ml.Normalizer" and _sums_to_1(node, before):
        return (), node.outputs[0]
    others = [each for each in node.inputs if each and each != name]
    if (
        node.operator not in LINKS
        or node.inputs.count(name) != 1
        or any(each not in body.constants for each in others)
    ):
        return None
    constants = {i: body.constants[each] for i, each in enumerate(node.inputs) if each in body.constants}
    domain = node.operator.rpartition(".")[0]
    link = Link(node, constants, node.inputs.index(name), shape, body.opsets.get(domain, 1))
    layers = LINKS[node.operator](link)
    read = [output for output in node.outputs if output in readers or output in body.ends]
    if layers is None or len(read) != 1:
        return None
    return layers, read[0]


def _two_classes(
    body: Body, name: str, layers: list[Layer], readers: dict[str, list[Node]]
) -> tuple[tuple[Layer, ...], str] | None:
    """The probabilities of two classes side by side, made of that of one: both are a softmax."""
    match _joined(layers[-UNJOINED:])[-1:], readers.get(name, []):
        case (Dense(activation="sigmoid", bias=bias) as dense,), [
            Node("Sub") as other,
            Node("Concat") as both,
        ] if len(bias) == 1:
            one = body.constants.get(other.inputs[0])
            difference = one is not None and bool(np.all(one == 1)) and other.inputs[1] == name
            alone = readers.get(other.outputs[0]) == [both] and other.outputs[0] not in body.ends
            if difference and alone and both.inputs == (other.outputs[0], name):
                layers[-UNJOINED:] = _joined(layers[-UNJOINED:])[:-1]
                return (against_zero(dense.weight, dense.bias),), both.outputs[0]
    return None


def _sums_to_1(node: Node, layers: list[Layer]) -> bool:
    """Whether what a node divides by its sum is the probabilities of a softmax."""
    match _joined(layers[-UNJOINED:])[-1:]:
        case (Dense(activation="softmax") | Activation(name="softmax"),):
            return bool(node.attributes.get("norm") == "L1")
    return False


def _joined(layers: list[Layer]) -> tuple[Layer, ...]:
    """Layers with each sum after a product in its Dense, and activations too."""
    done: list[Layer] = []
    for layer in layers:
        match done[-1:], layer:
            case [Dense(activation="identity") as dense], Rescaling(scale=scale, offset=offset) if (
                not np.any(dense.bias)
                and np.all(np.asarray(scale) == 1)
                and np.size(offset) in (1, len(dense.bias))
            ):
                done[-1] = Dense(
                    dense.weight, np.broadcast_to(offset, dense.bias.shape).astype(dense.weight.dtype)
                )
            case [Rescaling(scale=before, offset=zero)], Rescaling(scale=one, offset=offset) if not np.any(
                zero
            ) and np.all(np.asarray(one) == 1):
                done[-1:] = affine(before, offset)
            case _:
                done.append(layer)
    return fused(done)
