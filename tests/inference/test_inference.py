"""Labels are the same whatever the source, the batches, the threads and the device."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import portable_nn as pnn
from portable_nn.backends import Backend

pytestmark = pytest.mark.usefixtures("all_cores")


@given(batch_size=st.integers(1, 3000), workers=st.integers(1, 4), n=st.integers(0, 700))
@settings(deadline=None, max_examples=40)
def test_batch_size_and_workers_change_nothing(mnist, images, expected, batch_size, workers, n):
    found = pnn.infer(mnist, images[:n], batch_size=batch_size, workers=workers)
    np.testing.assert_array_equal(found, expected[:n])


@pytest.mark.parametrize("batch_size", [None, 1, 7, 300, 5000])
def test_every_backend_gives_the_same_labels(backend, mnist, images, expected, batch_size):
    n = 50 if batch_size == 1 else len(images)
    found = pnn.infer(mnist, images[:n], backend=backend, batch_size=batch_size)
    assert isinstance(found, np.ndarray)
    assert found.dtype == np.int64
    np.testing.assert_array_equal(found, expected[:n])


def test_data_stay_where_they_are(backend, mnist, images, expected):
    found = pnn.infer(mnist, backend.place(images))
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("n", [1, 200, 300])
def test_what_comes_is_the_callers_own(backend, mnist, images, n):
    for outputs in (False, True):
        found = pnn.infer(mnist, images[:n], backend=backend, outputs=outputs)
        found[:] = 0  # an error, were it a view of what the library holds


def test_outputs_are_those_of_the_network(backend, mnist, images):
    found = pnn.infer(mnist, images, backend=backend, outputs=True, batch_size=999)
    np.testing.assert_allclose(found, mnist(images.astype(np.float64)), atol=1e-5)


@pytest.mark.parametrize("outputs", [False, True])
def test_what_jax_compiled_is_fed_by_numpy(jax, mnist, images, expected, outputs):
    net = mnist.compile()
    wanted = mnist(images.astype(np.float64)) if outputs else expected
    for data in (images, images.astype(np.float32), images.astype(np.float64), jax.numpy.asarray(images)):
        batches = (data[i:j] for i, j in ((0, 700), (700, 703), (703, 2000)))
        found = pnn.infer(net, batches, backend="jax", outputs=outputs)
        np.testing.assert_allclose(found, wanted, atol=1e-5)
    assert isinstance(net(jax.numpy.asarray(images[0])), jax.Array)
    assert isinstance(net(images[0]), np.ndarray)


def test_what_jax_compiled_takes_samples_of_one_shape(jax, mnist, images):
    batches = iter([images[:5], images[5:9, :700]])
    with pytest.raises(pnn.ShapeError, match=r"got \(4, 700\)"):
        pnn.infer(mnist.compile(), batches, backend="jax")


def test_what_jax_compiled_runs_on_the_device_that_was_named(jax, mnist, images, expected, monkeypatch):
    target = pnn.backends.get("jax")
    seen = []
    monkeypatch.setattr(type(target), "to_numpy", lambda _, array: seen.append(array.device) or np.asarray(array))
    for default in (None, *jax.devices("cpu")):
        with jax.default_device(default):
            found = pnn.infer(mnist.compile(), images, backend=target, batch_size=900)
        np.testing.assert_array_equal(found, expected)
    assert set(seen) == {target.device}


def test_floats_keep_their_dtype(mnist, images):
    assert pnn.infer(mnist, images.astype(np.float64), outputs=True).dtype == np.float64


def test_a_bound_network_takes_numpy_data_to_its_device(backend, mnist, images, expected):
    np.testing.assert_array_equal(pnn.infer(mnist.to(backend), images), expected)


class Sources:
    """One set of images in every form that data may have."""

    @staticmethod
    def array(images, folder):
        return images

    @staticmethod
    def strided(images, folder):
        return np.repeat(images, 2, axis=0)[::2]

    @staticmethod
    def memory_map(images, folder):
        np.save(folder / "x.npy", images)
        return np.load(folder / "x.npy", mmap_mode="r")

    @staticmethod
    def npy_file(images, folder):
        np.save(folder / "x.npy", images)
        return folder / "x.npy"

    @staticmethod
    def idx_file(images, folder):
        header = bytes([0, 0, 8, 3]) + np.array([len(images), 28, 28], ">u4").tobytes()
        (folder / "x-idx3-ubyte").write_bytes(header + images.tobytes())
        return str(folder / "x-idx3-ubyte")

    @staticmethod
    def iterator_with_a_ragged_last_batch(images, folder):
        return (images[i : i + 333] for i in range(0, len(images), 333))

    @staticmethod
    def list_of_batches_some_empty(images, folder):
        return [images[:0], images[:900], images[900:900], images[900:]]

    @staticmethod
    def zarr_array(images, folder):
        zarr = pytest.importorskip("zarr", reason="zarr arrays: pip install zarr")
        return zarr.create_array(folder / "x.zarr", data=images, chunks=(500, 784))


SOURCES = sorted(name for name in vars(Sources) if not name.startswith("_"))


@pytest.mark.parametrize("out", [False, True])
@pytest.mark.parametrize("source", SOURCES)
def test_every_source_gives_the_same_labels(mnist, images, expected, source, out, tmp_path):
    data = getattr(Sources, source)(images, tmp_path)
    found = pnn.infer(mnist, data, out=tmp_path / "labels.npy" if out else None)
    np.testing.assert_array_equal(found, expected)
    if out:
        np.testing.assert_array_equal(np.load(tmp_path / "labels.npy"), expected)


@pytest.mark.parametrize("outputs", [False, True])
@pytest.mark.parametrize("data", [np.empty((0, 784), np.uint8), []], ids=["array", "iterable"])
def test_no_samples_give_no_results(mnist, data, outputs, tmp_path):
    shape = (0, 10) if outputs else (0,)
    assert pnn.infer(mnist, data, outputs=outputs).shape == shape
    pnn.infer(mnist, data, outputs=outputs, out=tmp_path / "y.npy")
    assert np.load(tmp_path / "y.npy").shape == shape


def test_progress_counts_every_sample(backend, mnist, images):
    seen = []
    pnn.infer(mnist, images, backend=backend, batch_size=300, progress=seen.append)
    assert seen == [300, 600, 900, 1200, 1500, 1800, 2000]


def refilled(images, size=100):
    """Batches in one buffer, which the next batch and at last zeros write over."""
    buffer = np.empty_like(images[:size])
    for i in range(0, len(images), size):
        buffer[:] = images[i : i + size]
        yield buffer
    buffer[:] = 0


@pytest.mark.parametrize("workers", [1, 2, None])
def test_an_iterator_may_use_one_buffer_again(mnist, images, expected, workers):
    np.testing.assert_array_equal(pnn.infer(mnist, refilled(images), workers=workers), expected)


SAME = [pnn.Rescaling(1.0)], [pnn.Flatten((2, 2))], [pnn.Dense(np.eye(4, dtype=np.float32))]


@pytest.mark.parametrize("workers", [1, 2, None])
@pytest.mark.parametrize("layers", SAME, ids=["Rescaling", "Flatten", "Dense"])
@pytest.mark.parametrize("kind", ["float32", "uint8"])
def test_results_given_stay_when_a_buffer_is_used_again(backend, layers, kind, workers):
    """A network that changes nothing may give its input back, or a view of it."""
    net = pnn.Network(layers)
    x = np.arange(240, dtype=kind).reshape(60, *(net.input_shape or (4,)))
    found = pnn.infer(net, refilled(x, 5), backend=backend, outputs=True, workers=workers)
    np.testing.assert_array_equal(found, x.reshape(60, 4))


@pytest.mark.parametrize("outputs", [False, True])
def test_a_buffer_of_another_library_that_is_used_again(torch, mnist, images, expected, outputs):
    batches = (torch.from_numpy(batch) for batch in refilled(images))
    found = pnn.infer(mnist, batches, outputs=outputs)
    wanted = mnist(images.astype(np.float64)) if outputs else expected
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    x = np.arange(24, dtype=np.float32).reshape(12, 2)
    batches = (torch.from_numpy(batch) for batch in refilled(x, 3))
    np.testing.assert_array_equal(pnn.infer(pnn.Network([pnn.Rescaling(1.0)]), batches, outputs=True), x)


def test_a_dask_array_over_a_buffer_that_is_used_again():
    array = pytest.importorskip("dask.array", reason="pip install 'dask[array]'")
    x = np.arange(24, dtype=np.float32).reshape(12, 2)
    batches = (array.from_array(batch, asarray=False) for batch in refilled(x, 3))
    np.testing.assert_array_equal(pnn.infer(pnn.Network([pnn.Rescaling(1.0)]), batches, outputs=True), x)


def test_results_share_no_memory_with_an_array():
    x = np.arange(24, dtype=np.float32).reshape(12, 2)
    assert not np.shares_memory(pnn.infer(pnn.Network([pnn.Rescaling(1.0)]), x, outputs=True), x)


@pytest.mark.parametrize("kind", [">f4", ">i2"])
@pytest.mark.parametrize("as_iterable", [False, True])
def test_the_other_byte_order_changes_nothing(backend, mnist, images, kind, as_iterable):
    x = images[:300].astype(kind)
    data = iter([x[:200], x[200:]]) if as_iterable else x
    wanted = mnist.predict(images[:300].astype(np.dtype(kind).newbyteorder("=")))
    np.testing.assert_array_equal(pnn.infer(mnist, data, backend=backend), wanted)
    for options in ({}, {"per_sample": True}):
        labels = wanted.astype(">i8")
        assert pnn.evaluate(mnist, x, labels, backend=backend, **options).accuracy == 1


class Small(Backend):
    """NumPy on a device that holds no more than 100 samples."""

    name = "small"

    def place(self, array, *, share=False):
        if array.ndim == 2 and array.shape[1:] == (784,) and len(array) > 100:
            raise MemoryError("device is full")
        return super().place(array, share=share)


@pytest.fixture
def small():
    numpy = pnn.backends.get("numpy")
    return Small(numpy.xp, numpy.device)


def test_a_full_device_gets_smaller_batches_and_says_so_once(mnist, images, expected, small):
    with pytest.warns(RuntimeWarning, match="ran out of memory on 1000 samples") as caught:
        found = pnn.infer(mnist, images, backend=small, batch_size=1000)
    assert len(caught) == 1
    np.testing.assert_array_equal(found, expected)


def test_other_errors_are_not_taken_for_a_full_device(mnist, images, small, monkeypatch):
    def broken(self, array, *, share=False):
        raise ZeroDivisionError

    monkeypatch.setattr(Small, "place", broken)
    with pytest.raises(ZeroDivisionError):
        pnn.infer(mnist, images, backend=small)


def test_a_sample_that_does_not_fit_alone_is_an_error(mnist, images, small, monkeypatch):
    def full(self, array, *, share=False):
        raise MemoryError("device is full")

    monkeypatch.setattr(Small, "place", full)
    with pytest.raises(MemoryError):
        pnn.infer(mnist, images[:1], backend=small)


def test_an_iterator_is_computed_where_its_batches_are(backend, mnist, images, expected, monkeypatch):
    fetched = []
    to_numpy = type(backend).to_numpy
    monkeypatch.setattr(
        type(backend), "to_numpy", lambda here, x: fetched.append(tuple(x.shape)) or to_numpy(here, x)
    )
    batches = [backend.place(images[:1000]), backend.place(images[1000:])]
    for net in (mnist, mnist.to(backend)):
        np.testing.assert_array_equal(pnn.infer(net, iter(batches)), expected)
    assert {shape[-1] for shape in fetched if shape[:1] == (1000,)} <= {1000, 10}  # results, and no images
