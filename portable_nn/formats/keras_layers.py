"""Keras's layers and activations by name, and what each of them is here.

A new one is one function and its name in `LAYERS`, or one entry of `ACTIVATIONS`. Keras's own defaults count
where a config leaves something out.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import inf, prod
from typing import Any, TypeAlias

import numpy as np

from portable_nn._typing import ActivationName, NumPyArray
from portable_nn.errors import NetworkError
from portable_nn.formats.keras_config import class_name
from portable_nn.formats.normalization import keras_batch_normalization, keras_deviation
from portable_nn.layers import Activation, Dense, Flatten, Layer, Normalize, Rescaling, Shape, standardized

__all__ = ["LAYERS", "Described"]

Parameters: TypeAlias = dict[str, Any]


@dataclass(frozen=True)
class Described:
    """A layer as its config describes it.

    Attributes
    ----------
    class_name : str
    config : mapping
    weights : callable
        Gives the arrays of the names that it is given, all that the layer has, in Keras's order.
    shape : tuple of int or None
        Of one sample that comes in, where that is known.
    old : bool
        Whether Keras 1 or 2 wrote it.
    """

    class_name: str
    config: Mapping[str, Any]
    weights: Callable[..., list[NumPyArray]]
    shape: Shape | None
    old: bool

    def number(self, *keys: str, default: float) -> float:
        """The number under the first of these keys that the config has."""
        value = next((self.config[key] for key in keys if self.config.get(key) is not None), default)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or 2**1023 < abs(value) < inf:
            raise NetworkError(f"it has {keys[0]}={value!r:.40}, which is no number")
        return float(value)

    @property
    def dtype(self) -> str:
        """The dtype of the numbers in its config: float64 where the layer computes in that, else float32."""
        policy = self.config.get("dtype")
        if isinstance(policy, dict) and isinstance(policy.get("config"), dict):
            policy = policy["config"].get("name")
        return "float64" if policy == "float64" else "float32"

    def check_last_axis(self) -> None:
        """Raise a `NetworkError` unless the layer works along the last axis, where features are."""
        axis = self.config.get("axis", -1)
        axes = axis if isinstance(axis, list) else [axis]
        if axes != [-1] and (self.shape is None or axes != [len(self.shape)]):
            raise NetworkError(f"it works along axis {axis!r:.40}: only the last one is read")


def _elu(layer: Described) -> tuple[ActivationName, Parameters]:
    return "elu", {"alpha": layer.number("alpha", default=1.0)}


def _leaky_relu(layer: Described) -> tuple[ActivationName, Parameters]:
    return "leaky_relu", {"negative_slope": layer.number("negative_slope", "alpha", default=0.3)}


def _relu(layer: Described) -> tuple[ActivationName, Parameters]:
    most = layer.number("max_value", default=inf)
    slope = layer.number("negative_slope", default=0.0)
    threshold = layer.number("threshold", default=0.0)
    if threshold == 0 and most == inf:
        return ("leaky_relu", {"negative_slope": slope}) if slope else ("relu", {})
    if threshold == 0 and most == 6 and not slope:
        return "relu6", {}
    return "clipped_relu", {"max_value": most, "negative_slope": slope, "threshold": threshold}


def _thresholded_relu(layer: Described) -> tuple[ActivationName, Parameters]:
    return "threshold", {"threshold": layer.number("theta", default=1.0), "value": 0.0}


def _softmax(layer: Described) -> tuple[ActivationName, Parameters]:
    layer.check_last_axis()
    return "softmax", {}


PARAMETRIC: dict[str, Callable[[Described], tuple[ActivationName, Parameters]]] = {
    "ELU": _elu,
    "LeakyReLU": _leaky_relu,
    "ReLU": _relu,
    "Softmax": _softmax,
    "ThresholdedReLU": _thresholded_relu,
}
"""Layers that are activations; Keras takes them as the activation of another layer, too."""

ACTIVATIONS: dict[str, tuple[ActivationName, Parameters]] = {
    "celu": ("celu", {}),
    "elu": ("elu", {}),
    "exponential": ("exp", {}),
    "gelu": ("gelu", {}),
    "glu": ("glu", {}),
    "hard_shrink": ("hardshrink", {}),
    "hard_sigmoid": ("hard_sigmoid", {}),
    "hard_silu": ("hard_swish", {}),
    "hard_swish": ("hard_swish", {}),
    "hard_tanh": ("hard_tanh", {}),
    "leaky_relu": ("leaky_relu", {"negative_slope": 0.2}),
    "linear": ("identity", {}),
    "log_sigmoid": ("log_sigmoid", {}),
    "log_softmax": ("log_softmax", {}),
    "mish": ("mish", {}),
    "relu": ("relu", {}),
    "relu6": ("relu6", {}),
    "selu": ("selu", {}),
    "sigmoid": ("sigmoid", {}),
    "silu": ("silu", {}),
    "soft_shrink": ("softshrink", {}),
    "softmax": ("softmax", {}),
    "softplus": ("softplus", {}),
    "softsign": ("softsign", {}),
    "sparse_plus": ("sparse_plus", {}),
    "sparse_sigmoid": ("sparse_sigmoid", {}),
    "squareplus": ("squareplus", {}),
    "swish": ("silu", {}),
    "tanh": ("tanh", {}),
    "tanh_shrink": ("tanhshrink", {}),
}
"""The functions of `keras.activations` with the defaults that they have there.

