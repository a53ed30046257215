"""What the inputs and outputs of a network mean: names, classes, the range that values come in."""

import sys
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, fields
from math import isfinite, prod
from operator import index
from types import FrameType
from typing import Any, Literal, Self, TypeAlias, get_args

import numpy as np

from portable_nn._options import unknown
from portable_nn._typing import Array, Namespace
from portable_nn.backends import Backend
from portable_nn.errors import InputWarning, NetworkError
from portable_nn.layers import Activation, Dense, Flatten, Layers, Rescaling, Shape
from portable_nn.rewriting import without_identities

__all__ = [
    "NOTHING",
    "Meaning",
    "Task",
    "check_values",
    "frames_of_this_package",
    "implied_range",
    "last_activation",
]

Task: TypeAlias = Literal["classification", "multilabel", "regression"]

LOOKED_AT = 1000
"""Samples of a first call whose values are compared with the range that the network takes."""

LITTLE = 1.001 / 255
"""Of the range: values that all lie in so small a part of it were scaled by someone else already."""

SLACK = 1e-3
"""Of the range: so far may values lie beyond it, by rounding for instance."""


@dataclass(frozen=True)
class Meaning:
    """What a network's inputs and outputs mean, as far as is known.

    Attributes
    ----------
    classes : tuple of str or of int, or None
        The class of each output; of one output alone, the two classes.
    inputs, outputs : tuple of str, or None
        The name of each feature and of each output.
    task : {"classification", "multilabel", "regression"} or None
        Whether outputs mean labels; None where the last activation is all that tells.
    input_range : tuple of two floats, or None
        The smallest and the largest value that features come in.
    input_dtype : str or None
        The dtype that inputs come in, such as ``"uint8"``.

    Examples
    --------
    >>> import numpy as np
    >>> import portable_nn as pnn
    >>> net = pnn.Network([pnn.Dense(np.eye(2), None, "softmax")], classes=["cat", "dog"])
    >>> net.meaning.given()
    {'classes': ['cat', 'dog']}
    """

    classes: tuple[str, ...] | tuple[int, ...] | None = None
    inputs: tuple[str, ...] | None = None
    outputs: tuple[str, ...] | None = None
    task: Task | None = None
    input_range: tuple[float, float] | None = None
    input_dtype: str | None = None

    @classmethod
    def of(cls, layers: Layers, taken: Shape | None, made: Shape | None, **given: Any) -> Self:
        """What was given, checked against the layers and the shapes of a sample before and after them.

        Raises
        ------
        NetworkError
            If a number of names does not fit, or a value is no such.
        """
        n_in = None if taken is None else prod(taken)
        n_out = None if made is None else prod(made)
        classes = _classes(given.pop("classes", None))
        task = given.pop("task", None)
        if task not in (None, *get_args(Task)):
            raise NetworkError(unknown("task", task, get_args(Task)))
        if task == "regression" and classes is not None:
            raise NetworkError("regression has no classes: leave them out, or the task")
        wanted = n_out if n_out != 1 or task == "multilabel" else 2
        if classes is not None and wanted is not None and len(classes) != wanted:
            raise NetworkError(f"{len(classes)} classes were given, the outputs mean {wanted}")
        if task == "multilabel":
            if last_activation(layers) not in ("sigmoid", "identity"):
                raise NetworkError(
                    f"multilabel takes a sigmoid or logits of each output, the last layer is {layers[-1]!r}"
                )
            if classes is not None and isinstance(classes[0], int):
                raise NetworkError("multilabel names its outputs: give classes as strings")
        return cls(
            classes=classes,
            inputs=_names("inputs", given.pop("inputs", None), n_in),
            outputs=_names("outputs", given.pop("outputs", None), n_out),
            task=task,
            input_range=_range(given.pop("input_range", None)),
            input_dtype=_dtype(given.pop("input_dtype", None)),
        )

    def given(self) -> dict[str, Any]:
        """What is known, by name, in lists, strings and numbers: JSON can hold it."""
        known = {field.name: getattr(self, field.name) for field in fields(self)}
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in known.items()
            if value is not None
        }

    def class_of(self, label: Array, xp: Namespace) -> Array:
        """The class of the index of one, where classes are integers; else the index."""
        if self.classes is None or isinstance(self.classes[0], str):
            return label
        first, second = self.classes[:2]
        if self.classes == tuple(range(first, first + len(self.classes))):
            return label + first if first else label
        if len(self.classes) == 2:
            return label * (second - first) + first
        table = xp.asarray(list(self.classes), dtype=label.dtype, device=getattr(label, "device", None))
        return xp.reshape(xp.take(table, xp.reshape(label, (-1,))), label.shape)

    def task_of(self, layers: Layers) -> Task | None:
        """The task that was given, or that the last activation tells."""
        if self.task is not None:
            return self.task
        tells = last_activation(layers) in ("softmax", "log_softmax", "sigmoid")
        return "classification" if tells or self.classes is not None else None


