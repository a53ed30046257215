"""How `infer` cuts batches and shares them out to threads, and holds the BLAS back meanwhile."""

import os
from concurrent.futures import ThreadPoolExecutor
from threading import Event, active_count
from weakref import WeakSet

import numpy as np
import pytest
from helpers import run_python

import portable_nn as pnn
from portable_nn import inference

pytestmark = pytest.mark.usefixtures("all_cores")

TWO_THREADS = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "2")


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
    pnn.infer(mnist, iter([images] * 40), progress=many)
    assert (few.most, some.most) == (0, 0)
    assert many.most == 2
    narrow = pnn.Network([pnn.Dense(np.ones((4, 2)))])
    threads = Threads()
    pnn.infer(narrow, np.zeros((100_000, 4)), batch_size=10_000, progress=threads)
    assert threads.most == 0


def files(folder, x):
    """An array as two files, which are read batch by batch."""
    paths = [folder / name for name in ("a.npy", "b.npy")]
    for path, part in zip(paths, np.array_split(x, 2), strict=True):
        np.save(path, part)
    return paths


def test_files_are_read_while_others_compute(mnist, images, tmp_path, monkeypatch):
    monkeypatch.setattr(inference, "given", lambda: 2)
    threads = Threads()
    pnn.infer(mnist, files(tmp_path, np.tile(images, (5, 1))), progress=threads)
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


def test_an_array_in_memory_is_left_to_the_network_by_64_mebibytes(monkeypatch, tmp_path):
    """But not one of a file, whose results are the same bytes on any number of cores."""
    monkeypatch.setattr(inference, "of_blas", lambda: 2)
    x = np.zeros((2**24 // 1024 + 1, 4), np.float32)
    net = pnn.Network([pnn.Dense(np.ones(shape, np.float32)) for shape in ((4, 1020), (1020, 4))])
    assert batches_of(net, x) == [len(x) - 1, 1]
    np.save(tmp_path / "x.npy", x)
    assert max(batches_of(net, tmp_path / "x.npy")) <= 2**24 // 4096
    monkeypatch.setattr(inference, "of_blas", lambda: 1)  # which threadpoolctl does not know, for one
    assert max(batches_of(net, x)) <= 2**24 // 4096


@pytest.mark.parametrize(
    ("layer", "sizes"),
    [(pnn.Rescaling(np.float32(1 / 255)), [2, 2, 1]), (pnn.Dense(np.ones((8, 8), np.float32)), [1] * 5)],
    ids=["of any shape", "of several rows"],
)
def test_a_sample_counts_as_what_comes(layer, sizes):
    x = np.zeros((5, 2**18, 8), np.float32)
    assert batches_of(pnn.Network([layer]), x, workers=1) == sizes


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
def test_threads_begin_where_they_pay(monkeypatch, tmp_path, n_in, n_out, pays):
    """From 2**26 multiply-adds on, of which bias and activation take 20; but not for one batch of 256 samples."""
    pytest.importorskip("threadpoolctl", reason="threads: pip install threadpoolctl")
    monkeypatch.setattr(inference, "given", lambda: 2)
    net = pnn.Network([pnn.Dense(np.ones((n_in, n_out), np.float32))])
    x = np.zeros((pays + 1, n_in), np.float32)
    assert batches_of(net, files(tmp_path, x[:pays])) == [pays]
    assert batches_of(net, files(tmp_path, x)) == [256] * (pays // 256) + [1]


def test_several_workers_need_threadpoolctl(monkeypatch):
    monkeypatch.setattr(inference, "blas", lambda: None)
    net, x = pnn.Network([pnn.Dense(np.eye(4))]), np.eye(4)
    with pytest.raises(pnn.BackendError, match="several workers need threadpoolctl"):
        pnn.infer(net, x, workers=2)
    for workers in (None, 1):
        np.testing.assert_array_equal(pnn.infer(net, x, workers=workers), [0, 1, 2, 3])


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


WITHOUT_THREADPOOLCTL = """
import sys
sys.modules["threadpoolctl"] = None
import numpy as np
import portable_nn as pnn

net, (images, _) = pnn.load("mnist"), pnn.datasets.mnist("test")
print(np.array_equal(pnn.infer(net, images), net.predict(images)))
print(np.array_equal(pnn.infer(net, images, workers=1), net.predict(images)))
try:
    pnn.infer(net, images, workers=2)
except pnn.BackendError as error:
    print(error)
"""


def test_several_workers_need_what_holds_the_blas_back():
    assert run_python("-c", WITHOUT_THREADPOOLCTL).splitlines() == [
        "True",
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
