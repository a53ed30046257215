"""Products of constants inside a graph, run as a Dense is."""

from collections.abc import Callable, Mapping
from dataclasses import replace

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
    for step in steps:
        before = done[-1] if done else None
        if step.node.operator == "Gemm" and _is_dense(step.node, constants, shapes):
            x, weight, bias = step.node.inputs
            dense = replaced(ANY, weight=constants[weight], bias=constants[bias])
            done.append(
                step._replace(call=prepared(dense), node=replace(step.node, operator="Dense", inputs=(x,)))
            )
        elif before and before.node.operator == "Dense" and (name := _follows(before, step)):
            gemm = next(each for each in steps if each.node.outputs == before.node.outputs)
            _, weight, bias = gemm.node.inputs
            dense = replaced(ANY, weight=constants[weight], bias=constants[bias], activation=name)
            node = replace(before.node, operator="Activated", outputs=step.node.outputs)
            done[-1] = before._replace(
                call=prepared(dense), node=node, dropped=(*before.dropped, *step.dropped[1:])
            )
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
    name: str | None = getattr(step.operator.function, "activation", None)
    read = step.node.inputs == before.node.outputs and before.node.outputs[0] in step.dropped
    return name if read and not step.node.attributes else None
