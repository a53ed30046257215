"""Names of values in place of arrays."""

import numpy as np

from portable_nn.formats.onnx_nodes import Nodes
from portable_nn.symbols import Symbols


def test_numbers_are_computed_and_names_make_nodes():
    nodes = Nodes()
    xp = Symbols(nodes.call, "float32")
    assert xp.sqrt(4.0) == 2
    assert nodes.made == []
    assert xp.sqrt(np.float32(4) * xp.symbol("x")).dtype == np.float32
    assert [node.operator for node in nodes.made] == ["Mul", "Sqrt"]


def test_what_is_no_operator_is_not_there():
    xp = Symbols(Nodes().call, "float32")
    assert (hasattr(xp, "tanh"), hasattr(xp, "erf")) == (True, False)
