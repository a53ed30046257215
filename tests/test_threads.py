"""One network in many threads and processes: the same results, no growth, and no more cores than were given."""

import gc
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from itertools import count
from threading import Barrier, Event, active_count

import numpy as np
import pytest
from clusters import Cluster
from threadpoolctl import ThreadpoolController, threadpool_limits

import portable_nn as pnn
from portable_nn.layers import Graph, Node, Value
from portable_nn.threads import ONE_THREAD, of_blas

pytestmark = pytest.mark.usefixtures("all_cores")

THREADS, CALLS = 64, 3


@pytest.fixture(scope="module")
def mnist():
    return pnn.load("mnist")


@pytest.fixture(scope="module")
def images(mnist_test):
    return mnist_test[0][:2000]


@pytest.fixture(scope="module")
def expected(mnist, images):
    return mnist.predict(images.astype(np.float64))


def in_threads(call):
    """The results of a call in many threads that begin at once."""
    ready = Barrier(THREADS)

    def begin(i):
        ready.wait()
        return [call(i) for _ in range(CALLS)]

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(begin, range(THREADS)))


@pytest.mark.parametrize("spec", ["numpy", "torch", "jax", "dask", "array_api_strict"])
def test_one_network_in_64_threads(images, expected, spec):
    pytest.importorskip(pnn.backends.BACKENDS[spec].package)
    backend = pnn.backends.get(spec)
    for net in pnn.load("mnist"), pnn.load("mnist").to(spec):
        batches = [backend.place(images[20 * i : 20 * i + 20]) for i in range(THREADS)]
        found = in_threads(lambda i: backend.to_numpy(net.predict(batches[i])))  # noqa: B023
        for i, labels in enumerate(found):
            for again in labels:
                np.testing.assert_array_equal(again, expected[20 * i : 20 * i + 20])


RNG = np.random.default_rng(64)
GRAPHS = {
    "branches": (
        [
            Node("Gemm", ("x", "a", "b"), ("h",)),
            Node("Tanh", ("h",), ("t",)),
            Node("Gemm", ("x", "c", "b"), ("s",)),
            Node("Sub", ("t", "s"), ("y",)),
        ],
        [Value("x", "float32", (6,))],
    ),
    "a dict of inputs": (
        [Node("MatMul", ("x", "a"), ("h",)), Node("Mul", ("h", "w"), ("y",))],
        [Value("x", "float32", (6,)), Value("w", "float32", (6,))],
    ),
}


@pytest.mark.parametrize(
    ("name", "spec"),
    [
        *(("branches", spec) for spec in ("numpy", "torch", "jax", "dask")),
        *(("a dict of inputs", spec) for spec in ("numpy", "torch", "jax")),
    ],
)
def test_one_graph_in_64_threads(name, spec):
    pytest.importorskip(pnn.backends.BACKENDS[spec].package)
    nodes, inputs = GRAPHS[name]
    a, b, c = (RNG.normal(size=shape).astype(np.float32) for shape in ((6, 6), 6, (6, 6)))
    constants = {"a": a, "b": b, "c": c} if name == "branches" else {"a": a}
    net, backend = pnn.Network([Graph(nodes, inputs, ["y"], {"": 20}, **constants)]), pnn.backends.get(spec)
    given = RNG.normal(size=(THREADS, len(inputs), 20, 6)).astype(np.float32)
    x = given[:, 0].astype(np.float64)
    wanted = np.tanh(x @ a + b) - (x @ c + b) if name == "branches" else x @ a * given[:, 1]
    parts = [
        {value.name: backend.place(array) for value, array in zip(inputs, row, strict=True)} for row in given
    ]
    batches = parts if len(inputs) > 1 else [part["x"] for part in parts]
    found = in_threads(lambda i: backend.to_numpy(net(batches[i])))
    for i, outputs in enumerate(found):
        for again in outputs:
            np.testing.assert_allclose(again, wanted[i], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("spec", ["numpy", "torch", "dask"])
def test_threads_leave_nothing_behind(images, spec):
    pytest.importorskip(pnn.backends.BACKENDS[spec].package)
    backend, net = pnn.backends.get(spec), pnn.load("mnist")
    x = backend.place(images[:20])

    def objects():
        in_threads(lambda i: net.predict(x))
        gc.collect()
        return len(gc.get_objects())

    objects()
    before = objects()
    assert objects() < before + THREADS * CALLS // 4


# Pools of others


class Seen:
    """Progress that notes the threads of Python and of NumPy's BLAS while work goes on."""

    def __init__(self):
        self.threads, self.blas = active_count(), set()

    def __call__(self, done):
        from threadpoolctl import threadpool_info

        self.threads = max(self.threads, active_count())
        self.blas |= {pool["num_threads"] for pool in threadpool_info() if "numpy" in pool["filepath"]}


def label_here():
    """The labels of more images than one thread would be left alone with, and what was seen."""
    images, seen, before = pnn.datasets.mnist("test")[0], Seen(), active_count()
    found = pnn.infer(pnn.load("mnist"), images, batch_size=1000, progress=seen)
    return found, seen.threads - before, seen.blas


def check(results):
    wanted = pnn.load("mnist").predict(pnn.datasets.mnist("test")[0])
    for found, threads, blas in results:
        np.testing.assert_array_equal(found, wanted)
        assert (threads, blas) == (0, {1})


def test_the_main_thread_is_given_all_cores(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1}, raising=False)
    assert label_here()[1] == 2


