"""What inputs and outputs mean: classes and names, the task, the range of values."""

import pickle
import warnings

import numpy as np
import pytest
from helpers import predicted

import portable_nn as pnn

LOGITS = np.array([[3.0, 1.0, 2.0], [0.0, 5.0, 1.0], [-1.0, -2.0, 4.0]])
SOFTMAX = pnn.Dense(np.eye(3), None, "softmax")


@pytest.mark.parametrize(
    ("classes", "labels"),
    [
        (None, [0, 1, 2]),
        (["a", "b", "c"], [0, 1, 2]),
        ([1, 2, 3], [1, 2, 3]),
        ([0, 1, 2], [0, 1, 2]),
        ([7, -3, 40], [7, -3, 40]),
    ],
)
def test_integers_that_are_classes_come_through(backend, classes, labels):
    net = pnn.Network([SOFTMAX], classes=classes)
    x = backend.place(LOGITS.astype(np.float32))
    found = predicted(net, backend, x) if backend.has_labels() else pnn.infer(net, x, backend=backend)
    np.testing.assert_array_equal(found, labels)
    np.testing.assert_array_equal(pnn.infer(net, LOGITS.astype(np.float32), backend=backend), labels)


@pytest.mark.parametrize(("classes", "labels"), [(None, [0, 1]), ([1, 2], [1, 2]), ([-1, 1], [-1, 1])])
@pytest.mark.parametrize("activation", ["sigmoid", "identity"])
def test_the_two_classes_of_one_output(classes, labels, activation):
    net = pnn.Network([pnn.Dense(np.eye(2)[:, :1], None, activation)], classes=classes, task="classification")
    x = np.array([[-3.0, 0.0], [2.0, 0.0]])
    np.testing.assert_array_equal(net.predict(x), labels)
    assert net.predict(x[1]) == labels[1]


def test_outputs_that_exclude_none_have_a_label_each(backend):
    net = pnn.Network([pnn.Dense(np.eye(3), None, "sigmoid")], task="multilabel", classes=["a", "b", "c"])
    x = backend.place((LOGITS - 2).astype(np.float32))
    if backend.has_labels():
        np.testing.assert_array_equal(backend.to_numpy(net.predict(x)), LOGITS >= 2)
    np.testing.assert_array_equal(pnn.infer(net, (LOGITS - 2).astype(np.float32), backend=backend), LOGITS >= 2)
    assert pnn.infer(net, np.empty((0, 3))).shape == (0, 3)


def test_one_output_that_excludes_none_has_a_label_too():
    layers = [pnn.Dense(np.eye(3)[:, :1], None, "sigmoid")]
    net = pnn.Network(layers, task="multilabel", classes=["a"])
    np.testing.assert_array_equal(net.predict(LOGITS - 1), LOGITS[:, :1] >= 1)
    for classes in ([1], [0]):
        with pytest.raises(pnn.NetworkError, match="multilabel names its outputs: give classes as strings"):
            pnn.Network(layers, task="multilabel", classes=classes)


@pytest.mark.parametrize(
    ("layers", "given", "task"),
    [
        ([SOFTMAX], {}, "classification"),
        ([pnn.Dense(np.eye(3)), pnn.Activation("log_softmax")], {}, "classification"),
        ([pnn.Dense(np.eye(3))], {}, None),
        ([pnn.Dense(np.eye(3))], {"classes": list("abc")}, "classification"),
        ([pnn.Dense(np.eye(3))], {"task": "regression"}, "regression"),
    ],
)
def test_what_tells_the_task(layers, given, task):
    assert pnn.Network(layers, **given).task == task


def test_regression_has_no_labels():
    net = pnn.Network([pnn.Dense(np.eye(3))], task="regression")
    with pytest.raises(pnn.NetworkError, match=r"does regression, which has no labels: call net\(x\)$"):
        net.predict(LOGITS)
    net(LOGITS)


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"classes": [[1], [2], [3]]}, "classes must be strings or integers"),
        ({"classes": ["a"]}, "1 classes were given, the outputs mean 3"),
        ({"classes": "abc"}, "classes must be a list, got 'abc'"),
        ({"classes": [1, 1, 2]}, "once each"),
        ({"classes": [1.5, 2, 3]}, "strings or integers"),
        ({"classes": [1, 2, 2**40]}, "fit into 32 bits"),
        ({"inputs": ["a", "b"]}, "2 inputs were named, the network has 3"),
        ({"outputs": [1, 2, 3]}, "outputs must be names"),
        ({"task": "guess"}, "unknown task 'guess': choose one of classification, multilabel, regression"),
        ({"task": "regression", "classes": [1, 2, 3]}, "regression has no classes"),
        ({"task": "multilabel"}, "multilabel takes a sigmoid or logits"),
        ({"input_range": (1, 0)}, "the smaller first"),
        ({"input_range": 255}, "two numbers, the smaller first"),
        ({"input_dtype": "complex64"}, "one of real numbers"),
        ({"input_dtype": "pixels"}, "one of real numbers"),
    ],
)
def test_what_does_not_fit_is_refused(given, match):
    with pytest.raises(pnn.NetworkError, match=match):
        pnn.Network([SOFTMAX], **given)


