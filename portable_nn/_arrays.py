"""What an array is: its namespace, and whether a network computes in its dtype.

The oldest version of the array API standard that is supported is 2023.12, the first with `maximum`, `minimum` and
`clip`, which activations need, and the first that tells the dtypes of a device, which weights and integers need.
"""

import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import array_api_compat
import numpy as np

from portable_nn._options import unknown
from portable_nn._typing import Array, DType, FloatName, Namespace, NumPyArray
from portable_nn.errors import InputError, NetworkError, ShapeError

__all__ = [
    "FLOATS",
    "as_array",
    "as_labels",
    "check_dtype",
    "check_real",
    "check_there",
    "default_float",
    "dtype_named",
    "each",
    "first_of",
    "float_name",
    "has_unknown",
    "is_narrow",
    "namespace",
    "native",
    "to_bfloat16",
]

FLOATS = {"float16": 2, "bfloat16": 2, "float32": 4, "float64": 8}
"""The floating dtypes that a network computes in, with the bytes of each."""

MOST_AXES = 64
"""Of an array of NumPy."""


def as_array(x: Any, names: Sequence[str] | None = None) -> Any:
    """Numbers, lists of them and tables as arrays of NumPy; what is none of these as it is.

    Parameters
    ----------
    x : object
        What has a `to_numpy` is a table or a column of one: of pandas, Polars, Arrow. A DataArray of xarray is
        the array that it holds, of whatever library.
    names : sequence of str, optional
        The features: from a table whose columns have names, these are taken, in this order.

    Raises
    ------
    InputError
        If a table lacks one of the names, or a column holds no numbers.
    ShapeError
        If rows of a list differ in length.

    Examples
    --------
    >>> from portable_nn._arrays import as_array
    >>> as_array([[1, 2], [3, 4.5]])
    array([[1. , 2. ],
           [3. , 4.5]])
    """
    if isinstance(x, (list, tuple, int, float, complex)):
        return _of_numbers(x)
    if isinstance(x, np.matrix):  # whose reductions are others
        return np.asarray(x)
    if not hasattr(x, "to_numpy"):
        return x
    return x.data if hasattr(x, "dims") and hasattr(x, "data") else _of_table(x, names)


def each(f: Callable[[Array], Any], x: Any) -> Any:
    """What a function gives for an array, or for each in a dict of them, by name."""
    return {name: f(array) for name, array in x.items()} if isinstance(x, dict) else f(x)


def first_of(x: Any) -> Any:
    """An array itself, or the first one in a dict of them."""
    return next(iter(x.values())) if isinstance(x, dict) else x


def has_unknown(sizes: Iterable[Any]) -> bool:
    """Whether sizes of axes are not known yet, which to Dask are nan."""
    return any(n != n for n in sizes)


def as_labels(x: Any) -> Any:
    """A list, or a column of a table, of integers or strings as an array of NumPy; all else as it is."""
    if isinstance(x, (list, tuple)) and isinstance(_innermost(x), str):
        return np.asarray(x)
    if hasattr(x, "to_numpy") and not hasattr(x, "dims"):
        return x.to_numpy()
    return as_array(x)


def _of_numbers(x: Any) -> Any:
    if not isinstance(_innermost(x), (int, float, complex, np.number, np.bool_)):
        return x
    try:
        return np.asarray(x)
    except (TypeError, ValueError) as error:
        raise ShapeError("a list of rows that differ in length is no array: make them of one length") from error


def _innermost(x: Any) -> Any:
    """The first of the first of … a list."""
    for _ in range(MOST_AXES):
        if not isinstance(x, (list, tuple)) or not x:
            break
        x = x[0]
    return x


def _of_table(x: Any, names: Sequence[str] | None) -> NumPyArray:
    kind = type(x).__name__
    if names is not None:
        labels = [*getattr(x, "columns", getattr(x, "index", ()))]
        if labels and all(isinstance(label, str) for label in labels):
            if missing := [name for name in names if name not in labels]:
                raise InputError(
                    f"{kind} lacks {', '.join(missing)}: name its columns as the network's inputs are, or call "
                    "x.to_numpy() to give them in order"
                )
            x = x[list(names)]
    try:
        found: NumPyArray = x.to_numpy()
        if found.dtype.kind == "O" and hasattr(x, "columns"):  # columns of several kinds
            columns = {str(name): x[name].to_numpy() for name in x.columns}
            if wrong := [name for name, column in columns.items() if column.dtype.kind not in "biuf"]:
                raise InputError(
                    f"{kind} holds no numbers in {', '.join(wrong)}: drop these columns, or make them numbers"
                )
            found = np.stack(list(columns.values()), axis=-1)
        if found.dtype.kind not in "biufc":
            raise InputError(f"{kind} holds no numbers, but {found.dtype}: code them as numbers first")
    except InputError:
        raise
    except Exception as error:  # whatever the table's own library raises
        raise InputError(
            f"{kind} gives no array ({type(error).__name__}: {error}): make one of it first"
        ) from error
    return found


