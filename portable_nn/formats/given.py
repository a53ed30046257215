"""What the caller of `portable_nn.load` says of a file, beside what the file says itself."""

from collections.abc import Mapping
from typing import Any

from portable_nn._typing import Array
from portable_nn.errors import FormatError, NetworkError, PortableNNError
from portable_nn.layers import Layers, Rescaling, sample_shapes

__all__ = ["check_unsaid", "rescaled"]


def check_unsaid(given: Mapping[str, Any], reason: str) -> None:
    """Raise a `FormatError` if anything is given of what a file says itself.

    Parameters
    ----------
    given : mapping
        Arguments by name, None for those that were not given.
    reason : str
        Which file it is, and that it says so.

    Examples
    --------
    >>> from portable_nn.formats.given import check_unsaid
    >>> check_unsaid({"activation": None, "last": "softmax"}, "net.npz says all itself")
    Traceback (most recent call last):
        ...
    portable_nn.errors.FormatError: net.npz says all itself: leave last= out
    """
    if names := [f"{name}=" for name, value in given.items() if value is not None]:
        raise FormatError(f"{reason}: leave {', '.join(names)} out")


def rescaled(layers: Layers, rescale: Array) -> Layers:
    """Put before layers what the caller says that features are multiplied by.

    Parameters
    ----------
    layers : tuple of layers
    rescale : float or array of shape (n_in,), or None

    Returns
    -------
    tuple of layers

    Raises
    ------
    NetworkError
        If it is neither a number nor one of each feature.

    Examples
    --------
    >>> import portable_nn as pnn
    >>> from portable_nn.formats.given import rescaled
    >>> rescaled((pnn.Activation("relu"),), 0.5)
    (Rescaling(0.5, 0), Activation('relu'))
    """
    if rescale is None:
        return layers
    try:
        first = Rescaling(rescale)
        sample_shapes((first, *layers))
    except PortableNNError as error:
        raise NetworkError(
            f"rescale= takes a number, or one for each feature, got {rescale!r:.80}: {error}"
        ) from error
    return (first, *layers)
