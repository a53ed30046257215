"""Arrays that NumPy refuses, and NumPy's functions as CuPy has them, by name in `NAMES`."""
# ruff: noqa: SIM905 (names are read more easily without quotation marks)

import functools
from types import SimpleNamespace

import numpy as np

from cupy import cuda

NAMES = {}
SCALARS = (int, float, complex, np.generic)
SUPPORTED = "?bhilqBHILQefdFD"  # _core/_dtype.pyx, all_type_chars

UFUNCS = [name for name, function in vars(np).items() if isinstance(function, np.ufunc)]

FUNCTIONS = """
all allclose amax amin any append argmax argmin argsort around array_equal array_split atleast_1d atleast_2d
broadcast_arrays broadcast_to can_cast clip column_stack concat concatenate count_nonzero cross cumprod
cumsum cumulative_prod cumulative_sum diag diagonal diff dot einsum expand_dims flip hstack imag inner
isclose isin kron matrix_transpose max may_share_memory mean median meshgrid min moveaxis nan_to_num ndim
nonzero outer pad permute_dims prod ravel real repeat reshape result_type roll rot90 round searchsorted
shape size sort split squeeze stack std sum swapaxes take take_along_axis tensordot tile trace transpose
tril triu unique unique_all unique_counts unique_inverse unique_values var vdot vsplit vstack where
""".split()

CREATION = "arange empty eye full identity indices linspace ones tri zeros".split()

METHODS = """
all any argmax argmin argsort clip conj cumprod cumsum diagonal dot flatten max mean min nonzero prod ravel
repeat reshape round sort squeeze std sum swapaxes take trace transpose var view
""".split()

ARITHMETIC = """add:add subtract:sub multiply:mul true_divide:truediv floor_divide:floordiv remainder:mod
power:pow left_shift:lshift right_shift:rshift bitwise_and:and bitwise_or:or bitwise_xor:xor""".split()

COMPARISONS = "equal:eq not_equal:ne less:lt less_equal:le greater:gt greater_equal:ge".split()

UNARY = "negative:neg positive:pos absolute:abs invert:invert".split()


class ndarray:
    """_core/core.pyx: an array on a device, which NumPy refuses and which refuses NumPy's."""

    __array_priority__ = 100
    __hash__ = None

    def __init__(self, shape, dtype=float, order="C"):
        self._host = np.empty(shape, dtype, order)
        self.data = cuda.alloc(self._host.nbytes)

    shape = property(lambda self: self._host.shape)
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
        return SimpleNamespace(c_contiguous=flags.c_contiguous, f_contiguous=flags.f_contiguous)

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
        return self._host.copy(order)

    def astype(self, dtype, order="K", casting=None, subok=None, copy=True):
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
        return array, (self.get(),)

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
        return _launched(lambda host, *index: host[index], self, *_indices(index))

    def __setitem__(self, index, value):
        if not isinstance(value, (ndarray, *SCALARS)):
            value = array(value)
        self.data.mem.read()
        _launched(lambda host, value, *index: host.__setitem__(index, value), self, value, *_indices(index))
        self.data.mem.write()

    def __bool__(self):
        if self.size > 1:
            raise ValueError(
                "The truth value of an array with more than one element is ambiguous. Use a.any() or a.all()"
            )
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
        return matmul(self, other)


def _new(host):
    """An array of these values, on the current device."""
    made = object.__new__(ndarray)
    made._host = host
    made.data = cuda.alloc(host.nbytes)
    return made


def _view(host, of):
    made = object.__new__(ndarray)
    made._host = host
    made.data = of.data
    return made


def _indices(index):
    """With an ellipsis NumPy gives an array of no dimension, as CuPy does, instead of a number."""
    index = index if isinstance(index, tuple) else (index,)
    index = tuple(array(part) if isinstance(part, (np.ndarray, list)) else part for part in index)
    return index if any(part is Ellipsis for part in index) else (*index, Ellipsis)


def _launched(function, *args, out=None, **options):
    """What NumPy's function gives of arrays on the current device: a view of one, or a new one there."""
    operands = []
    with np.errstate(all="ignore"):
        hosts = [_host(x, operands) for x in args]
        found = function(*hosts, **{name: _host(x, operands) for name, x in options.items()})
    if out is None:
        return _result(found, operands)
    out[...] = _result(found, operands).astype(out.dtype, copy=False)
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


def _function(numpys):
    @functools.wraps(numpys)
    def function(*args, **options):
        return _launched(numpys, *args, **options)

    return function


