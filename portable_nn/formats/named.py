"""Arrays by name, in .npz archives and pickled dicts: weights and biases, numbered or in lists.

Names tell the order of the layers and which way the weights stand, and nothing of what is between them: that is
to be given. What such files may hold instead is told by the content: an emulator of CosmoPower's, an estimator of
scikit-learn's.
"""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from portable_nn._typing import Array, NumPyArray
from portable_nn.errors import FormatError, NetworkError
from portable_nn.formats.book import book_network
from portable_nn.formats.cosmopower import cosmopower_network, is_cosmopower
from portable_nn.formats.estimators import class_and_fields
from portable_nn.formats.npz import METADATA, npz_network
from portable_nn.formats.sklearn import is_estimator, sklearn_network
from portable_nn.layers import Dense, Rescaling
from portable_nn.meaning import Task
from portable_nn.network import Network
from portable_nn.readers.joblib import read_joblib
from portable_nn.readers.npz import read_members

__all__ = ["named_network", "read_npz", "read_pickle"]

BOOK = [(784, 50), (50, 100), (100, 10)]
"""The shapes of the weights of chapter 3 of "Deep Learning from Scratch"."""

KNOWN = "W1, b1, W2, b2, …; coefs_0, intercepts_0, …; lists coefs and intercepts; 0.weight, 0.bias, … of PyTorch"


class Convention(NamedTuple):
    """How weights and biases are named, each with a number or name that the two of one layer share."""

    weight: str
    bias: str
    transposed: bool  # (n_out, n_in), as PyTorch holds them


CONVENTIONS = (
    Convention(r"[Ww]_?(\d{1,9})", r"[Bb]_?(\d{1,9})", transposed=False),
    Convention(r"coefs_?(\d{1,9})", r"intercepts_?(\d{1,9})", transposed=False),
    Convention(r"(.+)\.weight", r"(.+)\.bias", transposed=True),
)


LISTS = ("coefs", "intercepts")


class Linear(NamedTuple):
    """The arrays of one layer."""

    weight: NumPyArray
    bias: NumPyArray | None


def read_npz(path: str | os.PathLike[str], *, verify: bool = True, **given: Any) -> Network:
    """Read a network from an .npz.

    Parameters
    ----------
    path : str or path-like
        As `numpy.savez` and `numpy.savez_compressed` write it, of at most 1 GiB uncompressed. Nothing that is
        pickled in it is run.
    **given
        As `named_network` takes it.

    Returns
    -------
    Network

    Raises
    ------
    FormatError
        If the file cannot be read, or holds no network.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import numpy as np
    >>> from portable_nn.formats.named import read_npz
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "net.npz")
    ...     np.savez(path, W1=np.eye(2), b1=np.zeros(2))
    ...     read_npz(path, last="softmax").layers
    (Dense(2, 2, 'softmax'),)
    """
    members = read_members(path)
    if METADATA in members:
        _refuse(given, f"{path} was written by portable_nn.save, which says all itself")
        return npz_network(members, path, verify=verify)
    return _network(members, path, given)


def read_pickle(path: str | os.PathLike[str], **given: Any) -> Network:
    """Read a network from a file of pickle or joblib, without running anything that the file names.

    Parameters
    ----------
    path : str or path-like
    **given
        As `named_network` takes it.

    Returns
    -------
    Network

    Raises
    ------
    FormatError
        If the file cannot be read, or holds no network.

    Examples
    --------
    >>> import pathlib, pickle, tempfile
    >>> import numpy as np
    >>> from portable_nn.formats.named import read_pickle
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "net.pkl")
    ...     _ = path.write_bytes(pickle.dumps({"coefs": [np.eye(2)], "intercepts": [np.zeros(2)]}))
    ...     read_pickle(path, last="identity").layers
    (Dense(2, 2, 'identity'),)
    """
    return _network(read_joblib(path), path, given)


def _network(content: Any, path: str | os.PathLike[str], given: dict[str, Any]) -> Network:
    """The network of what a file holds."""
    given = {name: value for name, value in given.items() if value is not None}
    if is_cosmopower(content):
        last = given.pop("last", None)
        _refuse(given, f"{path} is an emulator of CosmoPower's, which says all but last=")
        return cosmopower_network(content, path, last=last)
    if is_estimator(content):
        _refuse(given, f"{path} is an estimator of scikit-learn's, which says all itself")
        return sklearn_network(content, path)
    if not isinstance(content, dict):
        raise FormatError(f"{path} holds a {class_and_fields(content)[0]:.100}, no network (nothing was run)")
    return named_network(content, path, **given)


def _refuse(given: Mapping[str, Any], reason: str) -> None:
    if given:
        raise FormatError(f"{reason}: leave {', '.join(f'{name}=' for name in given)} out")


