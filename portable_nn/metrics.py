"""What is measured of outputs and labels, on NumPy arrays."""

from dataclasses import dataclass, field

import numpy as np

from portable_nn._typing import NumPyArray
from portable_nn.errors import InputError, ShapeError

__all__ = [
    "ATOL",
    "RTOL",
    "Disagreement",
    "LabelParity",
    "Parity",
    "confidence",
    "confusion",
    "count_correct",
    "label_parity",
    "margins",
    "parity",
]

ATOL = {"float64": 1e-12, "float32": 1e-5, "bfloat16": 5e-2, "float16": 1e-2}
"""The largest absolute error of a probability that each dtype's rounding explains."""

RTOL: dict[str, float] = {
    "float64": 256 * 2**-52,
    "float32": 256 * 2**-23,
    "bfloat16": 16 * 2**-7,
    "float16": 16 * 2**-10,
}
"""The same of outputs of any size, relative to their scale: 256 units in the last place, of which 16 layers
were seen to take 8; fewer in the narrow dtypes, whose sums are kept in float32 and rounded once a layer.
"""

SHOWN = 24

MOST_CLASSES = 2**16
"""Of which a table of counts takes 32 GiB."""


def count_correct(predicted: NumPyArray, labels: NumPyArray) -> int:
    """Return how many predicted labels are the true ones.

    Parameters
    ----------
    predicted, labels : array of shape (N,), integer

    Returns
    -------
    int

    Raises
    ------
    InputError
        If they are no arrays of NumPy.
    ShapeError
        If the shapes differ, or labels are no integers.

    Examples
    --------
    >>> import numpy as np
    >>> from portable_nn.metrics import count_correct
    >>> count_correct(np.array([7, 2, 1]), np.array([7, 2, 0]))
    2
    """
    _check_one_each(predicted, labels)
    _check_integers(predicted)
    _check_integers(labels)
    return int(np.count_nonzero(predicted == labels))


def confusion(predicted: NumPyArray, labels: NumPyArray) -> NumPyArray:
    """Count how often each true label was predicted as each label.

    Parameters
    ----------
    predicted, labels : array of shape (N,), integer, from 0 to 65535

    Returns
    -------
    array of shape (n, n), integer
        One row for each true label, one column for each predicted one.

    Raises
    ------
    InputError
        If they are no arrays of NumPy.
    ShapeError
        If the shapes differ, or labels are no integers from 0 to 65535.

    Examples
    --------
    >>> import numpy as np
    >>> from portable_nn.metrics import confusion
    >>> confusion(np.array([0, 1, 1]), np.array([0, 1, 0]))
    array([[1, 1],
           [0, 1]])
    """
    _check_one_each(predicted, labels)
    columns, rows = _as_indices(predicted), _as_indices(labels)
    n = 1 + int(max(columns.max(initial=-1), rows.max(initial=-1)))
    return np.bincount(rows * n + columns, minlength=n * n).reshape(n, n)


def _check_one_each(predicted: NumPyArray, labels: NumPyArray) -> None:
    for given in (predicted, labels):
        if not isinstance(given, np.ndarray):
            raise InputError(
                f"labels are counted in NumPy, got {type(given).__name__}: call numpy.asarray(labels), or "
                "pnn.infer(net, x), which gives labels there"
            )
    if predicted.shape != labels.shape:
        raise ShapeError(
            f"{predicted.shape} labels were predicted, {labels.shape} are given: give one per sample"
        )


def _check_integers(labels: NumPyArray) -> None:
    if labels.dtype.kind not in "iu":
        raise ShapeError(
            f"labels are integers, got dtype {labels.dtype}: portable_nn.labels.label_indices makes them of names"
        )


def _as_indices(labels: NumPyArray) -> NumPyArray:
    """Labels as integers wide enough to compute with."""
    _check_integers(labels)
    low, high = labels.min(initial=0), labels.max(initial=0)
    if low < 0 or high >= MOST_CLASSES:
        raise ShapeError(f"labels are counted as indices from 0 to {MOST_CLASSES - 1}, got {low} to {high}")
    return labels.astype(np.int64)


