"""Labels are the same whatever the source, the batches, the threads and the device."""

import os
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from threading import Event, active_count
from weakref import WeakSet

import numpy as np
import pytest
from helpers import run_python
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import portable_nn as pnn
from portable_nn import inference
from portable_nn.backends import Backend

pytestmark = pytest.mark.usefixtures("all_cores")

TWO_THREADS = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "2")


@pytest.fixture(scope="module")
def mnist():
    return pnn.load("mnist")


@pytest.fixture(scope="module")
def images():
    return pnn.datasets.mnist("test")[0][:2000]


@pytest.fixture(scope="module")
def expected(mnist, images):
    return mnist.predict(images.astype(np.float64))


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
            found = pnn.infer(mnist.compile(), images, backend=target)
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


@pytest.mark.parametrize("option", ["batch_size", "workers"])
def test_no_batch_and_no_worker_are_refused(mnist, images, option):
    for value in (0, -1, np.int64(0)):
        with pytest.raises(pnn.ShapeError, match=f"{option} must be at least 1, got {value}"):
            pnn.infer(mnist, images, **{option: value})


@pytest.mark.parametrize("value", ["10", 2.5, 10.0, True, np.True_, [10], np.ones(1, int), ()], ids=repr)
@pytest.mark.parametrize("option", ["batch_size", "workers"])
def test_what_is_no_number_of_samples_or_workers_is_refused(mnist, images, option, value):
    with pytest.raises(pnn.InputError, match=f"{option} must be an integer, got .*: give .* {option}=2"):
        pnn.infer(mnist, images, **{option: value})
    if option == "batch_size":
        with pytest.raises(pnn.InputError, match="batch_size must be an integer"):
            pnn.evaluate(mnist, images, np.zeros(len(images), int), batch_size=value)


def test_integers_of_any_library_count(mnist, images, expected):
    found = pnn.infer(mnist, images, batch_size=np.int32(300), workers=np.uint8(2))
    np.testing.assert_array_equal(found, expected)


def masked(x):
    return np.ma.masked_equal(x, 0)


def series(x):
    pandas = pytest.importorskip("pandas", reason="pip install pandas")
    return pandas.Series(list(x))


def scipy_sparse(x):
    sparse = pytest.importorskip("scipy.sparse", reason="pip install scipy")
    return sparse.csr_array(x)


def scipy_coordinates(x):
    sparse = pytest.importorskip("scipy.sparse", reason="pip install scipy")
    return sparse.coo_array(x)


def torch_sparse(x):
    torch = pytest.importorskip("torch", reason="pip install torch")
    return torch.from_numpy(x).to_sparse()


def torch_masked(x):
    torch = pytest.importorskip("torch", reason="pip install torch")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The PyTorch API of MaskedTensors is in prototype stage")
        return torch.masked.masked_tensor(torch.from_numpy(x), torch.from_numpy(x > 0))


def torch_quantized(x):
    torch = pytest.importorskip("torch", reason="pip install torch")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*quantize.* deprecated")
        return torch.quantize_per_tensor(torch.from_numpy(x), 1.0, 0, torch.quint8)


def bfloat16_of_numpy(x):
    ml_dtypes = pytest.importorskip("ml_dtypes", reason="pip install ml_dtypes")
    return x.astype(ml_dtypes.bfloat16)


REFUSED = (masked, series, scipy_sparse, scipy_coordinates, torch_sparse, torch_masked, torch_quantized)
REFUSED += (bfloat16_of_numpy,)


@pytest.mark.parametrize("target", [None, "numpy", "array_api_strict"])
@pytest.mark.parametrize("kind", REFUSED)
def test_what_a_network_refuses_is_refused_in_the_same_words(mnist, images, kind, target):
    x = kind(images[:6].astype(np.float32))
    with pytest.raises(pnn.InputError) as caught:
        mnist(x)
    words = str(caught.value)
    labels = np.zeros(6, dtype=int)
    for call in (
        lambda: pnn.infer(mnist, x, backend=target),
        lambda: pnn.infer(mnist, [x], backend=target),
        lambda: pnn.infer(mnist, iter([images[:6], x]), backend=target),
        lambda: pnn.evaluate(mnist, x, labels, backend=target),
        lambda: pnn.evaluate(mnist, x, labels, backend=target, per_sample=True),
        lambda: pnn.compare(mnist, x, backends=[target or "numpy"], in_process=True),
        lambda: pnn.explain(mnist, x),
    ):
        with pytest.raises(pnn.InputError) as caught:
            call()
        assert str(caught.value) == words


