"""The book's accuracy, 0.9352, on every backend, and the probabilities behind it."""

import os

import numpy as np
import pytest
from helpers import TOLERANCE, check_beside, forward, placed, predicted, run_python

ACCURACY = 0.9352
SAMPLE = 100
"""Images to take where one at a time costs a millisecond and more, or a dtype is emulated."""


@pytest.fixture(scope="session")
def probabilities(net, mnist_test):
    """Those of the test images, by NumPy and SciPy in float64."""
    images, _ = mnist_test
    return forward(net, images)


def test_the_reference_has_the_accuracy_and_margins_that_no_rounding_bridges(net, probabilities, mnist_test):
    images, labels = mnist_test
    assert np.mean(probabilities.argmax(axis=-1) == labels) == ACCURACY
    logits = np.sort(net.logits(images.astype(np.float64)), axis=-1)
    assert np.min(logits[:, -1] - logits[:, -2]) >= 1e-3


@pytest.mark.dtypes("float32", "float64")
@pytest.mark.parametrize(
    ("net", "size"), [*(("mnist", size) for size in (1, 999, 10_000)), ("book", 100)], indirect=["net"]
)
def test_in_batches(backend, dtype, net, probabilities, mnist_test, size):
    images, labels = mnist_test
    count = SAMPLE if size == 1 else len(images)
    x = placed(backend, images[:count], dtype)
    batches = [x[start : min(start + size, count), :] for start in range(0, count, size)]
    labelled = np.concatenate([predicted(net, backend, batch) for batch in batches])
    np.testing.assert_array_equal(labelled, probabilities[:count].argmax(axis=-1))
    assert count < len(images) or np.mean(labelled == labels) == ACCURACY
    last = batches[-1]
    outputs = net(last)
    wanted = probabilities[count - last.shape[0] : count]
    check_beside(outputs, last, x.dtype, wanted.shape)
    np.testing.assert_allclose(backend.to_numpy(outputs), wanted, rtol=0, atol=TOLERANCE[dtype])


@pytest.mark.dtypes("float32", "float64")
def test_one_vector_at_a_time(backend, dtype, net, probabilities, mnist_test):
    images, labels = mnist_test
    count = len(images) if backend.name in ("numpy", "torch") else SAMPLE
    x = placed(backend, images[:count], dtype)
    labelled = np.array([predicted(net, backend, x[i, :]) for i in range(count)])
    np.testing.assert_array_equal(labelled, probabilities[:count].argmax(axis=-1))
    assert count < len(images) or np.mean(labelled == labels) == ACCURACY
    outputs = net(x[0, :])
    check_beside(outputs, x, x.dtype, (10,))
    np.testing.assert_allclose(backend.to_numpy(outputs), probabilities[0], rtol=0, atol=TOLERANCE[dtype])


@pytest.mark.dtypes("float16", "bfloat16")
def test_half_precision(backend, dtype, net, probabilities, mnist_test):
    images, wanted = mnist_test[0][:SAMPLE], probabilities[:SAMPLE]
    x = placed(backend, images, dtype)
    outputs = net(x)
    check_beside(outputs, x, x.dtype, wanted.shape)
    np.testing.assert_allclose(backend.to_numpy(outputs), wanted, rtol=0, atol=TOLERANCE[dtype])


def test_pixels_as_integers_are_cast_to_the_dtype_of_the_weights(backend, net, probabilities, mnist_test):
    images, labels = mnist_test
    x = backend.place(images)
    outputs = net(x)
    check_beside(outputs, x, backend.xp.float32, probabilities.shape)
    np.testing.assert_allclose(backend.to_numpy(outputs), probabilities, rtol=0, atol=TOLERANCE["float32"])
    assert np.mean(predicted(net, backend, x) == labels) == ACCURACY


@pytest.mark.slow
def test_jax_with_x64_on_a_second_device(jax):
    """What JAX must be started for runs in a process of its own."""
    second = {"JAX_ENABLE_X64": "1", "XLA_FLAGS": "--xla_force_host_platform_device_count=2"}
    output = run_python(
        *("-m", "pytest", "-q", "-p", "no:cacheprovider", "--backend", "jax:cpu:1"),
        *("-k", "jax and (float64 or test_network) or two_devices or jax_compiled"),
        *(f"tests/test_{name}.py" for name in ("accuracy", "activations", "following", "network")),
        "tests/inference",
        env=os.environ | second,
    )
    assert " passed" in output
    assert "one CPU device" not in output  # the reason for which the tests on two devices are skipped elsewhere