def namespace(x: object) -> Namespace:
    """The array API namespace of `x`, or an `InputError` that says how to make an array of it."""
    if isinstance(x, np.ma.MaskedArray):
        raise InputError(
            "masked arrays have values that are not there: call x.filled(0), of Dask dask.array.ma.filled(x, 0), "
            "or drop the samples"
        )
    if isinstance(x, np.ndarray) and x.dtype.isbuiltin == 2:
        raise InputError(f"NumPy itself has no dtype {x.dtype}: call x.astype('float32') first")
    if isinstance(x, np.ndarray) and x.dtype.names:
        raise InputError(
            f"a structured array has columns by name, {', '.join(x.dtype.names)}: make them the last axis, with "
            "numpy.lib.recfunctions.structured_to_unstructured(x)"
        )
    if type(x) is np.ndarray:
        from array_api_compat import numpy  # here, for this package is to be imported quickly

        return numpy
    if hasattr(x, "get_mask"):  # of PyTorch
        raise InputError("masked tensors have values that are not there: call x.to_tensor(0) first")
    for method in ("toarray", "todense"):  # of SciPy and CuPy, of PyData and JAX
        if hasattr(x, method):
            raise InputError(f"{type(x).__name__} is sparse, and networks take dense arrays: call x.{method}()")
    if getattr(x, "is_nested", False):
        raise InputError(
            "nested tensors have samples of several shapes: call x.to_padded_tensor(0), or x.unbind()"
        )
    layout = str(getattr(x, "layout", ""))
    if layout.startswith("torch.") and layout != "torch.strided":  # JAX's arrays have layouts too, all dense
        raise InputError(f"the tensor's layout is {layout}, and networks take dense ones: call x.to_dense()")
    if hasattr(x, "__dask_graph__"):
        namespace(x._meta)  # type: ignore[attr-defined]
    check_there(x)
    if type(getattr(x, "dtype", None)).__name__ == "KeyTy":  # of JAX
        raise InputError("keys of random numbers are none: draw some, with jax.random.normal(key, shape)")
    try:
        return array_api_compat.array_namespace(x)
    except TypeError as error:
        wanted = "expected an array of a library that follows the array API standard"
        raise InputError(f"{wanted}, got {_instead(x)}") from error


def check_there(x: object) -> None:
    """Raise an `InputError` if `x` is an array whose memory JAX has taken back; tracers cannot tell."""
    if type(x).__name__ == "ArrayImpl" and x.is_deleted():  # type: ignore[attr-defined]
        raise InputError("the array is deleted, as what was donated to jax.jit is: give one that is still there")


def _instead(x: object) -> str:
    """What came instead of an array, and what to do, in words."""
    kind, inner = type(x).__name__, _innermost(x)
    if isinstance(x, (str, os.PathLike)):
        return f"{kind}: read the file first, with numpy.load(x) for instance; pnn.infer takes its name"
    if isinstance(x, (list, tuple)) and hasattr(inner, "shape"):
        return (
            f"a {kind} of several, of {type(inner).__name__}: make one of them first, with numpy.stack(x) or "
            "their library's own stack; of samples with their labels give the samples alone"
        )
    if isinstance(x, (list, tuple)) and x:
        return f"a {kind} of {type(inner).__name__}: give numbers"
    return f"{kind}: convert it first, with numpy.asarray(x) for instance"


def check_real(x: Array, xp: Namespace) -> bool:
    """Whether the values of `x` are floating rather than integers or booleans, an `InputError` if neither."""
    try:
        if xp.isdtype(x.dtype, ("bool", "integral")):
            return False
        is_complex = xp.isdtype(x.dtype, "complex floating")
    except TypeError:  # to NumPy its strings are no dtype, to JAX its keys
        is_complex = False
    if is_complex:
        raise InputError(f"expected real numbers, got dtype {x.dtype}: take the real part, or the modulus, first")
    float_name(x.dtype, xp)
    return True


def float_name(dtype: DType, xp: Namespace) -> FloatName:
    """The name of a floating dtype of the namespace, an `InputError` if no network computes in it."""
    if isinstance(dtype, np.dtype):  # whatever names the namespace has: Dask's has no float16
        found = dtype.name
    else:
        found = next((name for name in FLOATS if getattr(xp, name, None) == dtype), "")
    if found in FLOATS:
        return found  # type: ignore[return-value]
    raise InputError(f"networks compute in {', '.join(FLOATS)}, got dtype {dtype}: cast it to one of them")


def dtype_named(dtype: object) -> FloatName | None:
    """The name of a floating dtype, which may be of NumPy, PyTorch, JAX; None if no network computes in it."""
    name = _name_of(dtype)
    return name if name in FLOATS else None  # type: ignore[return-value]


def check_dtype(dtype: object) -> FloatName:
    """The same, and a `NetworkError` if no network computes in it."""
    name = dtype_named(dtype)
    if name is None:
        raise NetworkError(unknown("dtype", _name_of(dtype), FLOATS))
    return name


def _name_of(dtype: object) -> str:
    if isinstance(dtype, str) or dtype is None:  # which NumPy takes for float64
        return str(dtype)
    try:
        return np.dtype(dtype).name  # type: ignore[call-overload,no-any-return]
    except (TypeError, ValueError):  # of PyTorch: torch.float16
        return str(dtype).rpartition(".")[2]


def native(dtype: DType) -> DType:
    """The same dtype, of NumPy in this machine's byte order."""
    return dtype.newbyteorder("=") if isinstance(dtype, np.dtype) else dtype


def to_bfloat16(array: NumPyArray) -> NumPyArray:
    """Values of bfloat16, held in float32: rounded to nearest, ties to even, in the upper half of float32."""
    bits = array.astype(np.float32).view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000).view(np.float32)


def is_narrow(x: Array) -> bool:
    """Whether floating `x` has 16 bits."""
    return getattr(x.dtype, "itemsize", None) == 2


def default_float(xp: Namespace, x: Array) -> DType:
    """The default floating dtype of the device of `x`."""
    return xp.__array_namespace_info__().default_dtypes(device=array_api_compat.device(x))["real floating"]
