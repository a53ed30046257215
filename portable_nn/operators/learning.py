"""The operators of classical machine learning, `ai.onnx.ml`, which scikit-learn's pipelines become."""

from typing import Any

import numpy as np

from portable_nn import activations
from portable_nn._typing import Array, DType, Namespace, NumPyArray
from portable_nn.errors import NetworkError
from portable_nn.operators._common import Fixed, Known, Table, View, beside
from portable_nn.operators.shaping import gather

__all__ = ["LEARNING"]


def scaler(
    x: Array,
    *,
    xp: Namespace,
    floating: DType,
    offset: tuple[float, ...] = (0.0,),
    scale: tuple[float, ...] = (1.0,),
) -> Array:
    """``(x - offset) * scale``, by feature."""
    x = xp.astype(x, floating)
    return (x - beside(x, offset, xp, floating)) * beside(x, scale, xp, floating)


def imputer(
    x: Array,
    *,
    xp: Namespace,
    imputed_value_floats: tuple[float, ...] = (),
    imputed_value_int64s: tuple[int, ...] = (),
    replaced_value_float: float = 0.0,
    replaced_value_int64: int = 0,
) -> Array:
    """Values put where one is missing, which is nan or a number."""
    floating = bool(imputed_value_floats)
    missing = replaced_value_float if floating else replaced_value_int64
    values = beside(x, imputed_value_floats or imputed_value_int64s, xp, x.dtype)
    return xp.where(xp.isnan(x) if missing != missing else x == missing, values, x)


def binarizer(x: Array, *, xp: Namespace, threshold: float = 0.0) -> Array:
    """1 above a threshold, else 0."""
    return xp.astype(x > threshold, x.dtype)


def normalizer(x: Array, *, xp: Namespace, floating: DType, norm: str = "MAX") -> Array:
    """Each sample divided by its largest absolute value, their sum, or the root of that of squares."""
    x = xp.astype(x, floating)
    if norm == "L2":
        size = xp.sqrt(xp.sum(x * x, axis=-1, keepdims=True))
    else:
        size = (xp.max if norm == "MAX" else xp.sum)(xp.abs(x), axis=-1, keepdims=True)
    return x / xp.where(size == 0, xp.ones_like(size), size)


def feature(x: Array, places: Known, *, xp: Namespace) -> View:
    """Features at places, of the last axis."""
    one = x[None, :] if x.ndim == 1 else x
    if isinstance(places, Fixed):
        return gather(one, Fixed(places.values, (len(places.values),)), xp=xp, axis=-1)
    return gather(one, xp.reshape(places, (-1,)), xp=xp, axis=-1)


def vectorizer(*arrays: Array, xp: Namespace, floating: DType, inputdimensions: tuple[int, ...] = ()) -> Array:
    """Features of several inputs side by side."""
    return xp.concat([xp.astype(x, floating) for x in arrays], axis=-1)


def label_encoder(x: Array, *, xp: Namespace, **pairs: Any) -> Array:
    """For each value the one that goes with it, or the default one.

    Values are looked up by place in the sorted keys, as no library of arrays has dicts.
    """
    keys, values, default = _pairs(pairs)
    order = np.argsort(keys)
    sorted_keys = beside(x, keys[order], xp, x.dtype)
    found = xp.clip(xp.searchsorted(sorted_keys, xp.reshape(x, (-1,))), 0, len(keys) - 1)
    known = xp.take(sorted_keys, found, axis=0) == xp.reshape(x, (-1,))
    picked = xp.take(beside(x, values[order], xp), found, axis=0)
    return xp.reshape(xp.where(known, picked, beside(x, np.asarray(default, values.dtype), xp)), x.shape)


