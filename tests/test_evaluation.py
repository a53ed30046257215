"""`evaluate`: the accuracy on every backend, as a record."""

import dataclasses

import numpy as np
import pytest
from helpers import placed

import portable_nn as pnn

FEW = 100


@pytest.fixture(scope="module")
def mnist():
    return pnn.load("mnist")


@pytest.fixture(scope="module")
def right(mnist, mnist_test):
    """How many of the first images NumPy labels rightly in float64."""
    images, labels = mnist_test
    return int(np.sum(mnist.predict(images[:FEW].astype(np.float64)) == labels[:FEW]))


@pytest.mark.parametrize("batch_size", [None, 999])
def test_the_accuracy_and_what_the_record_says(backend, net, mnist_test, batch_size):
    record = pnn.evaluate(net, *mnist_test, backend=backend, batch_size=batch_size)
    assert record.accuracy == 0.9352
    assert (record.correct, record.total) == (9352, 10_000)
    assert record.backend == backend.name
    assert record.device == (backend.device_name() or "cpu")
    assert record.dtype == "float32"
    assert record.batch_size == batch_size
    assert record.seconds > 0
    assert record.images_per_second == record.total / record.seconds


def test_a_spec_names_the_backend(backend, mnist, mnist_test):
    images, labels = mnist_test
    record = pnn.evaluate(mnist, images[:FEW], labels[:FEW], backend=str(backend))
    assert (record.backend, record.device) == (backend.name, backend.device_name() or "cpu")


def test_one_sample_at_a_time(backend, mnist, mnist_test, right):
    images, labels = mnist_test
    record = pnn.evaluate(mnist, images[:FEW], labels[:FEW], backend=backend, per_sample=True)
    assert (record.correct, record.total, record.batch_size) == (right, FEW, 0)


@pytest.mark.parametrize("options", [{}, {"batch_size": 7}, {"per_sample": True}], ids=str)
def test_images_and_labels_that_are_on_a_device_already(backend, mnist, mnist_test, right, options):
    images, labels = (backend.place(array[:FEW].astype(np.int32)) for array in mnist_test)
    record = pnn.evaluate(mnist, images, labels, **options)
    assert (record.correct, record.total) == (right, FEW)
    assert (record.backend, record.device) == (backend.name, backend.device_name() or "cpu")


def test_images_of_one_library_on_another(backend, mnist, mnist_test, right):
    strict = pytest.importorskip("array_api_strict", reason="pip install array-api-strict")
    images, labels = (strict.asarray(array[:FEW], device=strict.Device("device1")) for array in mnist_test)
    record = pnn.evaluate(mnist, images, labels, backend=backend)
    assert (record.backend, record.correct) == (backend.name, right)


def test_a_bound_network_is_evaluated_where_it_is(backend, mnist, mnist_test, right):
    images, labels = mnist_test
    record = pnn.evaluate(mnist.to(backend), images[:FEW], labels[:FEW])
    assert (record.backend, record.device) == (backend.name, backend.device_name() or "cpu")
    assert record.correct == right


def test_a_bound_network_is_evaluated_elsewhere_if_asked(backend, mnist, mnist_test, right):
    images, labels = mnist_test
    bound = mnist.to(backend)
    record = pnn.evaluate(bound, images[:FEW], labels[:FEW], backend="numpy")
    assert (record.backend, record.correct) == ("numpy", right)
    assert bound.backend == backend


@pytest.mark.dtypes("float32", "float64")
def test_the_dtype_of_the_images_is_that_of_the_computation(backend, dtype, mnist, mnist_test, right):
    images, labels = mnist_test
    record = pnn.evaluate(mnist, images[:FEW].astype(dtype), labels[:FEW], backend=backend)
    assert (record.dtype, record.correct) == (dtype, right)


@pytest.mark.parametrize(
    ("options", "steps"),
    [({"batch_size": 50}, [50, 100]), ({"batch_size": 99}, [99, 100]), ({"per_sample": True}, range(1, 101))],
    ids=str,
)
def test_progress(backend, mnist, mnist_test, options, steps):
    images, labels = mnist_test
    done = []
    pnn.evaluate(mnist, images[:FEW], labels[:FEW], backend=backend, progress=done.append, **options)
    assert done == list(steps)


def test_a_network_of_two_classes(backend):
    net = pnn.Network([pnn.Dense(np.ones((1, 1), dtype=np.float32), None, "sigmoid")])
    images, labels = np.array([[-1], [0], [1], [2]], dtype=np.float32), np.array([0, 1, 0, 1])
    for options in ({}, {"per_sample": True}):
        assert pnn.evaluate(net, images, labels, backend=backend, **options).correct == 3


