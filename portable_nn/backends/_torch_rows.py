"""Many samples on PyTorch's CPU: their biases apart, and large batches by blocks of rows."""

from functools import partial
from typing import Any, TypeAlias, TypeGuard

import torch

from portable_nn._arrays import is_narrow
from portable_nn._typing import Array
from portable_nn.activations import ERFC_GATE
from portable_nn.backends._base import LARGE, Forward, keep_pages
from portable_nn.backends._torch import is_plain
from portable_nn.layers import Dense, Layer

__all__ = ["by_blocks", "of_rows"]

IN_CACHE, BLOCK = 2**17, 2**20
"""Values that a layer makes of a block: as stay in a core's cache, and others."""

ROWS = 500
"""A block has as many at least: a product packs its weights anew for each."""

Steps: TypeAlias = tuple[Forward, ...]


def of_rows(steps: Steps) -> Steps:
    """The steps with the bias of many samples added apart: to begin with it takes up to half as long again."""
    found: list[Forward] = []
    for step in steps:
        if _is_product(step):
            found.append(partial(torch.mm, mat2=step.keywords["weight"].T))
            found.append(partial(torch.Tensor.add_, other=step.keywords["bias"]))
        else:
            found.append(step)
    return tuple(found)


def _is_product(step: Any) -> TypeGuard[partial[Array]]:
    """Not one of 16 bits, which would be rounded twice."""
    is_linear = isinstance(step, partial) and step.func is torch.nn.functional.linear
    return is_linear and not is_narrow(step.keywords["bias"])


def by_blocks(forward: Forward, layers: tuple[Layer, ...]) -> Forward:
    """By blocks of rows where a layer makes more than memory is kept for, or gelu takes it several times."""
    dense = [layer for layer in layers if isinstance(layer, Dense)]
    if not dense:
        return forward
    keep_pages()
    widest, itemsize = max(len(layer.bias) for layer in dense), dense[0].bias.element_size()
    gelu = max((len(layer.bias) for layer in dense if layer.activation in ("gelu", ERFC_GATE)), default=0)
    rows, most = max(BLOCK // widest, ROWS), LARGE // (widest * itemsize)
    if gelu and IN_CACHE // gelu >= ROWS:
        rows = most = min(rows, IN_CACHE // gelu)

    def in_blocks(x: Array) -> Array:
        if torch.compiler.is_compiling() or torch.jit.is_tracing() or (n := x.shape[0]) <= most:
            return forward(x)
        if x.requires_grad or not is_plain(x):
            return forward(x)
        found: Array = None
        for start in range(0, n, rows):
            part = forward(x[start : start + rows])
            if found is None:
                found = part.new_empty((n, *part.shape[1:]))
            found[start : start + rows] = part
        return found

    return in_blocks
