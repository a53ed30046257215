"""The stand-in for CuPy: the same answers as the real wheel, wherever that answers without a GPU.

Without a driver the wheel can neither allocate nor compute. But an array can be laid over any address, and what
looks at shapes, dtypes and devices alone, or refuses, does not touch its values.
"""

import gc
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

STAND_IN = str(Path(__file__).parent / "cupy_standin")

ANSWERS = [
    "cupy.__version__",
    # Devices
    "cupy.cuda.Device(0) == cupy.cuda.Device(0), cupy.cuda.Device(0) != cupy.cuda.Device(1)",
    "cupy.cuda.Device(0) == 0, cupy.cuda.Device(0) == None",
    "cupy.cuda.Device(0) < cupy.cuda.Device(1)",
    "cupy.cuda.Device(0) < 1",
    "cupy.cuda.Device.__hash__",
    "cupy.cuda.Device('1'), int(cupy.cuda.Device(cupy.cuda.Device(1))), cupy.cuda.Device(-1)",
    "cupy.cuda.Device('moon:7')",
    "pickle.loads(pickle.dumps(cupy.cuda.Device(1)))",
    "a.device, a.data.device, a.data.device_id, a[0].device, a.T.device",
    "a.device is a.device",
    # Streams
    "cupy.cuda.Stream.null, cupy.cuda.Stream.null == cupy.cuda.Stream(null=True), hash(cupy.cuda.Stream.null)",
    # Errors
    "[kind.__name__ for kind in cupy.cuda.memory.OutOfMemoryError.__mro__]",
    "str(cupy.cuda.memory.OutOfMemoryError(1024, 20_000)), str(cupy.cuda.memory.OutOfMemoryError(1024, 20, 30))",
    "pickle.loads(pickle.dumps(cupy.cuda.memory.OutOfMemoryError(1024, 20, 30)))",
    "[kind.__name__ for kind in cupy.cuda.runtime.CUDARuntimeError.__mro__]",
    "str(cupy.cuda.runtime.CUDARuntimeError(2)), cupy.cuda.runtime.CUDARuntimeError(101)",
    # Arrays
    "type(a).__name__, isinstance(a, np.ndarray), cupy.ndarray.__hash__, a.__array_priority__",
    "a.shape, a.ndim, a.size, a.dtype, a.itemsize, a.nbytes, a.strides, len(a)",
    "a.T.shape, a.mT.shape, a[0].shape, a[0, 0].shape, a[None].shape, a[..., 0].shape, a[:, ::-1].strides",
    "a.reshape(3, 2).shape, a.reshape(-1).shape, a.swapaxes(0, 1).strides, a.squeeze().shape",
    "a.view('int32').dtype",
    "cupy.broadcast_to(a, (4, 2, 3)).strides, cupy.expand_dims(a, 0).shape, cupy.moveaxis(a, 0, 1).shape",
    "a.flags.c_contiguous, a.T.flags.f_contiguous, hasattr(a.flags, 'writeable')",
    "a.astype('float32', copy=False) is a",
    "[row.shape for row in a]",
    "[hasattr(a, name) for name in ('__index__', 'to_device', '__array_namespace__', 'setflags', 'get')]",
    # Refusals
    "np.asarray(a)",
    "np.array([a, a])",
    "a @ np.ones(3)",
    "np.ones(2) @ a",
    "cupy.matmul(a, [1, 2, 3])",
    "bool(a)",
    "len(a[0, 0])",
    "list(a[0, 0])",
    "a.item()",
    "operator.index(a)",
    "hash(a)",
    # Dtypes
    "[getattr(cupy, name) is getattr(np, name) for name in ('bool', 'float16', 'int64', 'dtype', 'finfo')]",
    "hasattr(cupy, 'bfloat16')",
    "cupy.result_type(a, 1.0), cupy.result_type(a, np.float64(1)), cupy.can_cast(a, 'float64')",
    "cupy.isdtype(a.dtype, 'real floating'), cupy.promote_types('float16', 'int16')",
    # What else this package calls
    "cupy.asnumpy(np.ones(2)), cupy.get_array_module(np.ones(2)) is np, cupy.get_array_module(a) is cupy",
    "[str(inspect.signature(function)) for function in (cupy.array, cupy.asarray, cupy.asnumpy)]",
    "routines.get_compute_type(np.dtype('float32')), routines.COMPUTE_TYPE_FP32",
    "(routines.set_compute_type(np.dtype('float32'), 4), routines.get_compute_type(np.dtype('float32')))",
    "type(cupy.get_default_memory_pool()).__name__",
    # array_api_compat
    "xp.__name__, xp.__array_api_version__, compat.array_namespace(a) is xp, compat.device(a)",
    "xp.__array_namespace_info__().dtypes(), xp.__array_namespace_info__().default_dtypes()",
]

