"""Matrix products."""

from portable_nn._typing import Array, Namespace
from portable_nn.operators._common import Table

__all__ = ["PRODUCTS"]


def matmul(a: Array, b: Array, *, xp: Namespace) -> Array:
    """The product of matrices, or of stacks of them."""
    return a @ b


def gemm(
    a: Array,
    b: Array,
    c: Array = None,
    *,
    xp: Namespace,
    alpha: float = 1.0,
    beta: float = 1.0,
    transA: int = 0,
    transB: int = 0,
) -> Array:
    """``alpha * a @ b + beta * c``, of matrices or of their transposes."""
    y = (a.T if transA else a) @ (b.T if transB else b)
    if alpha != 1:
        y = alpha * y
    if c is None:
        return y
    return y + (c if beta == 1 else beta * c)


PRODUCTS: Table = {"MatMul": {7: matmul}, "Gemm": {7: gemm}}
"""By name, and by the opset from which on they are so."""
