"""Feeding a network: data of any kind and length in, labels or outputs on the host out."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import nullcontext
from functools import partial
from itertools import chain
from math import prod
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np

from portable_nn import backends
from portable_nn._arrays import as_array, each, first_of
from portable_nn._options import check_count
from portable_nn._typing import Array, Device, NumPyArray, Samples
from portable_nn.backends import FLOATS, Backend
from portable_nn.blank import warn_of_blank
from portable_nn.blocks import ZarrWriter, open_result
from portable_nn.clients import check_client
from portable_nn.cluster import infer_there
from portable_nn.errors import BackendError, FormatError, InputError
from portable_nn.labels import check_labels
from portable_nn.layers import Dense, Graph
from portable_nn.network import Network, check_network
from portable_nn.parts import alone, check_names, known, named
from portable_nn.results import NpyWriter, files_of
from portable_nn.running import (
    check_data,
    identity,
    joined,
    nothing,
    placed,
    runner,
    target_of,
)
from portable_nn.sources import Source, is_path, opened, opened_parts, reshaped, source_of
from portable_nn.streams import batches, is_whole, number_of_samples
from portable_nn.threads import ONE_THREAD, VALUE, blas, given, in_order, of_blas
from portable_nn.writing import check_output

__all__ = ["infer"]

HOST = 2**24
"""Bytes that a batch may take on the CPU before and after the widest layer: a call costs little beside them."""

DEVICE = 2**26
"""The same on a device, and on NumPy where the network cuts a batch into blocks: large enough to keep all of it
busy, small enough for any."""

ROWS, SHARES = 256, 4
"""Rows at which products run at full speed, and batches for each thread, so that all end at about one time."""

WORTH_THREADS = 2**26
"""Multiply-adds from which threads pay.

