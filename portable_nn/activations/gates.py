"""`x` times a gate, which opens as `x` rises."""

from portable_nn._typing import Array, Namespace
from portable_nn.activations._common import Parameter, last, on_arrays
from portable_nn.activations.normal import erfc, erfc_parts
from portable_nn.activations.sigmoids import hard_sigmoid, sigmoid

__all__ = [
    "gelu",
    "gelu_tanh",
    "hard_swish",
    "learned_swish",
    "mish",
    "silu",
]

LINEAR, CUBIC = 1.5957691216057308, 1.5957691216057308 * 0.044715
"""gelu_tanh is ``x * sigmoid(LINEAR * x + CUBIC * x**3)``; the first is twice the root of 2 / pi."""


@on_arrays
def silu(x: Array, /, *, beta: Parameter = 1.0, xp: Namespace = None) -> Array:
    """Sigmoid linear unit, ``x * sigmoid(beta * x)``, also called swish.

    Parameters
    ----------
    x : array of any shape and real dtype
    beta : float or array of shape (n,)
    xp : namespace of `x`, optional

    Returns
    -------
    array of the shape and floating dtype of `x`

    References
    ----------
    Elfwing, Uchibe and Doya, arXiv:1702.03118.

    Examples
    --------
    >>> import numpy as np
    >>> from portable_nn.activations import silu
    >>> silu(np.array([-1.0, 0.0, 1.0])).round(6)
    array([-0.268941,  0.      ,  0.731059])
    """
    return x * sigmoid(beta * x, xp=xp)


@on_arrays
def learned_swish(x: Array, /, *, alpha: Parameter, beta: Parameter, xp: Namespace = None) -> Array:
    """``(beta + (1 - beta) * sigmoid(alpha * x)) * x``, the learned activation of CosmoPower.

    Parameters
    ----------
    x : array of any shape and real dtype
    alpha, beta : float or array of shape (n,)
    xp : namespace of `x`, optional

    Returns
    -------
    array of the shape and floating dtype of `x`

    References
    ----------
    Spurio Mancini, Piras, Alsing, Joachimi and Hobson, arXiv:2106.03846.

    Examples
    --------
    >>> import numpy as np
    >>> from portable_nn.activations import learned_swish
    >>> learned_swish(np.array([-1.0, 1.0]), alpha=np.array([1.0, 2.0]), beta=0.5).round(6)
    array([-0.634471,  0.940399])
    """
    return (beta + (1 - beta) * sigmoid(alpha * x, xp=xp)) * x


@on_arrays
def gelu(x: Array, /, *, xp: Namespace = None) -> Array:
    """Gaussian error linear unit, ``x * ndtr(x)``, with all digits in the lower tail too.

    Parameters
    ----------
    x : array of any shape and real dtype
    xp : namespace of `x`, optional

    Returns
    -------
    array of the shape and floating dtype of `x`

    References
    ----------
    Hendrycks and Gimpel, arXiv:1606.08415.

    Examples
    --------
    >>> import numpy as np
    >>> from portable_nn.activations import gelu
    >>> gelu(np.array([-1.0, 0.0, 1.0])).round(6)
    array([-0.158655,  0.      ,  0.841345])
    """
    side, size, scaled, gauss = erfc_parts(x, 0.5, xp)
    return 0.5 * x + 0.5 * side * x - 0.5 * size * scaled * gauss


@on_arrays
def erfc_gate(z: Array, /, *, xp: Namespace) -> Array:
    """``z * erfc(z)``, to which rewriting takes gelu where products come before and after it."""
    return z * erfc(z, xp=xp)


@on_arrays
def gelu_tanh(x: Array, /, *, xp: Namespace = None) -> Array:
    """Gaussian error linear unit in its tanh form, an approximation of `gelu`.

    The factor ``(1 + tanh(u)) / 2`` is computed as ``sigmoid(2 u)``, which is accurate in the far tail too.

    Parameters
    ----------
    x : array of any shape and real dtype
    xp : namespace of `x`, optional

    Returns
    -------
    array of the shape and floating dtype of `x`

    References
    ----------
    Hendrycks and Gimpel, arXiv:1606.08415, equation for the tanh approximation.

    Examples
    --------
    >>> import numpy as np
    >>> from portable_nn.activations import gelu_tanh
    >>> gelu_tanh(np.array([-1.0, 0.0, 1.0])).round(6)
    array([-0.158808,  0.      ,  0.841192])
    """
    near = xp.clip(x, -30.0, 30.0)  # beyond, the sigmoid is 0 or 1, and the cube would overflow
    return x * sigmoid(near * (LINEAR + CUBIC * near * near), xp=xp)


@on_arrays
def mish(x: Array, /, *, xp: Namespace = None) -> Array:
    """``x * tanh(softplus(x))``.

    Parameters
    ----------
    x : array of any shape and real dtype
    xp : namespace of `x`, optional

    Returns
    -------
    array of the shape and floating dtype of `x`

    References
    ----------
    Misra, arXiv:1908.08681.

    Examples
    --------
    >>> import numpy as np
    >>> from portable_nn.activations import mish
    >>> mish(np.array([-1.0, 0.0, 1.0])).round(6)
    array([-0.303401,  0.      ,  0.865098])
    """
    e = xp.exp(xp.minimum(x, xp.full_like(x, last(x, xp) / 2)))
    n = e * (e + 2)  # (1 + e)**2 - 1, and tanh(log(1 + e)) is n / (n + 2)
    return x * (n / (n + 2))


@on_arrays
def hard_swish(x: Array, /, *, xp: Namespace = None) -> Array:
    """``x * hard_sigmoid(x)``.

    Parameters
    ----------
    x : array of any shape and real dtype
    xp : namespace of `x`, optional

    Returns
    -------
    array of the shape and floating dtype of `x`

    References
    ----------
    Howard and others, arXiv:1905.02244.

    Examples
    --------
    >>> import numpy as np
    >>> from portable_nn.activations import hard_swish
    >>> hard_swish(np.array([-4.0, 0.0, 1.5]))
    array([-0.   ,  0.   ,  1.125])
    """
    return x * hard_sigmoid(x, xp=xp)
