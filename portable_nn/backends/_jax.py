"""JAX on `cpu:N`, `gpu:N` and `tpu:N`.

Under a transformation the arrays are tracers without a device, and what is placed may be a tracer too: kept,
it would leak. float32 products are TF32 by default on recent NVIDIA GPUs, hence `full_float32`.
"""

from collections.abc import Callable, Hashable, Mapping
from contextlib import AbstractContextManager
from functools import cache, partial
from math import sqrt
from typing import Any, final

import numpy as np

from portable_nn._typing import Array, Device, DType
from portable_nn.activations import BOUNDED_SOFTMAX, FUNCTIONS
from portable_nn.activations.gates import CUBIC, LINEAR
from portable_nn.activations.rectifiers import SELU_ALPHA, SELU_SCALE
from portable_nn.backends._base import NO_VALUES, Backend, Forward, Kernel, wide
from portable_nn.errors import BackendError
from portable_nn.layers import Activation, Dense, Graph, Layer

WIDER = {"bfloat16": "float32", "int2": "int8", "int4": "int8", "uint2": "uint8", "uint4": "uint8"}
"""What holds the values of dtypes that NumPy itself lacks."""


@final
class JAX(Backend):
    """JAX on one device."""

    name = "jax"
    namespace = "jax.numpy"
    package = "jax"
    install = "jax"

    @classmethod
    def _found(cls) -> dict[str, Device]:
        import jax

        found = {f"{device.platform}:{device.id}": device for device in jax.devices()}
        return found | {f"cpu:{device.id}": device for device in jax.devices("cpu")}

    @classmethod
    def devices(cls) -> list[str]:
        """The devices of JAX's default platform, then the CPU."""
        return list(cls._found())

    @classmethod
    def parse(cls, device: str) -> Device:
        """A device by platform and number, ``cpu`` meaning ``cpu:0``."""
        numbered = device if not device or ":" in device else f"{device}:0"
        return cls._found()[super().parse(numbered)]

    def device_name(self) -> str:
        """Platform and number."""
        return f"{self.device.platform}:{self.device.id}" if hasattr(self.device, "platform") else ""

    def keeps(self, array: Array) -> bool:
        """Whether it is an array and no tracer."""
        import jax

        return not isinstance(array, jax.core.Tracer)

    @property
    def takes_numpy(self) -> bool:
        """On the default device, as `jax.jit` does, in less time than `device_put`."""
        import jax

        return bool(self.device == (jax.config.jax_default_device or jax.local_devices()[0]))

    @property
    def at_hand(self) -> Callable[[Array], Array | None] | None:
        """On one CPU; tracers have no device, but the network that they come to may have one."""
        is_cpu = getattr(self.device, "platform", "") == "cpu"
        return (lambda x: self.to_numpy(x) if self.keeps(x) else None) if is_cpu else None

    @staticmethod
    def key(x: Array) -> Hashable:
        """Dtype, device or sharding, which tracers have not, and whether there are 64 bits."""
        import jax

        try:
            return x.dtype, getattr(x, "device", None), jax.config.jax_enable_x64
        except RuntimeError:  # it is deleted, which `namespace` tells
            return None

    @property
    def kernels(self) -> Mapping[str, Kernel]:
        """Those that XLA computes in fewer passes."""
        return _kernels()

    def prepared(self, layers: tuple[Layer, ...], like: Array, dtype: DType) -> tuple[Forward, ...]:
        """All layers in one call: one compilation for each new shape, where each operation would take its own."""
        import jax

        weights = [array for layer in layers for array in layer.arrays.values()]
        is_other = like.dtype != dtype

        @jax.jit  # type: ignore[untyped-decorator]
        @np.errstate(over="ignore")  # a number that JAX rounds while it traces, such as a scale in float16
        def run(weights: list[Array], x: Array) -> Array:
            given, x = iter(weights), x.astype(dtype) if is_other else x
            with jax.numpy_rank_promotion("allow"):  # of a bias to rows, which the user's own code may forbid
                for layer in layers:
                    match layer.map(lambda _: next(given)):
                        case Dense(weight=weight, bias=bias, activation=name):
                            x = self.activation(name, dtype)(x @ weight + bias)
                        case Activation(name=name, parameters=parameters):
                            x = self.activation(name, dtype, **parameters)(x)
                        case other:
                            x = other(x, self.xp)
            return x

        last = layers[-1]
        if isinstance(last, Graph) and len(last.outputs) > 1:  # in their order, for JAX sorts names
            return partial(run, weights), lambda y: {name: y[name] for name in last.outputs}
        return (partial(run, weights),)

    def compiled(self, forward: Forward) -> Forward:
        """Through `jax.jit`."""
        import jax

        return jax.jit(forward)  # type: ignore[no-any-return]

    def place(self, array: np.ndarray[Any, Any], *, share: bool = False) -> Array:
        """A copy, or what `device_put` makes of it, which is several times quicker than `asarray`.

        Beside an array that is spread over devices it is committed to none, so that JAX may spread it too; nor to
        the default one, so that results go wherever those of the caller's own arrays do.
        """
        import jax

        device = self.device if isinstance(self.device, jax.Device) and not self.takes_numpy else None
        return jax.device_put(array, device) if share else self.xp.array(array, device=device, copy=True)

    def is_out_of_memory(self, error: Exception) -> bool:
        """XLA has one error class, and a status in its message."""
        return isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error)

    def to_numpy(self, array: Array) -> np.ndarray[Any, Any]:
        """Fetched to the host; what NumPy lacks becomes what is wider: bfloat16 float32, int4 int8."""
        if not self.keeps(array):
            raise BackendError(NO_VALUES)
        wider = array.dtype.kind == "V" and WIDER.get(array.dtype.name)  # the name takes longer than all the rest
        return np.asarray(array.astype(wider) if wider else array)

    def synchronize(self, array: Array) -> None:
        """Wait for the asynchronous dispatch."""
        array.block_until_ready()

    def peak_memory(self) -> int | None:
        """What the device's allocator counts; the CPU's counts nothing."""
        return (self.device.memory_stats() or {}).get("peak_bytes_in_use")

    def full_float32(self) -> AbstractContextManager[None]:  # type: ignore[override]
        """Full products in what is traced meanwhile."""
        import jax

        return jax.default_matmul_precision("highest")  # type: ignore[no-any-return]