To start two and stop them takes about 0.25 ms, and they save half of the work: so they pay from 0.5 ms on. A core
takes 1 to 3 ms for so many multiply-adds.
"""


def infer(
    net: Network,
    data: Samples | str | os.PathLike[str] | Iterable[Samples | str | os.PathLike[str]],
    *,
    backend: str | Backend | Device | None = None,
    batch_size: int | None = None,
    workers: int | None = None,
    client: Any = None,
    outputs: bool = False,
    out: str | os.PathLike[str] | None = None,
    block: int = 100_000,
    overwrite: bool = False,
    progress: Callable[[int], object] | None = None,
) -> NumPyArray | Any:
    """Label data of any kind and length, fast, in bounded memory.

    On NumPy all cores share an array where that pays, as in a call of the network; batches that come one by one
    run on a pool of threads, with one thread each for the BLAS. Elsewhere integers travel as they are and are
    cast on the device, and one that runs out of memory gets smaller batches. With a client, the workers of a Dask
    cluster read files, compute blocks and write them.

    Parameters
    ----------
    net : Network
    data : array, path, or iterable of arrays or paths
        With samples along the first axis: an array of any library, a list of rows, a table of pandas or Polars,
        a memory map, a zarr array; a path; a pattern such as ``"images-*.npy"``, or several paths, for files that
        are read as one; or an iterable of batches, which may fill one buffer again and again. Paths are those of
        .npy and IDX files, which are mapped into memory, of zarr arrays, folders of PNG images, sorted by name,
        .npz files, of which the array ``images``, ``x`` or ``X`` or the only one is taken, and .csv files, whose
        columns go by the names of `net.inputs`. For several inputs a dict of such, batches that are dicts, or the
        path of a .npz that holds each by its name.
    backend : str, Backend, or device of PyTorch, JAX or CuPy, optional
        Where to compute; by default where `data` are, or where the network is bound.
    batch_size : int, optional
        Samples per call; by default as many as are fast on the backend.
    workers : int, optional
        Threads on NumPy that take batches; by default one for each core, where the work is worth starting them
        and threadpoolctl is there to hold the BLAS back, or the network's own for an array in memory. In a
        thread, process or Dask worker of a pool it is one.
    client : distributed.Client, optional
        Of a cluster whose machines all see `data`, which are paths, and the folder of `out`.
    outputs : bool
        Give the outputs of the network instead of labels.
    out : path-like, optional
        A .npy file to write instead, or a .zarr, which a cluster needs. It appears when it is whole. With a path
        for data, the same call goes on where a killed one stopped, and leaves the same bytes. Several outputs go
        to a folder, with a .npy for each, or to a .zarr group.
    block : int
        Samples of a chunk of a .zarr, and of a call on a cluster.
    overwrite : bool
        Let `out` take the place of an older file; of the data never.
    progress : callable, optional
        Called with the number of samples done.

    Returns
    -------
    array of shape (N,) or of several labels (N, n), int64; or of outputs (N, n), floating
        NumPy; with `out`, a memory map of the file, or the zarr array. Of several outputs a dict of them.

    Raises
    ------
    InputError
        If data are no arrays of real numbers, `batch_size`, `workers` or `block` no integers, `out` no path, or
        `progress` no function.
    NetworkError
        If the network gives no labels.
    ShapeError
        If samples do not fit the network, or `batch_size`, `workers` or `block` are not positive.
    FormatError
        If a file is not what it should be.
    OutputError
        If `out` is the data, or exists and is not to be overwritten, or another process writes it, or there is no
        folder for it.
    BackendError
        If the backend is not there, or threadpoolctl for several workers is not.
    ClusterError
        If the cluster cannot compute, or was lost: the same call goes on.

    Warns
    -----
    InputWarning
        If samples hold nothing but nan, or values that the network is not for.

    Examples
    --------
    >>> import portable_nn as pnn
    >>> images, labels = pnn.datasets.mnist("test")
    >>> pnn.infer(pnn.load("mnist"), images)[:5]
    array([7, 2, 1, 0, 4])
    """
    check_network(net)
    for name, value in (("batch_size", batch_size), ("workers", workers), ("block", block)):
        if value is not None:
            check_count(name, value)
    if workers is not None and workers > 1 and blas() is None:
        raise BackendError("several workers need threadpoolctl, to hold the BLAS back: pip install threadpoolctl")
    if not (out is None or is_path(out)):
        raise InputError(f"out must be a path, got {out!r}: give for instance out='labels.npy'")
    if not (progress is None or callable(progress)):
        raise InputError(f"progress must be a function of the number of samples done, got {progress!r}")
    names, to_zarr = net.passes.outputs, out is not None and Path(out).suffix == ".zarr"
    if client is not None:
        check_client(client)
        if not to_zarr:
            raise InputError(f"a cluster writes to a .zarr, out='labels.zarr' for instance, got {out!r}")
        if batch_size or workers:
            raise InputError("a cluster has workers of its own, and takes whole blocks: give block=1_000_000")
    source, first, origin = _opened(net, data)
    if client is not None and origin is None:
        raise InputError("a cluster reads files: give a path that its machines see, or several")
    target = target_of(net, first, None if client else backend)  # which a cluster has, but not every client
    check_data(first, net)
    if not outputs:
        shape = net.output_shape
        if shape is None and hasattr(first, "shape"):
            shape = tuple(first.shape[1:][-1:])
        check_labels(net.layers, net.meaning, shape, "infer(net, data, outputs=True)")
    if out is not None:
        files = files_of(out, names).values()
        read = *named(source).values(), *named(origin).values()
        paths = [path for one in read if isinstance(one, Source) for path in one.paths]
        check_output(out, *map(_file_of, named(source).values()), *paths, overwrite=overwrite, files=files)
        if client is not None:
            spec = backends.named(backend or net.backend or "numpy")
            spec = spec if isinstance(spec, str) else backends.spec_of(spec)
            return infer_there(client, net, origin, spec, outputs, out, block, overwrite, progress)
    net = net if net.backend == target else net.to_numpy()
    run = runner(net, target, outputs)
    total = number_of_samples(source) if is_whole(source) else None
    is_plain = type(source) is np.ndarray and source.shape[1:] == net.input_shape  # and so are its batches
    may_be_nan = not (is_plain and source.dtype.kind in "biu")
    if out is None and total and total <= ROWS and not (workers or batch_size):  # to share it out takes longer
        part = source if is_plain else net.passes.taken(next(batches(source, total)))
        found = each(_writable, run(part))
        if progress is not None:
            progress(total)
        _end(origin, net.passes.blank(part) if may_be_nan and not outputs else 0)
        return found

    def prepare(part: Any) -> None:
        net.passes.find("outputs" if outputs else "untold", each(partial(placed, target=target), part))

    by_network = _is_best_left_to(net, target, source) and not (workers or batch_size)

    def threads_for(samples: int | None) -> int:
        return 1 if target.name != "numpy" or by_network else workers or _threads(net, samples)

    without_values = 0

    def looked_at(parts: Iterator[Any]) -> Iterator[Any]:
        nonlocal without_values
        for part in parts:
            without_values += net.passes.blank(part)
            yield part

    def results(size: int, start: int = 0, block: int | None = None) -> Iterator[Any]:
        threads = threads_for(None if total is None else total - start)
        parts = batches(source, size, start) if block is None else _ending_with_blocks(source, size, start, block)
        if not is_plain:
            parts = _fitting(parts, net)
        if may_be_nan and not outputs:
            parts = looked_at(parts)
        done = start
        alone = 0 if workers or total is not None else _paying(net)
        # results of files are the same bytes on any number of cores
        one = origin is not None or ((workers or given()) == 1 and (total is None or total > ROWS))
        with ONE_THREAD if one else nullcontext():
            for part in _mapped(run, prepare, parts, threads, alone, kept=total is not None):
                done += len(first_of(part))
                if progress is not None:
                    progress(done)
                yield part
        _end(origin, without_values)

    if out is None:
        most = _most_at_once(net, target, first, DEVICE if by_network else HOST)
        size = batch_size or _share(most, total, threads_for(total))
        return joined([*results(size)] or [nothing(net, outputs)])
    size = batch_size or _most_at_once(net, target, first, HOST)  # on whatever machine the work goes on
    sizes = (size, block) if to_zarr else (size,)
    same = identity(net, origin, str(target), outputs, sizes) if origin else None
    writer: Callable[..., Any] = (
        partial(ZarrWriter, size=block, total=total) if to_zarr else partial(NpyWriter, step=size)
    )
    with writer(out, same, names=names, overwrite=overwrite) as written:
        if total is not None and written.rows > max(0, total - (not to_zarr)):
            raise FormatError(f"{written.partial} holds more than these data give: delete it, and begin anew")
        for part in results(size, written.rows, block if to_zarr and total is not None else None):
            written.append(part)
        if written.is_empty:
            written.append(nothing(net, outputs))
    return open_result(out, names)


def _opened(net: Network, data: Any) -> tuple[Any, Any, Any]:
    """The data of a network, the first of them, and the files that they are, None if they are no files."""
    inputs = net.passes.inputs
    if len(inputs) > 1:
        source, first = _first(opened_parts(data, inputs), partial(opened_parts, names=inputs))
        if isinstance(source, dict):
            check_names(source, inputs)
            source = first = {
                name: reshaped(part, known(inputs[name])) if isinstance(part, Source) else part
                for name, part in source.items()
            }
            return source, first, source if all(isinstance(part, Source) for part in source.values()) else None
        return source, first, None
    if isinstance(data, Mapping):
        data = alone(data, net.layers[0])
    data = as_array(data, net.meaning.inputs)
    if type(data) is np.ndarray:
        return data, data, None
    source, first = _first(opened(data, net.meaning.inputs), partial(as_array, names=net.meaning.inputs))
    if is_path(first):
        source = first = source_of(source, inputs=net.meaning.inputs)
    if is_path(data) or isinstance(source, Source):
        source = first = reshaped(source, net.input_shape)
    origin = reshaped(source_of(data, inputs=net.meaning.inputs), net.input_shape) if is_path(data) else None
    return source, first, source if isinstance(source, Source) else origin


def _end(origin: Any, without_values: int) -> None:
    """Raise an error if a file is another one by now, and warn of samples of nothing but nan."""
    for one in named(origin).values():
        if one is not None:
            one.check()
    warn_of_blank(without_values)


def _writable(results: NumPyArray) -> NumPyArray:
    """Those of some libraries are views of what only these may write."""
    return results if results.flags.writeable else results.copy()


def _ending_with_blocks(source: Any, size: int, start: int, block: int) -> Iterator[Array]:
    """Batches that end where blocks do, so that they are the same from any block on."""
    for first in range(start, number_of_samples(source), block):
        yield from batches(each(itemgetter((slice(first, first + block), ...)), source), size)


def _fitting(parts: Iterator[Any], net: Network) -> Iterator[Any]:
    for part in parts:
        check_data(part, net)
        yield net.passes.taken(part)


def _file_of(data: Any) -> str | os.PathLike[str] | None:
    """The file that an array lies in, or an array that it is a view of."""
    while isinstance(data, np.ndarray):
        if isinstance(data, np.memmap):
            return data.filename
        data = data.base
    return None


def _mapped(
    run: Callable[[Any], Any],
    prepare: Callable[[Any], object],
    parts: Iterator[Any],
    threads: int,
    alone: float,
    kept: bool,
) -> Iterator[Any]:
    """Results in order, those of the first samples from this thread, though several are there for the others.

    What is made once is made in this thread, whose caller a warning is to name.

    Batches that are not kept may be written over by the next ones: their results share no memory with them.
    """
    here = backends.get("numpy")

    def copied(array: Array) -> NumPyArray:
        return np.array(placed(array, here))

    for part in parts:
        if threads > 1 and alone <= 0:
            prepare(part)
            copies = (one if kept else each(copied, one) for one in chain([part], parts))
            yield from in_order(run, copies, threads)
            return
        alone -= number_of_samples(part)
        yield run(part) if kept else each(np.array, run(part))


def _first(source: Any, taken: Callable[[Any], Any]) -> tuple[Any, Any]:
    """The source again, and its first array: itself, or the first batch of an iterable, as it is taken."""
    if isinstance(source, dict) or hasattr(type(source), "shape") or hasattr(source, "shape"):
        # nested tensors have one, and raise
        return source, source
    if not isinstance(source, Iterable):
        raise InputError(f"data must be an array, a path, or an iterable of batches, got {type(source).__name__}")
    rest = map(taken, source)
    first = next(rest, None)
    return (source, None) if first is None else (chain([first], rest), first)


def _threads(net: Network, samples: int | None) -> int:
    """As many as pay on NumPy; one batch is best left to the BLAS and threads of its own."""
    if samples is not None and samples <= max(ROWS, _paying(net)):
        return 1
    return given() if blas() is not None else 1


def _paying(net: Network) -> float:
    """The number of samples from which threads pay."""
    shapes = (layer.weight.shape for layer in net.layers if isinstance(layer, Dense))
    work = sum(n_in * n_out + VALUE * n_out for n_in, n_out in shapes)
    return WORTH_THREADS / work if work else float("inf")


def _is_best_left_to(net: Network, target: Backend, source: Any) -> bool:
    """Whether a network on NumPy has data in memory, and shares them out to all cores by itself.

    The results of files are the same bytes on any machine, and so are not shared out by the number of its cores.
    """
    if target.name != "numpy" or net.compiled or of_blas() == 1:
        return False
    return all(isinstance(part, np.ndarray) and _file_of(part) is None for part in named(source).values())


def _most_at_once(net: Network, target: Backend, first: Any, on_host: int) -> int:
    """As many samples as are fast on the backend, of which the first ones are such."""
    widths: list[int] = [sum(layer.weight.shape) for layer in net.layers if isinstance(layer, Dense)]
    widths += [sum(map(prod, layer.shapes.values())) for layer in net.layers if isinstance(layer, Graph)]
    values = max((prod(part.shape[1:]) for part in named(first).values() if hasattr(part, "shape")), default=1)
    taken = prod(net.input_shape or (values,))
    bytes_of_one = FLOATS[net.dtype] * max(*widths, taken, 1) * max(1, values // max(1, taken))
    is_host = target.name == "numpy" or target.device_name().startswith("cpu")
    return max(1, (on_host if is_host else DEVICE) // bytes_of_one)


def _share(most: int, samples: int | None, threads: int) -> int:
    """So many at most, and of all samples a share for each thread."""
    if samples is None or threads == 1:
        return most
    return min(most, max(ROWS, -(-samples // (SHARES * threads))))
