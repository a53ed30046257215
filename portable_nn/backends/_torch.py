"""PyTorch on `cpu`, `cuda:N`, `mps`, `xpu:N`, and `meta`, which has shapes and no values.

Weights are placed outside inference mode: an inference tensor that was kept would break a later backward pass.
What `torch.compile` or a function transform makes is not kept: it dies with the trace.
"""

from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from types import FunctionType
from typing import Any, final

import numpy as np

from portable_nn._arrays import each, first_of
from portable_nn._typing import Array, Device, DType
from portable_nn.activations.gates import LINEAR
from portable_nn.backends._base import NO_VALUES, Backend, Forward, Kernel, leading_axes
from portable_nn.errors import BackendError
from portable_nn.layers import Dense, Graph, Layer, Normalize
from portable_nn.rewriting import with_gated_gelu


@final
class Torch(Backend):
    """PyTorch on one device."""

    name = "torch"
    namespace = "array_api_compat.torch"
    package = "torch"
    install = "torch"

    @classmethod
    def devices(cls) -> list[str]:
        """The CPU, and each accelerator that PyTorch reports."""
        import torch

        found = ["cpu"]
        found += [f"cuda:{i}" for i in range(torch.cuda.device_count())]
        found += [f"xpu:{i}" for i in range(torch.xpu.device_count())]
        found += ["mps"] * torch.backends.mps.is_available()
        default = str(torch.empty(0).device)
        return sorted(found, key=lambda device: device != default)

    @classmethod
    def parse(cls, device: str) -> Device:
        """Any device string of PyTorch's, such as ``cuda`` or ``cuda:1``."""
        import torch

        try:
            return torch.empty(0, device=device or None).device  # "cuda" becomes "cuda:0", as tensors have it
        except (RuntimeError, AssertionError, NotImplementedError) as error:
            reason = str(error).strip().partition("\n")[0]
            raise ValueError(f"{reason} (devices here: {', '.join([*cls.devices(), 'meta'])})") from error

    def place(self, array: np.ndarray[Any, Any], *, share: bool = False) -> Array:
        """Never an inference tensor; what NumPy holds read-only or in odd strides is copied."""
        import torch

        share = share and array.flags.writeable and array.flags.c_contiguous
        if not self.tracing and any(stride < 0 or stride % array.itemsize for stride in array.strides):
            array = np.ascontiguousarray(array)
        with torch.inference_mode(False):
            placed = torch.asarray(np.atleast_1d(array), device=self.device, copy=None if share else True)
            return placed.reshape(array.shape)  # of no dimension, PyTorch does not copy to another device

    def is_out_of_memory(self, error: Exception) -> bool:
        """On a GPU an error class of its own, on the CPU an allocator's message."""
        import torch

        return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "can't allocate memory" in str(error)

    def keeps(self, array: Array) -> bool:
        """Only plain tensors that are no inference tensors."""
        return is_plain(array) and not array.is_inference()

    def mixes(self, x: Array) -> bool:
        """Not what dispatches by itself, as fake tensors do."""
        import torch

        return type(x).__torch_dispatch__ is torch.Tensor.__torch_dispatch__

    @property
    def tracing(self) -> bool:
        """While `torch.compile` traces, which takes NumPy's arrays for tensors of its own."""
        import torch

        return bool(torch.compiler.is_compiling())

    @property
    def at_hand(self) -> Callable[[Array], Array | None] | None:
        """On the CPU, in plain tensors alone: with an accelerator's, to look is to wait."""
        return _at_hand if self.device.type == "cpu" else None

    @staticmethod
    def key(x: Array) -> Hashable:
        """Dtype, axes, device and layout: sparse and nested tensors have the type of dense ones."""
        return x.dtype, x.ndim, x.device, x.layout, x.is_nested

    @property
    def kernels(self) -> Mapping[str, Kernel]:
        """PyTorch's own, each one pass over the values."""
        from portable_nn.backends._torch_kernels import KERNELS

        return KERNELS

    def suited(self, layers: tuple[Layer, ...], dtype: str) -> tuple[Layer, ...]:
        """Weights by columns, as `torch.nn.Linear` has them: products take up to a seventh less time.

        And those beside a gelu times what it would multiply by, which takes two passes less over its values.
        """
        return tuple(layer.map(np.asfortranarray) for layer in with_gated_gelu(layers, dtype))

    def steps_of(self, layer: Layer, like: Array, dtype: DType) -> tuple[Forward, ...]:
        """Product and bias in one call."""
        import torch

        if isinstance(layer, Normalize) and layer.centred:
            return (partial(_layer_norm, layer),)
        if not isinstance(layer, Dense):
            return super().steps_of(layer, like, dtype)
        from portable_nn.backends._torch_kernels import gelu_tanh

        name = layer.activation
        product = partial(torch.nn.functional.linear, weight=layer.weight.T, bias=layer.bias)
        if name == "gelu_tanh":
            return product, partial(gelu_tanh, layer.weight.new_full((), LINEAR))
        return (product,) if name == "identity" else (product, self.activation(name, dtype))

    def extent(self, x: Array, rows: int) -> tuple[float, float] | None:
        """Of the values alone, without their history; there are none on `meta`."""
        return None if x.device.type == "meta" else super().extent(x.detach(), rows)

    def compiled(self, forward: Forward) -> Forward:
        """Through `torch.compile`, the whole function in one graph.

        It compiles the same code a few times at most, and all forward passes share theirs: each gets a copy.
        """
        import torch

        own = FunctionType(forward.__code__.replace(), forward.__globals__, closure=forward.__closure__)
        return torch.compile(own, fullgraph=True)  # type: ignore[no-any-return]

    def parted(self, steps: tuple[Forward, ...], layers: tuple[Layer, ...], like: Array) -> Forward:
        """Leading axes as one: `linear` multiplies by each of several apart where they do not lie in order.

        On the CPU large batches go by blocks of rows.
        """
        import torch

        leading = leading_axes(layers, like) or 0
        has_graph = any(isinstance(layer, Graph) for layer in layers)  # whose products may have any axes
        is_traced = self.tracing or torch.jit.is_tracing()  # sizes too
        if leading and like.device.type == "cpu" and not (has_graph or is_traced):
            from portable_nn.backends._torch_rows import by_blocks, of_rows

            steps = of_rows(steps)
            if leading == 1:
                return by_blocks(super().parted(steps, layers, like), layers)
        forward = super().parted(steps, layers, like)
        if leading < 2:
            return forward

        def parted(x: Array) -> Array:
            found = forward(each(lambda array: array.flatten(0, leading - 1), x))
            return each(lambda array: array.unflatten(0, first_of(x).shape[:leading]), found)

        return parted

    def to_numpy(self, array: Array) -> np.ndarray[Any, Any]:
        """Detached, fetched to the host; bfloat16, which NumPy lacks, becomes float32."""
        import torch

        if array.device.type == "meta":
            raise BackendError("arrays on torch:meta have shapes and no values: compute on another device")
        host = array.detach().cpu().resolve_neg()
        host = host.float() if host.dtype == torch.bfloat16 else host
        try:
            return np.asarray(host)
        except RuntimeError as error:
            raise BackendError(NO_VALUES) from error

    def synchronize(self, array: Array) -> None:
        """Wait for the device's queue; the CPU has none."""
        import torch

        if array.device.type in ("cuda", "xpu"):  # pragma: no cover: a GPU
            getattr(torch, array.device.type).synchronize(array.device)
        elif array.device.type == "mps":  # pragma: no cover: macOS
            torch.mps.synchronize()

    def peak_memory(self) -> int | None:
        """What the allocator counts on CUDA and XPU devices."""
        import torch

        if self.device.type in ("cuda", "xpu"):  # pragma: no cover: a GPU
            return int(getattr(torch, self.device.type).max_memory_allocated(self.device))
        return None

    def float32_precision(self) -> str:
        """Found by trying, but on `meta`, where there are no values."""
        return "unknown" if self.device.type == "meta" else super().float32_precision()

    @contextmanager
    def full_float32(self) -> Iterator[None]:
        """No TF32 and no bfloat16 inside float32 products."""
        import torch

        settings = torch.backends.cuda.matmul, torch.backends.mkldnn.matmul
        before = [setting.fp32_precision for setting in settings]
        for setting in settings:
            setting.fp32_precision = "ieee"
        try:
            yield
        finally:
            for setting, precision in zip(settings, before, strict=True):
                setting.fp32_precision = precision


def is_plain(array: Array) -> bool:
    """Whether it was made under no trace, no transform and no mode that dispatches."""
    import torch

    if torch.compiler.is_compiling() or torch.jit.is_tracing():
        return False
    if type(array) is not torch.Tensor or torch._C._functorch.is_functorch_wrapped_tensor(array):
        return False
    return bool(torch._C._len_torch_dispatch_stack() == 0)


def _at_hand(x: Array) -> Array | None:
    if not is_plain(x):
        return None
    try:
        return x.numpy()
    except (RuntimeError, TypeError):  # a derivative is taken, or a sign is put off; NumPy has no bfloat16
        return x.detach().resolve_neg().float().numpy()


def _layer_norm(layer: Normalize, x: Array) -> Array:
    import torch

    return torch.nn.functional.layer_norm(x, x.shape[-1:], layer.scale, layer.offset, layer.epsilon)
