"""True labels as people write them: the names of classes, or their places."""

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np

from portable_nn._typing import NumPyArray
from portable_nn.errors import ShapeError

__all__ = ["label_indices"]

Names: TypeAlias = Sequence[str] | Sequence[int]


def label_indices(labels: NumPyArray, shape: tuple[int, ...], n: int, classes: Names | None = None) -> NumPyArray:
    """The place of each true label among the classes.

    Parameters
    ----------
    labels : array of integers or strings
    shape : tuple of int
        That of the labels which the network gives: one for each sample.
    n : int
        How many classes there are, 0 for a regression.
    classes : sequence of str or of int, optional
        Their names; without any, labels are their indices.

    Returns
    -------
    array of integers

    Raises
    ------
    ShapeError
        If there is not one label for each sample, among those that the network gives.

    Examples
    --------
    >>> import numpy as np
    >>> from portable_nn.labels import label_indices
    >>> label_indices(np.array(["dog", "cat"]), (2,), 2, ["cat", "dog"])
    array([1, 0])
    """
    if n == 0:
        raise ShapeError("the network does regression, which has no labels: leave labels out")
    if labels.dtype.kind in "OT" and all(isinstance(label, str) for label in labels.flat):
        labels = labels.astype(object).astype(str)
    kind = "strings" if labels.dtype.kind == "U" else "integers" if labels.dtype.kind in "iu" else ""
    if labels.shape != shape or not kind:
        raise ShapeError(
            f"{' x '.join(map(str, shape))} samples, labels of shape {labels.shape} and dtype {labels.dtype}: "
            "give one integer for each"
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
    classes: Sequence[str] | Sequence[int] | None,
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
            "net.described(classes=[...]) does, in the order of its outputs"
        )
    remedy = ""
    if classes is not None:
        remedy = ", or the names of its classes"
    elif found[0] == 1 and found[-1] == n:
        remedy = f"; or, if these are its classes, say net.described(classes=range(1, {n + 1}))"
    return (
        f"labels run from {found[0]} to {found[-1]}, the network gives 0 to {n - 1}: give the labels that it was "
        f"trained on{remedy}"
    )


def _few(values: Names, most: int = 8) -> str:
    shown = ", ".join(map(repr, values[:most]))
    return shown if len(values) <= most else f"{shown}, … ({len(values)} in all)"