def margins(outputs: NumPyArray) -> NumPyArray:
    """Return by how much the highest output of each row exceeds the next one.

    Parameters
    ----------
    outputs : array of shape (N, n)
        With one column, the probability of the second of two classes.

    Returns
    -------
    array of shape (N,)

    Examples
    --------
    >>> import numpy as np
    >>> from portable_nn.metrics import margins
    >>> margins(np.array([[0.125, 0.75, 0.125], [0.5, 0.5, 0.0]]))
    array([0.625, 0.   ])
    """
    second, first = np.partition(_by_class(outputs), -2, axis=1)[:, -2:].T
    return np.asarray(first - second)


@dataclass(frozen=True)
class Disagreement:
    """A sample whose label is another one than the reference gives.

    Attributes
    ----------
    index : int
        Its place among the samples, counted along all leading axes.
    expected, label : int
        The reference's label, and the one in question, as places among the classes.
    probability : float
        The largest output in question.
    truth : int or None
        The true one, if known.
    """

    index: int
    expected: int
    label: int
    probability: float
    truth: int | None


@dataclass(frozen=True)
class Parity:
    """How outputs compare with a reference.

    Attributes
    ----------
    max_abs_error, max_rel_error : float
        The largest difference of an output, as it is and relative to the reference; infinite where one of them
        is nan or infinite and the other is not the same.
    atol, rtol : float
        What is allowed: ``atol + rtol * scale``.
    within_tolerance : bool
        Whether every output is.
    non_finite : int
        Outputs that are nan or infinite where the reference is finite.
    error_quantiles : tuple of float
        Of the largest error of each sample, at 0, 1, ... 100 %.
    """

    max_abs_error: float
    max_rel_error: float
    atol: float
    rtol: float
    within_tolerance: bool
    non_finite: int
    error_quantiles: tuple[float, ...] = field(repr=False)


def parity(
    outputs: NumPyArray,
    reference: NumPyArray,
    *,
    atol: float = ATOL["float32"],
    rtol: float = 0.0,
    scale: NumPyArray | None = None,
) -> Parity:
    """Compare outputs with those of a reference.

    Parameters
    ----------
    outputs, reference : array of shape (N, n)
    atol, rtol : float
        Differences up to ``atol + rtol * scale`` are within tolerance.
    scale : array of shape (N, n), optional
        The size of the numbers that each output was computed from, ``|reference|`` if not given. An output that
        is a small difference of large numbers is no more exact than these.

    Returns
    -------
    Parity

    Raises
    ------
    ShapeError
        If the shapes differ.

    Examples
    --------
    >>> import numpy as np
    >>> from portable_nn.metrics import parity
    >>> found = parity(np.array([[0.25, 0.75]]), np.array([[0.5, 0.5]]))
    >>> found.max_abs_error, found.max_rel_error, found.within_tolerance
    (0.25, 0.5, False)
    """
    if outputs.shape != reference.shape:
        raise ShapeError(f"outputs have shape {outputs.shape}, the reference has {reference.shape}")
    finite, lost = np.isfinite(reference), ~np.isfinite(outputs)
    same = (outputs == reference) | (np.isnan(outputs) & np.isnan(reference))
    with np.errstate(divide="ignore", invalid="ignore"):
        difference = np.abs(outputs.astype(np.float64) - reference)
        error = np.select([same, finite & ~lost], [0.0, difference], np.inf)
        relative = np.select([same, finite & ~lost], [0.0, difference / np.abs(reference)], np.inf)
        within = same | (finite & (error <= atol + rtol * (np.abs(reference) if scale is None else scale)))
    return Parity(
        max_abs_error=float(error.max()),
        max_rel_error=float(relative.max()),
        atol=atol,
        rtol=rtol,
        within_tolerance=bool(within.all()),
        non_finite=int((finite & lost).sum()),
        error_quantiles=tuple(np.percentile(error.max(axis=1), np.arange(101), method="inverted_cdf").tolist()),
    )