def test_a_thread_of_a_pool_is_given_one():
    with ThreadPoolExecutor(1) as pool:
        check([pool.submit(label_here).result()])


def blas_threads():
    from threadpoolctl import threadpool_info

    return [pool["num_threads"] for pool in threadpool_info() if "numpy" in pool["filepath"]]


def test_the_blas_has_its_threads_again_whoever_leaves_last():
    before, entered, left = blas_threads(), Event(), Event()

    def inside():
        with ONE_THREAD:
            entered.set()
            left.wait()
            return blas_threads()

    with ThreadPoolExecutor(1) as pool:
        with ONE_THREAD:
            other = pool.submit(inside)
            entered.wait()
        left.set()
        assert other.result() == [1] * len(before)
    assert blas_threads() == before


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_a_process_of_a_pool_is_given_one(method):
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"no {method} here: run on Linux or macOS")
    with ProcessPoolExecutor(1, multiprocessing.get_context(method)) as pool:
        check([pool.submit(label_here).result()])


@pytest.mark.skipif(os.name == "nt", reason="workers are ended by POSIX signals: run on Linux or macOS")
def test_a_dask_worker_is_given_one(tmp_path):
    pytest.importorskip("distributed", reason="pip install 'dask[array,distributed]'")
    path = os.pathsep.join([os.path.dirname(__file__), os.environ.get("PYTHONPATH", "")])
    with Cluster(tmp_path, workers=0, PYTHONPATH=path) as cluster:
        cluster.add_worker(PYTHONPATH=path)
        with cluster.client() as client:
            check([client.submit(label_here).result()])


def of_a_fork(net, images):
    pid = os.fork()
    if not pid:
        os._exit(int(np.array_equal(net.predict(images), pnn.load("mnist").predict(images))))
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork: run on Linux or macOS")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning", "ignore:.*fork:RuntimeWarning")
def test_a_network_in_use_survives_a_fork(mnist, images):
    mnist.predict(images)
    with ThreadPoolExecutor(4) as pool:
        busy = [pool.submit(pnn.infer, mnist, images, workers=2) for _ in range(20)]
        assert of_a_fork(mnist, images[:200]) == 1
        for future in busy:
            assert len(future.result()) == len(images)
    assert of_a_fork(mnist, images[:200]) == 1


def test_an_interrupt_leaves_the_blas_its_threads(monkeypatch):
    kinds = {type(library) for library in ThreadpoolController().lib_controllers}
    real = {kind: kind.set_num_threads for kind in kinds}
    left = 0

    def interrupted(self, threads):
        nonlocal left
        real[type(self)](self, threads)
        left -= 1
        if left == 0:
            raise KeyboardInterrupt

    with threadpool_limits(2, user_api="blas"):
        for kind in kinds:
            monkeypatch.setattr(kind, "set_num_threads", interrupted)
        for nth in count(1):
            left = nth
            try:
                with ONE_THREAD:
                    pass
            except KeyboardInterrupt:
                assert (of_blas(), ONE_THREAD.is_held) == (2, False)
            else:
                break
        monkeypatch.undo()
    assert nth > 2
