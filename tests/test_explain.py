"""What a call is said to move is what it moves."""

import numpy as np
import pytest

import portable_nn as pnn
from portable_nn.explain import explain


def test_weights_are_copied_once(backend):
    net = pnn.load("mnist")
    x = backend.place(np.zeros((2, 784), dtype=np.uint8))
    first, second = explain(net, x), explain(net, x)
    assert (first.library, first.dtype) == (backend.name, "float32")
    assert first.input_cast == "uint8 to float32"
    assert (first.weights, first.moved_bytes) == ("copied", 4 * 45360)
    assert (second.weights, second.moved_bytes) == ("cached", 0)


def test_a_bound_network_moves_nothing(backend):
    net = pnn.load("mnist").to(backend)
    x = backend.place(np.zeros((2, 784), dtype=np.float32))
    found = explain(net, x)
    assert (found.weights, found.moved_bytes, found.input_cast) == ("cached", 0, "")
    assert found.precision == "float32"


def test_a_call_before_leaves_the_weights_cached():
    net, x = pnn.load("mnist"), np.zeros((2, 784))
    net(x)
    found = explain(net, x)
    assert (found.weights, found.dtype, found.precision) == ("cached", "float64", "float64")


def test_what_would_raise_raises():
    with pytest.raises(pnn.ShapeError):
        explain(pnn.load("mnist"), np.zeros((2, 783)))