def named_network(
    arrays: Mapping[str, Any],
    source: object = "the dict",
    *,
    book: bool = False,
    activation: str | None = None,
    last: str | None = None,
    rescale: Array = None,
    task: Task | None = None,
) -> Network:
    """Build the network of weights and biases by name.

    Parameters
    ----------
    arrays : mapping of str to array, or list of arrays
        Weights of shape (n_in, n_out) and biases (n_out,), all or none: ``W1, b1, …``, ``coefs_0, intercepts_0,
        …``, or lists ``coefs`` and ``intercepts``. Or, in their order, ``NAME.weight`` of shape (n_out, n_in) and
        ``NAME.bias``, as PyTorch has them.
    source : object
        What error messages name as the origin of the arrays.
    book : bool
        Whether they follow "Deep Learning from Scratch": pixels over 255, sigmoids, a softmax last. Known without
        it of W1, b1, … of that book's own network, 784-50-100-10.
    activation, last : str
        The activations after each layer but the last, and after the last one.
    rescale : float or array of shape (n_in,), optional
        What features are multiplied by first.
    task : {"classification", "multilabel", "regression"}, optional
        As of `portable_nn.Network`.

    Returns
    -------
    Network

    Raises
    ------
    FormatError
        If the names are others, or the shapes do not chain, or activations are not given.

    Examples
    --------
    >>> import numpy as np
    >>> from portable_nn.formats.named import named_network
    >>> arrays = {"0.weight": np.ones((3, 4)), "0.bias": np.ones(3), "2.weight": np.ones((2, 3))}
    >>> arrays["2.bias"] = np.ones(2)
    >>> named_network(arrays, activation="relu", last="softmax").layers
    (Dense(4, 3, 'relu'), Dense(3, 2, 'softmax'))
    """
    if book:
        return book_network(arrays, source)
    linears, convention = _linears(arrays, source)
    unsaid = activation is None and last is None and rescale is None
    if unsaid and convention is CONVENTIONS[0] and [linear.weight.shape for linear in linears] == BOOK:
        return book_network(arrays, source)
    if last is None or (activation is None and len(linears) > 1):
        raise FormatError(_unsaid(linears, convention, source))
    names = [activation or ""] * (len(linears) - 1) + [last]
    try:
        dense = [Dense(*linear, name) for linear, name in zip(linears, names, strict=True)]
        return Network([*([] if rescale is None else [Rescaling(rescale)]), *dense], task=task)
    except NetworkError as error:
        raise FormatError(f"{source} holds no network: {error}") from error


def _unsaid(linears: Sequence[Linear], convention: Convention, source: object) -> str:
    sizes = "-".join(str(n) for n in (linears[0].weight.shape[0], *(weight.shape[1] for weight, _ in linears)))
    hidden = "activation= after each layer but the last ('relu', 'tanh', …), " if len(linears) > 1 else ""
    book = "; or format='book' for pixels / 255, sigmoids and a softmax" if convention is CONVENTIONS[0] else ""
    return (
        f"{source} holds the weights of a network {sizes} and not its activations: give {hidden}last= after the "
        "last one ('softmax', 'identity', …) and, where features are to be scaled first, rescale= (1 / 255, …)"
        + book
    )


def _linears(arrays: Mapping[str, Any], source: object) -> tuple[list[Linear], Convention]:
    """The layers in order, weights (n_in, n_out), and the convention that their names follow."""
    named = dict(_flat(arrays, source))
    for convention in CONVENTIONS:
        weights, biases = (_matching(pattern, named) for pattern in (convention.weight, convention.bias))
        if len(weights) + len(biases) < len(named) or (biases and biases.keys() != weights.keys()):
            continue
        keys = list(weights)
        if not convention.transposed:
            keys.sort(key=int)
            if any(int(after) != int(key) + 1 for key, after in pairwise(keys)):
                continue
        linears = [Linear(weights[key], biases.get(key)) for key in keys]
        if linears:
            return _oriented(linears, convention, source), convention
    listed = ", ".join(named) or "none"
    raise FormatError(
        f"{source} holds arrays {listed:.300}: name them {KNOWN}; or build the network with portable_nn.Network "
        "and save it with portable_nn.save"
    )


def _flat(arrays: Mapping[str, Any], source: object) -> Iterator[tuple[str, NumPyArray]]:
    """The arrays by name, those in lists by the list's name and their number."""
    for name, value in arrays.items():
        if not isinstance(name, str):
            raise FormatError(f"{source} holds a dict whose keys are not all names")
        if isinstance(value, np.ndarray) and value.ndim and (value.dtype.hasobject or name.strip("_") in LISTS):
            value = list(value)
        items = {name: value}
        if isinstance(value, list):
            items = {f"{name.strip('_')}_{i}": item for i, item in enumerate(value)}
        for key, item in items.items():
            if not isinstance(item, np.ndarray) or item.dtype.kind not in "biuf":
                came = class_and_fields(item)[0]
                raise FormatError(
                    f"{source}: {key:.80} is no array of real numbers: {came:.100} (nothing was run)"
                )
            yield key, item


def _matching(pattern: str, named: Mapping[str, NumPyArray]) -> dict[str, NumPyArray]:
    matches = ((re.fullmatch(pattern, name), array) for name, array in named.items())
    return {match[1]: array for match, array in matches if match}


def _oriented(linears: list[Linear], convention: Convention, source: object) -> list[Linear]:
    """The weights (n_in, n_out), or an error where they only chain the other way round than their names say."""
    turned = [Linear(weight.T, bias) for weight, bias in linears]
    right, wrong = (turned, linears) if convention.transposed else (linears, turned)
    if not _chain(right) and _chain(wrong):
        came, meant = ("(n_in, n_out)", "(n_out, n_in)")[:: 1 if convention.transposed else -1]
        other = "W1, b1, …" if convention.transposed else "0.weight, 0.bias, …"
        raise FormatError(
            f"{source}: its weights chain as {came} alone, and such names mean {meant}: transpose them, or name "
            f"them {other}"
        )
    return right


def _chain(linears: Sequence[Linear]) -> bool:
    """Whether each layer takes what the one before it gives."""
    return (
        all(weight.ndim == 2 for weight, _ in linears)
        and all(a.weight.shape[1] == b.weight.shape[0] for a, b in pairwise(linears))
        and all(bias is None or bias.shape == weight.shape[1:] for weight, bias in linears)
    )
