"""Feeding a network: batches of samples in, labels and their accuracy out."""

from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np

from portable_nn import backends, metrics
from portable_nn._typing import Array
from portable_nn.activations import namespace
from portable_nn.backends import Backend
from portable_nn.errors import ShapeError
from portable_nn.network import Network, labels_of

__all__ = ["Evaluation", "evaluate"]

BATCH_SIZE = 1000


@dataclass(frozen=True)
class Evaluation:
    """The accuracy of a network on one backend.

    Attributes
    ----------
    accuracy : float
        Share of the samples whose label was predicted.
    correct, total : int
        Samples.
    backend, device, dtype : str
        Where, and in which floating dtype, it was computed.
    batch_size : int
        Samples per call, 0 for one sample at a time without a batch axis.
    seconds : float
        From the first sample on the host to the last label there.
    """

    accuracy: float
    correct: int
    total: int
    backend: str
    device: str
    dtype: str
    batch_size: int
    seconds: float

    @property
    def images_per_second(self) -> float:
        """Samples per second, moving them to the device and the results back included."""
        return self.total / self.seconds


def evaluate(
    net: Network,
    images: Array,
    labels: Array,
    *,
    backend: str | Backend | None = None,
    batch_size: int | None = None,
    per_sample: bool = False,
    progress: Callable[[int], object] | None = None,
) -> Evaluation:
    """Measure the accuracy of a network.

    Products of float32 run in full precision meanwhile, whatever the library's setting.

    Parameters
    ----------
    net : Network
    images : array of shape (N, ...)
        Of any library.
    labels : array of shape (N,), integer
        The true ones.
    backend : str or Backend, optional
        Where to compute; by default where `images` are, or where the network is bound.
    batch_size : int, optional
        Samples per call, 1000 by default.
    per_sample : bool
        One sample at a time, without a batch axis.
    progress : callable, optional
        Called after each batch with the number of samples done.

    Returns
    -------
    Evaluation

    Raises
    ------
    ShapeError
        If there are no samples, the numbers of images and labels differ, or the batch size is not positive.
    BackendError
        If the backend is not there.

    Examples
    --------
    >>> import portable_nn as pnn
    >>> images, labels = pnn.datasets.mnist("test")
    >>> pnn.evaluate(pnn.load("mnist"), images, labels).accuracy
    0.9352
    """
    step = 1 if per_sample else BATCH_SIZE if batch_size is None else batch_size
    if step < 1:
        raise ShapeError(f"a batch holds at least one sample, got batch_size={step}")
    truth = _to_numpy(labels)
    total = images.shape[0]
    if total == 0 or truth.shape != (total,):
        raise ShapeError(f"{total} images and labels of shape {truth.shape}: give one label for each image")
    target = backends.get(backend) if backend is not None else net.backend or _backend_of(images)
    if _backend_of(images) != target:
        images = _to_numpy(images)
    if net.backend != target:
        net = net.to_numpy()
    predicted = np.empty(total, dtype=np.int64)
    dtype = ""
    with target.full_float32():
        start = perf_counter()
        for done in range(0, total, step):
            batch = images[done] if per_sample else images[done : done + step]
            logits = net.logits(target.place(batch) if isinstance(batch, np.ndarray) else batch)
            predicted[done : done + step] = labels_of(target.to_numpy(logits), np)
            dtype = target.dtype_name(logits.dtype)
            if progress is not None:
                progress(min(done + step, total))
        seconds = perf_counter() - start
    correct = metrics.count_correct(predicted, truth)
    return Evaluation(
        accuracy=correct / total,
        correct=correct,
        total=total,
        backend=target.name or str(target),
        device=target.device_name() or "cpu",
        dtype=dtype,
        batch_size=0 if per_sample else step,
        seconds=seconds,
    )


def _backend_of(array: Array) -> Backend:
    return backends.of(array, namespace(array))


def _to_numpy(array: Array) -> "np.ndarray[Any, Any]":
    return _backend_of(array).to_numpy(array)
