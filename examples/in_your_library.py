"""A function of some other library: it takes any array, uses a network inside, and gives back such an array.

Nothing below names NumPy, PyTorch or JAX; whoever calls `most_likely` brings one of them.
"""

from typing import TypeVar

from array_api_compat import array_namespace

import portable_nn as pnn

A = TypeVar("A")
NETWORK = pnn.load("mnist")


def most_likely(images: A) -> tuple[A, A]:
    """The digit that each image shows, and how sure that is."""
    xp = array_namespace(images)
    probabilities = NETWORK(images)
    return xp.argmax(probabilities, axis=-1), xp.max(probabilities, axis=-1)


def main() -> None:
    images, _ = pnn.datasets.mnist("test")
    for status in pnn.backends.status():
        if status.state == "ready":
            backend = pnn.backends.get(status.name)
            digits, sure = most_likely(backend.place(images[:3]))
            print(status.name, backend.to_numpy(digits), backend.to_numpy(sure).round(4), type(digits).__name__)


if __name__ == "__main__":
    main()
