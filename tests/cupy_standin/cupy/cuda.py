"""Devices, streams and memory as CuPy has them, without any: who is current, who may read what, what is full.

Each class follows the file of the same name in CuPy's `cupy/cuda/`: `device.pyx`, `stream.pyx`, `memory.pyx`.
A kernel runs at once here, so that nothing needs to be waited for. What on a GPU would read too early, since
nothing orders the reading stream behind the writing one, is an error instead of a wrong number now and then.
"""

import sys
import threading
from collections import defaultdict
from itertools import count
from types import ModuleType, SimpleNamespace

__all__ = [
    "Device",
    "Event",
    "MemoryPointer",
    "MemoryPool",
    "Stream",
    "alloc",
    "device",
    "get_current_stream",
    "get_device_id",
    "is_available",
    "memory",
    "runtime",
]

DEVICES = 2


class _Thread(threading.local):
    """CUDA's current device is one for each thread, and so are CuPy's current streams, for each device."""

    def __init__(self):
        self.device = 0
        self.entered = []
        self.streams = {}


_thread = _Thread()
_moments = count(1)
_finished = defaultdict(int)  # of each stream, the moment until which the host has waited for it
_ordered = defaultdict(int)  # of each two streams, the moment of the second that the first one waits for


_MESSAGES = {
    2: "cudaErrorMemoryAllocation: out of memory",
    101: "cudaErrorInvalidDevice: invalid device ordinal",
}


class CUDARuntimeError(RuntimeError):
    """cupy_backends/cuda/api/runtime.pyx; the messages are CUDA's."""

    def __init__(self, status):
        self.status = status
        super().__init__(_MESSAGES[status])


def _set_device(device):
    if not 0 <= device < DEVICES:
        raise CUDARuntimeError(101)
    _thread.device = device


def _device_synchronize():
    for stream in list(_finished):
        if stream[0] == _thread.device:
            _finished[stream] = next(_moments)


runtime = SimpleNamespace(
    CUDARuntimeError=CUDARuntimeError,
    deviceSynchronize=_device_synchronize,
    getDevice=lambda: _thread.device,
    getDeviceCount=lambda: DEVICES,
    setDevice=_set_device,
)


def get_device_id():
    return runtime.getDevice()


def is_available():
    return True


class Device:
    """device.pyx: a number. It compares, and so does not hash.

    What to go back to was kept by the object, whatever the threads, up to CuPy 9: two threads in one object sent
    each other to the wrong device (github.com/cupy/cupy, issue 5006). From CuPy 10 on, and so in all that this
    package supports, the thread keeps it (pull request 5083). Here a second thread is refused all the same: to
    share no object is right in every version.
    """

    def __init__(self, device=None):
        self.id = runtime.getDevice() if device is None else int(device)
        self._entered = []

    def __enter__(self):
        before, thread = runtime.getDevice(), threading.get_ident()
        if any(other != thread for other, _ in self._entered):
            raise RuntimeError(f"two threads enter one object of {self}: give each an object of its own")
        if self.id != before:
            runtime.setDevice(self.id)
        self._entered.append((thread, before))
        return self

    def __exit__(self, *exception):
        runtime.setDevice(self._entered.pop()[1])

    def __int__(self):
        return self.id

    def __repr__(self):
        return f"<CUDA Device {self.id}>"

    def __eq__(self, other):
        return isinstance(other, Device) and self.id == other.id

    __hash__ = None

    def __lt__(self, other):
        return self.id < other.id if isinstance(other, Device) else NotImplemented

    def use(self):
        runtime.setDevice(self.id)
        return self

    def synchronize(self):
        with self:
            runtime.deviceSynchronize()


class Event:
    """stream.pyx: a moment of a stream."""

    def record(self, stream=None):
        self._stream, self._moment = (stream or get_current_stream())._place(), next(_moments)

    _stream = None

    def synchronize(self):
        if self._stream is None:
            return
        _finished[self._stream] = max(_finished[self._stream], self._moment)


