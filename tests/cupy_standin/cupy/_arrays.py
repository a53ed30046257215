"""Arrays that NumPy refuses; functions of them stand in `_functions.py`, by name in `NAMES`."""

import warnings
from types import SimpleNamespace

import numpy as np

from cupy import cuda

NAMES = {}
EMPTY = (
    "The truth value of an empty array is ambiguous. Returning False, but in future this will result in an "
    "error. Use `array.size > 0` to check that an array is not empty."
)
SCALARS = (int, float, complex, np.generic)
SUPPORTED = "?bhilqBHILQefdFD"  # _core/_dtype.pyx, all_type_chars


class ndarray:
    """_core/core.pyx: an array on a device, which NumPy refuses and which refuses NumPy's."""

    __module__ = "cupy"
    __slots__ = ("__weakref__", "_host", "base", "data")
    __array_priority__ = 100
    __hash__ = None

    def __init__(self, shape, dtype=float, order="C"):
        self._host = np.empty(shape, dtype, order)
        self.data, self.base = cuda.alloc(self._host.nbytes), None

    shape = property(
        lambda self: self._host.shape,
        lambda self, new: setattr(self, "_host", self._host.reshape(new, copy=False)),
    )
    dtype = property(lambda self: self._host.dtype)
    ndim = property(lambda self: self._host.ndim)
    size = property(lambda self: self._host.size)
    nbytes = property(lambda self: self._host.nbytes)
    itemsize = property(lambda self: self._host.itemsize)
    strides = property(lambda self: self._host.strides)
    device = property(lambda self: self.data.device)
    T = property(lambda self: self.transpose())
    mT = property(lambda self: NAMES["matrix_transpose"](self))
    real = property(lambda self: _launched(np.real, self))
    imag = property(lambda self: _launched(np.imag, self))

    @property
    def flags(self):
        flags = self._host.flags
        own = self.base is None
        return SimpleNamespace(c_contiguous=flags.c_contiguous, f_contiguous=flags.f_contiguous, owndata=own)

    def __array__(self, dtype=None, copy=None):
        raise TypeError(
            "Implicit conversion to a NumPy array is not allowed. "
            "Please use `.get()` to construct a NumPy array explicitly."
        )

    def __array_ufunc__(self, ufunc, method, *inputs, out=(), **options):
        function = NAMES.get(ufunc.__name__)
        known = (ndarray, np.ndarray, *SCALARS)
        if method != "__call__" or function is None or not all(isinstance(x, known) for x in (*inputs, *out)):
            return NotImplemented
        return function(*inputs, **options | ({"out": out[0]} if out else {}))

    def __array_function__(self, function, types, args, kwargs):
        ours = NAMES.get(function.__name__)
        if ours is None or not all(issubclass(kind, (ndarray, np.ndarray)) for kind in types):
            return NotImplemented
        return ours(*args, **kwargs)

    def get(self, stream=None, order="C", out=None, blocking=True):
        """On the stream of the device that is current, whichever the array's is; one of another is refused."""
        stream = stream or cuda.get_current_stream()
        with self.device, stream:
            self.data.mem.read()
            stream.synchronize()
        if out is None:
            return self._host.copy(order)
        if out.dtype != self.dtype:
            raise TypeError(f"{out.dtype} array cannot be obtained from {self.dtype} array")
        if out.shape != self.shape:
            raise ValueError(f"Shape mismatch. Expected shape: {self.shape}, actual shape: {out.shape}")
        out[...] = self._host
        return out

    def astype(self, dtype, order="K", casting=None, subok=None, copy=True):
        if casting is not None:
            raise TypeError("casting is not supported yet")
        if np.dtype(dtype).char not in SUPPORTED:
            raise ValueError(f"Unsupported dtype {np.dtype(dtype)}")
        return _launched(np.ndarray.astype, self, dtype, order=order, copy=copy)

    def copy(self, order="C"):
        """To the current device, from wherever it is."""
        with self.device:
            self.data.mem.read()
        return _new(self._host.copy(order))

    def fill(self, value):
        self[...] = value

    def item(self):
        if self.size != 1:
            raise ValueError("can only convert an array of size 1 to a Python scalar")
        return self.get().item()

    def tolist(self):
        return self.get().tolist()

    def tobytes(self, order="C"):
        return self.get().tobytes(order)

    def __reduce__(self):
        return NAMES["array"], (self.get(order="A"),)

    def __copy__(self):
        return self.copy()

    def __deepcopy__(self, memo):
        with self.device:
            return self.copy()

    def __len__(self):
        if self.ndim == 0:
            raise TypeError("len() of unsized object")
        return self.shape[0]

    def __iter__(self):
        if self.ndim == 0:
            raise TypeError("iteration over a 0-d array")
        return (self[i] for i in range(self.shape[0]))

    def __getitem__(self, index):
        return _launched(lambda host, *index: host[index], self, *_indices(index, self.shape))

    def __setitem__(self, index, value):
        value = _filling(value)
        self.data.mem.read()
        _launched(
            lambda host, value, *index: host.__setitem__(index, value), self, value, *_indices(index, self.shape)
        )
        self.data.mem.write()

    def __bool__(self):
        if self.size > 1:
            raise ValueError(
                "The truth value of an array with more than one element is ambiguous. Use a.any() or a.all()"
            )
        if not self.size:
            warnings.warn(EMPTY, DeprecationWarning, stacklevel=2)
            return False
        return self.get().__bool__()

    def __int__(self):
        return int(self.get())

    def __float__(self):
        return float(self.get())

    def __complex__(self):
        return complex(self.get())

    def __repr__(self):
        return repr(self.get())

    def __str__(self):
        return str(self.get())

    def __format__(self, specification):
        return format(self.get(), specification)

    def __matmul__(self, other):
        return NAMES["matmul"](self, other)

    def __divmod__(self, other):
        return self // other, self % other

    def __bytes__(self):
        return self.tobytes()

    def __dlpack_device__(self):
        return 2, self.data.device_id

    def clip(self, min=None, max=None, out=None):  # noqa: A002
        return NAMES["clip"](self, min, max, out)

    def dot(self, other, out=None):
        return NAMES["dot"](self, other, out)

    def take(self, indices, axis=None, out=None):
        return NAMES["take"](self, indices, axis, out)