PREAMBLE = f"""
import inspect, json, operator, pickle
import numpy as np
try:
    import cupy
except ImportError:
    raise SystemExit("not installed")
import array_api_compat as compat
import array_api_compat.cupy as xp
from cupy._core import _routines_linalg as routines

def answer(expression):
    try:
        return repr(eval(expression))
    except Exception as error:
        return f"{{type(error).__name__}}: {{error}}".replace("cupy.cuda.device.Device", "Device")

if "standin" in cupy.__version__:
    with cupy.cuda.Device(1):
        a = cupy.ones((2, 3), "float32")
else:
    memory = cupy.cuda.UnownedMemory(4096, 24, None, 1)
    a = cupy.ndarray((2, 3), "float32", cupy.cuda.MemoryPointer(memory, 0))
answers = [answer(expression) for expression in {ANSWERS!r}]
"""

NAMES = """
def public(module):
    return [name for name in getattr(module, "__all__", dir(module)) if not name.startswith("_")]

names = {"cupy": public(cupy), "cupy.cuda": public(cupy.cuda), "array_api_compat.cupy": xp.__all__}
names["runtime"], names["memory"] = public(cupy.cuda.runtime), public(cupy.cuda.memory)
for kind in (cupy.ndarray, cupy.cuda.Device, cupy.cuda.Stream, cupy.cuda.Event, cupy.cuda.MemoryPool):
    names[kind.__name__] = public(kind)
"""

DTYPES = "bBhHiIlLefd"

REAL_DTYPES = f"""
def given(ufunc, char):
    loops = [loop.split("->") for loop in ufunc.types if "E" not in loop]
    return next((out for ins, out in loops if all(np.can_cast(char, kind) for kind in ins)), None)

ufuncs = {{name: f for name, f in vars(cupy).items() if isinstance(f, cupy.ufunc) and f.nout == 1}}
dtypes = {{name: [given(ufunc, char) for char in {DTYPES!r}] for name, ufunc in ufuncs.items()}}
"""

OUR_DTYPES = f"""
def given(name, char):
    ones = [cupy.ones((), char)] * getattr(np, name).nin
    try:
        return getattr(cupy, name)(*ones).dtype.char
    except TypeError:
        return None

ufuncs = [name for name, f in vars(np).items() if isinstance(f, np.ufunc) and f.nout == 1 and name != "matmul"]
dtypes = {{name: [given(name, char) for char in {DTYPES!r}] for name in ufuncs if hasattr(cupy, name)}}
"""


def answers(path, dtypes):
    code = PREAMBLE + NAMES + dtypes + "print(json.dumps([answers, names, dtypes]))"
    others = [
        entry for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry not in ("", STAND_IN)
    ]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([*path, *others])},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.stderr == "not installed\n":
        pytest.skip("the wheel: pip install cupy-cuda12x, which imports without a GPU")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def real():
    return answers([], REAL_DTYPES)


@pytest.fixture(scope="module")
def ours():
    return answers([STAND_IN], OUR_DTYPES)


def test_the_two_are_two(real, ours):
    assert ours[0][0] == f"'{real[0][0][1:-1]}+standin'"


@pytest.mark.parametrize("i", range(1, len(ANSWERS)), ids=ANSWERS[1:])
def test_the_answer_is_the_wheels(real, ours, i):
    assert ours[0][i] == real[0][i]


