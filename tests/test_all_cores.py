"""A large batch on NumPy is shared out to threads, each with the BLAS to itself, and nobody notices."""

import os
import subprocess
import sys
import threading
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from threading import Barrier

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

import portable_nn as pnn
from portable_nn.layers import Graph, Node, Value

pytestmark = pytest.mark.usefixtures("all_cores", "two")

RNG = np.random.default_rng(3)
ROWS = 20_000
EVERY = set(range(os.cpu_count() + 1))
ACTIVATIONS = ["relu", "sigmoid", "gelu", "softplus", "silu", "elu", "softmax", "log_softmax"]


@pytest.fixture
def two(monkeypatch):
    """Two cores, and a BLAS that takes two threads."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1}, raising=False)
    with threadpool_limits(2, user_api="blas"):
        yield


@pytest.fixture
def seen(monkeypatch):
    """The threads that compute, found where NumPy multiplies."""
    return found_at_products(monkeypatch, lambda: None)


@pytest.fixture
def both(monkeypatch):
    """The same, with no product before two threads have come to one."""
    return found_at_products(monkeypatch, Barrier(2, timeout=60).wait)


def found_at_products(monkeypatch, wait):
    found, matmul = set(), np.matmul

    def noted(*args, **kwargs):
        thread = threading.current_thread()
        if thread not in found:
            found.add(thread)
            wait()
        return matmul(*args, **kwargs)

    monkeypatch.setattr(np, "matmul", noted)
    return found


def network(activation="relu", width=64, **kwargs):
    f = RNG.standard_normal
    first = pnn.Dense(f((8, width), np.float32), f(width, np.float32), activation)
    return pnn.Network([first, pnn.Dense(f((width, 5), np.float32) / 8, f(5, np.float32), "softmax")], **kwargs)


def by_one(net, x):
    """What is computed where the BLAS is held to one thread."""
    with threadpool_limits(1, user_api="blas"):
        return net(x)


def test_blocks_of_threads_stay_in_a_cache(both):
    f, widths = RNG.standard_normal, (8, 64, 64, 5)
    layers = [pnn.Dense(f((n, m), np.float32), None, "mish") for n, m in pairwise(widths)]
    net, x = pnn.Network(layers), f((10 * ROWS, 8), np.float32)
    net(x[:2])
    tracemalloc.start()
    try:
        found = net(x)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(both) == 2
    assert most - found.nbytes < 2**23


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_the_same_as_by_one_thread(activation, both):
    net, x = network(activation), RNG.standard_normal((ROWS, 8), np.float32)
    found = net(x)
    assert len(both) == 2
    np.testing.assert_allclose(found, by_one(net, x), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(net.predict(x), np.argmax(found, -1))


@pytest.mark.parametrize("rows", [ROWS, ROWS + 1, ROWS + 399, (40, 500), (3, 7001)], ids=str)
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "uint8", ">f4"])
def test_any_number_of_rows_in_any_dtype(rows, dtype, both):
    net = network("tanh")
    shape = (*(rows if isinstance(rows, tuple) else (rows,)), 8)
    x = RNG.integers(0, 3, shape).astype(dtype)
    found = net(x)
    assert len(both) == 2
    assert found.shape == (*shape[:-1], 5)
    wanted = by_one(net, x.reshape(-1, 8)[-10:])
    np.testing.assert_allclose(found.reshape(-1, 5)[-10:], wanted, rtol=1e-2 if dtype == "float16" else 1e-5)


def test_infer_leaves_an_array_to_the_network(both):
    net, x = network(), RNG.standard_normal((ROWS, 8), np.float32)
    found = pnn.infer(net, x, outputs=True)
    assert len(both) == 2
    np.testing.assert_allclose(found, by_one(net, x), rtol=1e-5, atol=1e-6)


def test_a_dict_of_inputs():
    a, b = (RNG.standard_normal((6, 64), np.float32) for _ in range(2))
    nodes = [
        Node("MatMul", ("x", "a"), ("h",)),
        Node("MatMul", ("w", "b"), ("g",)),
        Node("Add", ("h", "g"), ("s",)),
        Node("Tanh", ("s",), ("y",)),
    ]
    values = [Value("x", "float32", (6,)), Value("w", "float32", (6,))]
    net = pnn.Network([Graph(nodes, values, ["y", "s"], {"": 20}, a=a, b=b)])
    x = {name: RNG.standard_normal((ROWS, 6), np.float32) for name in ("x", "w")}
    found = net(x)
    np.testing.assert_allclose(found["s"], x["x"] @ a + x["w"] @ b, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found["y"], np.tanh(found["s"]), rtol=1e-5, atol=1e-6)


def test_the_callers_errstate_holds_in_every_thread():
    net = network("exp")
    x = np.zeros((ROWS, 8), np.float32)
    x[-1] = net.layers[0].weight[:, 0] * 1000  # of the last block
    with np.errstate(over="raise"), pytest.raises(FloatingPointError):
        net(x)
    with np.errstate(all="ignore"):
        assert np.isfinite(net(x)[:-1]).all()


def test_few_rows_and_threads_of_others_are_left_alone(seen):
    net = network()
    net(RNG.standard_normal((500, 8), np.float32))
    with ThreadPoolExecutor(1) as pool:
        pool.submit(net, RNG.standard_normal((ROWS, 8), np.float32)).result()
    assert not {thread for thread in seen if thread.name.startswith("portable_nn")}


def test_a_blas_that_is_held_to_one_thread_stays_so(seen):
    net, x = network(), RNG.standard_normal((ROWS, 8), np.float32)
    with threadpool_limits(1, user_api="blas"):
        net(x)
    assert seen == {threading.current_thread()}


def test_an_error_of_another_thread_is_raised_here(both, monkeypatch):
    net, x, matmul = network(), RNG.standard_normal((ROWS, 8), np.float32), np.matmul

    def failing(*args, **kwargs):
        found = matmul(*args, **kwargs)
        if threading.current_thread() is not threading.main_thread():
            raise MemoryError("full")
        return found

    monkeypatch.setattr(np, "matmul", failing)
    with pytest.raises(MemoryError, match="full"):
        net(x)
    assert len(both) == 2


WHERE_NONE_CAN_BE_STARTED = """
import os, threading
import numpy as np
import portable_nn as pnn
from threadpoolctl import threadpool_limits

