"""Arrays of any library: what is one, and what it needs before functions can take it."""

import sys

import array_api_compat
import numpy as np

from portable_nn._typing import Array, DType, Namespace
from portable_nn.errors import InputError

__all__ = ["check_real", "default_float", "is_narrow", "namespace", "native"]


def namespace(x: object) -> Namespace:
    """The array API namespace of `x`, or an `InputError` that says how to make an array of it."""
    if remedy := _remedy(x):
        raise InputError(f"a network takes dense arrays, got {_kind(x)}: {remedy}")
    try:
        return array_api_compat.array_namespace(x)
    except TypeError as error:
        raise InputError(
            f"expected an array of a library that follows the array API standard, got {_kind(x)}: "
            f"convert it first, with {'its own x.to_numpy()' if hasattr(x, 'to_numpy') else 'numpy.asarray(x)'}"
        ) from error


def check_real(x: Array, xp: Namespace) -> bool:
    """Whether `x` is floating rather than integer or boolean; an `InputError` if it is neither."""
    try:
        if xp.isdtype(x.dtype, "real floating"):
            return True
        if xp.isdtype(x.dtype, ("bool", "integral")):
            return False
    except TypeError:  # NumPy of the dtypes that others have added to it
        pass
    remedy = "cast it first, with x.astype('float32') for instance"
    if str(x.dtype).rpartition(".")[2].startswith("complex"):
        remedy = "take the real part, or the modulus, first"
    raise InputError(f"expected real numbers, got dtype {x.dtype}: {remedy}")


def default_float(xp: Namespace, x: Array) -> DType:
    """The default floating dtype of the device of `x`."""
    return xp.__array_namespace_info__().default_dtypes(device=array_api_compat.device(x))["real floating"]


def native(dtype: DType) -> DType:
    """The same dtype in the machine's byte order, which arrays of NumPy alone may not have."""
    return dtype if getattr(dtype, "isnative", True) else dtype.newbyteorder("=")


def is_narrow(x: Array) -> bool:
    """Whether `x` is of 16 bits: float16, bfloat16."""
    return getattr(x.dtype, "itemsize", 4) == 2  # the standard's dtypes have no size, and none is so narrow


def _remedy(x: object) -> str:
    """What makes an array of something that only resembles one, "" where it is one."""
    if isinstance(x, np.ma.MaskedArray):
        return "fill it first, with x.filled(0) for instance"
    if type(x).__module__.partition(".")[0] in ("sparse", "scipy") and hasattr(x, "nnz"):
        return "make it dense first, with x.toarray() or x.todense()"
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(x, torch.Tensor) and x.layout != torch.strided:
        return "make it dense first, with x.to_dense()"
    return ""


def _kind(x: object) -> str:
    return f"{type(x).__module__.partition('.')[0]}.{type(x).__name__}".removeprefix("builtins.")
