"""Whether a finding agrees with the reference, and in words what is wrong where it does not."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from portable_nn._typing import NumPyArray
from portable_nn.comparison.measuring import Finding, Task
from portable_nn.comparison.records import Measured, Row
from portable_nn.errors import NetworkError, ShapeError
from portable_nn.metrics import TOLERANCES, LabelParity, Parity, check_labels, label_parity, parity
from portable_nn.network import Network

__all__ = ["Reference", "reference", "verdict"]

BATCH = 1000


@dataclass(frozen=True)
class Reference:
    """What NumPy in float64 gives.

    Attributes
    ----------
    outputs : array of shape (N, n)
    labels : array of shape (N,), or None
        Those that the outputs mean; None where they mean none (regression).
    truth : array of shape (N,), or None
        The true ones, where they are known.
    """

    outputs: NumPyArray
    labels: NumPyArray | None
    truth: NumPyArray | None


def reference(net: Network, images: NumPyArray, truth: NumPyArray | None) -> Reference:
    """Compute the reference, in batches.

    Raises
    ------
    ShapeError
        If there are no images, or the true labels do not fit.
    """
    if len(images) == 0:
        raise ShapeError("no images to compare on: give at least one")
    net = Network(net.layers).astype("float64")
    if not np.isdtype(images.dtype, ("bool", "integral")):
        images = images.astype(np.float64, copy=False)
    batches = [images[start : start + BATCH] for start in range(0, len(images), BATCH)]
    outputs = np.concatenate([net(batch) for batch in batches]).reshape(len(images), -1)
    try:
        labels = np.concatenate([net.predict(batch) for batch in batches])
    except NetworkError:
        labels = None
    if truth is not None:
        check_labels(truth, len(images), 0 if labels is None else max(2, outputs.shape[1]))
    return Reference(outputs, labels, truth)


def verdict(task: Task, finding: Finding, wanted: Reference, atol: float | None, rtol: float) -> Row:
    """The row of a finding: what was measured, and whether it agrees with the reference."""
    backend, dtype, measured = str(task.backend), task.dtype, finding.measured
    if finding.outputs is None or measured is None:
        return Row(backend, dtype, "unsupported" if finding.state == "unsupported" else "failed", finding.reason)
    outputs = finding.outputs.reshape(len(finding.outputs), -1)
    try:
        found = parity(outputs, wanted.outputs, atol=TOLERANCES[dtype] if atol is None else atol, rtol=rtol)
    except ShapeError as error:
        return Row(backend, dtype, "failed", str(error), measured=measured)
    labels = None
    if finding.labels is not None and wanted.labels is not None:
        labels = label_parity(finding.labels, wanted.labels, outputs, wanted.outputs, wanted.truth)
    symptoms = "; ".join(_symptoms(dtype, found, labels, measured))
    return Row(backend, dtype, "differs" if symptoms else "agrees", symptoms, found, labels, measured)


def _symptoms(dtype: str, found: Parity, labels: LabelParity | None, measured: Measured) -> Iterator[str]:
    if measured.stale:
        yield "outputs fetched before the device was synchronised were stale"
    if found.non_finite:
        yield f"{found.non_finite:,} outputs are nan or infinite"
    if measured.batch_effect > 2 * (found.atol + found.rtol):
        yield (
            f"outputs change with the batch size by up to {measured.batch_effect:.1e}: "
            "rows are mixed, as by a softmax along the wrong axis"
        )
    if not found.within_tolerance:
        allowed = f"{found.atol:.0e}" + (f" + {found.rtol:.0e} relative" if found.rtol else "")
        yield f"outputs differ by up to {found.max_abs_error:.1e}, allowed is {allowed}"
    if not found.within_tolerance and measured.precision != dtype:
        yield f"{dtype} products are rounded to {measured.precision}"
    if labels and labels.differ and dtype in ("float32", "float64"):
        yield f"{labels.differ:,} of {labels.total:,} labels differ"
