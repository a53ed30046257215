"""The accuracy of a network on a backend, as a record."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import prod
from operator import itemgetter
from time import perf_counter

import numpy as np

from portable_nn import backends, metrics
from portable_nn._arrays import as_array, as_labels, each, namespace
from portable_nn._display import Rows, html_table
from portable_nn._options import check_count
from portable_nn._typing import Device, Samples
from portable_nn.backends import Backend
from portable_nn.blank import warn_of_blank
from portable_nn.errors import InputWarning, ShapeError
from portable_nn.inference import infer
from portable_nn.labels import label_indices
from portable_nn.layers import Shape
from portable_nn.network import Network, check_network
from portable_nn.parts import named
from portable_nn.running import check_data, placed, runner, target_of
from portable_nn.streams import number_of_samples

__all__ = ["Evaluation", "evaluate"]


@dataclass(frozen=True, repr=False)
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
    batch_size : int or None
        Samples per call as asked for, 0 for one sample at a time without a batch axis.
    seconds : float
        From the first sample on the host to the last label there, weights in place.

    Examples
    --------
    >>> import portable_nn as pnn
    >>> images, labels = pnn.datasets.mnist("test")
    >>> result = pnn.evaluate(pnn.load("mnist"), images, labels)
    >>> result.correct, result.total, result.dtype
    (9352, 10000, 'float32')
    >>> print(str(result).splitlines()[-1])
    accuracy  0.9352
    """

    accuracy: float
    correct: int
    total: int
    backend: str
    device: str
    dtype: str
    batch_size: int | None
    seconds: float

    @property
    def images_per_second(self) -> float:
        """Samples per second, moving them to the device and the results back included."""
        return self.total / self.seconds

    def __repr__(self) -> str:
        return "\n".join(f"{name:<8}  {value}" for name, value in self._rows()[1:])

    def _repr_html_(self) -> str:
        return html_table(self._rows())

    def _rows(self) -> Rows:
        return [
            ("evaluation", ""),
            ("backend", self.backend),
            ("device", self.device),
            ("dtype", self.dtype),
            ("speed", f"{self.images_per_second:,.0f} samples/s"),
            ("correct", f"{self.correct}/{self.total}"),
            ("accuracy", f"{self.accuracy:.4f}"),
        ]


def evaluate(
    net: Network,
    images: Samples,
    labels: Samples,
    *,
    backend: str | Backend | Device | None = None,
    batch_size: int | None = None,
    per_sample: bool = False,
    progress: Callable[[int], object] | None = None,
) -> Evaluation:
    """Measure the accuracy of a network.

    Products of float32 run in full precision meanwhile, whatever the library's setting.

    Parameters
    ----------
    net : Network
    images : array of shape (N, ...) or with more leading axes, list or table; or a dict of them
        Of any library.
    labels : array of shape (N,) or of all leading axes, integer or str; list or column
        The true ones: the classes of the network where it names them, else the indices of its outputs.
    backend : str, Backend, or device of PyTorch, JAX or CuPy, optional
        Where to compute; by default where `images` are, or where the network is bound.
    batch_size : int, optional
        Samples per call, chosen by `infer` if not given.
    per_sample : bool
        One sample at a time, without a batch axis.
    progress : callable, optional
        Called with the number of samples done.

    Returns
    -------
    Evaluation

    Raises
    ------
    InputError
        If images or labels are no arrays, or `batch_size` is no integer.
    ShapeError
        If there are no samples, the numbers of images and labels differ, a label is none that the network gives,
        or the batch size is not positive.
    BackendError
        If the backend is not there.

    Examples
    --------
    >>> import portable_nn as pnn
    >>> images, labels = pnn.datasets.mnist("test")
    >>> pnn.evaluate(pnn.load("mnist"), images, labels).accuracy
    0.9352
    """
    check_network(net)
    if batch_size is not None:
        check_count("batch_size", batch_size)
    x, given = as_array(images, net.meaning.inputs), as_labels(labels)
    for array in (*named(x).values(), given):
        namespace(array)
    check_data(x, net)
    x = net.passes.taken(x)
    truth = placed(given, backends.get("numpy"))
    leading: Shape = (number_of_samples(x),)
    if net.input_shape is not None:
        leading = tuple(x.shape[: x.ndim - len(net.input_shape)])
    total = prod(leading)
    if total == 0:
        raise ShapeError("no samples to evaluate on: give at least one")
    if truth.shape != leading:
        is_column = truth.shape[1:] == (1,)
        plain = "labels.ravel()" if is_column else "labels.argmax(axis=1) if they are one-hot"
        remedy = f", {plain}" if truth.ndim == 2 and len(leading) == 1 else ""
        raise ShapeError(
            f"{' x '.join(map(str, leading))} samples and labels of shape {truth.shape}: give one label for each "
            f"sample{remedy}"
        )
    if len(leading) > 1:
        x, truth = namespace(x).reshape(x, (total, *x.shape[len(leading) :])), truth.ravel()
    if net.task == "multilabel":
        raise ShapeError("several labels of each sample have no one accuracy: compare them with net.predict(x)")
    target = target_of(net, x, backend)
    net = net if net.backend == target else net.to_numpy()
    with target.full_float32():
        run = runner(net, target, outputs=False)
        one = each(itemgetter((slice(1), ...)), x)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", InputWarning)  # of the samples there is one below
            logits = net.logits(each(partial(placed, target=target), one))
            run(one)  # places the weights
        indices = label_indices(truth, (total, logits.shape[-1]), net.meaning)
        truth = net.meaning.class_of(indices, np)
        start = perf_counter()
        if per_sample:
            warn_of_blank(net.passes.blank(x))
            predicted = np.empty(total, dtype=np.int64)
            for i in range(total):
                predicted[i] = run(each(itemgetter((i, ...)), x))
                if progress is not None:
                    progress(i + 1)
        else:
            predicted = infer(net, x, backend=target, batch_size=batch_size, progress=progress)
        seconds = perf_counter() - start
    correct = metrics.count_correct(predicted, truth)
    return Evaluation(
        accuracy=correct / total,
        correct=correct,
        total=total,
        backend=target.name or str(target),
        device=target.device_name() or "cpu",
        dtype=target.dtype_name(logits.dtype),
        batch_size=0 if per_sample else batch_size,
        seconds=seconds,
    )
