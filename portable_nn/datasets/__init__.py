"""Data sets, and the readers of their files."""

from portable_nn.datasets.idx import open_idx, read_idx
from portable_nn.datasets.mnist import mnist
from portable_nn.datasets.pickles import book_weights

__all__ = ["book_weights", "mnist", "open_idx", "read_idx"]
