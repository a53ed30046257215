"""Data sets, and the readers of their files."""

from portable_nn.datasets.book import book_weights
from portable_nn.datasets.mnist import mnist
from portable_nn.readers.idx import open_idx, read_idx

__all__ = ["book_weights", "mnist", "open_idx", "read_idx"]


def __dir__() -> list[str]:
    return __all__
