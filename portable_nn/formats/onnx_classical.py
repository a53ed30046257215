"""The operators of `ai.onnx.ml` that are layers, and what all operators that are have in common."""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from portable_nn._typing import NumPyArray
from portable_nn.layers import Dense, Layer, Rescaling, Shape, standardized
from portable_nn.readers.onnx import Node

__all__ = ["CLASSICAL", "Layers", "Link", "affine", "against_zero"]

Layers: TypeAlias = tuple[Layer, ...] | None
"""What an operator becomes: None where it is no layer."""


class Link(NamedTuple):
    """A node with one input that is no constant.

    Attributes
    ----------
    node : Node
    constants : dict of int to array
        By their positions.
    at : int
        The position of the other input.
    shape : tuple of int, or None
        Of one sample of it, if it is known.
    opset : int

    Examples
    --------
    >>> from portable_nn.formats.onnx_classical import Link
    >>> from portable_nn.formats.onnx_links import LINKS
    >>> from portable_nn.readers.onnx import Node
    >>> LINKS["Elu"](Link(Node("Elu", ("x",), ("y",), {"alpha": 0.5}), {}, 0, (3,), 20))
    (Activation('elu', alpha=0.5),)
    """

    node: Node
    constants: dict[int, NumPyArray]
    at: int
    shape: Shape | None
    opset: int

    def get(self, name: str, default: Any) -> Any:
        """An attribute."""
        return self.node.attributes.get(name, default)

    def constant(self, at: int) -> NumPyArray | None:
        """A constant of floating numbers, at one position."""
        value = self.constants.get(at)
        return value if value is not None and value.dtype.kind == "f" else None


def affine(scale: Any, offset: Any) -> tuple[Layer, ...]:
    """The layer ``x * scale + offset``, of numbers or of one value a feature.

    Parameters
    ----------
    scale, offset : float or array of shape (n,)

    Returns
    -------
    tuple of one Rescaling

    Examples
    --------
    >>> from portable_nn.formats.onnx_classical import affine
    >>> affine(2.0, 1.0)
    (Rescaling(2, 1),)
    """
    both = np.broadcast_arrays(scale, offset)
    if both[0].ndim == 0:
        return (Rescaling(float(both[0]), float(both[1])),)
    dtype = next(x.dtype for x in (scale, offset) if isinstance(x, np.ndarray))
    return (Rescaling(*(x.astype(dtype) for x in both)),)


def _scaler(link: Link) -> Layers:
    offset, scale = (np.array(link.get(name, (default,))) for name, default in (("offset", 0.0), ("scale", 1.0)))
    n = max(len(offset), len(scale))
    if n > 1 and link.shape is not None and link.shape != (n,):
        return None
    less, times = (x.astype(np.float32) if n > 1 else float(x[0]) for x in (offset, scale))
    if not np.all(scale):
        return *affine(1.0, -less), *affine(times, 0.0)
    return standardized(less, (1 / scale).astype(np.float32) if n > 1 else 1 / times)


def _linear(link: Link) -> tuple[Dense, int] | None:
    """The product of `LinearRegressor` and `LinearClassifier`, and the number of its outputs."""
    coefficients = np.array(link.get("coefficients", ()), np.float32)
    intercepts = np.array(link.get("intercepts", ()), np.float32)
    classes = len(link.get("classlabels_ints", ()) or link.get("classlabels_strings", ()))
    rows = link.get("targets", 1) if link.node.operator.endswith("Regressor") else len(intercepts) or classes
    if not coefficients.size or coefficients.size % rows or len(intercepts) not in (0, rows):
        return None
    weight = coefficients.reshape(rows, -1).T
    return Dense(weight, intercepts if len(intercepts) else None), rows


def _linear_regressor(link: Link) -> Layers:
    found = _linear(link)
    plain = link.get("post_transform", "NONE") == "NONE"
    return (found[0],) if found and plain else None


def _linear_classifier(link: Link) -> Layers:
    found = _linear(link)
    if found is None or found[1] == 1:
        return None
    dense, rows = found
    match link.get("post_transform", "NONE"):
        case "NONE":
            return (dense,)
        case "SOFTMAX":
            return (dense.with_activation("softmax"),)
        case "LOGISTIC" if (
            rows == 2
            and np.array_equal(dense.weight[:, 0], -dense.weight[:, 1])
            and (dense.bias[0] == -dense.bias[1])
        ):
            return (against_zero(dense.weight[:, 1:], dense.bias[1:]),)
        case "LOGISTIC":
            return (dense.with_activation("sigmoid"),)
    return None


def against_zero(weight: NumPyArray, bias: NumPyArray) -> Dense:
    """The probabilities ``1 - sigmoid(z)`` and ``sigmoid(z)``, which are the softmax of 0 and z.

    Parameters
    ----------
    weight : array of shape (n_in, 1)
    bias : array of shape (1,)

    Returns
    -------
    Dense

    Examples
    --------
    >>> import numpy as np
    >>> from portable_nn.formats.onnx_classical import against_zero
    >>> against_zero(np.ones((3, 1)), np.zeros(1))
    Dense(3, 2, 'softmax')
    """
    zeros = np.zeros_like(weight)
    return Dense(np.hstack([zeros, weight]), np.hstack([0 * bias, bias]), "softmax")


CLASSICAL: dict[str, Callable[[Link], Layers]] = {
    "ai.onnx.ml.Scaler": _scaler,
    "ai.onnx.ml.LinearRegressor": _linear_regressor,
    "ai.onnx.ml.LinearClassifier": _linear_classifier,
}
"""By name."""