CLASSES = pytest.mark.parametrize(
    ("classes", "truth"),
    [
        (None, [0, 2, 1, 1]),
        ((1, 2, 3), [1, 3, 2, 2]),
        ((70_000, -1, 0), [70_000, 0, -1, -1]),
        (("cat", "dog", "eel"), [0, 2, 1, 1]),
        (("cat", "dog", "eel"), ["cat", "eel", "dog", "dog"]),
    ],
)


@CLASSES
def test_true_labels_are_classes_or_their_indices(backend, classes, truth):
    weight = np.array([[1, 0, 0], [0, 0, 1], [0, 1, 0]], dtype=np.float32)
    net = pnn.Network([pnn.Dense(weight, None, "softmax")], classes=classes)
    samples = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 0, 0]], dtype=np.float32)
    for options in ({}, {"per_sample": True}):
        assert pnn.evaluate(net, samples, np.array(truth), backend=backend, **options).correct == 3


def test_one_output_of_two_classes():
    net = pnn.Network([pnn.Dense(np.ones((1, 1)), None, "sigmoid")], classes=["no", "yes"])
    assert pnn.evaluate(net, np.array([[-1.0], [1.0]]), np.array(["no", "yes"])).correct == 2


@pytest.mark.parametrize(
    ("meaning", "truth", "message"),
    [
        ({"task": "multilabel"}, [0, 1], "several labels of each sample have no one accuracy"),
        ({"task": "regression"}, [0, 1], "regression, which has no labels"),
        ({"classes": [5, 7]}, [0, 1], "labels 0, 1 are none of the network's classes 5, 7"),
        ({"classes": ["a", "b"]}, ["a", "c"], "labels 'c' are none of the network's classes 'a', 'b'"),
        ({"classes": ["a", "b"]}, [0, 2], "labels run from 0 to 2, the network gives 0 to 1"),
        ({"classes": ["a", "b"]}, [0.0, 1.0], r"give one integer for each, as labels.astype\(int\) does"),
        ({}, ["0", "1"], "labels are strings such as '0', and the network does not name its classes"),
    ],
)
def test_labels_that_are_none(meaning, truth, message):
    net = pnn.Network([pnn.Dense(np.eye(2), None, "sigmoid")], **meaning)
    with pytest.raises(pnn.PortableNNError, match=message):
        pnn.evaluate(net, np.eye(2), np.array(truth))


def test_float32_products_are_full_meanwhile(torch, mnist, mnist_test):
    images, labels = mnist_test
    seen = []

    def progress(done):
        seen.append(torch.backends.cuda.matmul.fp32_precision)

    before = torch.backends.cuda.matmul.fp32_precision
    pnn.evaluate(mnist, images[:FEW], labels[:FEW], backend="torch", batch_size=50, progress=progress)
    assert seen == ["ieee"] * 2
    assert torch.backends.cuda.matmul.fp32_precision == before


def test_a_record_is_frozen(mnist, mnist_test):
    record = pnn.evaluate(mnist, *mnist_test)
    with pytest.raises(dataclasses.FrozenInstanceError):
        record.accuracy = 1.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda images, labels: (images, labels[:-1]),
            r"100 samples and labels of shape \(99,\): give one label",
        ),
        (lambda images, labels: (images, labels[:, None]), r"of shape \(100, 1\): .*, labels\.ravel\(\)$"),
        (
            lambda images, labels: (images, np.eye(10, dtype=int)[labels]),
            r"of shape \(100, 10\): .*, labels\.argmax\(axis=1\) if they are one-hot$",
        ),
        (lambda images, labels: (images, labels[0]), r"100 samples and labels of shape \(\)"),
        (lambda images, labels: (images[:0], labels[:0]), "^no samples to evaluate on: give at least one$"),
        (
            lambda images, labels: (images[:, 1:], labels),
            r"takes arrays of shape \(\.\.\., 784\), got \(\d+, 783\)",
        ),
        (lambda images, labels: (images[0], labels), r"got shape \(784,\): give one sample as x\[None\]"),
        (lambda images, labels: (images, labels + 1), "labels run from 1 to 10, the network gives 0 to 9"),
        (lambda images, labels: (images, -labels), "labels run from -9 to 0"),
        (lambda images, labels: (images, labels / 2), "dtype float64: give one integer for each$"),
        (lambda images, labels: (images, labels.astype(str)), "labels are strings such as '0'.*described"),
    ],
)
def test_images_and_labels_that_do_not_fit(backend, mnist, mnist_test, change, message):
    images, labels = change(*(array[:FEW] for array in mnist_test))
    with pytest.raises(pnn.ShapeError, match=message):
        pnn.evaluate(mnist, images, labels, backend=backend)