def test_it_travels():
    given = {
        "classes": ("x", "y", "z"),
        "inputs": ("a", "b", "c"),
        "outputs": ("p", "q", "r"),
        "task": "classification",
        "input_range": (-5.0, 5.0),
        "input_dtype": "float32",
    }
    net = pnn.Network([SOFTMAX], **given)
    copies = [
        net,
        net.to("numpy"),
        net.compile(),
        net.astype("float32"),
        net.to("torch").to_numpy(),
        pickle.loads(pickle.dumps(net)),
    ]
    for copy in copies:
        assert {name: getattr(copy, name) for name in given} == given
    assert net.described(classes=None).classes is None
    assert net.described(classes=[4, 5, 6]).inputs == given["inputs"]
    with pytest.raises(pnn.NetworkError, match="unknown labels: choose from classes"):
        net.described(labels=[1, 2, 3])


PIXELS = [pnn.Rescaling(1 / 255), SOFTMAX]


@pytest.mark.parametrize(
    ("net", "x", "match"),
    [
        (pnn.Network(PIXELS), np.linspace(0, 1, 6).reshape(2, 3), "do not scale them yourself"),
        (pnn.Network(PIXELS), np.linspace(-1, 1, 6).reshape(2, 3), "takes 0 to 255: scale them as"),
        (pnn.Network(PIXELS), np.array([300, 2, 3]), "from 2 to 300 came"),
        (pnn.Network([SOFTMAX], input_range=(20, 100)), np.array([50.0, 101.0, 60.0]), "takes 20 to 100"),
        (pnn.Network([SOFTMAX]), np.full((2, 3), np.nan), "all values that came are nan"),
    ],
)
def test_input_that_cannot_be_meant_gets_one_warning(net, x, match):
    with pytest.warns(pnn.InputWarning, match=match) as caught:
        net(x)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    net(x)  # warnings are errors here


@pytest.mark.parametrize(
    ("net", "x"),
    [
        (pnn.Network(PIXELS), np.linspace(0, 255, 6).reshape(2, 3)),
        (pnn.Network(PIXELS), np.array([[0, 1, 1]], dtype=np.uint8)),
        (pnn.Network(PIXELS), np.zeros((2, 3))),
        (pnn.Network(PIXELS), np.ones((0, 3))),
        (pnn.Network(PIXELS), np.array([True, False, True])),
        (pnn.Network([SOFTMAX]), np.array([np.nan, 1.0, 2.0])),
        (pnn.Network([SOFTMAX], input_range=(0, 1)), np.linspace(0, 1, 3)),
    ],
)
def test_other_input_gets_none(net, x):
    with warnings.catch_warnings():
        warnings.simplefilter("error", pnn.InputWarning)
        with np.errstate(invalid="ignore"):
            net(x)


def test_every_library_warns(backend):
    if str(backend).startswith(("dask", "torch:meta")):
        pytest.skip("its values are not there yet: nothing is to be seen")
    x = backend.place(np.linspace(0, 1, 6, dtype=np.float32).reshape(2, 3))
    with pytest.warns(pnn.InputWarning, match="do not scale them yourself"):
        pnn.Network(PIXELS)(x)


def test_pixels_of_mnist_that_were_divided_already():
    images, _ = pnn.datasets.mnist("test")
    with pytest.warns(pnn.InputWarning, match="values from 0 to 1 came, and the network takes 0 to 255"):
        pnn.load("mnist").predict(images[:100] / 255)


@pytest.mark.parametrize(
    "layers",
    [
        [pnn.Rescaling(float(np.float32(1 / 255)))],
        [pnn.Rescaling(np.full(3, 1 / 255, dtype=np.float32))],
        [pnn.Rescaling(1 / 127.5, -1.0)],
        [pnn.Flatten((3,)), pnn.Rescaling(1 / 255)],
    ],
)
def test_what_takes_pixels_is_known_by_its_rescaling(layers):
    with pytest.warns(pnn.InputWarning, match="the network takes 0 to 255: do not scale"):
        pnn.Network([*layers, SOFTMAX])(np.linspace(0, 1, 6).reshape(2, 3))


def test_values_at_the_ends_of_a_range_are_within_it():
    net = pnn.Network([SOFTMAX], input_range=(0.1, 0.3))
    net(np.array([0.1, 0.2, 0.3], dtype=np.float32))
    net(np.array([0.1, 0.2, 0.3], dtype=np.float16))
    pnn.Network(PIXELS)(np.array([0.0, 1.0, 2.0]))  # a dark image
