"""Running a batch of any library on any backend, and what its results depend on."""

import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pkgutil import resolve_name
from typing import Any

import numpy as np

from portable_nn import backends
from portable_nn._arrays import check_real, each, first_of, namespace
from portable_nn._typing import Array, DType, NumPyArray
from portable_nn.backends import Backend, Forward
from portable_nn.errors import ShapeError
from portable_nn.labels import labels_of
from portable_nn.layers import Shape, axes_before, misfit
from portable_nn.network import Network
from portable_nn.parts import check_names, known, no_samples
from portable_nn.placing import Result
from portable_nn.sources import Source
from portable_nn.streams import array_of, batches, number_of_samples

__all__ = [
    "VERSION",
    "check_data",
    "check_samples",
    "identity",
    "joined",
    "nothing",
    "placed",
    "runner",
    "target_of",
]

VERSION = "portable_nn:__version__"


def target_of(net: Network, data: Any, backend: str | Backend | None = None) -> Backend:
    """The backend to compute on: the one asked for, or the network's, or that of the data."""
    array, xp = array_of(np.empty(0) if data is None else data)
    if backend is not None:
        return backends.get(backend)
    return net.backend or backends.of(array, xp)


def runner(net: Network, target: Backend, outputs: bool) -> Callable[[Any], Any]:
    """The function from a batch, wherever it is, to results on the host, computed on the target.

    A batch is an array or a dict of them, and so are results.

    Results are fetched batch by batch: what is not fetched would fill the device.
    What does not fit the device is halved until it does, and so are the batches after it.
    """
    result: Result = "outputs" if outputs else "untold" if target.has_labels() else "logits"
    takes_numpy = target.takes_numpy
    of_numpy: dict[DType, Forward] = {}
    most: int | None = None

    def forward(batch: Any) -> Any:
        is_direct = takes_numpy and type(batch) is np.ndarray and batch.shape[1:] == net.input_shape
        if is_direct and batch.dtype.isnative:
            if batch.dtype not in of_numpy:
                of_numpy[batch.dtype] = _of_numpy(net, target, result, batch)
            return of_numpy[batch.dtype](batch)
        x = each(partial(placed, target=target), batch)
        return net.passes.find(result, x)(x)

    def run(batch: Any) -> Any:
        found = each(target.to_numpy, forward(batch))
        if outputs:
            return found
        return (found if result == "untold" else labels_of(found, np, net.meaning)).astype(np.int64, copy=False)

    def run_what_fits(batch: Any) -> Any:
        nonlocal most
        (size, *_) = (*tuple(first_of(batch).shape), 1)  # one sample alone may be a number
        if most is None or size <= most:
            try:
                return run(batch)
            except Exception as error:  # libraries have error classes of their own for it
                if size < 2 or not target.is_out_of_memory(error):
                    raise
            if most is None:
                warnings.warn(
                    f"{target} ran out of memory on {size} samples: going on with smaller batches",
                    RuntimeWarning,
                    stacklevel=3,
                )
            most = size // 2
        return joined([run_what_fits(part) for part in batches(batch, most)])

    return run_what_fits


def _of_numpy(net: Network, target: Backend, result: Result, batch: NumPyArray) -> Forward:
    """The function from NumPy's arrays as they are; to find it, a few samples are placed once."""
    key = result, target, target.key(batch)
    found = net.passes.of_numpy.get(key)
    if found is None:
        x = placed(batch[:2], target)
        found = net.passes.find(result, x)
        if target.keeps(x):
            net.passes.of_numpy[key] = found
    return found


def joined(results: Sequence[Any]) -> Any:
    """Results of one batch after the other, as one array, or as one for each name."""
    if isinstance(results[0], dict):
        return {name: np.concatenate([part[name] for part in results]) for name in results[0]}
    return np.concatenate(results)


def placed(batch: Array, target: Backend) -> Array:
    """The batch on the target, shared where that is possible."""
    if not isinstance(batch, np.ndarray):
        xp = namespace(batch)
        home = backends.of(batch, xp)
        if home == target:
            return batch
        check_real(batch, xp)
        batch = home.to_numpy(batch)
    if not batch.dtype.isnative:
        batch = batch.astype(batch.dtype.newbyteorder("="))
    if target.name == "numpy":
        return batch
    check_real(batch, np)
    return target.place(batch, share=True)


def check_samples(first: Any, shape: Shape | None) -> None:
    """Raise a `ShapeError` about the caller's own array, before it is cut into batches."""
    if not hasattr(first, "shape"):
        return
    shape = shape or ()
    came = tuple(first.shape)
    axes = axes_before(came, shape)
    if axes == 0 or (axes is None and len(came) <= len(shape)):
        raise ShapeError(
            f"data have samples along their first axis, got shape {came}: give one sample as "
            "x[None], or call net.predict(x)"
        )
    if axes is None:
        raise misfit(first, shape)


def check_data(first: Any, net: Network) -> None:
    """Raise an error about the caller's own array, or dict of them, before it is cut into batches."""
    inputs = net.passes.inputs
    if len(inputs) > 1 and first is not None:
        check_names(first, inputs)
        for name, value in inputs.items():
            check_samples(first[name], known(value))
        number_of_samples(first)
    else:  # a dict of one has no shape
        check_samples(first, net.input_shape)


def nothing(net: Network, outputs: bool) -> Any:
    """Results of no samples."""
    if net.passes.outputs:
        return net.to_numpy()(no_samples(net.passes.inputs, net.input_shape, net.dtype))
    if not outputs:
        multilabel = net.task == "multilabel"
        return np.empty((0, *(net.output_shape or ())) if multilabel else 0, dtype=np.int64)
    return np.empty((0, *(net.output_shape or ())), dtype=net.dtype)


def identity(
    net: Network, source: Source | dict[str, Source], target: str, outputs: bool, sizes: tuple[int, ...]
) -> str:
    """What the results for files depend on, in words that are the same in the next process.

    Outputs of one batch differ in the last bits from those of another, so the sizes of batches belong to it, and
    so does the version of this package.
    """
    digest = net.to_numpy().passes.digest()
    return repr((resolve_name(VERSION), digest, source, target, outputs, net.compiled, sizes))