LOGITS = np.random.default_rng(0).normal(size=(30, 3)).astype(np.float32)
NUMBERED, NAMED = [1, 2, 3], ["one", "two", "three"]


@pytest.mark.parametrize("classes", [NUMBERED, NAMED, [30, -7, 2]])
def test_labels_are_the_classes_of_the_network(backend, classes):
    net = pnn.Network([pnn.Dense(np.eye(3, dtype=np.float32), None, "softmax")], classes=classes)
    labels = np.array(classes)[LOGITS.argmax(axis=1)]
    labels[:3] = labels[2::-1]
    correct = int(np.sum(labels == np.array(classes)[LOGITS.argmax(axis=1)]))
    for options in ({}, {"per_sample": True}):
        assert pnn.evaluate(net, LOGITS, labels, backend=backend, **options).correct == correct


def test_several_labels_of_a_sample_have_no_one_accuracy():
    net = pnn.Network([pnn.Dense(np.eye(3), None, "sigmoid")], task="multilabel")
    with pytest.raises(pnn.ShapeError, match=r"compare them with net.predict\(x\)"):
        pnn.evaluate(net, LOGITS, np.zeros(30, int))


@pytest.mark.parametrize("options", [{}, {"per_sample": True}])
def test_samples_of_nothing_but_nan_are_told_of(options):
    net = pnn.Network([pnn.Dense(np.eye(3), None, "softmax")])
    x = LOGITS.copy()
    x[[4, 9]], x[5, 0] = np.nan, np.nan
    with pytest.warns(pnn.InputWarning, match="^nothing but nan in 2 of the samples"):
        pnn.evaluate(net, x, np.zeros(30, int), **options)


@pytest.mark.parametrize("batch_size", [0, -1])
def test_a_batch_of_none(backend, mnist, mnist_test, batch_size):
    with pytest.raises(pnn.ShapeError, match=f"batch_size must be at least 1, got {batch_size}"):
        pnn.evaluate(mnist, *mnist_test, backend=backend, batch_size=batch_size)


def test_labels_that_are_true_or_false(torch):
    net = pnn.Network([pnn.Dense(np.eye(2)[:, :1], None, "sigmoid")])
    x = np.array([[1.0, 0.0], [-1.0, 0.0], [2.0, 0.0]])
    for labels in (x[:, 0] > 0, (x[:, 0] > 0).tolist(), torch.asarray(x[:, 0] > 0)):
        assert pnn.evaluate(net, x, labels).accuracy == 1
    assert pnn.compare(net, x, x[:, 0] > 1, backends=["numpy"], in_process=True).rows[0].labels.accuracy == 2 / 3


def test_one_hot_labels(mnist, mnist_test):
    images, labels = (array[:3] for array in mnist_test)
    with pytest.raises(pnn.ShapeError, match=r"labels of shape \(3, 10\): .*, labels\.argmax\(axis=1\) if"):
        pnn.evaluate(mnist, images, np.eye(10)[labels])
    with pytest.raises(pnn.ShapeError, match=r"give one label for each sample$"):
        pnn.evaluate(mnist, images, labels[:2])


@pytest.mark.parametrize("per_sample", [False, True])
def test_more_leading_axes(backend, mnist, mnist_test, per_sample):
    images, labels = (array[:30] for array in mnist_test)
    wanted = pnn.evaluate(mnist, images, labels, backend=backend)
    x = placed(backend, images.reshape(5, 6, 784), "float32")
    found = pnn.evaluate(mnist, x, labels.reshape(5, 6), per_sample=per_sample)
    assert (found.correct, found.total, found.backend) == (wanted.correct, 30, backend.name)
    with pytest.raises(
        pnn.ShapeError, match=r"5 x 6 samples and labels of shape \(30,\): give one label for each"
    ):
        pnn.evaluate(mnist, x, labels)


def test_what_is_no_array(mnist, mnist_test):
    with pytest.raises(pnn.InputError, match="got a list of str: give numbers"):
        pnn.evaluate(mnist, ["7", "2"], mnist_test[1][:2])


def test_regression_has_no_accuracy(mnist_test):
    net = pnn.Network([pnn.Dense(np.ones((784, 1)))])
    with pytest.raises(pnn.NetworkError, match="regression, which has no labels"):
        pnn.evaluate(net, *mnist_test)


def test_an_unknown_backend(mnist, mnist_test):
    with pytest.raises(pnn.BackendError, match="unknown backend 'tf': choose one of numpy, torch"):
        pnn.evaluate(mnist, *mnist_test, backend="tf")
