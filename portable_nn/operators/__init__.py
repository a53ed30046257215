"""The operators of graphs, those of ONNX that dense networks, what surrounds them, and scikit-learn need.

Each is one function on the array API standard, which takes arrays in order, attributes by name, and the namespace
as `xp`; a new operator is one such function in one of the files here, and its name in the table at the end of
that file, with the opset from which on it is so. Convolutions, pooling, recurrences, attention, loops, sequences,
quantised numbers and strings stay out. Opsets before 7 broadcast otherwise, and are refused.
"""

from collections.abc import Mapping
from functools import cache

from portable_nn.errors import NetworkError
from portable_nn.operators._common import Operator, Table, beside, operator
from portable_nn.operators.activating import ACTIVATING
from portable_nn.operators.elementwise import ELEMENTWISE
from portable_nn.operators.learning import LEARNING
from portable_nn.operators.own import DOMAIN, OWN
from portable_nn.operators.products import PRODUCTS
from portable_nn.operators.reducing import REDUCING
from portable_nn.operators.shaping import SHAPING

__all__ = ["OLDEST", "OPERATORS", "Operator", "beside", "find"]

OPERATORS: Table = {**ELEMENTWISE, **ACTIVATING, **PRODUCTS, **REDUCING, **SHAPING, **LEARNING, **OWN}
"""All operators by name, each with its forms by the opset that brought them."""

OLDEST = 7
"""The oldest opset of ONNX's own operators that is read."""


def find(name: str, opsets: Mapping[str, int]) -> Operator:
    """Find an operator in the form that it has in an opset.

    Parameters
    ----------
    name : str
        With its domain before it if that is not ONNX's own: ``"Gemm"``, ``"ai.onnx.ml.Scaler"``.
    opsets : mapping of str to int
        The version of the operators of each domain.

    Returns
    -------
    Operator

    Raises
    ------
    NetworkError
        If there is none of that name, or the opset is too old.

    Examples
    --------
    >>> from portable_nn.operators import find
    >>> sorted(find("Softmax", {"": 20}).attributes)
    ['axis']
    """
    domain = name.rpartition(".")[0]
    version = opsets.get(domain)
    if version is None:
        raise NetworkError(f"operator {name}: no opset of its domain {domain!r} is named")
    oldest = 1 if domain else OLDEST
    if version < oldest:
        raise NetworkError(
            f"operator {name} of opset {version}: opsets from {oldest} on are read, export it anew"
        )
    if name not in OPERATORS:
        known = ", ".join(sorted(each for each in OPERATORS if not each.startswith(f"{DOMAIN}.")))
        raise NetworkError(f"operator {name} is not computed: those that are, are {known}")
    fitting = [since for since in OPERATORS[name] if since <= version]
    if not fitting:
        raise NetworkError(f"operator {name} of opset {version}: it is there from {min(OPERATORS[name])} on")
    return _described(name, max(fitting))


@cache
def _described(name: str, since: int) -> Operator:
    return operator(OPERATORS[name][since])
