"""What a call is said to move is what it moves."""

import numpy as np
import pytest

import portable_nn as pnn
from portable_nn import explain


def test_what_numpy_takes_as_it_is_does_not_move():
    net = pnn.Network([pnn.Dense(np.ones((8, 4)), None, "tanh"), pnn.Dense(np.ones((4, 2)))])
    found = explain(net, np.ones((3, 8)))
    assert (found.weights, found.moved_bytes) == ("shared", 0)


def test_linear_layers_that_merge_move_as_one():
    net = pnn.Network([pnn.Dense(np.ones((3, 30))), pnn.Dense(np.ones((30, 2)))])
    assert explain(net, np.ones((3, 3))).moved_bytes == 8 * (3 * 2 + 2)


def test_float16_is_computed_in_float32_on_numpy():
    found = explain(pnn.load("mnist"), np.ones((2, 784), dtype=np.float16))
    assert (found.dtype, found.input_cast, found.precision) == ("float32", "float16 to float32", "float32")


def test_weights_are_copied_once(backend):
    net = pnn.load("mnist")
    x = backend.place(np.zeros((2, 784), dtype=np.uint8))
    first, second = explain(net, x), explain(net, x)
    assert (first.library, first.dtype) == (backend.name, "float32")
    assert first.input_cast == "uint8 to float32"
    numpy = backend.of_blocks.name == "numpy"
    values = 784 * 50 + 50 + (0 if numpy else 50 * 100 + 100 + 1010)  # NumPy keeps what is not rewritten
    assert (first.weights, first.moved_bytes) == ("copied", 4 * values)
    assert (second.weights, second.moved_bytes) == ("cached", 0)


def test_a_bound_network_moves_nothing(backend):
    net = pnn.load("mnist").to(backend)
    x = backend.place(np.zeros((2, 784), dtype=np.float32))
    found = explain(net, x)
    assert (found.weights, found.moved_bytes, found.input_cast) == ("cached", 0, "")
    assert found.precision == "float32"


def test_weights_of_ones_own_are_shared_or_cast_at_each_call(torch):
    net = pnn.Network([pnn.Dense(np.eye(3), np.ones(3)).map(torch.tensor)])
    for _ in range(2):
        found = explain(net, torch.ones(3, dtype=torch.float64))
        assert (found.weights, found.moved_bytes, found.dtype) == ("shared", 0, "float64")
        found = explain(net, torch.ones(3, dtype=torch.float32))
        assert (found.weights, found.moved_bytes, found.dtype) == ("cast", 0, "float32")


def test_a_call_before_leaves_the_weights_cached():
    net, x = pnn.load("mnist"), np.zeros((2, 784))
    net(x)
    found = explain(net, x)
    assert (found.weights, found.dtype, found.precision) == ("cached", "float64", "float64")


def test_what_would_raise_raises():
    with pytest.raises(pnn.ShapeError):
        explain(pnn.load("mnist"), np.zeros((2, 783)))
