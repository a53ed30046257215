"""What is no dense array of real numbers: the same error, with the remedy, from every function."""

from functools import partial

import numpy as np
import pytest
import scipy.sparse

import portable_nn as pnn
from portable_nn.activations import ACTIVATIONS, PLAIN

NET = pnn.Network([pnn.Dense(np.eye(2, dtype=np.float32), None, "softmax")])
CALLS = {
    "net": NET,
    "predict": NET.predict,
    "logits": NET.logits,
    "bound": NET.to("numpy"),
    "explain": lambda x: pnn.explain(NET, x),
} | {name: ACTIVATIONS[name] for name in PLAIN}


def refused(x, message):
    """Check that each function refuses `x`, also once it has met arrays like it that it takes."""
    for name, call in CALLS.items():
        with pytest.raises(pnn.InputError, match=message):
            pytest.fail(f"{name} gives {call(x)!r}")


def test_masked_arrays():
    refused(np.ma.masked_array(np.ones((1, 2)), [[True, False]]), r"masked arrays .* x\.filled\(0\)")


def test_chunks_of_dask_are_refused_as_their_arrays_are():
    dask = pytest.importorskip("dask.array", reason="pip install 'dask[array]'")
    refused(dask.ma.masked_equal(dask.ones((1, 2)), 1), r"masked arrays .* x\.filled\(0\)")
    sparse = dask.ones((2, 2)).map_blocks(scipy.sparse.csr_array)
    refused(sparse, r"csr_array is sparse, .* call x\.toarray\(\)")


@pytest.mark.parametrize("kind", ["csr_array", "coo_array", "csc_matrix"])
def test_sparse_arrays_of_scipy(kind):
    refused(getattr(scipy.sparse, kind)(np.eye(2)), rf"{kind} is sparse, .* call x\.toarray\(\)")


def test_sparse_arrays_of_pydata():
    sparse = pytest.importorskip("sparse", reason="pip install sparse")
    refused(sparse.COO.from_numpy(np.eye(2)), r"COO is sparse, .* call x\.todense\(\)")


@pytest.mark.parametrize("convert", ["to_sparse", "to_sparse_csr", "to_sparse_csc", "to_mkldnn"])
# PyTorch says that some layouts are in beta
@pytest.mark.filterwarnings("ignore:Sparse (CSR|CSC):UserWarning")
def test_sparse_tensors(torch, convert):
    dense = torch.eye(2)
    for call in (NET, NET.predict, NET.logits):
        call(dense)
    refused(getattr(dense, convert)(), r"layout is torch\.\w+, .* call x\.to_dense\(\)")


@pytest.mark.parametrize("layout", ["strided", "jagged"])
@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors is in prototype stage:UserWarning")
def test_nested_tensors(torch, layout):
    samples = [torch.ones(1, 2), torch.ones(3, 2)]
    x = torch.nested.nested_tensor(samples, layout=getattr(torch, layout))
    net = pnn.Network(NET.layers)
    net(torch.ones(3, 2))
    calls = [net, net.predict, net.logits, net.to("numpy"), *(ACTIVATIONS[name] for name in PLAIN), pnn.Dense]
    calls += [lambda x: pnn.explain(net, x), lambda x: pnn.infer(net, x), lambda x: pnn.compare(net, x)]
    for call in calls:
        with pytest.raises(pnn.InputError, match=r"nested tensors .*: call x\.to_padded_tensor\(0\), or"):
            call(x)
    assert net(x.to_padded_tensor(0)).shape == (2, 3, 2)


def test_sparse_arrays_of_jax(jax):
    from jax.experimental import sparse

    refused(sparse.BCOO.fromdense(jax.numpy.eye(2)), r"BCOO is sparse, .* call x\.todense\(\)")


def test_tables():
    pandas = pytest.importorskip("pandas", reason="pip install pandas")
    table = pandas.DataFrame(np.eye(2), columns=["a", "b"])
    refused(table.assign(b=["x", "y"]), "holds no numbers in b: drop these columns, or make them numbers")


@pytest.mark.parametrize("x", [[], None, b"12", range(2)], ids=repr)
def test_what_is_no_array(x):
    refused(x, rf"got {type(x).__name__}: convert it first, with numpy\.asarray\(x\)")


