"""NumPy's functions as CuPy has them, by name in `NAMES`."""
# ruff: noqa: SIM905 (names are read more easily without quotation marks)

import functools
import warnings

import numpy as np

from cupy import cuda
from cupy._arrays import NAMES, SCALARS, SUPPORTED, _filling, _launched, _new, _wrapped, ndarray

UFUNCS = [name for name, function in vars(np).items() if isinstance(function, np.ufunc)]

FUNCTIONS = """
all amax amin any append argmax argmin argsort around array_split atleast_1d atleast_2d
broadcast_arrays broadcast_to can_cast column_stack concat concatenate count_nonzero cross cumprod
cumsum cumulative_prod cumulative_sum diagonal diff einsum expand_dims flip hstack imag inner
isclose isin kron matrix_transpose max may_share_memory mean median meshgrid min moveaxis nan_to_num ndim
nonzero outer pad permute_dims prod ravel real repeat reshape result_type roll rot90 round searchsorted
shape size sort split squeeze stack std sum swapaxes tensordot tile trace transpose
tril triu unique unique_all unique_counts unique_inverse var vdot vsplit vstack
""".split()

CREATION = "arange empty eye identity indices linspace ones tri zeros".split()

METHODS = """
all any argmax argmin argsort conj cumprod cumsum diagonal flatten max mean min nonzero prod ravel
repeat reshape round sort squeeze std sum swapaxes trace transpose var view
""".split()

LACKING = {"argsort": "stable", "count_nonzero": "keepdims", "std": "correction", "var": "correction"}
LACKING |= dict.fromkeys(("amax", "amin", "max", "min"), "initial")
"""Options of NumPy's that CuPy's functions do not have."""

ARITHMETIC = """add:add subtract:sub multiply:mul true_divide:truediv floor_divide:floordiv remainder:mod
power:pow left_shift:lshift right_shift:rshift bitwise_and:and bitwise_or:or bitwise_xor:xor""".split()

COMPARISONS = "equal:eq not_equal:ne less:lt less_equal:le greater:gt greater_equal:ge".split()

UNARY = "negative:neg positive:pos absolute:abs invert:invert".split()


def _moment(name):
    """Of no numbers it is nan, and nothing warns."""

    def moment(*args, **options):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Mean of empty slice|Degrees of freedom")
            return getattr(np, name)(*args, **options)

    return functools.wraps(getattr(np, name))(moment)


def _function(numpys):
    lacking = LACKING.get(numpys.__name__)

    @functools.wraps(numpys)
    def function(*args, **options):
        if lacking in options:
            raise TypeError(f"{numpys.__name__}() got an unexpected keyword argument '{lacking}'")
        return _launched(numpys, *args, **options)

    return function


def _ufunc(numpys):
    """_core/_kernel.pyx: of arrays of this library and numbers, no lists."""

    @functools.wraps(numpys)
    def function(*args, **options):
        for x in args:
            if not isinstance(x, (ndarray, *SCALARS)):
                raise TypeError(f"Unsupported type {type(x)}")
        if "where" in options:
            raise TypeError("Wrong arguments {'where'}")
        inputs, outputs = args[: numpys.nin], args[numpys.nin :]
        if len(outputs) == 1:
            options["out"] = outputs[0]
        return _in_c(_launched(numpys, *_narrowed(inputs), **options))

    return function


def _narrowed(args):
    """Numbers are cast on the host, to the dtype of the arrays beside them, which warns where they overflow."""
    kinds = {x.dtype for x in args if isinstance(x, ndarray)}
    narrow = kinds == {np.dtype("float16")}
    return [np.float16(x) if narrow and type(x) is float else x for x in args]


def _in_c(made):
    """_core/_kernel.pyx: results are in C order, whatever that of the operands."""
    if isinstance(made, ndarray) and made.base is None and not made._host.flags.c_contiguous:
        made._host = np.ascontiguousarray(made._host)
    return made


def _creation(numpys):
    @functools.wraps(numpys)
    def function(*args, **options):
        try:
            return _new(np.asarray(numpys(*args, **options)))
        except np._core._exceptions._ArrayMemoryError as error:
            raise cuda.OutOfMemoryError(error._total_size, cuda._pool.total_bytes()) from None

    return function


def full(shape, fill_value, dtype=None, order="C"):
    """_creation/basic.py"""
    value = _filling(fill_value)
    if dtype is None:
        dtype = value.dtype if isinstance(value, ndarray) else np.asarray(value).dtype
    made = NAMES["empty"](shape, dtype, order)
    made[...] = value
    return made


def _like(numpys):
    """_creation/basic.py: on the current device, wherever `x` is."""

    @functools.wraps(numpys)
    def function(x, *args, **options):
        return _new(numpys(x._host, *args, **options))

    return function


def _operator(name):
    """core.pyx, `__add__` and the others: what CuPy does not know, NumPy passes on (`__array_ufunc__`)."""
    ours, numpys = NAMES[name], getattr(np, name)

    def operator(x, *y):
        if isinstance((x, *y)[-1], (ndarray, *SCALARS)):
            return ours(x, *y)
        if name in ("equal", "not_equal") and y[0] is None:
            return NAMES["full"](x.shape, name == "not_equal")
        return numpys(x, *y)

    return operator


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


def dot(a, b, out=None):
    for name, x in (("a", a), ("b", b)):
        if not isinstance(x, ndarray):
            raise TypeError(f"Argument '{name}' has incorrect type (expected cupy._core.core._ndarray_base)")
    return _launched(np.dot, a, b, out=out)


def diag(v, k=0):
    """_creation/matrix.py: a copy."""
    return _launched(lambda host, k: np.diag(host, k).copy(), v, k)