NOTHING = Meaning()


def last_activation(layers: Layers) -> str:
    """The name of the activation that makes the outputs, ``"identity"`` where none does.

    Examples
    --------
    >>> import numpy as np
    >>> import portable_nn as pnn
    >>> from portable_nn.meaning import last_activation
    >>> last_activation((pnn.Dense(np.eye(2), None, "softmax"), pnn.Flatten((2,))))
    'softmax'
    """
    match without_identities(layers)[-1]:
        case Dense(activation=name) | Activation(name=name):
            return name
    return "identity"


def check_values(x: Array, meaning: Meaning, layers: Layers, backend: Backend, *, blank: bool = True) -> None:
    """Warn where `x` cannot be what the network takes: all nan (`blank`), out of its range, or scaled already."""
    extent = backend.extent(x, LOOKED_AT)
    if extent is None or extent == (0, 0):  # zeros stand for arrays whose shape alone matters
        return
    low, high = extent
    came = f"values from {low:.4g} to {high:.4g} came"
    least, most = meaning.input_range or implied_range(layers) or (-np.inf, np.inf)
    width = most - least
    takes = f"and the network takes {least:.4g} to {most:.4g}"
    if np.isnan(high):
        if blank:
            _warn("all values that came are nan: so are the outputs, and labels mean nothing")
    elif low < least - SLACK * width or high > most + SLACK * width:
        _warn(f"{came}, {takes}: scale them as its training data were")
    elif isfinite(width) and low < high <= least + LITTLE * width and "float" in str(x.dtype):
        _warn(f"{came}, {takes}: do not scale them yourself")


def _warn(text: str) -> None:
    warnings.warn(text, InputWarning, stacklevel=frames_of_this_package() + 1)


def frames_of_this_package() -> int:
    """How many frames lie between a warning and who called this package.

    Returns
    -------
    int
        From where it is called.

    Examples
    --------
    >>> from portable_nn.meaning import frames_of_this_package
    >>> frames_of_this_package() < 2
    True
    """
    frame: FrameType | None = sys._getframe(1)
    count = 0
    while frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] == "portable_nn":
        frame, count = frame.f_back, count + 1
    return count


def implied_range(layers: Layers) -> tuple[float, float] | None:
    """The range of features that the first layers tell: what takes 255 to 1 takes pixels."""
    first = next((layer for layer in layers if not isinstance(layer, Flatten)), None)
    if not isinstance(first, Rescaling):
        return None
    for scale, offset in ((1 / 255, 0), (1 / 127.5, -1)):
        if np.allclose(first.scale, scale, rtol=1e-6, atol=0) and np.allclose(first.offset, offset, atol=1e-6):
            return 0.0, 255.0
    return None


def _listed(name: str, given: Any) -> list[Any]:
    if isinstance(given, (str, bytes)) or not isinstance(given, Iterable):
        raise NetworkError(f"{name} must be a list, got {given!r:.80}")
    return list(given)


def _names(name: str, given: Any, n: int | None) -> tuple[str, ...] | None:
    if given is None:
        return None
    names = _listed(name, given)
    if not all(isinstance(value, str) for value in names):
        raise NetworkError(f"{name} must be names, got {names!r:.80}")
    if n is not None and len(names) != n:
        raise NetworkError(f"{len(names)} {name} were named, the network has {n}")
    return tuple(map(str, names))


def _classes(given: Any) -> tuple[str, ...] | tuple[int, ...] | None:
    if given is None:
        return None
    found = _listed("classes", given)
    try:
        alike = len(set(found)) != len(found)
        integers = () if all(isinstance(value, str) for value in found) else tuple(map(index, found))
    except TypeError as error:
        raise NetworkError(f"classes must be strings or integers, got {found!r:.80}") from error
    if alike or not found:
        raise NetworkError(f"classes must be there once each, got {found!r:.80}")
    if not integers:
        return tuple(map(str, found))
    if max(map(abs, integers)) >= 2**31:
        raise NetworkError("classes that are integers must fit into 32 bits: give them as strings")
    return integers


def _range(given: Any) -> tuple[float, float] | None:
    if given is None:
        return None
    try:
        low, high = map(float, _listed("input_range", given))
    except (TypeError, ValueError):
        low, high = 0.0, 0.0
    if not low < high:
        raise NetworkError(f"input_range must be two numbers, the smaller first, got {given!r:.80}")
    return low, high


def _dtype(given: Any) -> str | None:
    if given is None:
        return None
    try:
        found = np.dtype(given)
    except TypeError:
        found = np.dtype(object)
    if found.kind not in "biuf":
        raise NetworkError(f"input_dtype must be one of real numbers, such as uint8, got {given!r:.80}")
    return str(found.name)
