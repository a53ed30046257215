"""What is measured of labels, on NumPy arrays."""

from typing import Any

import numpy as np

from portable_nn.errors import ShapeError

__all__ = ["count_correct"]


def count_correct(predicted: np.ndarray[Any, Any], labels: np.ndarray[Any, Any]) -> int:
    """Return how many predicted labels are the true ones.

    Parameters
    ----------
    predicted, labels : array of shape (N,), integer

    Returns
    -------
    int

    Raises
    ------
    ShapeError
        If the shapes differ.

    Examples
    --------
    >>> import numpy as np
    >>> from portable_nn.metrics import count_correct
    >>> count_correct(np.array([7, 2, 1]), np.array([7, 2, 0]))
    2
    """
    if predicted.shape != labels.shape:
        raise ShapeError(
            f"{predicted.shape} labels were predicted, {labels.shape} are given: give one per sample"
        )
    return int(np.count_nonzero(predicted == labels))