def where(condition, x=None, y=None):
    """_sorting/search.py: a ufunc, and so of arrays here and of numbers that fit."""
    if x is None and y is None:
        return NAMES["nonzero"](condition)
    if x is None or y is None:
        raise ValueError("Must provide both 'x' and 'y' or neither.")
    if not isinstance(condition, ndarray):
        raise AttributeError(f"'{type(condition).__name__}' object has no attribute 'astype'")
    return _elementwise(lambda condition, x, y: np.where(condition, x, y), x, y, first=condition)


def clip(a, a_min=None, a_max=None, out=None):
    """_core/_routines_math.pyx: a ufunc, and so of arrays here and of numbers that fit."""
    ends = [end for end in (a_min, a_max) if end is not None]

    def clipped(a, *ends):
        given = iter(ends)
        return np.clip(a, *(None if end is None else next(given) for end in (a_min, a_max)))

    return _elementwise(clipped, a, *ends, out=out)


def _elementwise(function, *args, first=None, out=None):
    for x in args:
        if not isinstance(x, (ndarray, *SCALARS)):
            raise TypeError(f"Unsupported type {type(x)}")
    kind = np.result_type(*(x.dtype if isinstance(x, ndarray) else x for x in args))
    fit = [x if isinstance(x, ndarray) else np.asarray(x, kind)[()] for x in args]
    return _in_c(_launched(function, *([] if first is None else [first]), *fit, out=out))


def take(a, indices, axis=None, out=None):
    """_core/_routines_indexing.pyx: indices wrap around."""
    indices = indices if isinstance(indices, (ndarray, *SCALARS)) else array(indices)
    return _launched(functools.partial(np.take, axis=axis, mode="wrap"), a, indices, out=out)


def take_along_axis(a, indices, axis):
    """_indexing/indexing.py: indices wrap around."""
    size = a.size if axis is None else a.shape[axis]
    return _launched(functools.partial(np.take_along_axis, axis=axis), a, _wrapped(indices, size))


def unique_values(x):
    """_manipulation/add_remove.py: sorted."""
    return NAMES["unique"](x)


def allclose(a, b, rtol=1e-5, atol=1e-8, equal_nan=False):
    """_logic/comparison.py: an array of no dimension, as that of `array_equal`."""
    return NAMES["all"](NAMES["isclose"](a, b, rtol=rtol, atol=atol, equal_nan=equal_nan))


def array_equal(a1, a2, equal_nan=False):
    return _launched(lambda a1, a2: np.asarray(np.array_equal(a1, a2, equal_nan=equal_nan)), a1, a2)


def array(obj, dtype=None, copy=True, order="K", subok=False, ndmin=0, *, blocking=False):
    """_core/core.pyx, `array`: numbers travel on the current stream, which is waited for if `blocking`."""
    if isinstance(obj, ndarray):
        if obj.data.device_id == cuda.get_device_id():
            made = obj.astype(dtype or obj.dtype, order=order, copy=copy)
        else:
            made = obj.copy().astype(dtype or obj.dtype, copy=False)
        return made if made.ndim >= ndmin else made.reshape((1,) * (ndmin - made.ndim) + made.shape)
    if isinstance(obj, (list, tuple)) and obj and all(isinstance(part, ndarray) for part in obj):
        return NAMES["stack"](list(obj)).astype(dtype or NAMES["result_type"](*obj), copy=False)
    host = np.array(obj, dtype=dtype, order=order, ndmin=ndmin)
    if host.dtype.char not in SUPPORTED:
        raise ValueError(f"Unsupported dtype {host.dtype}")
    made = _new(host.astype(host.dtype.newbyteorder("="), copy=False))
    if blocking and host.ndim:  # one number travels with the kernel that fills it
        cuda.get_current_stream().synchronize()
    return made


def asarray(a, dtype=None, order=None, *, copy=None, blocking=False):
    made = array(a, dtype, copy=bool(copy), order=order or "K", blocking=blocking)
    if copy is False and isinstance(a, ndarray) and made is not a:
        raise ValueError("Unable to avoid copy while creating an array as requested.")
    return made


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


for _name in UFUNCS:
    NAMES[_name] = _ufunc(getattr(np, _name))
for _name in ("isnat", "matvec", "spacing", "vecdot", "vecmat"):  # CuPy lacks these
    NAMES.pop(_name, None)
for _name in FUNCTIONS:
    NAMES[_name] = _function(getattr(np, _name))
for _name in ("mean", "std", "var"):
    NAMES[_name] = _function(_moment(_name))
for _name in CREATION:
    NAMES[_name] = _creation(getattr(np, _name))
for _name in ("empty_like", "full_like", "ones_like", "zeros_like"):
    NAMES[_name] = _like(getattr(np, _name))
for _made in (ndarray, allclose, array, array_equal, asarray, asnumpy, clip, copy, diag, dot, full, matmul, take):
    NAMES[_made.__name__] = _made
for _made in (get_array_module, get_default_memory_pool, take_along_axis, unique_values, where):
    NAMES[_made.__name__] = _made
for _name in METHODS:
    setattr(ndarray, _name, _function(getattr(np.ndarray, _name)))
for _name, _short in (pair.split(":") for pair in (*ARITHMETIC, *COMPARISONS, *UNARY)):
    setattr(ndarray, f"__{_short}__", _operator(_name))
for _name, _short in (pair.split(":") for pair in ARITHMETIC):
    setattr(ndarray, f"__r{_short}__", _reflected(_name))
    setattr(ndarray, f"__i{_short}__", _in_place(_name))
