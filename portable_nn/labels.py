"""Labels: whether outputs mean any, which ones they mean, and the true ones, as people write them."""

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np

from portable_nn._typing import Array, Namespace, NumPyArray
from portable_nn.errors import NetworkError, ShapeError
from portable_nn.layers import Layers, Shape
from portable_nn.meaning import NOTHING, Meaning, last_activation
from portable_nn.parts import given_by

__all__ = ["check_labels", "label_indices", "labels_of", "without_labels"]

Names: TypeAlias = Sequence[str] | Sequence[int]

BY_OPTION = "; on the command line --set classes=A,B,…"


def without_labels(layers: Layers, meaning: Meaning, outputs: Shape | None, instead: str = "net(x)") -> str:
    """Why outputs mean no labels, and what to do, in words; "" where they mean some.

    Parameters
    ----------
    layers : tuple of layers
    meaning : Meaning
    outputs : tuple of int or None
        Their shape for one sample, None where it is not known.
    instead : str
        What gives the outputs.

    Examples
    --------
    >>> import numpy as np
    >>> import portable_nn as pnn
    >>> from portable_nn.labels import without_labels
    >>> net = pnn.Network([pnn.Dense(np.eye(3))], task="regression")
    >>> without_labels(net.layers, net.meaning, (3,))
    'the network does regression, which has no labels: call net(x)'
    """
    if names := given_by(layers):
        return f"the network has several outputs, {', '.join(names)}, which are no labels: call {instead}"
    if meaning.task == "regression":
        return f"the network does regression, which has no labels: call {instead}"
    if outputs == ():
        return f"one number for each sample, which has no axis of its own, means no label: call {instead}"
    if outputs == (0,):
        return f"samples of no values mean no label: call {instead}"
    is_told = outputs != (1,) or meaning.task is not None or meaning.classes is not None
    if is_told or last_activation(layers) == "sigmoid":
        return ""
    return (
        f"one output without a sigmoid is regression, which has no labels: call {instead}, or, if it is a logit, "
        'call net.described(task="classification")'
    )


def check_labels(layers: Layers, meaning: Meaning, outputs: Shape | None, instead: str = "net(x)") -> None:
    """Raise a `NetworkError` where outputs mean no labels: what `without_labels` says."""
    if why := without_labels(layers, meaning, outputs, instead):
        raise NetworkError(why)


def labels_of(logits: Array, xp: Namespace, meaning: Meaning = NOTHING) -> Array:
    """The labels that logits mean, in the library of `xp`: the largest one's index, or one logit's sign.

    Of several that exclude none, each logit's sign; and where classes are integers, the class.
    """
    if meaning.task == "multilabel":
        return _signs(logits, xp)
    found = _signs(logits[..., 0], xp) if logits.shape[-1] == 1 else xp.argmax(logits, axis=-1)
    return meaning.class_of(found, xp)


def _signs(logits: Array, xp: Namespace) -> Array:
    return xp.astype(logits >= 0, xp.__array_namespace_info__().default_dtypes()["indexing"])


def label_indices(labels: NumPyArray, outputs: Shape, meaning: Meaning = NOTHING) -> NumPyArray:
    """The place of each true label among the classes; of several for each sample, a 0 or 1 for each output.

    Parameters
    ----------
    labels : array of integers or strings
        The classes of the network where it names them, else the indices of its outputs.
    outputs : tuple of int
        The shape of all outputs, the axes of samples first.
    meaning : Meaning
        Of these outputs.

    Returns
    -------
    array of integers
        Of the shape of `outputs`, but for the last axis where each sample has one label.

    Raises
    ------
    ShapeError
        If there is not one label for each sample, among those that the network gives.

    Examples
    --------
    >>> import numpy as np
    >>> from portable_nn.labels import label_indices
    >>> from portable_nn.meaning import Meaning
    >>> label_indices(np.array(["dog", "cat"]), (2, 2), Meaning(classes=("cat", "dog")))
    array([1, 0])
    """
    several = meaning.task == "multilabel"
    shape, n, classes = (outputs, 2, None) if several else (outputs[:-1], max(2, outputs[-1]), meaning.classes)
    if labels.dtype.kind in "OT" and all(isinstance(label, str) for label in labels.flat):
        labels = labels.astype(object).astype(str)
    kind = "strings" if labels.dtype.kind == "U" else "integers" if labels.dtype.kind in "biu" else ""
    if labels.shape != shape or not kind:
        are_whole = labels.dtype.kind == "f" and np.array_equal(labels, np.rint(labels))
        cast = ", as labels.astype(int) does" if are_whole else ""
        raise ShapeError(
            f"{' x '.join(map(str, shape))} samples, labels of shape {labels.shape} and dtype {labels.dtype}: "
            f"give one integer for each{cast}"
        )
    found, inverse = np.unique(labels, return_inverse=True)
    named = classes is not None and (kind == "strings" or isinstance(classes[0], int))
    index = {label: i for i, label in enumerate(classes if named and classes is not None else range(n))}
    strange = [label for label in found.tolist() if label not in index]
    if strange:
        raise ShapeError(_strange(strange, found.tolist(), n, classes))
    return np.asarray([index[label] for label in found.tolist()], dtype=np.int64)[inverse.reshape(shape)]


def _strange(
    strange: list[str] | list[int],
    found: list[str] | list[int],
    n: int,
    classes: Names | None,
) -> str:
    """What is wrong with labels, some of which are none of the classes."""
    if classes is not None and type(strange[0]) is type(classes[0]):
        return (
            f"labels {_few(strange)} are none of the network's classes {_few(classes)}: "
            "give the labels that it was trained on"
        )
    if isinstance(strange[0], str):
        if classes is not None:
            return f"labels are strings such as {strange[0]!r}, the network's classes are {_few(classes)}"
        return (
            f"labels are strings such as {strange[0]!r}, and the network does not name its classes: "
            f"net.described(classes=[...]) does, in the order of its outputs{BY_OPTION}"
        )
    remedy = ""
    if classes is not None:
        remedy = ", or the names of its classes"
    elif found[0] == 1 and found[-1] == n:
        remedy = f"; or, if these are its classes, say net.described(classes=range(1, {n + 1})){BY_OPTION}"
    return (
        f"labels run from {found[0]} to {found[-1]}, the network gives 0 to {n - 1}: give the labels that it was "
        f"trained on{remedy}"
    )


def _few(values: Names, most: int = 8) -> str:
    shown = ", ".join(map(repr, values[:most]))
    return shown if len(values) <= most else f"{shown}, … ({len(values)} in all)"
