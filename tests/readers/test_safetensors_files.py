"""Tensors of any writer, against what wrote them."""

import numpy as np
import pytest
from safetensors.numpy import save_file

from portable_nn.errors import FormatError
from portable_nn.readers.safetensors import read_tensors


def test_numbers_of_numpy(tmp_path):
    written = {
        kind: np.arange(6).reshape(2, 3).astype(kind) for kind in ("f2", "f4", "f8", "i1", "i8", "u2", "?")
    }
    save_file(written, tmp_path / "x.safetensors")
    found = read_tensors(tmp_path / "x.safetensors")
    assert found.keys() == written.keys()
    for kind, values in written.items():
        np.testing.assert_array_equal(found[kind], values, strict=True)


def test_bfloat16_of_pytorch(tmp_path):
    torch = pytest.importorskip("torch", reason="the oracle: pip install torch")
    of_torch = pytest.importorskip("safetensors.torch")
    written = {
        "first": torch.linspace(-3, 3, 12).reshape(3, 4).to(torch.bfloat16),
        "second": torch.tensor([1e-30, -0.0, torch.inf]).to(torch.bfloat16),
        "third": torch.linspace(0, 1, 5),
    }
    of_torch.save_file(written, tmp_path / "x.safetensors")
    found = read_tensors(tmp_path / "x.safetensors")
    for name, values in written.items():
        np.testing.assert_array_equal(found[name], values.float().numpy(), strict=True)


def test_a_dtype_that_numpy_has_not(tmp_path):
    torch = pytest.importorskip("torch", reason="the oracle: pip install torch")
    of_torch = pytest.importorskip("safetensors.torch")
    of_torch.save_file({"eighth": torch.ones(3).to(torch.float8_e4m3fn)}, tmp_path / "x.safetensors")
    with pytest.raises(FormatError, match="tensor eighth has dtype F8_E4M3: cast it to F32"):
        read_tensors(tmp_path / "x.safetensors")
