"""Layers inside a graph, run as those outside are: products of constants, sums with them, activations."""

from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np

from portable_nn._typing import Array
from portable_nn.layers._weights import Shape, replaced
from portable_nn.layers.activation import Activation
from portable_nn.layers.dense import Dense
from portable_nn.operators.running import Bound
from portable_nn.readers.onnx import Node

__all__ = ["Prepared", "with_layers"]

ANY = Dense(np.zeros((1, 1)))
"""What other weights are put into, unchecked."""

NEW = {"Gemm", "MatMul", "Add", "Sub", "Mul", "Div"}
"""Operators whose result is an array of its own, whatever they are given."""


class Prepared(Protocol):
    """What a library runs best for a layer of samples along one axis."""

    def __call__(
        self, layer: Dense | Activation, *, is_new: bool = False, is_sum: bool = False
    ) -> Callable[..., Array]:
        """A function of what the layer takes, which it may overwrite if it is new.

        That of a Dense in a sum takes what is added before its activation, too.
        """


def with_layers(
    steps: tuple[Bound, ...], constants: Mapping[str, Array], shapes: Mapping[str, Shape], prepared: Prepared
) -> tuple[Bound, ...]:
    """The steps with each product of constants, what is added to it and the activation after it as one."""
    done: list[Bound] = []
    dense: dict[str, Dense] = {}  # by the name of what it makes
    for step in steps:
        node, before = step.step.node, done[-1] if done else step
        name = _activation(step)
        if node.operator == "Gemm" and _is_dense(node, constants, shapes):
            x, weight, bias = node.inputs
            dense[node.outputs[0]] = layer = replaced(ANY, weight=constants[weight], bias=constants[bias])
            done.append(step._replace(call=prepared(layer), inputs=(x,)))
        elif before.outputs[0] in dense and (other := _summand(before, step, shapes)):
            layer = dense[node.outputs[0]] = dense[before.outputs[0]]
            done[-1] = _joined(before, step, prepared(layer, is_sum=True), other)
        elif before.outputs[0] in dense and name and _reads_alone(before, step):
            layer = dense[before.outputs[0]].with_activation(name)
            done[-1] = _joined(before, step, prepared(layer, is_sum=len(before.inputs) > 1))
        elif name and not (step.is_special or step.step.on_host):
            is_new = _reads_alone(before, step) and _is_new(before)
            done.append(step._replace(call=prepared(Activation("identity").with_name(name), is_new=is_new)))
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


def _activation(step: Bound) -> str | None:
    """The activation that a step is."""
    name: str | None = getattr(step.step.operator.function, "activation", None)
    return name if not step.step.node.attributes else None


def _reads_alone(before: Bound, step: Bound) -> bool:
    """Whether a step, and no one else, reads what the one before it makes."""
    return step.inputs.count(before.outputs[0]) == 1 and before.outputs[0] in step.dropped


def _is_new(step: Bound) -> bool:
    """Whether a step gives an array of its own, of which no derivative is taken."""
    return step.step.node.operator in NEW and step.outputs == step.step.node.outputs


def _summand(before: Bound, step: Bound, shapes: Mapping[str, Shape]) -> tuple[str, ...]:
    """The samples that a step adds to a product before it, which has been added nothing yet."""
    if step.step.node.operator != "Add" or len(before.inputs) > 1 or not _reads_alone(before, step):
        return ()
    (other,) = (name for name in step.inputs if name != before.outputs[0])
    return (other,) if shapes.get(other, ()) == shapes.get(before.outputs[0]) else ()


def _joined(before: Bound, step: Bound, call: Callable[..., Array], more: tuple[str, ...] = ()) -> Bound:
    """Two steps as one, without what the first gave."""
    dropped = (*before.dropped, *(name for name in step.dropped if name != before.outputs[0]))
    return before._replace(call=call, inputs=(*before.inputs, *more), outputs=step.outputs, dropped=dropped)
