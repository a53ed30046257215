"""Products of constants inside a graph, run as a Dense is."""

from collections.abc import Callable, Mapping

import numpy as np

from portable_nn._typing import Array
from portable_nn.layers._weights import Shape, replaced
from portable_nn.layers.dense import Dense
from portable_nn.operators.running import Bound
from portable_nn.readers.onnx import Node

__all__ = ["with_dense"]

ANY = Dense(np.zeros((1, 1)))
"""What other weights are put into, unchecked."""


def with_dense(
    steps: tuple[Bound, ...],
    constants: Mapping[str, Array],
    shapes: Mapping[str, Shape],
    prepared: Callable[[Dense], Callable[[Array], Array]],
) -> tuple[Bound, ...]:
    """The steps with each product of constants, and the activation after it, as one."""
    done: list[Bound] = []
    dense: dict[str, Dense] = {}  # by the name of what it makes
    for step in steps:
        node = step.step.node
        if node.operator == "Gemm" and _is_dense(node, constants, shapes):
            x, weight, bias = node.inputs
            dense[node.outputs[0]] = replaced(ANY, weight=constants[weight], bias=constants[bias])
            done.append(step._replace(call=prepared(dense[node.outputs[0]]), inputs=(x,)))
        elif done and done[-1].outputs[0] in dense and (name := _follows(done[-1], step)):
            before = done.pop()
            activated = dense[before.outputs[0]].with_activation(name)
            dropped = (*before.dropped, *step.dropped[1:])
            done.append(before._replace(call=prepared(activated), outputs=step.outputs, dropped=dropped))
        else:
            done.append(step)
    return tuple(done)


def _is_dense(node: Node, constants: Mapping[str, Array], shapes: Mapping[str, Shape]) -> bool:
    """Whether a Gemm is ``x @ weight + bias`` of samples along one axis."""
    plain = node.attributes.items() <= {"alpha": 1.0, "beta": 1.0, "transA": 0, "transB": 0}.items()
    if not plain or len(node.inputs) != 3 or not constants.keys() >= set(node.inputs[1:]):
        return False
    x, weight, bias = node.inputs
    return len(shapes.get(x, ())) == 1 and tuple(constants[bias].shape) == tuple(constants[weight].shape[1:])


def _follows(before: Bound, step: Bound) -> str | None:
    """The activation that a step is, if it alone reads what is before it."""
    name: str | None = getattr(step.step.operator.function, "activation", None)
    alone = step.inputs == before.outputs and before.outputs[0] in step.dropped
    return name if alone and not step.step.node.attributes else None