def test_it_has_no_name_that_the_wheel_lacks(real, ours):
    for where, names in ours[1].items():
        assert set(names) <= set(real[1][where]), where


def test_ufuncs_give_the_wheels_dtypes(real, ours):
    compared = 0
    for name, dtypes in ours[2].items():
        for char, our, theirs in zip(DTYPES, dtypes, real[2].get(name, dtypes), strict=True):
            if our and theirs:
                assert np.dtype(our) == np.dtype(theirs), (name, char)
                compared += 1
    assert compared > 500


# What needs a GPU: of the stand-in, and of CuPy itself where it has one


@pytest.fixture
def two(cupy):
    if cupy.cuda.runtime.getDeviceCount() < 2:
        pytest.skip("it takes two GPUs; PYTHONPATH=$PWD/tests/cupy_standin needs none")
    return cupy


def test_a_device_that_is_not_there_is_refused(cupy):
    with pytest.raises(cupy.cuda.runtime.CUDARuntimeError, match="cudaErrorInvalidDevice"):
        cupy.cuda.Device(99).use()
    with cupy.cuda.Device(0), cupy.cuda.Device(0):
        assert cupy.cuda.runtime.getDevice() == 0


def test_the_current_device_is_the_threads_and_comes_back(two):
    """docs.cupy.dev, user guide, "Current Device"."""
    first, second = two.cuda.Device(0), two.cuda.Device(1)
    current = two.cuda.runtime.getDevice
    with first:
        with second:
            with first, second:
                assert current() == 1
            assert current() == 1
            assert two.ones(2).device == second
        assert current() == 0


def test_arrays_of_another_device_are_refused(two):
    """_core/_kernel.pyx, `_check_peer_access`."""
    with two.cuda.Device(1):
        x = two.ones((2, 2))
    with two.cuda.Device(0):
        y = two.ones((2, 2))
        for function in (
            lambda: x + 1,
            lambda: x @ x,
            lambda: x + y,
            lambda: two.exp(x),
            lambda: x.sum(),
            lambda: two.concatenate([x, y]),
            lambda: x.astype("float32"),
        ):
            with pytest.raises(ValueError, match=r"resides \(1\) is different from the current device \(0\)"):
                function()
        assert (two.zeros_like(x).device, x.copy().device, two.asarray(x).device) == (y.device,) * 3
        assert x[0].device == two.cuda.Device(1)
        np.testing.assert_array_equal(x.get(), np.ones((2, 2)))


def test_arrays_of_numpy_are_refused(cupy):
    """_core/_scalar.pyx, `CScalar`."""
    x = cupy.ones(2)
    for function in (
        lambda: x + np.ones(2),
        lambda: np.ones(2) + x,
        lambda: cupy.exp(np.ones(2)),
        lambda: cupy.where(x > 0, np.ones(2), x),
        lambda: x.__iadd__(np.ones(2)),
    ):
        with pytest.raises(TypeError, match=r"Unsupported type <class 'numpy\.ndarray'>"):
            function()
    with pytest.raises(TypeError, match="returned NotImplemented"):
        x + "12"
    for y in (x * np.float32(2), np.float32(2) * x, 2 * x, np.multiply(x, 2)):
        assert type(y) is cupy.ndarray
        assert y.tolist() == [2, 2]


def test_where_numpy_gives_numbers_arrays_of_no_dimension_come(cupy):
    x = cupy.arange(6).reshape(2, 3)
    for y in (x.sum(), x.max(), x[1, 2], cupy.argmax(x), cupy.mean(x)):
        assert type(y) is cupy.ndarray
        assert y.shape == ()
    assert (int(x[1, 2]), float(x.sum()), bool(x.any()), x.max().item()) == (5, 15.0, True, 5)


