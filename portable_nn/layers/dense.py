"""`Dense`."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self, final

from portable_nn._arrays import as_array, namespace
from portable_nn._typing import Array, Namespace, Plain, Weights
from portable_nn.activations import FUNCTIONS, PLAIN
from portable_nn.errors import NetworkError
from portable_nn.layers._weights import Shape, replaced, weights
from portable_nn.layers.activation import check_activation

__all__ = ["Dense"]


@final
@dataclass(frozen=True, eq=False, repr=False)
class Dense:
    """A fully connected layer: ``activation(x @ weight + bias)``.

    Parameters
    ----------
    weight : array of shape (n_in, n_out)
        `Dense.from_linear` takes the transpose, as PyTorch holds it.
    bias : array of shape (n_out,), optional
        Zeros if not given.
    activation : str
        The name of a function in `portable_nn.activations`, with the defaults of its parameters; `Activation`
        takes others.

    Raises
    ------
    NetworkError
        If shapes do not fit, the activation is unknown, or NumPy weights hold nan.

    Examples
    --------
    >>> import numpy as np
    >>> import portable_nn as pnn
    >>> pnn.Dense(np.ones((784, 50)), np.zeros(50), "sigmoid")
    Dense(784, 50, 'sigmoid')
    """

    weight: Array  # (n_in, n_out)
    bias: Array = None  # (n_out,)
    activation: Plain = "identity"

    if TYPE_CHECKING:

        def __init__(
            self, weight: Weights, bias: Weights | None = None, activation: Plain = "identity"
        ) -> None: ...

    def __post_init__(self) -> None:
        if callable(self.weight) and hasattr(self.weight, "weight"):
            raise NetworkError("Dense: got a module for weight: call Dense.from_linear(module)")
        weight = weights("Dense", "weight", self.weight)
        if weight.ndim != 2 or 0 in weight.shape:
            sizes = ": a layer is made of its weights, not of its sizes" if weight.ndim == 0 else ""
            raise NetworkError(
                "Dense: weight must have shape (n_in, n_out) with no axis of length 0, "
                f"got {tuple(weight.shape)}{sizes}"
            )
        if isinstance(self.bias, str):
            raise NetworkError(f"Dense: bias must be numbers, got {self.bias!r}: give activation={self.bias!r}")
        if self.bias is None:
            bias = namespace(weight).zeros_like(weight[0, :])
        else:
            bias = weights("Dense", "bias", self.bias)
        if tuple(bias.shape) != tuple(weight.shape[1:]):
            raise NetworkError(
                f"Dense: weight of shape {tuple(weight.shape)} takes a bias of shape ({weight.shape[1]},), "
                f"got {tuple(bias.shape)}"
            )
        name = self.activation
        check_activation("Dense", name, PLAIN)
        if name not in PLAIN:
            raise NetworkError(f"Dense: let an Activation({name!r}, …) of its own follow the layer")
        object.__setattr__(self, "weight", weight)
        object.__setattr__(self, "bias", bias)

    @classmethod
    def from_linear(cls, weight: Any, bias: Weights | None = None, activation: Plain = "identity") -> Self:
        """The layer of weights as PyTorch's `nn.Linear` and ONNX's `Gemm` hold them: (n_out, n_in).

        A square weight does not tell which way it stands: this says it.

        Parameters
        ----------
        weight : array of shape (n_out, n_in), or a `torch.nn.Linear`
            A module brings its own bias. Its parameters are used as they are, so that they can be trained.
        bias : array of shape (n_out,), optional
        activation : str

        Returns
        -------
        Dense

        Raises
        ------
        NetworkError
            As for a Dense.

        Examples
        --------
        >>> import numpy as np
        >>> import portable_nn as pnn
        >>> pnn.Dense.from_linear(np.ones((50, 784)), np.zeros(50), "relu")
        Dense(784, 50, 'relu')
        """
        if callable(weight) and hasattr(weight, "weight"):
            weight, bias = weight.weight, getattr(weight, "bias", None) if bias is None else bias
        weight = as_array(weight)
        if len(shape := tuple(getattr(weight, "shape", ()))) != 2:
            raise NetworkError(f"Dense: from_linear takes a weight of shape (n_out, n_in), got {shape}")
        return cls(weight.T, bias, activation)

    def __call__(self, x: Array, xp: Namespace) -> Array:
        """The outputs for floating `x`, whose namespace is `xp`."""
        return FUNCTIONS[self.activation](x @ self.weight + self.bias, xp=xp)

    def __repr__(self) -> str:
        return f"Dense({self.weight.shape[0]}, {self.weight.shape[1]}, {self.activation!r})"

    @property
    def arrays(self) -> dict[str, Array]:
        """The weights by name."""
        return {"weight": self.weight, "bias": self.bias}

    @property
    def options(self) -> dict[str, Any]:
        """What is no array."""
        return {"activation": self.activation}

    def map(self, f: Callable[[Array], Array]) -> Self:
        """The same layer with `f` applied to each array of weights."""
        return replaced(self, weight=f(self.weight), bias=f(self.bias))  # type: ignore[no-any-return]

    def with_activation(self, activation: str) -> Self:
        """The same layer with another activation."""
        return replaced(self, activation=activation)  # type: ignore[no-any-return]

    @property
    def input_shape(self) -> Shape:
        """The shape of one sample."""
        return (int(self.weight.shape[0]),)

    def output_shape(self, input_shape: Shape | None) -> Shape:
        """The shape that one sample has after this layer."""
        return (int(self.weight.shape[1]),)