class Stream:
    """stream.pyx: current for one thread and the device it was made on, and refused on another one.

    The null stream waits for all others of its device, and they for it, but those that are `non_blocking`
    (CUDA Runtime API, "Stream synchronization behavior").
    """

    _pointers = count(3)  # 1 and 2 are CUDA's own names of the default streams

    def __init__(self, null=False, non_blocking=False):
        self.ptr = 0 if null else next(self._pointers)
        self.device_id = -1 if null else runtime.getDevice()
        self.is_non_blocking = non_blocking

    def __enter__(self):
        device = runtime.getDevice()
        if self.device_id not in (-1, device):
            raise RuntimeError(
                f"The device that the stream is created on ({self.device_id})"
                f" does not match with the current device ({device})"
            )
        _thread.streams.setdefault(device, [Stream.null]).append(self)
        _thread.entered.append(device)
        return self

    def __exit__(self, *exception):
        _thread.streams[_thread.entered.pop()].pop()

    def __eq__(self, other):
        return isinstance(other, Stream) and self.ptr == other.ptr

    def __hash__(self):
        return self.ptr

    def __repr__(self):
        return f"<Stream {self.ptr} (device {self.device_id})>"

    def record(self, event=None):
        event = event or Event()
        event.record(self)
        return event

    def synchronize(self):
        _finished[self._place()] = next(_moments)

    def wait_event(self, event):
        _ordered[self._place(), event._stream] = event._moment

    def _place(self):
        return runtime.getDevice() if self.device_id == -1 else self.device_id, self.ptr, self.is_non_blocking


Stream.null = Stream(null=True)


def get_current_stream(device_id=-1):
    device = runtime.getDevice() if device_id == -1 else device_id
    return _thread.streams.get(device, [Stream.null])[-1]


class OutOfMemoryError(MemoryError):
    """memory.pyx"""

    def __init__(self, size, total, limit=0):
        self._arguments = size, total, limit
        limited = f", limit set to: {limit:,} bytes" if limit else ""
        super().__init__(f"Out of memory allocating {size:,} bytes (allocated so far: {total:,} bytes{limited}).")

    def __reduce__(self):
        return type(self), self._arguments


class MemoryPool:
    """memory.pyx: what was freed is kept until it is needed; all figures are those of the current device."""

    def __init__(self):
        self._live = {}
        self._total = [0] * DEVICES
        self._limit = [0] * DEVICES

    def malloc(self, size):
        memory, device = Memory(size), runtime.getDevice()
        used, limit = self.used_bytes() + memory.size, self._limit[device]
        if limit and used > limit:
            raise OutOfMemoryError(memory.size, self._total[device], limit)
        self._total[device] = max(self._total[device], used)
        self._live[id(memory)] = device, memory.size
        return MemoryPointer(memory)

    def used_bytes(self):
        return sum(size for device, size in list(self._live.values()) if device == runtime.getDevice())

    def total_bytes(self):
        return self._total[runtime.getDevice()]

    def free_all_blocks(self, stream=None):
        self._total[runtime.getDevice()] = self.used_bytes()

    def get_limit(self):
        return self._limit[runtime.getDevice()]

    def set_limit(self, size=None):
        self._limit[runtime.getDevice()] = size or 0


_pool = MemoryPool()


class Memory:
    """memory.pyx: bytes on the device that was current, in blocks of 512, and what was last written there."""

    def __init__(self, size):
        self.size = -(-size // 512) * 512
        self.device_id = runtime.getDevice()
        self.write()

    def __del__(self):
        _pool._live.pop(id(self), None)

    def write(self):
        self._stream, self._moment = get_current_stream()._place(), next(_moments)
        _finished.setdefault(self._stream, 0)

    def read(self):
        """By a kernel of the current device and stream: `_check_peer_access` in _core/_kernel.pyx."""
        if self.device_id != runtime.getDevice():
            raise ValueError(
                f"The device where the array resides ({self.device_id}) is different from the current device "
                f"({runtime.getDevice()}). Peer access is unavailable between these devices."
            )
        reader = get_current_stream()._place()
        blocking = not (reader[2] or self._stream[2])
        behind = (
            reader == self._stream
            or self._moment <= max(_finished[self._stream], _ordered[reader, self._stream])
            or (blocking and 0 in (reader[1], self._stream[1]) and reader[0] == self._stream[0])
        )
        if not behind:
            raise RuntimeError(
                f"a race: stream {reader} reads what stream {self._stream} writes, and does not wait for it"
            )


class MemoryPointer:
    """memory.pyx"""

    def __init__(self, mem):
        self.mem = mem
        self.device_id = mem.device_id

    @property
    def device(self):
        return Device(self.device_id)


def alloc(size):
    return _pool.malloc(size)


def _module(name, **names):
    module = sys.modules[name] = ModuleType(name)
    vars(module).update(names)
    return module


device = _module("cupy.cuda.device", Device=Device)
memory = _module("cupy.cuda.memory", MemoryPool=MemoryPool, OutOfMemoryError=OutOfMemoryError)
