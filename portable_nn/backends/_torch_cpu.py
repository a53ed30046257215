"""What takes least time on PyTorch's CPU: products by the number of their rows, and large batches by blocks."""

from collections.abc import Iterator
from functools import partial

import torch

from portable_nn._arrays import is_narrow
from portable_nn._typing import Array
from portable_nn.activations import ERFC_GATE
from portable_nn.backends._base import LARGE, Forward, keep_pages
from portable_nn.layers import Dense, Layer

__all__ = ["by_blocks", "specific"]

IN_CACHE, BLOCK = 2**17, 2**20
"""Values that a layer makes of a block: as stay in a core's cache, and others."""

ROWS = 500
"""A block has as many at least: a product packs its weights anew for each."""


def specific(steps: tuple[Forward, ...], leading: int) -> Iterator[Forward]:
    """The steps, their products those of one sample, which take a fifth less time as such, or of many.

    For those the bias is added apart: for a product to begin with it takes up to half as long again. Not where a
    product has 16 bits, which would be rounded twice.
    """
    for step in steps:
        match step:
            case partial(func=torch.nn.functional.linear, keywords={"weight": weight, "bias": bias}) if not (
                is_narrow(bias)
            ):
                if leading:
                    yield partial(torch.mm, mat2=weight.T)
                    yield partial(torch.Tensor.add_, other=bias)
                else:
                    yield partial(torch.addmv, bias, weight)
            case _:
                yield step


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
        if (n := x.shape[0]) <= most or x.requires_grad:
            return forward(x)
        found: Array = None
        for start in range(0, n, rows):
            part = forward(x[start : start + rows])
            if found is None:
                found = part.new_empty((n, *part.shape[1:]))
            found[start : start + rows] = part
        return found

    return in_blocks