def _pairs(given: dict[str, Any]) -> tuple[NumPyArray, NumPyArray, Any]:
    keys, values = (
        {name: each for name, each in given.items() if name.startswith(f"{part}_")} for part in ("keys", "values")
    )
    if len(keys) != 1 or len(values) != 1 or any("strings" in name for name in (*keys, *values)):
        raise NetworkError("LabelEncoder with strings is not computed on arrays of numbers")
    (kind, found), default = next(iter(values.items())), {"values_floats": -0.0, "values_int64s": -1}
    name = {"values_floats": "default_float", "values_int64s": "default_int64"}.get(kind, "default_tensor")
    numbers = np.asarray(found, np.float32 if "float" in kind else None)
    return np.asarray(next(iter(keys.values()))), numbers, np.ravel(given.get(name, default.get(kind, 0)))[0]


def one_hot_encoder(
    x: Array, *, xp: Namespace, floating: DType, cats_int64s: tuple[int, ...], zeros: int = 1
) -> Array:
    """1 for the category that each value is, 0 for the others, along a new axis."""
    return xp.astype(xp.expand_dims(x, axis=-1) == beside(x, cats_int64s, xp, x.dtype), floating)


def linear_regressor(
    x: Array,
    *,
    xp: Namespace,
    floating: DType,
    coefficients: tuple[float, ...],
    intercepts: tuple[float, ...] = (),
    targets: int = 1,
    post_transform: str = "NONE",
) -> Array:
    """``x @ W + b``, for each target."""
    x = xp.astype(x, floating)
    y = x @ beside(x, np.reshape(coefficients, (targets, -1)).T, xp, floating)
    return transformed(y + beside(x, intercepts, xp, floating) if intercepts else y, post_transform, xp)


def linear_classifier(
    x: Array,
    *,
    xp: Namespace,
    floating: DType,
    coefficients: tuple[float, ...],
    intercepts: tuple[float, ...] = (),
    classlabels_ints: tuple[int, ...] = (),
    classlabels_strings: tuple[str, ...] = (),
    multi_class: int = 0,
    post_transform: str = "NONE",
) -> tuple[Array, Array]:
    """The class of each sample, by its index where classes are strings, and the scores of all classes."""
    rows = len(intercepts) or len(classlabels_ints) or len(classlabels_strings)
    scores = linear_regressor(
        x, xp=xp, floating=floating, coefficients=coefficients, intercepts=intercepts, targets=rows
    )
    best = xp.argmax(scores, axis=-1) if rows > 1 else xp.astype(scores[..., 0] > 0, xp.int64)
    if classlabels_ints:
        best = xp.take(beside(x, classlabels_ints, xp), best, axis=0)
    if rows == 1 and (len(classlabels_ints) or len(classlabels_strings)) == 2:
        scores = xp.concat([-scores, scores], axis=-1)
    return best, transformed(scores, post_transform, xp)


def transformed(scores: Array, name: str, xp: Namespace) -> Array:
    """Scores after one of the transformations that `ai.onnx.ml` names."""
    match name:
        case "NONE":
            return scores
        case "LOGISTIC":
            return activations.sigmoid(scores, xp=xp)
        case "SOFTMAX":
            return activations.softmax(scores, xp=xp)
    raise NetworkError(f"post_transform {name!r} is none of NONE, LOGISTIC and SOFTMAX, which are computed")


LEARNING: Table = {
    "ai.onnx.ml.Scaler": {1: scaler},
    "ai.onnx.ml.Imputer": {1: imputer},
    "ai.onnx.ml.Binarizer": {1: binarizer},
    "ai.onnx.ml.Normalizer": {1: normalizer},
    "ai.onnx.ml.ArrayFeatureExtractor": {1: feature},
    "ai.onnx.ml.FeatureVectorizer": {1: vectorizer},
    "ai.onnx.ml.LabelEncoder": {2: label_encoder},
    "ai.onnx.ml.OneHotEncoder": {1: one_hot_encoder},
    "ai.onnx.ml.LinearRegressor": {1: linear_regressor},
    "ai.onnx.ml.LinearClassifier": {1: linear_classifier},
}
"""By name, and by the opset of their domain from which on they are so."""
