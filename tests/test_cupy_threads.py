"""CuPy's `Device` objects, none of which two threads enter: up to CuPy 9 that sent one to the other's device."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import portable_nn as pnn

NET = pnn.Network([pnn.Dense(np.eye(2, dtype=np.float32), None, "relu")])
ROWS = np.array([[-1.0, 2.0]], dtype=np.float32)


def test_a_thread_may_be_in_a_backends_device_while_another_computes(cupy):
    """The stand-in refuses the second thread of an object; whoever computes here is one."""
    *_, last = pnn.backends.BACKENDS["cupy"].devices()
    backend = pnn.backends.get(f"cupy:{last}")
    current = cupy.cuda.runtime.getDevice

    def compute():
        before = current()
        net, x = NET.to(backend), backend.place(ROWS)
        y = net(x)
        backend.synchronize(y)
        backend.peak_memory()
        assert current() == before
        return backend.to_numpy(y), pnn.infer(net, ROWS, outputs=True), backend.to_numpy(NET(x))

    with backend.device, ThreadPoolExecutor(1) as pool:
        for found in pool.submit(compute).result():
            np.testing.assert_array_equal(found, [[0.0, 2.0]])
        assert current() == backend.device.id


def test_the_stand_in_refuses_a_second_thread(cupy):
    if "standin" not in cupy.__version__:
        pytest.skip("a real GPU is here, which needs no stand-in")
    device, before = cupy.cuda.Device(1), cupy.cuda.runtime.getDevice()
    with device, ThreadPoolExecutor(1) as pool:
        with device:
            pass
        with pytest.raises(RuntimeError, match="two threads enter one object of <CUDA Device 1>"):
            pool.submit(device.__enter__).result()
        with cupy.cuda.Device(1):
            assert pool.submit(cupy.cuda.runtime.getDevice).result() == 0
    assert cupy.cuda.runtime.getDevice() == before