def test_labels_are_arrays_as_images_are(mnist, images):
    for labels in (np.ma.masked_equal(np.arange(6), 0), [None] * 6):
        with pytest.raises(pnn.InputError):
            pnn.evaluate(mnist, images[:6], labels)


@pytest.mark.parametrize("data", [None, object()])
def test_what_is_no_data_is_refused(mnist, data):
    with pytest.raises(pnn.InputError, match="an array, a path, or an iterable of batches, got"):
        pnn.infer(mnist, data)


def test_dask_with_chunks_of_unknown_size_says_what_to_call(mnist, images):
    array = pytest.importorskip("dask.array", reason="pip install 'dask[array]'")
    x = array.from_array(images[:60], chunks=(20, 784))
    x = x[x.sum(axis=1) > 0]
    labels = mnist.predict(images[:60])
    for call in (
        lambda: pnn.infer(mnist, x),
        lambda: pnn.infer(mnist, x, backend="numpy", outputs=True),
        lambda: pnn.infer(mnist, [images[:5], x]),
        lambda: pnn.evaluate(mnist, x, labels),
        lambda: pnn.evaluate(mnist, x, labels, per_sample=True),
    ):
        with pytest.raises(pnn.ShapeError, match=r"call x\.compute_chunk_sizes\(\) first"):
            call()
    x.compute_chunk_sizes()
    np.testing.assert_array_equal(pnn.infer(mnist, x), labels)
    assert pnn.evaluate(mnist, x, labels).accuracy == 1


def test_wrong_samples_are_refused(mnist):
    with pytest.raises(pnn.ShapeError, match="784"):
        pnn.infer(mnist, np.zeros((3, 700), np.uint8))


def test_progress_counts_every_sample(backend, mnist, images):
    seen = []
    pnn.infer(mnist, images, backend=backend, batch_size=300, progress=seen.append)
    assert seen == [300, 600, 900, 1200, 1500, 1800, 2000]


class Threads:
    """The most threads that were there when progress was told."""

    def __init__(self):
        self.before, self.most = active_count(), 0

    def __call__(self, done):
        self.most = max(self.most, active_count() - self.before)


def test_no_threads_for_work_that_takes_less_than_starting_them(mnist, images, monkeypatch):
    monkeypatch.setattr(inference, "given", lambda: 2)
    few, some, many = Threads(), Threads(), Threads()
    pnn.infer(mnist, images[:600], batch_size=100, progress=few)
    pnn.infer(mnist, (images[i : i + 1] for i in range(600)), progress=some)
    pnn.infer(mnist, iter([images] * 4), progress=many)
    assert (few.most, some.most) == (0, 0)
    assert many.most == 2
    narrow = pnn.Network([pnn.Dense(np.ones((4, 2)))])
    threads = Threads()
    pnn.infer(narrow, np.zeros((100_000, 4)), batch_size=10_000, progress=threads)
    assert threads.most == 0
    threads = Threads()
    pnn.infer(mnist, np.tile(images, (5, 1)), progress=threads)
    assert threads.most == 2


