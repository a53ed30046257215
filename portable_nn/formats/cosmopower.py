"""CosmoPower's emulators of spectra, in the layouts of CosmoPower and of cosmopower-jax.

Between the layers is ``(beta + (1 - beta) * sigmoid(alpha * x)) * x``, alpha and beta learned for each unit. The
parameters are standardised before, the modes scaled back after; of a PCA its coefficients, and then the modes.
Sources: `cosmopower_NN.py` and `cosmopower_PCAplusNN.py` of cosmopower 0.2.0, `cosmopower_jax.py` of
cosmopower-jax 0.5.8; Spurio Mancini and others (2022), MNRAS 511, 1771.
"""

from collections.abc import Mapping
from itertools import count, takewhile
from typing import Any, TypeAlias

import numpy as np

from portable_nn._typing import ActivationName, NumPyArray
from portable_nn.errors import FormatError
from portable_nn.layers import Activation, Dense, Layer, Rescaling, standardized
from portable_nn.network import Network
from portable_nn.readers.buffers import Budget, check_names
from portable_nn.readers.pickles import Record

__all__ = ["cosmopower_network", "is_cosmopower"]

LEARNED = "weights_ biases_ alphas_ betas_"
BEFORE, AFTER = "parameters_mean parameters_std", "features_mean features_std"
LAYOUTS = {
    13: f"weights hyper_params {BEFORE} {AFTER} n_parameters parameters n_modes modes",
    15: f"{LEARNED} {BEFORE} {AFTER} n_parameters parameters n_modes modes",
    19: f"{LEARNED} {BEFORE} pca_mean pca_std {AFTER} parameters n_parameters modes n_modes n_pcas pca_matrix",
}
"""By the length of a list, what a dict calls its items; sizes of layers follow."""

NUMBERED = {"weights_": "W", "biases_": "b", "alphas_": "alphas", "betas_": "betas"}
"""By the name of a list, what precedes the numbers of its items where each is an array of its own."""

LISTS = (*NUMBERED, "weights", "hyper_params")

WRAPPERS = ("ListWrapper", "_ListWrapper", "_DictWrapper", "_TupleWrapper")
"""What TensorFlow's models make of lists, dicts and tuples."""


Pair: TypeAlias = tuple[NumPyArray, NumPyArray]


def is_cosmopower(content: object) -> bool:
    """Whether the content of a pickle or .npz, as records, is laid out as CosmoPower's."""
    names = _fields(content).keys()
    return (
        {"weights_", "alphas_"} <= names or {"W_0", "alphas_0"} <= names or {"weights", "hyper_params"} <= names
    )


def cosmopower_network(
    content: object,
    source: object = "the content",
    *,
    last: ActivationName | Activation | None = None,
    budget: Budget | None = None,
) -> Network:
    """Build the network of an emulator.

    Parameters
    ----------
    content : list or dict
        As `portable_nn.readers.pickles.read_records` or `portable_nn.readers.npz.read_members` gives it:
        CosmoPower's list of 15, or of 19 with a PCA; cosmopower-jax's list of 13; or a dict, plain or under
        ``arr_0``.
    source : object
        What error messages name as the origin.
    last : str or Activation
        The activation after the modes are scaled back, which no file tells: ``"identity"`` for what CosmoPower's
        `predictions_np` gives, ``"exp10"`` for its `ten_to_predictions_np`.
    budget : Budget, optional
        Of the file, which may name one array many times.

    Returns
    -------
    Network
        From parameters, named in `inputs`, to modes, named in `outputs`. Lists of 13 do not hold the PCA that
        some of cosmopower-jax's probes (``cmb_te``, ``cmb_pp``) go on with: their outputs are its coefficients.

    Raises
    ------
    FormatError
        If `last` is not given, or the content is no such emulator.

    Examples
    --------
    >>> import numpy as np
    >>> from portable_nn.formats.cosmopower import cosmopower_network
    >>> one = np.ones(1)
    >>> content = {
    ...     "W_0": np.eye(1), "b_0": one, "alphas_0": one, "betas_0": one, "W_1": np.eye(1), "b_1": one,
    ...     "parameters_mean": one, "parameters_std": one, "features_mean": one, "features_std": one,
    ...     "parameters": np.array(["h"]), "modes": np.array([2]),
    ... }
    >>> net = cosmopower_network(content, last="exp10")
    >>> net.inputs, net.outputs
    (('h',), ('2',))
    """
    if last is None:
        raise FormatError(
            f"{source} is an emulator of CosmoPower's, which does not say whether its modes are logarithms: give "
            "last='identity' for the modes as they are (predictions_np), or last='exp10' for 10 to their power "
            "(ten_to_predictions_np)"
        )
    try:
        fields = _fields(content)
        if budget is not None:
            _spend(fields, budget)
        return _network(fields, last)
    except KeyError as error:
        raise FormatError(f"{source} is no emulator of CosmoPower's: it has no {error.args[0]}") from error
    except (IndexError, TypeError, ValueError) as error:
        raise FormatError(f"{source} is no emulator of CosmoPower's: {error}") from error


