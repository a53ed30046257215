"""SciPy's special functions as CuPy has them (cupyx/scipy/special/_erf.py)."""

import scipy.special
from cupy._functions import _ufunc

erfc = _ufunc(scipy.special.erfc)