def batches_of(net, x, **options):
    """How many samples each batch had."""
    seen = [0]
    pnn.infer(net, x, outputs=True, progress=seen.append, **options)
    return np.diff(seen).tolist()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_batch_takes_16_mebibytes_around_the_widest_layer(dtype):
    size = 2**24 // np.dtype(dtype).itemsize
    wide = [pnn.Dense(np.ones(shape, dtype)) for shape in ((4, 1020), (1020, 4))]
    rows = size // 1024
    assert batches_of(pnn.Network(wide), np.zeros((rows + 1, 4), dtype), workers=1) == [rows, 1]
    assert batches_of(pnn.Network(wide), iter([np.zeros((rows + 1, 4), dtype)])) == [rows, 1]
    no_product = pnn.Network([pnn.Rescaling(np.ones(4096, dtype))])
    assert batches_of(no_product, np.zeros((size // 4096 + 1, 4096), np.uint8), workers=1) == [size // 4096, 1]


def test_a_sample_beyond_the_size_of_a_batch_is_a_batch():
    wide = pnn.Network([pnn.Rescaling(np.ones(2**22 + 1, np.float32))])
    assert batches_of(wide, np.zeros((2, 2**22 + 1), np.uint8), workers=1) == [1, 1]


def test_each_of_several_threads_gets_four_batches():
    pytest.importorskip("threadpoolctl", reason="threads: pip install threadpoolctl")
    net = pnn.Network([pnn.Dense(np.ones((4, 4), np.float32))])
    assert batches_of(net, np.zeros((10_001, 4)), workers=2) == [1251] * 7 + [1244]
    assert batches_of(net, np.zeros((10_000, 4)), workers=5) == [500] * 20
    assert batches_of(net, np.zeros((1001, 4)), workers=2) == [256, 256, 256, 233]
    assert batches_of(net, np.zeros((1001, 4)), workers=2, batch_size=1000) == [1000, 1]


@pytest.mark.parametrize(
    ("n_in", "n_out", "pays"), [(1004, 64, 1024), (1004, 1024, 256)], ids=["by its work", "at full speed"]
)
def test_threads_begin_where_they_pay(monkeypatch, n_in, n_out, pays):
    """From 2**26 multiply-adds on, of which bias and activation take 20; but not for one batch of 256 samples."""
    pytest.importorskip("threadpoolctl", reason="threads: pip install threadpoolctl")
    monkeypatch.setattr(inference, "given", lambda: 2)
    net = pnn.Network([pnn.Dense(np.ones((n_in, n_out), np.float32))])
    x = np.zeros((pays + 1, n_in), np.float32)
    assert batches_of(net, x[:pays]) == [pays]
    assert batches_of(net, x) == [256] * (pays // 256) + [1]


def test_several_workers_need_threadpoolctl(monkeypatch):
    monkeypatch.setattr(inference, "blas", lambda: None)
    net, x = pnn.Network([pnn.Dense(np.eye(4))]), np.eye(4)
    with pytest.raises(pnn.BackendError, match="several workers need threadpoolctl"):
        pnn.infer(net, x, workers=2)
    for workers in (None, 1):
        np.testing.assert_array_equal(pnn.infer(net, x, workers=workers), [0, 1, 2, 3])


def test_one_value_of_the_last_axis_is_no_label():
    """Also where the layers take any shape, so that the data alone tell."""
    net = pnn.Network([pnn.Rescaling(2.0)])
    with pytest.raises(pnn.NetworkError, match=r"is regression, .* call infer\(net, data, outputs=True\), or"):
        pnn.infer(net, np.ones((4, 3, 1)))
    np.testing.assert_array_equal(pnn.infer(net, np.eye(3)), [0, 1, 2])


def test_numbers_one_by_one_are_no_labels():
    net = pnn.Network([pnn.Activation("relu")])
    np.testing.assert_array_equal(pnn.infer(net, np.array([-1.0, 2.0]), outputs=True), [0, 2])
    with pytest.raises(pnn.NetworkError, match="one number for each sample"):
        pnn.infer(net, np.array([-1.0, 2.0]))


def test_no_samples_are_an_empty_zarr(tmp_path):
    pytest.importorskip("zarr", reason="pip install zarr")
    net = pnn.Network([pnn.Dense(np.ones((4, 3)))])
    assert pnn.infer(net, np.empty((0, 4)), out=tmp_path / "y.zarr", outputs=True).shape == (0, 3)


def test_a_folder_may_be_named_with_its_stroke(mnist, images, expected, tmp_path):
    pytest.importorskip("zarr", reason="pip install zarr")
    for overwrite in False, True:
        found = pnn.infer(mnist, images[:100], out=f"{tmp_path}/y.zarr/", block=30, overwrite=overwrite)
        assert found.chunks == (30,)
        np.testing.assert_array_equal(found[:], expected[:100])
    assert os.listdir(tmp_path) == ["y.zarr"]


def test_several_workers_begin_at_once():
    pytest.importorskip("threadpoolctl", reason="threads: pip install threadpoolctl")
    threads, before = [], active_count()
    pnn.infer(
        pnn.Network([pnn.Dense(np.ones((4, 4)))]),
        np.zeros((3000, 4)),
        workers=2,
        progress=lambda _: threads.append(active_count() - before),
    )
    assert threads[0] == 2


@pytest.mark.parametrize(("n", "held"), [(256, False), (257, True)])
def test_one_worker_holds_the_blas_to_one_thread_where_products_are_large(n, held):
    threadpoolctl = pytest.importorskip("threadpoolctl", reason="threads: pip install threadpoolctl")
    net = pnn.Network([pnn.Dense(np.ones((4, 4)))])
    seen = []

    def look(_):
        seen.extend(pool["num_threads"] for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas")

    with threadpoolctl.threadpool_limits(2, user_api="blas"):
        look(0)
        before = seen.copy()
        pnn.infer(net, np.zeros((n, 4)), workers=1, progress=look)
    assert seen == before + ([1] * len(before) if held else before)


def test_the_blas_gets_its_threads_back(mnist, images):
    threadpoolctl = pytest.importorskip("threadpoolctl", reason="threads: pip install threadpoolctl")
    before = threadpoolctl.threadpool_info()
    pnn.infer(mnist, images, workers=2)
    assert threadpoolctl.threadpool_info() == before


def test_calls_that_overlap_give_the_blas_its_threads_back(mnist, images, expected):
    threadpoolctl = pytest.importorskip("threadpoolctl", reason="threads: pip install threadpoolctl")
    before = threadpoolctl.threadpool_info()
    first_waits, second_is_done = Event(), Event()

    def slow():
        yield images[:500]
        first_waits.set()
        assert second_is_done.wait(60)
        yield images[500:]

    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(pnn.infer, mnist, slow(), workers=2)
        assert first_waits.wait(60)
        second = pnn.infer(mnist, released(images, second_is_done, first), workers=2)
        found = first.result()
    for labels in (found, second):
        np.testing.assert_array_equal(labels, expected)
    assert threadpoolctl.threadpool_info() == before


FORKING = """
import os, sys, threading
import numpy as np
import threadpoolctl
import portable_nn as pnn

net = pnn.load("mnist")
images, _ = pnn.datasets.mnist("test")
before = [pool["num_threads"] for pool in threadpoolctl.threadpool_info()]
assert max(before) > 1
waiting, forked = threading.Event(), threading.Event()

def slow():
    yield images[:500]
    waiting.set()
    forked.wait()
    yield images[500:1000]

parent = threading.Thread(target=pnn.infer, args=(net, slow()), kwargs={"workers": 2})
parent.start()
waiting.wait()
assert [pool["num_threads"] for pool in threadpoolctl.threadpool_info()] != before
child = os.fork()
if not child:
    during = [pool["num_threads"] for pool in threadpoolctl.threadpool_info()]
    labels = pnn.infer(net, images, workers=2, batch_size=1000)
    after = [pool["num_threads"] for pool in threadpoolctl.threadpool_info()]
    right = np.array_equal(labels, net.predict(images))
    print(f"child: {during == before}, {after == before}, {right}", flush=True)
    os._exit(0)
os.waitpid(child, 0)
forked.set()
parent.join()
print(f"parent: {[pool['num_threads'] for pool in threadpoolctl.threadpool_info()] == before}")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork: run this on Linux or macOS")
def test_a_fork_gets_the_threads_of_the_blas_back():
    pytest.importorskip("threadpoolctl", reason="threads: pip install threadpoolctl")
    out = run_python("-W", "ignore::DeprecationWarning", "-c", FORKING, env=os.environ | TWO_THREADS, timeout=120)
    assert out == "child: True, True, True\nparent: True\n"


def released(images, event, other):
    """Batches, between which another call of predict that waits for an event comes to its end."""
    yield images[:500]
    event.set()
    other.result(60)
    yield images[500:]


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


def test_results_of_several_shapes_make_no_file(tmp_path):
    net = pnn.Network([pnn.Rescaling(2.0)])
    with pytest.raises(pnn.ShapeError, match="one dtype and shape"):
        pnn.infer(net, iter([np.ones((2, 3)), np.ones((2, 4))]), outputs=True, out=tmp_path / "y.npy")
    assert list(tmp_path.iterdir()) == []


class StoppedError(Exception):
    pass


def stop(n):
    raise StoppedError


def test_work_with_other_numbers_is_other_work(tmp_path):
    """What is left of each work that was stopped lies in a file of its own."""
    np.save(tmp_path / "x.npy", np.ones((2, 3)))
    layers = [pnn.Rescaling(1.0, 1234567.0)], [pnn.Rescaling(1.0, 1234568.0)], [pnn.Flatten((3,))]
    nets = [pnn.Network(one) for one in layers]
    for net in (*nets, nets[0].compile(), pnn.Network(layers[0])):
        with pytest.raises(StoppedError):
            pnn.infer(net, tmp_path / "x.npy", out=tmp_path / "y.npy", outputs=True, progress=stop)
    assert len(list(tmp_path.glob("*.partial"))) == len(nets) + 1


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


KILLED = """
import os, signal, sys
import portable_nn as pnn

folder = sys.argv[1]
done = []

def progress(n):
    done.append(n)
    if len(done) == 3:
        os.kill(os.getpid(), signal.SIGKILL)

pnn.infer(pnn.load("mnist"), folder + "/x.npy", out=folder + "/y.npy", batch_size=300, progress=progress)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="SIGKILL is a POSIX signal: run this on Linux or macOS")
def test_a_killed_run_leaves_nothing_and_a_rerun_completes_it(mnist, images, expected, tmp_path):
    np.save(tmp_path / "x.npy", images)
    root = Path(__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], cwd=root, check=False)
    assert done.returncode == -9
    assert not (tmp_path / "y.npy").exists()
    seen = []
    pnn.infer(
        mnist, tmp_path / "x.npy", out=tmp_path / "y.npy", batch_size=300, progress=lambda n: seen.append(n)
    )
    assert seen[0] > 300  # it went on, and did not start anew
    np.testing.assert_array_equal(np.load(tmp_path / "y.npy"), expected)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.npy", "y.npy"]


def test_another_network_does_not_go_on_with_the_work(mnist, images, tmp_path):
    np.save(tmp_path / "x.npy", images)
    other = pnn.Network([*mnist.layers[:-1], pnn.Dense(-mnist.layers[-1].weight, None, "softmax")])

    with pytest.raises(StoppedError):
        pnn.infer(mnist, tmp_path / "x.npy", out=tmp_path / "y.npy", batch_size=300, workers=1, progress=stop)
    pnn.infer(other, tmp_path / "x.npy", out=tmp_path / "y.npy", batch_size=300)
    np.testing.assert_array_equal(np.load(tmp_path / "y.npy"), other.predict(images))


@pytest.mark.parametrize("rows", [1, 20, 2001, 20_000])
def test_a_partial_file_that_holds_more_than_there_is(mnist, images, expected, tmp_path, rows):
    np.save(tmp_path / "x.npy", images[:20])

    def label(**options):
        return pnn.infer(mnist, tmp_path / "x.npy", out=tmp_path / "y.npy", **options)

    with pytest.raises(StoppedError):
        label(progress=stop)
    (partial,) = tmp_path.glob("*.partial")
    with partial.open("wb") as file:
        np.save(file, expected[:rows] if rows <= 20 else np.zeros(rows, int))
    if rows <= 2001:  # less than a whole batch, which is computed again
        np.testing.assert_array_equal(label(), expected[:20])
    else:
        with pytest.raises(pnn.FormatError, match=r"holds more than these data give: delete it"):
            label()
        assert not (tmp_path / "y.npy").exists()


@pytest.mark.parametrize("given", ["path", "map", "view"])
@pytest.mark.parametrize("overwrite", [False, True])
def test_data_are_never_written_over(mnist, images, tmp_path, overwrite, given):
    path = tmp_path / "x.npy"
    np.save(path, images)
    mapped = np.load(path, mmap_mode="r")[5:]
    data = {"path": path, "map": mapped, "view": np.asarray(mapped)}[given]
    with pytest.raises(pnn.OutputError, match=r"x\.npy is an input, which it would destroy"):
        pnn.infer(mnist, data, out=path, overwrite=overwrite)
    np.testing.assert_array_equal(np.load(path), images)
    assert os.listdir(tmp_path) == ["x.npy"]


def test_a_file_that_exists_is_written_over_if_that_is_said(mnist, images, expected, tmp_path):
    path = tmp_path / "y.npy"
    path.write_text("precious")
    with pytest.raises(pnn.OutputError, match=r"y\.npy exists: .*overwrite=True"):
        pnn.infer(mnist, images, out=path)
    assert path.read_text() == "precious"
    np.testing.assert_array_equal(pnn.infer(mnist, images, out=path, overwrite=True), expected)


@given(position=st.integers(0, 127), flip=st.integers(1, 255))
@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_of_a_damaged_file_only_errors_of_this_package_come(mnist, images, tmp_path, position, flip):
    path = tmp_path / "x.npy"
    path.unlink(missing_ok=True)
    np.save(path, images[:4])
    data = bytearray(path.read_bytes())
    data[position] ^= flip
    path.unlink()
    path.write_bytes(data)
    with suppress(pnn.PortableNNError):
        assert pnn.infer(mnist, path).shape == (4,)


def test_other_data_do_not_go_on_with_the_work(mnist, images, tmp_path):
    """What an iterator or an array of the same shape would give cannot be told: each starts anew."""

    def stopping():
        yield images[:500]
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        pnn.infer(mnist, stopping(), out=tmp_path / "y.npy")
    assert list(tmp_path.iterdir()) == []
    found = pnn.infer(mnist, iter([images[500:1000]]), out=tmp_path / "y.npy")
    np.testing.assert_array_equal(found, mnist.predict(images[500:1000]))


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


@pytest.mark.parametrize("shape", [(), (784,)])
def test_one_sample_is_no_batch(mnist, shape):
    with pytest.raises(pnn.ShapeError, match="samples along their first axis"):
        pnn.infer(mnist, np.zeros(shape, np.uint8))


WITHOUT_THREADPOOLCTL = """
import sys
sys.modules["threadpoolctl"] = None
import numpy as np
import portable_nn as pnn

net, (images, _) = pnn.load("mnist"), pnn.datasets.mnist("test")
print(np.array_equal(pnn.infer(net, images), net.predict(images)))
try:
    pnn.infer(net, images, workers=2)
except pnn.BackendError as error:
    print(error)
"""


def test_several_workers_need_what_holds_the_blas_back():
    assert run_python("-c", WITHOUT_THREADPOOLCTL).splitlines() == [
        "True",
        "several workers need threadpoolctl, to hold the BLAS back: pip install threadpoolctl",
    ]


def test_memory_stays_bounded(mnist):
    """A generator of a million images is never held: the batches that are alive are counted."""
    alive, most = WeakSet(), 0

    class Batch(np.ndarray):
        __hash__ = object.__hash__

    def stream():
        nonlocal most
        for _ in range(200):
            batch = np.zeros((64, 784), np.uint8).view(Batch)
            alive.add(batch)
            most = max(most, len(alive))
            yield batch

    assert pnn.infer(mnist, stream(), workers=2).shape == (64 * 200,)
    assert most <= 16


@pytest.mark.parametrize("name", ["labels.txt", "labels", "labels.npz"])
def test_results_are_written_under_a_name_that_says_how(mnist, images, tmp_path, name):
    with pytest.raises(
        pnn.InputError, match=r"as \.npy or as \.zarr: name labels\.npy or labels\.zarr, got .*labels"
    ):
        pnn.infer(mnist, images[:3], out=tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_regression_names_what_gives_its_values():
    net = pnn.Network([pnn.Dense(np.ones((3, 1)))])
    with pytest.raises(pnn.NetworkError, match=r"no labels: call infer\(net, data, outputs=True\), or, if"):
        pnn.infer(net, np.ones((2, 3)))
    assert pnn.infer(net, np.ones((2, 3)), outputs=True).tolist() == [[3.0], [3.0]]


@pytest.mark.parametrize("size", [1, 4])
def test_samples_of_nothing_but_nan_are_told_of(backend, size):
    """Once, with their number, however batches lie; a sample with some values is not among them."""
    net = pnn.Network([pnn.Flatten((2, 2)), pnn.Dense(np.eye(4)[:, :3], None, "softmax")])
    x = np.random.default_rng(0).normal(size=(8, 2, 2)).astype(np.float32)
    x[[1, 6]] = np.nan
    x[2, 0, 0] = x[3, 1, 1] = np.nan
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        pnn.infer(net, backend.place(x) if backend.name != "dask" else x, backend=backend, batch_size=size)
    told = [str(warning.message) for warning in caught if "nothing but nan" in str(warning.message)]
    assert told == ["nothing but nan in 2 of the samples: leave them out, for their labels mean nothing"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pnn.infer(net, x, outputs=True)
