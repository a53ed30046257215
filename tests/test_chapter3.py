"""Every number of chapter 3, on every backend: as printed in float64, within its rounding in float32."""

import re

import chapter3
import numpy as np
import pytest
from array_api_compat import array_namespace

import portable_nn as pnn

NUMBERS = {
    chapter3.perceptron: {"AND of [0 0], [0 1], [1 0], [1 1]": "[0. 0. 0. 1.]"},
    chapter3.linear_layers: {"two linear layers": "[0.6  1.33]", "one linear layer": "[0.6  1.33]"},
    chapter3.activations: {
        "step([-1, 1, 2])": "[0. 1. 1.]",
        "sigmoid([-1, 1, 2])": "[0.26894142 0.73105858 0.88079708]",
        "relu([-1, 1, 2])": "[0. 1. 2.]",
        "tanh([-1, 1, 2])": "[-0.76159416  0.76159416  0.96402758]",
    },
    chapter3.first_layer: {"A1": "[0.3 0.7 1.1]", "Z1": "[0.57444252 0.66818777 0.75026011]"},
    chapter3.three_layers: {"Y": "[0.31682708 0.69627909]"},
    chapter3.softmax_of_a_vector: {"softmax([-0.2, 1.5, 4.3])": "[0.01036365 0.05673009 0.93290626]"},
    chapter3.overflow: {
        "exp([1010, 1000, 990])": "[inf inf inf]",
        "softmax([1010, 1000, 990])": "[9.99954600e-01 4.53978686e-05 2.06106005e-09]",
    },
    chapter3.sums: {
        "sum of [[1, 2, 3], [4, 5, 6]]": "21",
        "sum of [[1, 2, 3], [4, 5, 6]] along axis 1": "[ 6 15]",
        "sum of [[1, 2, 3, 4], [1, 3, 5, 7]]": "26",
        "sum of [[1, 2, 3, 4], [1, 3, 5, 7]] along axis 1": "[10 16]",
        "each over the sum of all": (
            "[[0.03846154 0.07692308 0.11538462 0.15384615]\n [0.03846154 0.11538462 0.19230769 0.26923077]]"
        ),
        "each over the sum of its row": "[[0.1    0.2    0.3    0.4   ]\n [0.0625 0.1875 0.3125 0.4375]]",
    },
    chapter3.softmax_of_a_batch: {
        "softmax([1, 2, 3, 4])": "[0.0320586  0.08714432 0.23688282 0.64391426]",
        "softmax([[1, 2, 3, 4], [1, 3, 5, 7]])": (
            "[[0.0320586  0.08714432 0.23688282 0.64391426]\n [0.00214401 0.0158422  0.11705891 0.86495488]]"
        ),
        "the wrong softmax of the same": (
            "[[0.00200961 0.00546269 0.01484912 0.04036411]\n [0.00200961 0.01484912 0.10972101 0.81073472]]"
        ),
    },
}


def test_no_section_is_left_out():
    assert tuple(NUMBERS) == chapter3.SECTIONS


@pytest.mark.filterwarnings("ignore:overflow encountered in exp")
@pytest.mark.parametrize("section", NUMBERS, ids=lambda section: section.__name__)
def test_numbers(backend, section):
    values = section(backend)
    for value in values.values():
        assert pnn.backends.of(value, array_namespace(value)) == backend
    fetched = {name: backend.to_numpy(value) for name, value in values.items()}
    if any(value.dtype == np.float32 for value in fetched.values()):
        assert fetched.keys() == NUMBERS[section].keys()
        for name, text in NUMBERS[section].items():
            expected = [float(number) for number in re.findall(r"[-+.e\d]+|inf", text)]
            np.testing.assert_allclose(fetched[name].ravel(), expected, rtol=1e-5)
    else:
        assert {name: str(value) for name, value in fetched.items()} == NUMBERS[section]


def test_mnist(backend):
    images, labels = pnn.datasets.mnist("test")
    in_one_batch = pnn.evaluate(pnn.load("mnist"), images[:100], labels[:100], backend="numpy")
    assert chapter3.mnist(backend, one_by_one=100) == {
        "accuracy, 100 images one at a time": in_one_batch.accuracy,
        "accuracy, 10000 images in batches of 100": 0.9352,
        "the same with the wrong softmax": 0.9352,
    }


def test_the_wrong_softmax_is_wrong(backend):
    rows = chapter3.floats(backend, chapter3.TWO_ROWS)
    wrong = backend.to_numpy(chapter3.wrong_softmax(backend, rows))
    assert wrong.sum() == pytest.approx(1)
    assert max(wrong.sum(axis=1)) < 0.95