FEW = 64
"""Outputs whose softmax is best without a maximum; for that of more, XLA packs the weights of all layers once."""


@cache
def _kernels() -> Mapping[str, Kernel]:
    import jax

    jnp = jax.numpy

    @jax.custom_jvp  # type: ignore[untyped-decorator]
    def expm1(x: Array) -> Array:
        """Of numbers up to 0; XLA's own takes an exp too."""
        half = jnp.tanh(0.5 * x)
        return 2 * half / (1 - half)

    @jax.custom_jvp  # type: ignore[untyped-decorator]
    def softplus(x: Array) -> Array:
        """By the series of ``log((1 + t) / (1 - t))`` up to t = 1/3; log1p takes twice as long as all of this."""
        e = jnp.exp(-jnp.abs(x))
        t = e / (e + 2)
        last = 33 if x.dtype == "float64" else 15
        series = 2 / last
        for odd in range(last - 2, 0, -2):
            series = series * (t * t) + 2 / odd
        return jnp.maximum(x, 0) + t * series

    expm1.defjvps(lambda tangent, _, x: tangent * jnp.exp(x))  # where y + 1 is 0, it is not
    softplus.defjvps(lambda tangent, _, x: tangent * jax.nn.sigmoid(x))

    def exponential_below(x: Array, below: Any, above: float) -> Array:
        return jnp.where(x <= 0, below * expm1(jnp.where(x <= 0, x, 0)), above * x)

    def softplus_of(x: Array, **parameters: Any) -> Array:
        return FUNCTIONS["softplus"](x, xp=jnp, **parameters) if parameters else softplus(x)

    def gelu_tanh(x: Array) -> Array:
        square = jnp.minimum(x * x, 900)  # beyond, the sigmoid is 0 or 1, and derivatives would overflow
        return x * jax.nn.sigmoid(x * (LINEAR + CUBIC * square))

    def erf(x: Array) -> Array:  # of float64 XLA's own takes three times as long
        return FUNCTIONS["erf"](x, xp=jnp) if x.dtype == "float64" else jax.lax.erf(x)

    def bounded_softmax(x: Array) -> Array:
        return FUNCTIONS[BOUNDED_SOFTMAX if x.shape[-1] < FEW else "softmax"](x, xp=jnp)

    return {
        "relu": jax.nn.relu,
        "elu": wide(lambda x, alpha=1.0: exponential_below(x, alpha, 1.0)),
        "selu": wide(lambda x: exponential_below(x, SELU_SCALE * SELU_ALPHA, SELU_SCALE)),
        "softplus": wide(softplus_of),
        "log_sigmoid": wide(lambda x: -softplus(-x)),
        "sigmoid": wide(jax.nn.sigmoid),
        "silu": wide(lambda x, beta=1.0: x * jax.nn.sigmoid(beta * x)),
        "erf": wide(erf),
        "gelu": wide(lambda x: 0.5 * x * jax.lax.erfc(x * -sqrt(0.5))),
        "gelu_tanh": wide(gelu_tanh),
        BOUNDED_SOFTMAX: bounded_softmax,
    }
