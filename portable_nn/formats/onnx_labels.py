"""What an ONNX file says of classes: its labels are those of scores, which are what a network gives."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from portable_nn.formats.onnx_graph import Body, pruned
from portable_nn.meaning import Task
from portable_nn.readers.onnx import Node

__all__ = ["labelled"]

BETWEEN = ("Cast", "Reshape", "Squeeze")
"""What may come between a label and where it is told."""


KEEPING = (*BETWEEN, "Softmax", "LogSoftmax", "Sigmoid", "Exp")
"""What may come between the scores of a label and what is told of them."""


class Label(NamedTuple):
    """Where a label comes from: the scores, the classes if the file names them, and the task."""

    scores: str
    classes: list[str] | list[int] | None
    task: Task


def labelled(body: Body, producer: str = "") -> tuple[Body, list[str] | list[int] | None, Task | None]:
    """The graph with scores as outputs where there were labels and maps of probabilities, and what they mean.

    Parameters
    ----------
    body : Body
    producer : str
        What wrote the file.

    Returns
    -------
    body : Body
    classes : list of str or of int, or None
    task : str or None

    Examples
    --------
    >>> from portable_nn.formats.onnx_graph import Body
    >>> from portable_nn.formats.onnx_labels import labelled
    >>> from portable_nn.readers.onnx import Node, Value
    >>> nodes = (
    ...     Node("Softmax", ("x",), ("p",)),
    ...     Node("ai.onnx.ml.ZipMap", ("p",), ("y",), {"classlabels_strings": ("cat", "dog")}),
    ... )
    >>> body, classes, _ = labelled(Body(nodes, {}, (Value("x"),), {"y": "y"}, {"": 20}))
    >>> body.outputs, classes
    ({'y': 'p'}, ['cat', 'dog'])
    """
    makers, outputs = body.makers, dict(body.outputs)
    classes: list[str] | list[int] | None = None
    for public, name in body.outputs.items():
        node = makers.get(name)
        if node is not None and node.operator == "ai.onnx.ml.ZipMap":
            outputs[public] = node.inputs[0]
            classes = _classes(node)
    labels = {public: label for public, name in outputs.items() if (label := _label(body, makers, name))}
    others = [name for public, name in outputs.items() if public not in labels]
    theirs = all(_tells(body, label.scores, name) for label in labels.values() for name in others)
    if not theirs and producer != "skl2onnx":  # all of whose outputs are of one estimator
        return pruned(replace(body, outputs=outputs)), None, None
    first = next(iter(labels.values()), None)
    if first is None or (len(outputs) == 1 and first.classes is None):
        return pruned(replace(body, outputs=outputs)), classes, None
    outputs = {public: name for public, name in outputs.items() if public not in labels}
    if not outputs or first.task == "multilabel":
        outputs = {"probabilities": first.scores}
    if first.task == "multilabel":
        return pruned(replace(body, outputs=outputs)), None, first.task
    return pruned(replace(body, outputs=outputs)), classes or first.classes, first.task


def _tells(body: Body, scores: str, name: str) -> bool:
    """Whether a value has its largest where the scores of a label have theirs."""
    while name != scores:
        node = body.makers.get(name)
        if node is None or node.operator not in KEEPING:
            return False
        name = node.inputs[0]
    return True


def _classes(node: Node) -> list[str] | list[int] | None:
    for name in ("classlabels_int64s", "classlabels_ints", "classlabels_strings"):
        if node.attributes.get(name):
            return list(node.attributes[name])
    return None


def _label(body: Body, makers: dict[str, Node], name: str) -> Label | None:
    """Where a value comes from if it is a label."""
    node, classes = makers.get(name), None
    while node is not None and node.operator in BETWEEN:
        node = makers.get(node.inputs[0])
    if (
        node is not None
        and node.operator == "ai.onnx.ml.ArrayFeatureExtractor"
        and node.inputs[0] in body.constants
    ):
        classes = np.ravel(body.constants[node.inputs[0]]).tolist()
        node = makers.get(node.inputs[1])
    if node is None:
        return None
    match node.operator:
        case "ArgMax" if node.attributes.get("axis", 0) in (1, -1):
            return Label(node.inputs[0], classes, "classification")
        case "ai.onnx.ml.LinearClassifier" if name not in node.outputs[1:]:
            return Label(node.outputs[1], _classes(node), "classification")
        case "ai.onnx.ml.Binarizer" if node.attributes.get("threshold") == 0.5:
            return Label(node.inputs[0], None, "multilabel")
    return None