Its `sparsemax` is left out: up to Keras 3.15 it adds up too much where more than one output is positive.
"""


def _activation(layer: Described) -> list[Layer]:
    """The activation that a config names, or describes as a layer."""
    given = layer.config.get("activation")
    if given == "<lambda>" or (
        isinstance(given, dict) and ("value" in given or given.get("class_name") == "__lambda__")
    ):
        raise NetworkError(
            "its activation is a lambda, held as bytecode or not at all, and no bytecode is run: name "
            "one of Keras's activations, or export with model.export('model.onnx', format='onnx')"
        )
    if isinstance(given, dict):
        kind = class_name(given)
        if kind not in PARAMETRIC or not isinstance(given.get("config"), dict):
            raise NetworkError(f"it has an activation of class {kind!r:.60}: known are {', '.join(PARAMETRIC)}")
        inner = Described(kind, given["config"], layer.weights, layer.shape, layer.old)
        return _alone(inner)
    name = "linear" if given is None else given
    if not isinstance(name, str) or name not in ACTIVATIONS:
        raise NetworkError(f"it has the activation {name!r:.60}: known are {', '.join(ACTIVATIONS)}")
    function, parameters = ACTIVATIONS[name]
    if name == "hard_sigmoid" and layer.old:
        parameters = {"slope": 0.2}
    return [] if function == "identity" else [Activation(function, **parameters)]


def _alone(layer: Described) -> list[Layer]:
    function, parameters = PARAMETRIC[layer.class_name](layer)
    return [Activation(function, **parameters)]


def _dense(layer: Described) -> list[Layer]:
    biased = layer.config.get("use_bias", layer.config.get("bias", True))
    kernel, *bias = layer.weights("kernel", *(["bias"] if biased else []))
    return [Dense(kernel, bias[0] if bias else None), *_activation(layer)]


def _prelu(layer: Described) -> list[Layer]:
    (slope,) = layer.weights("alpha")
    return [Activation("prelu", slope=_per_feature(slope))]


def _rescaling(layer: Described) -> list[Layer]:
    return [_affine(_plain(layer, "scale", 1.0), _plain(layer, "offset", 0.0))]


def _normalization(layer: Described) -> list[Layer]:
    if layer.config.get("mean") is None:
        mean, variance, _ = layer.weights("mean", "variance", "count")
    else:
        layer.weights()
        mean, variance = (_plain(layer, key, None) for key in ("mean", "variance"))
    if layer.config.get("axis", -1) not in (None, []) and mean.ndim:
        layer.check_last_axis()
    deviation = keras_deviation(variance)
    if layer.config.get("invert"):
        return [_affine(deviation, mean)]
    return list(standardized(mean, deviation))


def _affine_names(layer: Described) -> list[str]:
    return [name for name, key in (("gamma", "scale"), ("beta", "center")) if layer.config.get(key, True)]


def _batch_normalization(layer: Described) -> list[Layer]:
    layer.check_last_axis()
    names = [*_affine_names(layer), "moving_mean", "moving_variance"]
    found = dict(zip(names, layer.weights(*names), strict=True))
    return list(keras_batch_normalization(found, layer.number("epsilon", default=1e-3)))


def _layer_normalization(layer: Described) -> list[Layer]:
    layer.check_last_axis()
    if layer.config.get("rms_scaling"):
        raise NetworkError(
            "it has rms_scaling, which divides by the deviation from a mean that it does not subtract: it is not "
            "read, RMSNormalization is"
        )
    names = _affine_names(layer)
    found = dict(zip(names, layer.weights(*names), strict=True))
    return [Normalize(found.get("gamma"), found.get("beta"), layer.number("epsilon", default=1e-3))]


def _rms_normalization(layer: Described) -> list[Layer]:
    layer.check_last_axis()
    (scale,) = layer.weights("scale")
    return [Normalize(scale, epsilon=layer.number("epsilon", default=1e-6), centred=False)]


def _flatten(layer: Described) -> list[Layer]:
    if layer.shape is None:
        raise NetworkError(
            "it flattens samples of a shape that the file does not hold: give the model an "
            "Input of fixed shape and save it again"
        )
    if layer.config.get("data_format") == "channels_first" and len(layer.shape) > 1:
        raise NetworkError("it has data_format='channels_first': only channels_last is read")
    return [] if len(layer.shape) == 1 else [Flatten(layer.shape)]


def _reshape(layer: Described) -> list[Layer]:
    target = layer.config.get("target_shape", layer.config.get("dims"))
    size = None if layer.shape is None else prod(layer.shape)
    if target is None:
        raise NetworkError("the config of keras.ops.reshape has no shape: take the layers Flatten or Reshape")
    if target not in ([-1], [size], list(layer.shape or ())):
        raise NetworkError(
            f"it reshapes samples of shape {layer.shape} to {target!r:.60}: it may "
            "flatten them, else it is not read"
        )
    return [] if layer.shape is not None and target == list(layer.shape) else _flatten(layer)


def _nothing(_: Described) -> list[Layer]:
    return []


LAYERS: dict[str, Callable[[Described], list[Layer]]] = {
    "Activation": _activation,
    "ActivityRegularization": _nothing,
    "AlphaDropout": _nothing,
    "BatchNormalization": _batch_normalization,
    "Dense": _dense,
    "Dropout": _nothing,
    **dict.fromkeys(PARAMETRIC, _alone),
    "Flatten": _flatten,
    "GaussianDropout": _nothing,
    "GaussianNoise": _nothing,
    "Identity": _nothing,
    "LayerNormalization": _layer_normalization,
    "Normalization": _normalization,
    "PReLU": _prelu,
    "RMSNormalization": _rms_normalization,
    "Rescaling": _rescaling,
    "Reshape": _reshape,
}
"""Layers by their class; what acts in training alone is nothing."""


def _plain(layer: Described, key: str, default: float | None) -> NumPyArray:
    """The numbers under a key of a config, in the dtype of the layer; Keras writes arrays as objects."""
    value = layer.config.get(key, default)
    if isinstance(value, dict) and isinstance(value.get("config"), dict):
        value = value["config"].get("value")
    try:
        with np.errstate(over="ignore"):
            return np.asarray(value, np.float64).astype(layer.dtype)
    except (TypeError, ValueError, OverflowError) as error:
        raise NetworkError(f"it has {key}={value!r:.40}, which are no numbers") from error


def _per_feature(values: NumPyArray) -> NumPyArray | float:
    """Values for the last axis, without the axes that they are the same along."""
    if values.size == 1:
        return values.item()  # type: ignore[no-any-return]
    return values.reshape(-1) if values.shape[-1:] == (values.size,) else values


def _affine(scale: NumPyArray, offset: NumPyArray) -> Rescaling:
    return Rescaling(*map(_per_feature, np.broadcast_arrays(scale, offset)))
