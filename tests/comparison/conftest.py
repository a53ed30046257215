"""A network, and samples with their labels."""

import pytest

import portable_nn as pnn


@pytest.fixture(scope="module")
def mnist():
    images, labels = pnn.datasets.mnist("test")
    return pnn.load("mnist"), images[:500], labels[:500]