def _network(fields: Mapping[str, Any], last: ActivationName | Activation) -> Network:
    *hidden, (weight, bias) = _linear(fields)
    if "hyper_params" in fields:
        learned = _pairs(_list(fields, "hyper_params"))
    else:
        learned = _zipped(fields, "alphas_", "betas_")
    layers: list[Layer] = [*standardized(*_scale(fields, "parameters", "param_train"))]
    for (w, b), (alpha, beta) in zip(hidden, learned, strict=True):
        layers += Dense(w, b), Activation("learned_swish", alpha=alpha, beta=beta)
    layers += Dense(weight, bias), *_modes(fields)
    if last != "identity":
        layers.append(last if isinstance(last, Activation) else Activation(last))
    return Network(
        layers, inputs=_names(fields, "parameters"), outputs=_names(fields, "modes"), task="regression"
    )


def _linear(fields: Mapping[str, Any]) -> list[Pair]:
    """The weights (n_in, n_out) and the bias of each layer."""
    if "weights" not in fields:
        return _zipped(fields, "weights_", "biases_")
    *pairs, (weight, bias) = [(weight.T, bias) for weight, bias in _pairs(_list(fields, "weights"))]
    return [*pairs, (weight, np.full_like(bias, bias[-1]))]  # of the last bias cosmopower-jax adds that alone


def _modes(fields: Mapping[str, Any]) -> tuple[Layer, ...]:
    """From the outputs of the last layer, scaled to a deviation of 1, to modes."""
    if "training_mean" in fields:  # what cosmopower-jax calls the scales of modes, where there is a PCA
        (mean, deviation), modes = _scale(fields, "feature_train"), _scale(fields, "training")
    elif "pca_mean" in fields:
        (mean, deviation), modes = _scale(fields, "pca"), _scale(fields, "features", "feature_train")
    else:
        mean, deviation = _scale(fields, "features", "feature_train")
        return (Rescaling(deviation, mean),)
    matrix = fields["pca_matrix" if "pca_matrix" in fields else "pca_transform_matrix"]
    return Rescaling(deviation, mean), Dense(_array(matrix)), Rescaling(*modes[::-1])


def _scale(fields: Mapping[str, Any], *stems: str) -> Pair:
    """Mean and deviation of the first name that is there."""
    stem = next((stem for stem in stems if f"{stem}_mean" in fields), stems[0])
    return _array(fields[f"{stem}_mean"]), _array(fields[f"{stem}_std"])


def _zipped(fields: Mapping[str, Any], first: str, second: str) -> list[Pair]:
    return _pairs(list(zip(_list(fields, first), _list(fields, second), strict=True)))


def _pairs(items: list[Any]) -> list[Pair]:
    return [(_array(first), _array(second)) for first, second in map(_plain, items)]


def _list(fields: Mapping[str, Any], name: str) -> list[Any]:
    """A list, or the arrays whose names are numbered: W_0, W_1, …."""
    if name in fields or name not in NUMBERED:
        return list(_plain(fields[name]))
    numbered = (f"{NUMBERED[name]}_{i}" for i in count())
    return [fields[key] for key in takewhile(fields.__contains__, numbered)]


def _array(value: object) -> NumPyArray:
    if isinstance(value, np.ndarray) and value.dtype.kind in "fiu":
        return value
    raise ValueError(f"an array of numbers was expected, a {type(value).__name__} came")


def _names(fields: Mapping[str, Any], key: str) -> list[str] | None:
    names = _plain(fields.get(key))
    if names is None:
        return None
    if isinstance(names, np.ndarray):
        names = (names.astype(str) if names.dtype.kind in "fiu" else names).tolist()
    if not isinstance(names, (list, tuple, dict)) or not all(
        isinstance(name, (str, int, float)) for name in names
    ):
        raise ValueError(f"{key} are no list of names")
    found = [str(name) for name in names]
    check_names(found)
    return found


def _spend(fields: Mapping[str, Any], budget: Budget) -> None:
    """Count what the layers will take."""
    for name, value in fields.items():
        items = _list(fields, name) if name in LISTS else [value]
        for item in items:
            pair = _plain(item)
            for array in pair if isinstance(pair, (list, tuple)) else (pair,):
                if isinstance(array, np.ndarray):
                    budget.spend_on(array)


def _fields(content: object) -> Mapping[str, Any]:
    """The items of the content by name."""
    content = _plain(content)
    if isinstance(content, dict) and content.keys() == {"arr_0"}:
        content = _plain(content["arr_0"])
    match content:
        case dict():
            return content
        case [first, *_] if len(content) in LAYOUTS and isinstance(_plain(first), list):
            return dict(zip(LAYOUTS[len(content)].split(), content, strict=False))
    return {}


def _plain(value: object) -> Any:
    """What TensorFlow has wrapped, or NumPy put into an array of no dimension."""
    match value:
        case Record(args=(wrapped,)) if value.name.startswith("tensorflow.") and value.name.endswith(WRAPPERS):
            return wrapped
        case np.ndarray(shape=(), dtype=dtype) if dtype.hasobject:
            return _plain(value.item())
    return value
