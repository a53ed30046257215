"""The network, its samples and their labels, which all tests of `infer` read."""

import numpy as np
import pytest

import portable_nn as pnn


@pytest.fixture(scope="package")
def mnist():
    return pnn.load("mnist")


@pytest.fixture(scope="package")
def images():
    return pnn.datasets.mnist("test")[0][:2000]


@pytest.fixture(scope="package")
def expected(mnist, images):
    return mnist.predict(images.astype(np.float64))