def _new(host):
    """An array of these values, on the current device."""
    made = object.__new__(ndarray)
    made._host, made.base = host, None
    made.data = cuda.alloc(host.nbytes)
    return made


def _view(host, of):
    if 0 in host.strides and host.size > 1 and host.ctypes.data == of._host.ctypes.data:
        host = np.lib.stride_tricks.as_strided(of._host, host.shape, host.strides)  # broadcast, and yet writable
    made = object.__new__(ndarray)
    made._host, made.base, made.data = host, of, of.data
    return made


def _indices(index, shape):
    """Arrays of integers wrap around (docs.cupy.dev, "Differences between CuPy and NumPy").

    With an ellipsis NumPy gives an array of no dimension, as CuPy does, instead of a number.
    """
    index = index if isinstance(index, tuple) else (index,)
    index = [_index(part) if isinstance(part, (np.ndarray, list)) else part for part in index]
    if not any(part is Ellipsis for part in index):
        index.append(Ellipsis)
    taken = [_axes(part) for part in index]
    before = 0
    for i, part in enumerate(index):
        if isinstance(part, ndarray) and part.dtype.kind in "iu" and before < len(shape):
            index[i] = _wrapped(part, shape[before])
        before = before + taken[i] if part is not Ellipsis else len(shape) - sum(taken[i + 1 :])
    return tuple(index)


def _index(part):
    return NAMES["array"](part, np.intp if isinstance(part, list) and not part else None)


def _axes(part):
    """How many axes of an array a part of an index takes."""
    if part is None or part is Ellipsis or isinstance(part, (bool, np.bool)):
        return 0
    return part.ndim if isinstance(part, ndarray) and part.dtype == bool else 1


def _wrapped(indices, size):
    return _launched(lambda host: host % size, indices) if size else indices


def _filling(value):
    """_core/core.pyx, `fill` and `copyto`: what an array is filled with is an array here, or one number."""
    if isinstance(value, (ndarray, *SCALARS)):
        return value
    if np.ndim(value):
        raise ValueError("non-scalar numpy.ndarray cannot be used for fill")
    return NAMES["array"](value)


def _launched(function, *args, out=None, **options):
    """What NumPy's function gives of arrays on the current device: a view of one, or a new one there."""
    operands = []
    with np.errstate(all="ignore"):
        hosts = [_host(x, operands) for x in args]
        found = function(*hosts, **{name: _host(x, operands) for name, x in options.items()})
    if out is None:
        return _result(found, operands)
    made = _result(found, operands)
    if not np.can_cast(made.dtype, out.dtype, "same_kind"):
        raise TypeError(f"Cannot cast output operand from {made.dtype!r} to {out.dtype!r} according to same_kind")
    out[...] = made.astype(out.dtype, copy=False)
    return out


def _host(x, operands):
    """NumPy's array, noted among the operands; beside them stand numbers, never NumPy's arrays.

    `_preprocess_args` in _core/_kernel.pyx, `CScalar` in _core/_scalar.pyx.
    """
    if isinstance(x, ndarray):
        operands.append(x)
        return x._host
    if isinstance(x, np.ndarray):
        raise TypeError(f"Unsupported type {type(x)}")
    return type(x)(_host(part, operands) for part in x) if type(x) in (list, tuple) else x


def _result(found, operands):
    if hasattr(found, "_make"):
        return found._make(_result(part, operands) for part in found)
    if type(found) in (list, tuple):
        return type(found)(_result(part, operands) for part in found)
    if not isinstance(found, (np.ndarray, np.generic)):
        return found
    for x in operands:
        if found is x._host:
            return x
        if isinstance(found, np.ndarray) and found.base is not None and np.may_share_memory(found, x._host):
            return _view(found, x)
    for x in operands:
        x.data.mem.read()
    return _new(np.asarray(found))
