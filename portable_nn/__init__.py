"""One neural-network forward pass, written once against the array API standard, run on whatever arrays come."""

from portable_nn import activations, backends
from portable_nn.layers import Dense, Flatten, Rescaling
from portable_nn.network import Network

__version__ = "0.1.0"
