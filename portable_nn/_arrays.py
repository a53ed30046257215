"""What an array is: its namespace, and whether a network computes in its dtype.

The oldest version of the array API standard that is supported is 2023.12, the first with `maximum`, `minimum` and
`clip`, which activations need, and the first that tells the dtypes of a device, which weights and integers need.
"""

import array_api_compat
import numpy as np

from portable_nn._typing import Array, DType, Namespace
from portable_nn.errors import InputError

__all__ = ["FLOATS", "check_real", "default_float", "float_name", "is_narrow", "namespace", "native"]

FLOATS = {"float16": 2, "bfloat16": 2, "float32": 4, "float64": 8}
"""The floating dtypes that a network computes in, with the bytes of each."""


def namespace(x: object) -> Namespace:
    """The array API namespace of `x`, or an `InputError` that says how to make an array of it."""
    if isinstance(x, np.ma.MaskedArray):
        raise InputError("masked arrays have values that are not there: call x.filled(0), or drop the samples")
    if isinstance(x, np.ndarray) and x.dtype.isbuiltin == 2:
        raise InputError(f"NumPy itself has no dtype {x.dtype}: call x.astype('float32') first")
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
    if hasattr(x, "to_numpy"):  # of pandas, Polars and Arrow
        raise InputError(f"{type(x).__name__} is a table or a column of one: call x.to_numpy() first")
    try:
        return array_api_compat.array_namespace(x)
    except TypeError as error:
        raise InputError(
            f"expected an array of a library that follows the array API standard, got {type(x).__name__}: "
            "convert it first, with numpy.asarray(x) for instance"
        ) from error


def check_real(x: Array, xp: Namespace) -> bool:
    """Whether the values of `x` are floating rather than integers or booleans, an `InputError` if neither."""
    if not isinstance(x.dtype, np.dtypes.StringDType):  # of which NumPy's isdtype says that it is no dtype
        if xp.isdtype(x.dtype, ("bool", "integral")):
            return False
        if xp.isdtype(x.dtype, "complex floating"):
            raise InputError(
                f"expected real numbers, got dtype {x.dtype}: take the real part, or the modulus, first"
            )
    float_name(x.dtype, xp)
    return True


def float_name(dtype: DType, xp: Namespace) -> str:
    """The name of a floating dtype of the namespace, an `InputError` if no network computes in it."""
    if isinstance(dtype, np.dtype):  # whatever names the namespace has: Dask's has no float16
        found = dtype.name
    else:
        found = next((name for name in FLOATS if getattr(xp, name, None) == dtype), "")
    if found in FLOATS:
        return found
    raise InputError(f"networks compute in {', '.join(FLOATS)}, got dtype {dtype}: cast it to one of them")


def native(dtype: DType) -> DType:
    """The same dtype, of NumPy in this machine's byte order."""
    return dtype.newbyteorder("=") if isinstance(dtype, np.dtype) else dtype


def is_narrow(x: Array) -> bool:
    """Whether floating `x` has 16 bits."""
    return getattr(x.dtype, "itemsize", None) == 2


def default_float(xp: Namespace, x: Array) -> DType:
    """The default floating dtype of the device of `x`."""
    return xp.__array_namespace_info__().default_dtypes(device=array_api_compat.device(x))["real floating"]
