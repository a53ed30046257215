"""What annotations say is what there is at run time; tests/typing_tests holds what type checkers make of them."""

import ast
import inspect
import re
from typing import Literal, get_args, get_origin, get_type_hints

import numpy as np
import pytest

import portable_nn as pnn
from portable_nn.formats import READERS


def annotated(thing, name):
    """The names that a type lists, which may be optional."""
    kind = get_type_hints(thing)[name]
    kinds = [kind] if get_origin(kind) is Literal else get_args(kind)
    return sorted(each for kind in kinds if get_origin(kind) is Literal for each in get_args(kind))


def is_taken(name):
    """Whether a Dense takes an activation."""
    try:
        pnn.Dense(np.ones((2, 2)), None, name)
    except pnn.NetworkError:
        return False
    return True


def test_activations():
    names = pnn.activations.__all__
    assert annotated(pnn.Activation, "name") == sorted(names)
    assert annotated(pnn.Dense, "activation") == sorted(filter(is_taken, names))


def test_formats():
    assert annotated(pnn.load, "format") == sorted(["book", *READERS])


def test_dtypes():
    assert annotated(pnn.Network.dtype.fget, "return") == sorted(pnn.backends.FLOATS)


@pytest.mark.parametrize(
    ("owner", "function", "name"),
    [
        (pnn.backends.Status, pnn.backends.Status, "state"),
        (pnn.Explanation, pnn.Explanation, "weights"),
        (pnn.Network, pnn.Network.__init__, "task"),
        (pnn.load, pnn.load, "task"),
    ],
)
def test_names_are_documented(owner, function, name):
    (listed,) = re.findall(rf"^{name} : {{(.+)}}", inspect.getdoc(owner), re.MULTILINE)
    assert sorted(re.findall('"(.+?)"', listed)) == annotated(function, name)


@pytest.mark.parametrize("kind", [pnn.Dense, pnn.Normalize, pnn.Rescaling])
def test_layers_are_made_as_type_checkers_see_it(kind):
    (declared,) = [
        node
        for node in ast.walk(ast.parse(inspect.getsource(kind)))
        if isinstance(node, ast.FunctionDef) and node.name == "__init__"
    ]
    parameters = inspect.signature(kind).parameters.values()
    assert [argument.arg for argument in declared.args.args] == ["self", *(each.name for each in parameters)]
    defaults = [each.default for each in parameters if each.default is not each.empty]
    assert [ast.literal_eval(default) for default in declared.args.defaults] == defaults