@pytest.mark.parametrize("dtype", ["bfloat16", "float8_e4m3fn", "int4"])
def test_dtypes_of_ml_dtypes_in_numpy(dtype):
    ml_dtypes = pytest.importorskip("ml_dtypes", reason="pip install ml_dtypes")
    x = np.zeros(2, dtype=getattr(ml_dtypes, dtype))
    refused(x, rf"NumPy itself has no dtype {dtype}: call x\.astype\('float32'\)")


@pytest.mark.parametrize("dtype", ["complex64", ">c16"])
def test_complex_numbers(dtype):
    refused(np.zeros(2, dtype), r"real numbers, got dtype .*: take the real part, or the modulus")


@pytest.mark.parametrize(
    "dtype",
    [object, "U1", "S1", np.dtypes.StringDType(), "M8[s]", "m8[s]", "V2", np.longdouble],
    ids=str,
)
def test_other_dtypes_of_numpy(dtype):
    refused(np.zeros(2, dtype), r"networks compute in float16, .*, got dtype .*: cast it to one of them")


def test_other_dtypes_of_pytorch(torch):
    refused(torch.zeros(2).to(torch.float8_e4m3fn), r"got dtype torch\.float8_e4m3fn: cast it")
    refused(torch.zeros(2, dtype=torch.complex64), r"got dtype torch\.complex64: take the real part")


def test_other_dtypes_of_jax(jax):
    refused(jax.numpy.zeros(2, "float8_e4m3fn"), r"got dtype float8_e4m3fn: cast it")
    refused(jax.random.split(jax.random.key(0)), "keys of random numbers are none: draw some")


@pytest.mark.parametrize("dtype", [">f2", ">f4", ">f8", ">i4", ">u2"])
def test_big_endian_numbers_give_native_results(dtype):
    x = np.array([[1, 0], [0, 2]])
    big, native = x.astype(dtype), x.astype(np.dtype(dtype).newbyteorder("="))
    for call in (NET, NET.predict, NET.logits, NET.to("numpy"), NET.to("numpy").predict):
        for _ in range(2):
            found = call(big)
            assert found.dtype.isnative
            np.testing.assert_array_equal(found, call(native), strict=True)


def test_a_layout_that_is_not_pytorchs_says_nothing():
    """Tracers of JAX 0.11 have one."""

    class Laid(np.ndarray):
        layout = "rows first"

    np.testing.assert_array_equal(NET(np.eye(2).view(Laid)), NET(np.eye(2)))


LABELS = np.zeros(3, dtype=int)
OTHERS = {
    "compiled": NET.compile(),
    "infer": partial(pnn.infer, NET),
    "batches": lambda x: pnn.infer(NET, iter([x])),
    "evaluate": lambda x: pnn.evaluate(NET, x, LABELS),
    "labels": lambda x: pnn.evaluate(NET, np.ones((3, 2)), x),
    "compare": lambda x: pnn.compare(NET, x, LABELS, backends=["numpy"]),
    "parameter": lambda x: pnn.activations.silu(np.ones((3, 2)), beta=x),
    "weights": pnn.Dense,
    "scale": pnn.Rescaling,
}


def test_keys_and_deleted_arrays_of_jax(jax):
    gone = jax.numpy.ones((3, 2), dtype=np.float32)
    keys = jax.random.split(jax.random.key(0), 2)
    for call in (NET, NET.predict, NET.logits, OTHERS["compiled"]):  # which keep what they made
        call(gone)
    gone.delete()
    for x, message in ((gone, "the array is deleted"), (keys, r"draw some, with jax\.random")):
        refused(x, message)
        for name, call in OTHERS.items():
            with pytest.raises(pnn.InputError, match=message):
                pytest.fail(f"{name} gives {call(x)!r}")


def test_weights_that_were_donated(jax):
    weight = jax.numpy.eye(2)
    net = pnn.Network([pnn.Dense(weight)])
    jax.jit(lambda x: net(x))(jax.numpy.ones(2))
    weight.delete()
    for call in (net, net.predict, lambda x: net.to("numpy")):
        with pytest.raises(pnn.InputError, match="the array is deleted"):
            call(jax.numpy.ones((3, 2)))