def _ufunc(numpys):
    """_core/_kernel.pyx: of arrays of this library and numbers, no lists."""

    @functools.wraps(numpys)
    def function(*args, **options):
        for x in args:
            if not isinstance(x, (ndarray, *SCALARS)):
                raise TypeError(f"Unsupported type {type(x)}")
        return _launched(numpys, *args, **options)

    return function


def _creation(numpys):
    @functools.wraps(numpys)
    def function(*args, **options):
        return _new(np.asarray(numpys(*args, **options)))

    return function


def _like(numpys):
    """_creation/basic.py: on the current device, wherever `x` is."""

    @functools.wraps(numpys)
    def function(x, *args, **options):
        return _new(numpys(x._host, *args, **options))

    return function


def _operator(name):
    """core.pyx, `__add__` and the others: what CuPy does not know, NumPy passes on (`__array_ufunc__`)."""
    ours, numpys = NAMES[name], getattr(np, name)
    return lambda x, *y: ours(x, *y) if isinstance((x, *y)[-1], (ndarray, *SCALARS)) else numpys(x, *y)


def _reflected(name):
    return lambda x, y: getattr(np, name)(y, x)


def _in_place(name):
    return lambda x, y: NAMES[name](x, y, out=x)


def matmul(a, b, /, out=None, **options):
    """_core/_gufuncs.pyx, and the types of _core/_routines_linalg.pyx."""
    for name, x in (("a", a), ("b", b)):
        if not isinstance(x, ndarray):
            kind = (
                type(x).__name__
                if type(x).__module__ == "builtins"
                else f"{type(x).__module__}.{type(x).__name__}"
            )
            raise TypeError(
                f"Argument '{name}' has incorrect type (expected cupy._core.core._ndarray_base, got {kind})"
            )
    return _launched(np.matmul, a, b, out=out, **options)


def array(obj, dtype=None, copy=True, order="K", subok=False, ndmin=0, *, blocking=False):
    """_core/core.pyx, `array`: numbers travel on the current stream, which is waited for if `blocking`."""
    if isinstance(obj, ndarray):
        if obj.data.device_id == cuda.get_device_id():
            return obj.astype(dtype or obj.dtype, order=order, copy=copy)
        return obj.copy().astype(dtype or obj.dtype, copy=False)
    host = np.array(obj, dtype=dtype, order=order, ndmin=ndmin)
    if host.dtype.char not in SUPPORTED:
        raise ValueError(f"Unsupported dtype {host.dtype}")
    made = _new(host.astype(host.dtype.newbyteorder("="), copy=False))
    if blocking and host.ndim:  # one number travels with the kernel that fills it
        cuda.get_current_stream().synchronize()
    return made


def asarray(a, dtype=None, order=None, *, copy=None, blocking=False):
    return array(a, dtype, copy=bool(copy), order=order or "K", blocking=blocking)


def asnumpy(a, stream=None, order="C", out=None, *, blocking=True):
    """cupy/__init__.py: what is no array here is NumPy's."""
    return a.get(stream, order, out, blocking) if isinstance(a, ndarray) else np.asarray(a)


def copy(a, order="K"):
    return a.copy(order)


def get_array_module(*args):
    import cupy

    return cupy if any(isinstance(x, ndarray) for x in args) else np


def get_default_memory_pool():
    return cuda._pool


for _made in (ndarray, array, asarray, asnumpy, copy, get_array_module, get_default_memory_pool):
    NAMES[_made.__name__] = _made
for _name in UFUNCS:
    NAMES[_name] = _ufunc(getattr(np, _name))
for _name in ("isnat", "matvec", "spacing", "vecdot", "vecmat"):  # CuPy lacks these
    NAMES.pop(_name, None)
NAMES["matmul"] = matmul
for _name in FUNCTIONS:
    NAMES[_name] = _function(getattr(np, _name))
for _name in CREATION:
    NAMES[_name] = _creation(getattr(np, _name))
for _name in ("empty_like", "full_like", "ones_like", "zeros_like"):
    NAMES[_name] = _like(getattr(np, _name))
for _name in METHODS:
    setattr(ndarray, _name, _function(getattr(np.ndarray, _name)))
for _name, _short in (pair.split(":") for pair in (*ARITHMETIC, *COMPARISONS, *UNARY)):
    setattr(ndarray, f"__{_short}__", _operator(_name))
for _name, _short in (pair.split(":") for pair in ARITHMETIC):
    setattr(ndarray, f"__r{_short}__", _reflected(_name))
    setattr(ndarray, f"__i{_short}__", _in_place(_name))
