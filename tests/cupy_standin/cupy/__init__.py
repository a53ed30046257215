"""CuPy over NumPy, for tests on machines without a GPU: PYTHONPATH=$PWD/tests/cupy_standin puts it before CuPy.

It has what this package and array_api_compat touch, and behaves there as CuPy 14.2 does; each part names the file
of CuPy's source that it follows. `tests/test_cupy_standin.py` compares it with the real wheel, as far as that
answers without a GPU. It is slower than NumPy by a few microseconds a call, and as right as NumPy.

- The GPU never warns of overflow, nan and division by zero, so NumPy does not either.
- A function gives a view where NumPy gives one; everything else is allocated on the current device, and may
  read arrays of the current device alone.
"""

from numpy import (  # noqa: F401 (cupy/__init__.py: dtypes, constants and what knows dtypes only are NumPy's own)
    bool,  # noqa: A004
    bool_,
    broadcast_shapes,
    complex64,
    complex128,
    complexfloating,
    dtype,
    e,
    finfo,
    float16,
    float32,
    float64,
    floating,
    generic,
    iinfo,
    inexact,
    inf,
    int8,
    int16,
    int32,
    int64,
    int_,
    integer,
    intp,
    isdtype,
    issubdtype,
    nan,
    newaxis,
    number,
    pi,
    promote_types,
    signedinteger,
    uint,
    uint8,
    uint16,
    uint32,
    uint64,
    unsignedinteger,
)

from cupy import cuda  # noqa: F401
from cupy._functions import NAMES as _NAMES
from cupy.cuda import _module, is_available  # noqa: F401

__version__ = "14.2.0+standin"

globals().update(_NAMES)

# _core/_routines_linalg.pyx: the precision that products of a dtype are asked for
_compute_types = {}
_core = _module("cupy._core")
_core._routines_linalg = _module(
    "cupy._core._routines_linalg",
    COMPUTE_TYPE_DEFAULT=1,
    COMPUTE_TYPE_FP32=4,
    COMPUTE_TYPE_TF32=7,
    get_compute_type=lambda kind: _compute_types.get(str(kind), 1),
    set_compute_type=lambda kind, how: _compute_types.__setitem__(str(kind), how),
)
linalg = _module("cupy.linalg", matmul=_NAMES["matmul"], lstsq=None)
fft = _module("cupy.fft")
