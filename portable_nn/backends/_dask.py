"""Dask: arrays in chunks, lazy. The device of a Dask array is the backend of its chunks (``x._meta``).

A network with NumPy weights is one key of the graph, and runs on each block of an array as on any array of the
chunks' library: one task a block, its weights placed once in each process. Chunks are NumPy's or CuPy's
(`dask:cupy:0`), which are what Dask takes; any other backend that a spec names computes inside NumPy chunks
(`dask:torch`).
"""

from collections.abc import Hashable, Iterator, Mapping
from contextlib import contextmanager
from itertools import count, islice, repeat
from operator import getitem, itemgetter
from typing import Any, final

import array_api_compat
import numpy as np

from portable_nn._arrays import FLOATS, each, first_of, has_unknown, namespace, native
from portable_nn._typing import Array, Device, DType, FloatName
from portable_nn.backends._base import Backend, Forward
from portable_nn.errors import BackendError, InputError, ShapeError

MOST_AXES = 64
"""Of an array of NumPy."""


@final
class Dask(Backend):
    """Dask, its blocks computed by another backend."""

    name = "dask"
    namespace = "array_api_compat.dask.array"
    package = "dask.array"
    install = "'dask[array]'"
    lazy = True

    @classmethod
    def devices(cls) -> list[str]:
        """Chunks of NumPy arrays."""
        return ["numpy"]

    @classmethod
    def version(cls) -> str:
        """The version of the package around `dask.array`."""
        import dask

        return str(dask.__version__)

    @classmethod
    def parse(cls, device: str) -> Device:
        """The backend of the blocks."""
        from portable_nn.backends import get

        return get(device or "numpy")

    @staticmethod
    def backend_of_chunks(x: Array) -> Backend:
        """The backend of the chunks of an array."""
        from portable_nn.backends import of

        found = of(x._meta, namespace(x._meta))
        if found.name not in ("numpy", "cupy"):
            raise InputError(
                f"Dask computes on chunks of NumPy or CuPy, and these are of {found}: call "
                "x.map_blocks(numpy.asarray); net.to('dask:torch') computes with PyTorch inside such chunks"
            )
        return found

    @property
    def chunks(self) -> Backend:
        """The backend of the chunks: that of the blocks if it is CuPy's, else NumPy's."""
        from portable_nn.backends import get

        return self.of_blocks if self.of_blocks.name == "cupy" else get("numpy")

    @property
    def of_blocks(self) -> Backend:
        """The device."""
        return self.device  # type: ignore[no-any-return]

    def takes(self, other: Backend) -> bool:
        """Any Dask array whose chunks are such as blocks are computed from."""
        return isinstance(other, Dask) and other.device == self.chunks

    def by_blocks(self, network: Any, result: str, samples: Mapping[str, tuple[int, ...]], like: Any) -> Forward:
        """One task a block: chunks stay as they are along the leading axes, and each sample is in one.

        The network is a key of the graph: as an argument it would travel with every task. The axes of samples are
        those of the result, or the first one, along which their one block goes with each: of axes that are summed
        over, Dask makes lists of blocks, which take it twice the time.
        """
        import dask.array

        if hasattr(first_of(like), "expr"):
            raise BackendError(
                "Dask's experimental query planning for arrays loses what tasks share: leave it off, "
                'dask.config.set({"array.query-planning": False})'
            )
        names = tuple(samples) if isinstance(like, dict) else None
        given = like if isinstance(like, dict) else dict.fromkeys(samples, like)
        if any(map(has_unknown, samples.values())):
            raise ShapeError(
                "samples of chunks of unknown size have no shape: call x.compute_chunk_sizes() first"
            )
        ones = [
            self.chunks.place(np.zeros((1, *samples[name]), native(array.dtype))) for name, array in given.items()
        ]
        with np.errstate(all="ignore"):
            metas = each(itemgetter(slice(0)), of_blocks(network, *ones, names=names, result=result))
        key = dask.delayed(network, name=f"network-{network.digest()}", traverse=False)

        def forward(x: Any) -> Any:
            arrays = x if isinstance(x, dict) else dict.fromkeys(samples, x)
            axes = 0 if isinstance(metas, dict) else metas.ndim - 1  # of a result of one sample
            first = next(iter(arrays))
            leading = arrays[first].ndim - len(samples[first])
            shared = range(leading, leading + min(axes, len(samples[first])))
            broadcast = len(arrays) == 1 and leading > 0 and not _has_new_axes(arrays[first])
            others = repeat(0) if broadcast else count(MOST_AXES)  # the axes of samples that no result has
            parts: list[Any] = [key, None]
            for name, array in arrays.items():
                own = shared if name == first else ()
                parts.append(array.rechunk(dict.fromkeys(range(leading, array.ndim), -1)))
                parts.append((*range(leading), *own, *islice(others, array.ndim - leading - len(own))))

            def made(function: Any, meta: Array, *parts: Any, **options: Any) -> Array:
                lengths = dict(enumerate(meta.shape[1:], start=leading))
                return dask.array.blockwise(
                    function,
                    range(leading + len(lengths)),
                    *parts,
                    token=f"network-{result}",
                    adjust_chunks={axis: lengths[axis] for axis in shared},
                    new_axes={axis: n for axis, n in lengths.items() if axis not in shared},
                    align_arrays=not broadcast,
                    dtype=meta.dtype,
                    meta=meta,
                    **options,
                )

            options = {"names": names, "result": result}
            if not isinstance(metas, dict):
                return made(of_blocks, metas, *parts, **options)
            all_of_it = made(of_blocks, np.empty(0, object), *parts, **options)
            return {
                name: made(getitem, meta, all_of_it, range(leading), name, None) for name, meta in metas.items()
            }

        return forward

    def device_name(self) -> str:
        """The backend of the blocks where it is not NumPy."""
        name = str(self.device)
        return "" if name == "numpy" else name

    def dtype(self, name: str) -> DType:
        """Of the chunks, as far as the blocks have it too."""
        return self.chunks.dtype(self.device.dtype_name(self.device.dtype(name)) if name in FLOATS else name)

    def dtype_name(self, dtype: DType) -> FloatName:
        """As the chunks have it."""
        return self.chunks.dtype_name(dtype)

    def computed_in(self, dtype: str) -> str:
        """As the blocks are."""
        return str(self.device.computed_in(dtype))

    def has_labels(self) -> bool:
        """Whether the blocks have."""
        return bool(self.device.has_labels())

    @staticmethod
    def key(x: Array) -> Hashable:
        """Dtype, and what the chunks depend on."""
        from portable_nn.backends import of

        chunk = x._meta
        return x.dtype, type(chunk), of(chunk, array_api_compat.array_namespace(chunk)).key(chunk)

    def place(self, array: np.ndarray[Any, Any], *, share: bool = False) -> Array:
        """One chunk."""
        import dask.array

        chunk = self.chunks.place(array, share=share)
        return dask.array.from_array(chunk, chunks=chunk.shape, asarray=False)

    def to_numpy(self, array: Array) -> np.ndarray[Any, Any]:
        """Computed, then fetched by the backend of the chunks."""
        return self.chunks.to_numpy(array.compute())

    def synchronize(self, array: Array) -> None:
        """Compute, and wait for the chunks' device."""
        self.chunks.synchronize(array.compute())

    def float32_precision(self) -> str:
        """That of the blocks."""
        return str(self.device.float32_precision())

    @contextmanager
    def full_float32(self) -> Iterator[None]:
        """In this process, where its threads compute."""
        with self.device.full_float32():
            yield


def of_blocks(network: Any, *blocks: Any, names: tuple[str, ...] | None, result: str) -> Any:
    """What the network gives for blocks, in their library whatever computes it."""
    from portable_nn.backends import of

    arrays = [_alone(block) for block in blocks]
    x = arrays[0] if names is None else dict(zip(names, arrays, strict=True))
    home, inside = of(arrays[0], namespace(arrays[0])), network.backend
    if inside is None or inside == home:
        return network.find(result, x)(x)
    x = each(lambda array: inside.place(array.astype(native(array.dtype), copy=False), share=True), x)
    return each(lambda array: home.place(inside.to_numpy(array)), network.find(result, x)(x))


def _has_new_axes(array: Any) -> bool:
    """Whether a step before made axes: Dask, as it makes one step of two, takes one for the axis it goes with."""
    return any(getattr(layer, "new_axes", None) for layer in array.dask.layers.values())


def _alone(block: Any) -> Array:
    """The one block along axes that the result has not."""
    while isinstance(block, list):
        (block,) = block
    return block
