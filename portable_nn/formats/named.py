"""Arrays by name, in .npz archives and pickled dicts: weights and biases, numbered or in lists, or a state dict.

Names tell the order of the layers and which way the weights stand, and nothing of what is between them: that is
to be given. What such files may hold instead is told by the content: an emulator of CosmoPower's, an estimator of
scikit-learn's.
"""

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from portable_nn._typing import ActivationName, Array, NumPyArray
from portable_nn.errors import FormatError, NetworkError
from portable_nn.formats.book import book_network
from portable_nn.formats.cosmopower import cosmopower_network, is_cosmopower
from portable_nn.formats.estimators import class_and_fields
from portable_nn.formats.given import check_unsaid, rescaled
from portable_nn.formats.npz import METADATA, npz_network
from portable_nn.formats.sklearn import is_estimator, sklearn_network
from portable_nn.formats.states import state_layers
from portable_nn.layers import Activation, Dense, Layer, Layers, fused
from portable_nn.network import Network
from portable_nn.readers.buffers import Budget
from portable_nn.readers.joblib import read_joblib
from portable_nn.readers.npz import read_members

__all__ = ["named_network", "read_npz", "read_pickle"]

BOOK = [(784, 50), (50, 100), (100, 10)]
"""The shapes of the weights of chapter 3 of "Deep Learning from Scratch"."""

KNOWN = "W1, b1, W2, b2, …; coefs_0, intercepts_0, …; lists coefs and intercepts; 0.weight, 0.bias, … of PyTorch"

NUMBERED = (r"[Ww]_?(\d{1,9})", r"[Bb]_?(\d{1,9})"), (r"coefs_?(\d{1,9})", r"intercepts_?(\d{1,9})")
"""How weights and biases are named; the two of one layer share a number."""

LISTS = ("coefs", "intercepts")

STATE = re.compile(r".+\.(weight|bias|running_mean|running_var|num_batches_tracked)")
"""The names of a state dict of PyTorch's."""


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
        check_unsaid(given, f"{path} was written by portable_nn.save, which says all itself")
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
    budget = Budget(os.path.getsize(path))
    if is_cosmopower(content):
        last = given.pop("last", None)
        check_unsaid(given, f"{path} is an emulator of CosmoPower's, which says all but last=")
        return cosmopower_network(content, path, last=last, budget=budget)
    if is_estimator(content):
        check_unsaid(given, f"{path} is an estimator of scikit-learn's, which says all itself")
        return sklearn_network(content, path, budget)
    parts = content.values() if isinstance(content, dict) else content
    if isinstance(content, (dict, list, tuple)) and any(map(is_estimator, parts)):
        raise FormatError(
            f"{path} holds a {type(content).__name__} with estimators of scikit-learn's in it: save the one that "
            "is wanted alone, or what runs one after the other as sklearn.pipeline.make_pipeline(scaler, model)"
        )
    if not isinstance(content, dict):
        came = class_and_fields(content)[0]
        raise FormatError(f"{path} holds a {came:.100}, no network (nothing was run){_remedy(content)}")
    return named_network(content, path, budget=budget, **given)


def _remedy(thing: object) -> str:
    """How to save what pickle alone has written, where its own library writes more."""
    match class_and_fields(thing)[0].partition("."):
        case "torch", _, _:
            return "; save it as PyTorch does: torch.save(model, 'model.pt')"
        case "portable_nn", _, _:
            return "; save a network with portable_nn.save"
    return ""


def named_network(
    arrays: Mapping[str, Any],
    source: object = "the dict",
    *,
    book: bool = False,
    layers: Iterable[str | Layer] | None = None,
    activation: ActivationName | Activation | None = None,
    last: ActivationName | Activation | None = None,
    epsilon: float | None = None,
    rescale: Array = None,
    budget: Budget | None = None,
) -> Network:
    """Build the network of weights and biases by name.

    Parameters
    ----------
    arrays : mapping of str to array, or list of arrays
        Weights of shape (n_in, n_out) and biases (n_out,), all or none: ``W1, b1, …``, ``coefs_0, intercepts_0,
        …``, or lists ``coefs`` and ``intercepts``. Or a state dict of PyTorch's, ``NAME.weight`` of shape (n_out,
        n_in) and ``NAME.bias``.
    source : object
        What error messages name as the origin of the arrays.
    book : bool
        Whether they follow "Deep Learning from Scratch": pixels over 255, sigmoids, a softmax last. Known without
        it of W1, b1, … of that book's own network, 784-50-100-10.
    layers, activation, last, epsilon, rescale : optional
        As `portable_nn.load` takes them.
    budget : Budget, optional
        Of the file, which may name one array many times.

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
    >>> arrays = {"W1": np.ones((4, 3)), "b1": np.ones(3), "W2": np.ones((3, 2)), "b2": np.ones(2)}
    >>> named_network(arrays, activation="relu", last="softmax").layers
    (Dense(4, 3, 'relu'), Dense(3, 2, 'softmax'))
    """
    unsaid = all(value is None for value in (layers, activation, last, epsilon, rescale))
    if book or (unsaid and _is_the_books(arrays)):
        return book_network(arrays, source)
    arrays = dict(_flat(arrays, source))
    try:
        if budget is not None:
            for array in arrays.values():
                budget.spend_on(array)
        if arrays and all(map(STATE.fullmatch, arrays)):
            found = state_layers(arrays, layers=layers, activation=activation, last=last, epsilon=epsilon)
        else:
            check_unsaid(
                {"layers": layers, "epsilon": epsilon},
                f"{source} has no modules of a state dict, which take that",
            )
            found = _numbered_layers(arrays, activation, last)
        return Network(rescaled(found, rescale))
    except FormatError:
        raise
    except ValueError as error:
        raise FormatError(f"{source}: {error}") from error


