"""What each estimator of scikit-learn is as layers, forwards and, before the target's inverse, backwards.

Here is the one place to touch for another scaler, decomposition or model: a function, and its name in a table.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from portable_nn._typing import NumPyArray
from portable_nn.errors import FormatError
from portable_nn.layers import Activation, Dense, Layer, Rescaling, standardized
from portable_nn.layers.rescaling import SEPARATE
from portable_nn.readers.buffers import Budget, check_names
from portable_nn.readers.pickles import Record

__all__ = ["INVERSES", "PREDICTORS", "TRANSFORMERS", "Step", "class_and_fields"]

ACTIVATIONS: dict[str, Any] = {
    "logistic": "sigmoid",
    **{name: name for name in ("identity", "tanh", "relu", "softmax", "exp")},
}

FUNCTIONS: dict[str, Any] = {
    **{
        f"numpy.{name}": name
        for name in ("exp", "expm1", "log", "log1p", "log10", "reciprocal", "sqrt", "square", "tanh")
    },
    "numpy.absolute": "absolute",
    "numpy.sin": "sine",
    "numpy.cos": "cosine",
    "scipy.special.exp10": "exp10",
}
"""What a FunctionTransformer or the pair of a TransformedTargetRegressor may name."""


def class_and_fields(thing: object) -> tuple[str, Mapping[str, Any]]:
    """The full name of the class of an object, alive or recorded, and its attributes."""
    if not isinstance(thing, Record):
        return f"{type(thing).__module__}.{type(thing).__qualname__}", getattr(thing, "__dict__", {})
    return thing.name, thing.state if isinstance(thing.state, dict) else {}


@dataclass(frozen=True)
class Step:
    """An estimator, alive or recorded, in the order in which data go through it."""

    name: str  # as messages call it
    kind: str  # the class's name, that of scikit-learn's alone without its module
    fields: Mapping[str, Any]
    inverted: bool  # what it undoes comes after the network
    budget: Budget  # of the file, which may name one array many times

    def __getitem__(self, name: str) -> Any:
        if name not in self.fields:
            raise FormatError(f"{self} has no {name}: fit it first")
        return self.fields[name]

    def __str__(self) -> str:
        return f"{self.name} ({self.kind})" if self.name else self.kind

    def array(self, name: str) -> NumPyArray:
        """A field that is an array of numbers, or a number as one of no dimension."""
        return _array(self, name, self[name])

    def word(self, name: str, known: Iterable[str]) -> str:
        """A field that is one of some words."""
        value = self[name]
        if isinstance(value, str) and value in known:
            return value
        came = repr(value) if isinstance(value, str) else class_and_fields(value)[0]
        raise FormatError(f"{self}: {name} must be one of {', '.join(known)}, got {came}")

    def on(self, flag: str) -> bool:
        """A switch, off in versions that have none such."""
        return bool(self.fields.get(flag, False))


Transformer: TypeAlias = Callable[[Step], Sequence[Layer]]
Prediction: TypeAlias = tuple[Sequence[Layer], dict[str, Any]]  # and what the network says of its outputs


def _array(step: Step, name: str, value: object) -> NumPyArray:
    if isinstance(value, (int, float, np.number, np.ndarray)):
        array = np.asarray(value)
        if array.dtype.kind in "fiu":
            step.budget.spend_on(array)
            return array
    raise FormatError(f"{step}: {name} must be an array of real numbers, got {class_and_fields(value)[0]}")


def _standard_scaler(step: Step) -> Sequence[Layer]:
    mean = step.array("mean_") if step.on("with_mean") else None
    return _scaled(mean, step.array("scale_") if step.on("with_std") else None)


def _robust_scaler(step: Step) -> Sequence[Layer]:
    center = step.array("center_") if step.on("with_centering") else None
    return _scaled(center, step.array("scale_") if step.on("with_scaling") else None)


def _scaled(mean: NumPyArray | None, scale: NumPyArray | None) -> Sequence[Layer]:
    if mean is None and scale is None:
        return ()
    return standardized(0.0 if mean is None else mean, 1.0 if scale is None else scale)


def _min_max_scaler(step: Step) -> Sequence[Layer]:
    scale, offset = step.array("scale_"), step.array("min_")
    low, high = (float(_array(step, "feature_range", bound)) for bound in step["feature_range"])
    layers: list[Layer] = [Rescaling(scale, offset)]
    if np.any(np.abs(offset) > SEPARATE * (high - low)):  # which would cancel
        least = step.array("data_min_")
        rest = least.astype(np.longdouble) * scale + offset  # the lower bound, but for how min_ was rounded
        layers = [Rescaling(1.0, -least), Rescaling(scale, rest.astype(np.result_type(least, scale, offset)))]
    if step.on("clip"):
        layers.append(Activation("clip", low=low, high=high))
    return layers


def _max_abs_scaler(step: Step) -> Sequence[Layer]:
    scaled = standardized(0.0, step.array("scale_"))
    return (*scaled, Activation("clip", low=-1.0, high=1.0)) if step.on("clip") else scaled


def _pca(step: Step) -> Sequence[Layer]:
    mean, components = step.array("mean_"), step.array("components_")
    return *standardized(mean, 1.0), Dense((components / _deviations(step)).T)


def _deviations(pca: Step) -> NumPyArray | float:
    """What whitening divides each component by, (n, 1)."""
    if not pca.on("whiten"):
        return 1.0
    deviations = np.sqrt(pca.array("explained_variance_"))[:, None]
    clipped: NumPyArray = np.maximum(deviations, np.finfo(deviations.dtype).eps)
    return clipped


def _inverse_pca(step: Step) -> Sequence[Layer]:
    scale = np.sqrt(step.array("explained_variance_"))[:, None] if step.on("whiten") else 1.0
    return (Dense(step.array("components_") * scale, step.array("mean_")),)


def _inverse_standard_scaler(step: Step) -> Sequence[Layer]:
    scale = step.array("scale_") if step.on("with_std") else 1.0
    return (Rescaling(scale, step.array("mean_") if step.on("with_mean") else 0.0),)


def _inverse_robust_scaler(step: Step) -> Sequence[Layer]:
    scale = step.array("scale_") if step.on("with_scaling") else 1.0
    return (Rescaling(scale, step.array("center_") if step.on("with_centering") else 0.0),)


def _function(step: Step, name: str = "func", arguments: str = "kw_args") -> Sequence[Layer]:
    function = step[name]
    if function is None:
        return ()
    if step.fields.get(arguments):
        raise FormatError(f"{step}: {arguments} have no counterpart here")
    full = _function_name(function)
    if full not in FUNCTIONS:
        raise FormatError(f"{step}: {name} is {full:.100}, those with a counterpart are {', '.join(FUNCTIONS)}")
    return (Activation(FUNCTIONS[full]),)


def _function_name(function: object) -> str:
    """The public name of a function, alive or recorded: NumPy and SciPy pickle theirs by private modules."""
    if isinstance(function, Record):
        library, name = function.name.split(".")[0], function.name.split(".")[-1]
    elif isinstance(function, np.ufunc):
        name = function.__name__
        library = "numpy" if getattr(np, name, None) is function else "scipy"
    else:
        return f"{getattr(function, '__module__', '?')}.{getattr(function, '__qualname__', '?')}"
    return f"scipy.special.{name}" if library == "scipy" else f"{library}.{name}"


def _mlp(step: Step) -> Sequence[Layer]:
    coefs, intercepts = step["coefs_"], step["intercepts_"]
    if not isinstance(coefs, list) or not isinstance(intercepts, list) or len(coefs) != len(intercepts):
        raise FormatError(f"{step}: coefs_ and intercepts_ must be lists of as many arrays")
    hidden, last = step.word("activation", ACTIVATIONS), step.word("out_activation_", ACTIVATIONS)
    names = [*[hidden] * (len(coefs) - 1), last]
    return [
        Dense(_array(step, "coefs_", coef), _array(step, "intercepts_", intercept), ACTIVATIONS[name])
        for coef, intercept, name in zip(coefs, intercepts, names, strict=True)
    ]


def _mlp_classifier(step: Step) -> Prediction:
    layers = _mlp(step)
    if step["out_activation_"] == "logistic" and step.array("n_outputs_") > 1:
        return layers, {"task": "multilabel"}
    classes = _classes(step)
    if len(classes) == 1:
        raise FormatError(f"{step}: it was fitted on one class alone, {classes[0]!r:.80}: fit it on two at least")
    return layers, {"task": "classification", "classes": classes}


def _mlp_regressor(step: Step) -> Prediction:
    return _mlp(step), {"task": "regression"}


def _linear(step: Step) -> Prediction:
    intercept = np.atleast_1d(step.array("intercept_")) if step.on("fit_intercept") else None
    return (Dense.from_linear(np.atleast_2d(step.array("coef_")), intercept),), {"task": "regression"}


def _logistic(step: Step) -> Prediction:
    classes = _classes(step)
    choice = "auto"  # versions before 1.8 had one
    if "multi_class" in step.fields:
        choice = step.word("multi_class", ("auto", "deprecated", "multinomial", "ovr"))
    if choice in ("auto", "deprecated") and step["solver"] == "liblinear":
        choice = "ovr"
    if choice == ("multinomial" if len(classes) == 2 else "ovr"):
        raise FormatError(
            f"{step}: probabilities of {len(classes)} classes with multi_class={choice!r} are no softmax: "
            "fit it with multi_class='auto' and solver='lbfgs'"
        )
    dense, _ = _linear(step)
    last = Activation("sigmoid" if len(classes) == 2 else "softmax")
    return (*dense, last), {"task": "classification", "classes": classes}


def _classes(step: Step) -> tuple[str, ...] | tuple[int, ...]:
    """The classes as integers where they are whole numbers, else as strings."""
    values = step["classes_"]
    listed = values.tolist() if isinstance(values, np.ndarray) else values
    if not isinstance(listed, list) or not all(isinstance(value, (str, int, float)) for value in listed):
        raise FormatError(f"{step}: classes_ must be an array of strings or numbers")
    if all(type(value) in (int, float) and value == value // 1 and abs(value) < 2**31 for value in listed):
        return tuple(map(int, listed))
    names = tuple(map(str, listed))
    check_names(names)
    return names


TRANSFORMERS: dict[str, Transformer] = {
    "StandardScaler": _standard_scaler,
    "MinMaxScaler": _min_max_scaler,
    "MaxAbsScaler": _max_abs_scaler,
    "RobustScaler": _robust_scaler,
    "PCA": _pca,
    "FunctionTransformer": _function,
}

INVERSES: dict[str, Transformer] = {
    "StandardScaler": _inverse_standard_scaler,
    "MinMaxScaler": lambda step: _scaled(step.array("min_"), step.array("scale_")),
    "MaxAbsScaler": lambda step: (Rescaling(step.array("scale_")),),
    "RobustScaler": _inverse_robust_scaler,
    "PCA": _inverse_pca,
    "FunctionTransformer": lambda step: _function(step, "inverse_func", "inv_kw_args"),
}

PREDICTORS: dict[str, Callable[[Step], Prediction]] = {
    "MLPClassifier": _mlp_classifier,
    "MLPRegressor": _mlp_regressor,
    "LogisticRegression": _logistic,
    **dict.fromkeys(("LinearRegression", "Ridge", "Lasso", "ElasticNet"), _linear),
}
