"""Products of constants inside a graph in one form, ``x @ weight + bias``, which runs as a `Dense` does."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from portable_nn._typing import NumPyArray
from portable_nn.formats.onnx_graph import Body, pruned
from portable_nn.layers import Shape
from portable_nn.readers.onnx import Node

__all__ = ["gemm_parts", "with_gemms"]

PARTS = "weight", "bias"


def with_gemms(body: Body, shapes: Mapping[str, Shape]) -> Body:
    """The graph with each product of constants as a Gemm without attributes.

    Parameters
    ----------
    body : Body
    shapes : mapping of str to tuple of int
        Of one sample, of the values that are known.

    Returns
    -------
    Body

    Examples
    --------
    >>> import numpy as np
    >>> from portable_nn.formats.onnx_gemms import with_gemms
    >>> from portable_nn.formats.onnx_graph import Body
    >>> from portable_nn.readers.onnx import Node, Value
    >>> nodes = Node("MatMul", ("x", "w"), ("h",)), Node("Add", ("h", "b"), ("y",))
    >>> body = Body(nodes, {"w": np.ones((3, 2)), "b": np.ones(2)}, (Value("x"),), {"y": "y"}, {"": 20})
    >>> [node.operator for node in with_gemms(body, {"x": (3,)}).nodes]
    ['Gemm']
    """
    nodes, constants, joined = list[Node](), dict(body.constants), set[str]()
    taken = {*constants, *body.makers, *(value.name for value in body.inputs)}

    def held(name: str, value: NumPyArray) -> str:
        """The name of a new constant."""
        while name in taken:
            name += "_"
        taken.add(name)
        constants[name] = value
        return name

    for node in body.nodes:
        flat = len(shapes.get(node.inputs[0], ())) == 1 if node.inputs else False
        weight = body.constants.get(node.inputs[1]) if len(node.inputs) > 1 else None
        if joined.intersection(node.inputs) and node.operator == "Add":
            continue
        if weight is None or weight.ndim != 2 or weight.dtype.kind != "f" or not flat:
            nodes.append(node)
        elif node.operator == "Gemm" and (parts := _parts(node, weight, body.constants)):
            names = (held(f"{node.outputs[0]}.{key}", part) for key, part in zip(PARTS, parts, strict=True))
            nodes.append(replace(node, inputs=(node.inputs[0], *names), attributes={}))
        elif node.operator == "MatMul" and (after := _sum_after(body, node, weight.shape[1])):
            add, bias = after
            joined.add(node.outputs[0])
            inputs = *node.inputs, held(f"{add.outputs[0]}.bias", bias)
            nodes.append(Node("Gemm", inputs, add.outputs, {}, node.name))
        else:
            nodes.append(node)
    return pruned(replace(body, nodes=tuple(nodes), constants=constants))


def _parts(
    node: Node, weight: NumPyArray, constants: Mapping[str, NumPyArray]
) -> tuple[NumPyArray, NumPyArray] | None:
    """Weight and bias of a Gemm, without what it does to them; None where they are no constants."""
    bias = constants.get(node.inputs[2]) if len(node.inputs) > 2 else np.zeros(1, weight.dtype)
    return None if bias is None else gemm_parts(node.attributes, weight, bias)


def gemm_parts(
    given: Mapping[str, Any], weight: NumPyArray, bias: NumPyArray
) -> tuple[NumPyArray, NumPyArray] | None:
    """Weight and bias without what a Gemm does to them; None where it is no ``x @ weight + bias``.

    Parameters
    ----------
    given : mapping of str to object
        Its attributes.
    weight : array of shape (n_in, n_out), or (n_out, n_in)
    bias : array
        It may have one number for each sample, which is no bias.

    Returns
    -------
    weight, bias : arrays of shapes (n_in, n_out) and (n_out,), or None

    Examples
    --------
    >>> import numpy as np
    >>> from portable_nn.formats.onnx_gemms import gemm_parts
    >>> weight, bias = gemm_parts({"transB": 1, "beta": 2.0}, np.ones((2, 3)), np.ones((1, 1)))
    >>> weight.shape, bias
    ((3, 2), array([2., 2.]))
    """
    weight = weight.T if given.get("transB", 0) else weight
    n = weight.shape[1]
    if given.get("transA", 0) or bias.shape not in ((), (1,), (n,), (1, 1), (1, n)):
        return None
    weight, bias = (
        array if given.get(name, 1.0) == 1 else array * array.dtype.type(given[name])
        for name, array in (("alpha", weight), ("beta", bias))
    )
    return weight, np.full(n, bias.reshape(-1))


def _sum_after(body: Body, node: Node, n: int) -> tuple[Node, NumPyArray] | None:
    """The node that alone reads a product and adds one constant a feature, and that."""
    name = node.outputs[0]
    match body.readers.get(name):
        case [Node("Add") as add] if name not in body.outputs.values():
            (other,) = [each for each in add.inputs if each != name] or [""]
            bias = body.constants.get(other)
            if bias is not None and bias.dtype.kind == "f" and bias.shape in ((n,), (1, n)):
                return add, bias.reshape(n)
    return None