os.sched_getaffinity = lambda pid: {0, 1}
threadpool_limits(2)

def refused(thread):
    print("asked for")
    raise RuntimeError("can't start new thread")

threading.Thread.start = refused
net = pnn.Network([pnn.Dense(np.eye(64, dtype=np.float32), activation="relu")])
x = np.random.default_rng(0).normal(size=(40_000, 64)).astype(np.float32)
assert np.array_equal(net(x), np.maximum(x, 0))
"""


def test_where_no_thread_can_be_started_one_does_all():
    done = subprocess.run(
        [sys.executable, "-c", WHERE_NONE_CAN_BE_STARTED], capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "asked for\n", "")


AT_THE_END = """
import atexit, os, threading
import numpy as np
import portable_nn as pnn
from threadpoolctl import threadpool_limits

os.sched_getaffinity = lambda pid: {0, 1}
threadpool_limits(2)
net = pnn.Network([pnn.Dense(np.eye(64, dtype=np.float32), activation="sigmoid")])
x = np.ones((20_000, 64), np.float32)
atexit.register(lambda: print("at exit", net(x).shape))
print("before", net(x).shape, any(thread.name.startswith("portable_nn") for thread in threading.enumerate()))
if hasattr(os, "fork"):
    child = os.fork()
    found = net(x)
    assert (found == found[0]).all()
    if child == 0:
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
"""


def test_after_a_fork_and_as_the_process_ends():
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", AT_THE_END], capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split("\n")[:2] == ["before (20000, 64) True", "at exit (20000, 64)"]


INTERRUPTS = """
import os, signal, sys
from itertools import count
from threading import get_ident
import numpy as np
import portable_nn as pnn
from threadpoolctl import threadpool_limits

cores, bound = {0, 1}, {}
threadpool_limits(2)
os.sched_getaffinity = lambda pid: bound.get(get_ident(), cores)

def sched_setaffinity(pid, cores):
    bound[get_ident()] = cores

os.sched_setaffinity = sched_setaffinity
net = pnn.Network([pnn.Dense(np.eye(64, dtype=np.float32), activation="sigmoid")])
x = np.ones((10_000, 64), np.float32)

def interrupted(nth):
    points = count(1)

    def at_each(frame, event, arg):
        events = ("return",) if frame.f_globals is globals() else ("call", "c_return")  # what is in C returns
        if event in events and next(points) == nth:
            raise KeyboardInterrupt

    net(x)
    sys.setprofile(at_each)
    try:
        net(x)
    except KeyboardInterrupt:
        assert os.sched_getaffinity(0) == cores
        net(x)
        return True
    finally:
        sys.setprofile(None)
    return False

for nth in count(1):
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        os._exit(0 if interrupted(nth) else 3)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code == 3:
        break
    if code:
        sys.exit(f"{nth}: {code}")
print(nth > 100)
"""


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="threads are bound to cores on Linux alone")
def test_an_interrupt_anywhere_leaves_cores_and_threads_for_the_next_call():
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", INTERRUPTS], capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "True\n", "")


BATCHES_OF_SEVERAL_LENGTHS = """
import os, sys
import numpy as np
import portable_nn as pnn
from threadpoolctl import threadpool_limits

os.sched_getaffinity = lambda pid: set(range(16))
threadpool_limits(16)
sys.setswitchinterval(1e-6)
net = pnn.Network([pnn.Dense(np.ones((8, 64), np.float32), activation="sigmoid")])
batches = [np.ones((n, 8), np.float32) for n in (8000, 8801, 9602)]
for _ in range(400):
    for x in batches:
        net(x)
"""


def test_threads_that_look_for_places_of_another_length_at_a_time():
    done = subprocess.run(
        [sys.executable, "-c", BATCHES_OF_SEVERAL_LENGTHS], capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="threads are bound to cores on Linux alone")
@pytest.mark.parametrize("may", [True, False])
def test_threads_stay_on_cores_of_their_own_until_it_is_done(may, both, monkeypatch):
    net, x, bound = network(), RNG.standard_normal((ROWS, 8), np.float32), {}

    def noted(pid, cores):
        bound.setdefault(threading.current_thread(), []).append(cores)
        if not may:
            raise PermissionError

    monkeypatch.setattr(os, "sched_setaffinity", noted)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: EVERY)
    found = net(x)
    assert len(both) == 2
    here = bound.pop(threading.main_thread())
    assert [len(cores) for cores in here] == [1, len(EVERY)]
    assert list(bound.values()) == [[EVERY - here[0], EVERY]]
    np.testing.assert_allclose(found, by_one(net, x), rtol=1e-5, atol=1e-6)
