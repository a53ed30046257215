"""What the caller gives: beside a file what it does not say itself, or a live model instead of one."""

import os
from collections.abc import Mapping
from typing import Any

from portable_nn._typing import Array
from portable_nn.errors import FormatError, InputError, NetworkError, PortableNNError
from portable_nn.layers import Layers, Rescaling, sample_shapes

__all__ = ["check_live", "check_unsaid", "rescaled"]

LIVE = {"keras": "from_keras", "sklearn": "from_sklearn", "torch": "from_torch"}
"""What takes the live models of each framework."""


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


def check_live(model: object, function: str, wanted: str) -> None:
    """Raise an `InputError` unless a model is alive, and of the framework whose models a function takes.

    Parameters
    ----------
    model : object
    function : str
        Of `LIVE`.
    wanted : str
        What it takes, in words.

    Examples
    --------
    >>> from portable_nn.formats.given import check_live
    >>> check_live("net.pt", "from_torch", "a torch.nn.Module")
    Traceback (most recent call last):
        ...
    portable_nn.errors.InputError: from_torch takes a torch.nn.Module, got a path: portable_nn.load reads files
    """
    tops = (kind.__module__.partition(".")[0] for kind in type(model).__mro__)
    other = next((LIVE[top] for top in tops if top in LIVE), None)
    if other == function:
        return
    came, remedy = f"an object of {type(model).__name__}", ""
    if isinstance(model, (str, os.PathLike)):
        came, remedy = "a path", ": portable_nn.load reads files"
    elif isinstance(model, type):
        came, remedy = f"the class {model.__name__}", ": give an object of it, with its weights"
    elif isinstance(model, Mapping):
        remedy = ": weights by name are saved to a file, which portable_nn.load(path, layers=[…]) reads"
    elif other:
        remedy = f": {other} takes it"
    raise InputError(f"{function} takes {wanted}, got {came}{remedy}")
