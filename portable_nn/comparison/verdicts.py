"""Whether a finding agrees with the reference, and in words what is wrong where it does not.

How far an output may be off is a matter of its scale, as `portable_nn.comparison.scales` has it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from portable_nn._typing import NumPyArray
from portable_nn.blank import warn_of_blank
from portable_nn.comparison.measuring import Finding, Task
from portable_nn.comparison.records import Measured, Row
from portable_nn.comparison.scales import is_bounded, scaled
from portable_nn.errors import ShapeError
from portable_nn.labels import check_labels, label_indices, labels_of, without_labels
from portable_nn.metrics import ATOL, RTOL, LabelParity, Parity, label_parity, parity
from portable_nn.network import Network
from portable_nn.parts import named
from portable_nn.rewriting import parted
from portable_nn.running import check_data

__all__ = ["Reference", "reference", "verdict"]


@dataclass(frozen=True)
class Reference:
    """What the plain loop over the layers gives, in NumPy float64.

    Attributes
    ----------
    outputs : array of shape (N, n)
        Of N samples, along all leading axes.
    scale : array of shape (N, n)
        Of each output, as `portable_nn.comparison.scales` has it.
    bounded : bool
        Whether a last activation bounds the outputs, as those of probabilities do.
    labels : array of shape (N,), or None
        Those that the outputs mean, as places among the classes; N * n where each output has one (multilabel);
        None where they mean none (regression).
    logits, logits_scale : array of shape (N, m)
        What labels are taken from, one column for each.
    truth : array of shape (N,), or None
        The true ones, where they are known.
    """

    outputs: NumPyArray
    scale: NumPyArray
    bounded: bool
    labels: NumPyArray | None
    logits: NumPyArray
    logits_scale: NumPyArray
    truth: NumPyArray | None


def reference(net: Network, images: Any, truth: NumPyArray | None) -> Reference:
    """Compute the reference, in batches.

    Raises
    ------
    ShapeError
        If there are no samples, or samples or the true labels do not fit.
    """
    if net.passes.inputs:
        check_data(images, net)
    elif images.ndim <= len(net.input_shape or (1,)):
        raise ShapeError(
            f"got one sample of shape {images.shape}: samples are along the first axis, give it as x[None]"
        )
    if any(array.size == 0 for array in named(images).values()):
        raise ShapeError("no samples to compare on: give at least one")
    outputs, scale = scaled(net.layers, images)
    to_logits, _ = parted(net.layers)
    logits, logits_scale = (outputs, scale) if to_logits is net.layers else scaled(to_logits, images)
    several = net.task == "multilabel"  # one label of each output
    shape = outputs.shape[-1:] if net.output_shape is None else net.output_shape
    if truth is not None:
        check_labels(net.layers, net.meaning, shape, "compare(net, data) without labels")
        truth = label_indices(truth, outputs.shape, net.meaning).ravel()
    means_labels = not without_labels(net.layers, net.meaning, shape)
    if means_labels:
        warn_of_blank(net.passes.blank(images))
    per_label = 1 if several else logits.shape[-1]
    return Reference(
        outputs=_rows(outputs),
        scale=_rows(scale),
        bounded=is_bounded(net.layers),
        labels=np.ravel(labels_of(logits, np, replace(net.meaning, classes=None))) if means_labels else None,
        logits=_by_label(logits.reshape(-1, per_label)),
        logits_scale=_by_label(logits_scale.reshape(-1, per_label)),
        truth=truth,
    )


def _rows(outputs: NumPyArray) -> NumPyArray:
    """One row for each sample, along whatever axes samples are."""
    return outputs.reshape(-1, outputs.shape[-1])


def _by_label(logits: NumPyArray) -> NumPyArray:
    """One column for each label; one logit alone is compared with 0."""
    return logits if logits.shape[1] > 1 else np.concatenate([np.zeros_like(logits), logits], axis=1)


def verdict(task: Task, finding: Finding, wanted: Reference, atol: float | None, rtol: float | None) -> Row:
    """The row of a finding: what was measured, and whether it agrees with the reference."""
    backend, dtype, measured = str(task.backend), task.dtype, finding.measured
    if finding.outputs is None or finding.changes is None or measured is None:
        return Row(backend, dtype, "unsupported" if finding.state == "unsupported" else "failed", finding.reason)
    outputs, changes = _rows(finding.outputs), _rows(finding.changes)
    if rtol is None:
        rtol = 0.0 if wanted.bounded and atol is not None else RTOL[dtype]
    if atol is None:
        atol = ATOL[dtype] if wanted.bounded else 0.0
    told = None if finding.labels is None or wanted.labels is None else finding.labels.ravel()
    strange = 0 if told is None else int(np.sum((told < 0) | (told >= wanted.logits.shape[1])))
    labels = None
    try:
        found = parity(outputs, wanted.outputs, atol=atol, rtol=rtol, scale=wanted.scale)
        if told is not None and wanted.labels is not None and not strange:
            total = len(wanted.labels)
            labels = label_parity(
                told,
                wanted.labels,
                outputs.reshape(total, -1),
                wanted.outputs.reshape(total, -1),
                wanted.truth,
                per_sample=total // len(outputs),
            )
    except ShapeError as error:
        return Row(backend, dtype, "failed", str(error), measured=measured)
    mixed = bool((changes > 2 * (atol + rtol * wanted.scale[: len(changes)])).any())
    wrong = labels if told is not None and labels is not None and _are_wrong(told, wanted, dtype) else None
    symptoms = "; ".join(_symptoms(dtype, found, wrong, strange, measured, mixed))
    return Row(backend, dtype, "differs" if symptoms else "agrees", symptoms, found, labels, measured)


def _are_wrong(labels: NumPyArray, wanted: Reference, dtype: str) -> bool:
    """Whether labels differ whose logits are farther apart than rounding brings them."""
    (changed,) = np.nonzero(labels != wanted.labels)
    ours, theirs = (changed, labels[changed]), (changed, np.asarray(wanted.labels)[changed])
    allowed = RTOL[dtype] * wanted.logits_scale
    return bool((np.abs(wanted.logits[theirs] - wanted.logits[ours]) > allowed[theirs] + allowed[ours]).any())


def _symptoms(
    dtype: str, found: Parity, wrong: LabelParity | None, strange: int, measured: Measured, mixed: bool
) -> Iterator[str]:
    if measured.stale:
        yield "outputs fetched before the device was synchronised were stale"
    if found.non_finite:
        yield f"{found.non_finite:,} outputs are nan or infinite"
    if mixed:
        yield (
            f"outputs change with the batch size by up to {measured.batch_effect:.1e}: "
            "rows are mixed, as by a softmax along the wrong axis"
        )
    if not found.within_tolerance:
        terms = [f"{found.atol:.0e}"] if found.atol or not found.rtol else []
        terms += [f"{found.rtol:.0e} of their scale"] if found.rtol else []
        yield f"outputs differ by up to {found.max_abs_error:.1e}, allowed is {' + '.join(terms)}"
    if not found.within_tolerance and measured.precision != dtype:
        yield f"{dtype} products are rounded to {measured.precision}"
    if strange:
        yield f"{strange:,} labels are none of the network's"
    if wrong and dtype in ("float32", "float64"):
        yield f"{wrong.differ:,} of {wrong.total:,} labels differ"