def test_memory_is_counted_and_limited(cupy):
    """cuda/memory.pyx: blocks are multiples of 512 bytes; what was freed counts until it is given back."""
    pool = cupy.get_default_memory_pool()
    with cupy.cuda.Device(0):
        gc.collect()
        pool.free_all_blocks()
        before = pool.used_bytes()
        x = cupy.zeros(1000, "float32")
        y = x[1:]
        assert pool.used_bytes() == before + 4096
        del x
        assert pool.used_bytes() == before + 4096
        del y
        assert pool.used_bytes() == before < pool.total_bytes()
        pool.free_all_blocks()
        assert pool.total_bytes() < before + 4096
        pool.set_limit(pool.total_bytes() + 1024)
        try:
            with pytest.raises(cupy.cuda.memory.OutOfMemoryError, match="allocating 40,448 bytes") as caught:
                cupy.zeros(10_000, "float32")
            assert f"limit set to: {pool.get_limit():,} bytes" in str(caught.value)
        finally:
            pool.set_limit(size=0)


def test_the_limit_is_the_current_devices(two):
    pool = two.get_default_memory_pool()
    with two.cuda.Device(1):
        pool.set_limit(pool.total_bytes() + 1024)
        try:
            with two.cuda.Device(0):
                two.zeros(10_000, "float32")
                assert pool.get_limit() == 0
        finally:
            pool.set_limit(size=0)


def test_what_is_freed_is_used_again_within_the_limit(cupy):
    pool = cupy.get_default_memory_pool()
    with cupy.cuda.Device(0):
        x = cupy.zeros(100_000, "float32")
        taken = pool.total_bytes()
        del x
        assert pool.total_bytes() == taken
        pool.set_limit(taken)
        try:
            again = cupy.zeros(100_000, "float32")
            assert pool.total_bytes() == taken
            with pytest.raises(cupy.cuda.memory.OutOfMemoryError):
                cupy.zeros(100_000_000, "float32")
            assert again.size == 100_000
        finally:
            pool.set_limit(size=0)


def test_streams_order_what_they_are_told_to(cupy):
    """Numbers that a stream writes late: the null stream, events and synchronization wait for them."""
    n = 64 if "standin" in cupy.__version__ else 4096  # long enough to be late
    with cupy.cuda.Device(0):
        for wait in (
            lambda writer, reader: None if not reader.ptr else writer.synchronize(),
            lambda writer, reader: reader.wait_event(writer.record()),
            lambda writer, reader: cupy.cuda.Device(0).synchronize(),
        ):
            for reader in (cupy.cuda.Stream.null, cupy.cuda.Stream(), cupy.cuda.Stream(non_blocking=True)):
                writer = cupy.cuda.Stream()
                with writer:
                    x = cupy.eye(n, dtype="float32")
                    for _ in range(8):
                        x = x @ x
                wait(writer, reader)
                with reader:
                    assert float((x + 0).sum()) == n


def test_a_stream_that_reads_too_early_is_found(cupy):
    """CUDA's programming guide on streams; cuda/stream.pyx; docs.cupy.dev on `blocking` of `cupy.array`."""
    if "standin" not in cupy.__version__:
        pytest.skip("a real GPU does not tell: PYTHONPATH=$PWD/tests/cupy_standin")
    with cupy.cuda.Device(0):
        one, other, apart = (cupy.cuda.Stream(non_blocking=flag) for flag in (False, False, True))
        with one:
            waited = cupy.array(np.ones(2), blocking=True)
            x = cupy.asarray(np.ones(2))
            assert cupy.cuda.get_current_stream() is one
            x + 1
        x + 1  # the null stream waits for blocking ones
        for stream in (other, apart):
            with stream:
                waited + 1
                with pytest.raises(RuntimeError, match="a race"):
                    x + 1
                with pytest.raises(RuntimeError, match="a race"):
                    x.get()
        other.wait_event(one.record())
        with other:
            x + 1
        with apart, pytest.raises(RuntimeError, match="a race"):
            x + 1
        one.synchronize()
        with apart:
            y = x + 1
        with pytest.raises(RuntimeError, match="a race"):
            y + 1
        y.device.synchronize()
        y + 1
        with cupy.cuda.Device(1), pytest.raises(RuntimeError, match="does not match with the current"), one:
            pass