def _is_the_books(arrays: Mapping[str, Any]) -> bool:
    shapes = [getattr(arrays.get(f"W{i}"), "shape", None) for i in (1, 2, 3)]
    return len(arrays) == 6 and shapes == BOOK


def _numbered_layers(
    arrays: Mapping[str, NumPyArray],
    activation: ActivationName | Activation | None,
    last: ActivationName | Activation | None,
) -> Layers:
    """The layers of weights and biases with numbers, and what is between them."""
    dense = [Dense(*linear) for linear in _linears(arrays)]
    if last is None or (activation is None and len(dense) > 1):
        sizes = "-".join(str(n) for n in (dense[0].weight.shape[0], *(layer.weight.shape[1] for layer in dense)))
        hidden = "activation= after each layer but the last ('relu', 'tanh', …), " if len(dense) > 1 else ""
        raise NetworkError(
            f"these are the weights of a network {sizes} and not its activations: give {hidden}last= after the "
            "last one ('softmax', 'identity', …) and, where features are scaled first, rescale= (1 / 255, …)"
            + ("; or format='book' for pixels / 255, sigmoids and a softmax" if "b1" in arrays else "")
        )
    layers: list[Layer] = []
    for layer, after in zip(dense, [activation or "identity"] * (len(dense) - 1) + [last], strict=True):
        layers += layer, after if isinstance(after, Activation) else Activation(after)
    return fused(layers)


def _linears(arrays: Mapping[str, NumPyArray]) -> list[Linear]:
    """The layers in order, weights (n_in, n_out)."""
    for patterns in NUMBERED:
        weights, biases = (_matching(pattern, arrays) for pattern in patterns)
        if len(weights) + len(biases) < len(arrays) or (biases and biases.keys() != weights.keys()):
            continue
        numbers = sorted(weights)
        if numbers and numbers == list(range(numbers[0], numbers[0] + len(numbers))):
            linears = [Linear(weights[number], biases.get(number)) for number in numbers]
            turned = [Linear(weight.T, bias) for weight, bias in linears]
            if not _chain(linears) and _chain(turned):
                raise NetworkError(
                    "its weights chain as (n_out, n_in) alone, and such names mean (n_in, n_out): transpose "
                    "them, or name them 0.weight, 0.bias, … as PyTorch does"
                )
            return linears
    listed = ", ".join(arrays) or "none"
    known = [pattern for both in NUMBERED for pattern in both] + [STATE.pattern]
    strays = [name for name in arrays if not any(re.fullmatch(pattern, name) for pattern in known)]
    if 0 < len(strays) < len(arrays):
        raise NetworkError(
            f"it holds {', '.join(strays):.300} beside weights and biases, and does not say what for: leave that "
            "out (what scales features first is rescale=)"
        )
    raise NetworkError(
        f"it holds arrays {listed:.300}: name them {KNOWN}; or build the network with portable_nn.Network and "
        "save it with portable_nn.save"
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
                came = f"{class_and_fields(item)[0]:.100} (nothing was run){_remedy(item)}"
                raise FormatError(f"{source}: {key:.80} is no array of real numbers: {came}")
            yield key, item


def _matching(pattern: str, arrays: Mapping[str, NumPyArray]) -> dict[int, NumPyArray]:
    matches = ((re.fullmatch(pattern, name), array) for name, array in arrays.items())
    return {int(match[1]): array for match, array in matches if match}


def _chain(linears: Sequence[Linear]) -> bool:
    """Whether each layer takes what the one before it gives."""
    return (
        all(weight.ndim == 2 for weight, _ in linears)
        and all(a.weight.shape[1] == b.weight.shape[0] for a, b in pairwise(linears))
        and all(bias is None or bias.shape == weight.shape[1:] for weight, bias in linears)
    )