@dataclass(frozen=True)
class LabelParity:
    """How labels compare with those of a reference, and with the true ones.

    Attributes
    ----------
    total : int
        Samples; of a network with several labels for each, labels.
    correct : int or None
        Those whose label is the true one; None where the truth is not known.
    differ : int
        Those whose label is not the reference's.
    at_risk : int
        Those whose two highest outputs lie closer than twice the largest error measured: an error of that size
        can flip no other label. An empirical bound.
    confusion : tuple of tuples of int, or None
        Samples by true label (row) and label (column).
    disagreements : tuple of Disagreement
        The first samples whose labels differ, at most 24.
    """

    total: int
    correct: int | None
    differ: int
    at_risk: int
    confusion: tuple[tuple[int, ...], ...] | None
    disagreements: tuple[Disagreement, ...]

    @property
    def accuracy(self) -> float | None:
        """Share of the samples whose label is the true one."""
        return None if self.correct is None else self.correct / self.total


def label_parity(
    predicted: NumPyArray,
    expected: NumPyArray,
    outputs: NumPyArray,
    reference: NumPyArray,
    truth: NumPyArray | None = None,
    *,
    per_sample: int = 1,
) -> LabelParity:
    """Compare labels with those of a reference.

    Parameters
    ----------
    predicted, expected : array of shape (N,), integer
    outputs, reference : array of shape (N, n)
        The outputs that the labels were taken from.
    truth : array of shape (N,), integer, optional
        The true labels.
    per_sample : int
        How many successive labels are of one sample.

    Returns
    -------
    LabelParity

    Raises
    ------
    ShapeError
        If the shapes differ.

    Examples
    --------
    >>> import numpy as np
    >>> from portable_nn.metrics import label_parity
    >>> outputs, reference = np.array([[0.4, 0.6], [0.1, 0.9]]), np.array([[0.55, 0.45], [0.1, 0.9]])
    >>> found = label_parity(np.array([1, 1]), np.array([0, 1]), outputs, reference)
    >>> found.differ, found.at_risk
    (1, 1)
    """
    error = parity(outputs, reference).max_abs_error
    changed = np.flatnonzero(predicted != expected)
    disagreements = [
        Disagreement(
            index=i // per_sample,
            expected=int(expected[i]),
            label=int(predicted[i]),
            probability=float(outputs[i].max()),
            truth=None if truth is None else int(truth[i]),
        )
        for i in changed[:SHOWN].tolist()
    ]
    return LabelParity(
        total=len(expected),
        correct=None if truth is None else count_correct(predicted, truth),
        differ=len(expected) - count_correct(predicted, expected),
        at_risk=int(np.count_nonzero(margins(reference) < 2 * error)),
        confusion=None if truth is None else tuple(map(tuple, confusion(predicted, truth).tolist())),
        disagreements=tuple(disagreements),
    )


def confidence(outputs: NumPyArray) -> NumPyArray:
    """Return the probability of each row's label.

    Parameters
    ----------
    outputs : array of shape (N, n)
        Probabilities; one column is that of the second of two classes.

    Returns
    -------
    array of shape (N,)

    Examples
    --------
    >>> import numpy as np
    >>> from portable_nn.metrics import confidence
    >>> confidence(np.array([[0.25, 0.75], [0.5, 0.5]])), confidence(np.array([[0.25]]))
    (array([0.75, 0.5 ]), array([0.75]))
    """
    return np.asarray(_by_class(outputs).max(axis=1))


def _by_class(outputs: NumPyArray) -> NumPyArray:
    """A column for each class, two where outputs are the probability of the second alone."""
    return outputs if outputs.shape[1] > 1 else np.concatenate([1 - outputs, outputs], axis=1)
