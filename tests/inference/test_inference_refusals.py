"""What `infer` refuses, in the words of the network where that refuses it, and what it tells of."""

import warnings

import numpy as np
import pytest

import portable_nn as pnn

pytestmark = pytest.mark.usefixtures("all_cores")


@pytest.mark.parametrize("option", ["batch_size", "workers"])
def test_no_batch_and_no_worker_are_refused(mnist, images, option):
    for value in (0, -1, np.int64(0)):
        with pytest.raises(pnn.ShapeError, match=f"{option} must be at least 1, got {value}"):
            pnn.infer(mnist, images, **{option: value})


@pytest.mark.parametrize("value", ["10", 2.5, 10.0, True, np.True_, [10], np.ones(1, int), ()], ids=repr)
@pytest.mark.parametrize("option", ["batch_size", "workers"])
def test_what_is_no_number_of_samples_or_workers_is_refused(mnist, images, option, value):
    with pytest.raises(pnn.InputError, match=f"{option} must be an integer, got .*: give .* {option}=2"):
        pnn.infer(mnist, images, **{option: value})
    if option == "batch_size":
        with pytest.raises(pnn.InputError, match="batch_size must be an integer"):
            pnn.evaluate(mnist, images, np.zeros(len(images), int), batch_size=value)


def test_what_is_no_path_and_no_function_is_refused(mnist, images, tmp_path):
    with pytest.raises(pnn.InputError, match=r"out must be a path, got 3: give for instance out='labels\.npy'"):
        pnn.infer(mnist, images, out=3)
    with pytest.raises(pnn.InputError, match="progress must be a function of the number of samples done, got 3"):
        pnn.infer(mnist, images, progress=3)
    with pytest.raises(pnn.OutputError, match=r"x\.npy cannot be written: there is no folder .*none"):
        pnn.infer(mnist, images, out=tmp_path / "none" / "x.npy")


def test_integers_of_any_library_count(mnist, images, expected):
    found = pnn.infer(mnist, images, batch_size=np.int32(300), workers=np.uint8(2))
    np.testing.assert_array_equal(found, expected)


def masked(x):
    return np.ma.masked_equal(x, 0)


def series(x):
    pandas = pytest.importorskip("pandas", reason="pip install pandas")
    return pandas.Series(list(x))


def scipy_sparse(x):
    sparse = pytest.importorskip("scipy.sparse", reason="pip install scipy")
    return sparse.csr_array(x)


def scipy_coordinates(x):
    sparse = pytest.importorskip("scipy.sparse", reason="pip install scipy")
    return sparse.coo_array(x)


def torch_sparse(x):
    torch = pytest.importorskip("torch", reason="pip install torch")
    return torch.from_numpy(x).to_sparse()


def torch_masked(x):
    torch = pytest.importorskip("torch", reason="pip install torch")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The PyTorch API of MaskedTensors is in prototype stage")
        return torch.masked.masked_tensor(torch.from_numpy(x), torch.from_numpy(x > 0))


def torch_quantized(x):
    torch = pytest.importorskip("torch", reason="pip install torch")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*quantize.* deprecated")
        return torch.quantize_per_tensor(torch.from_numpy(x), 1.0, 0, torch.quint8)


def bfloat16_of_numpy(x):
    ml_dtypes = pytest.importorskip("ml_dtypes", reason="pip install ml_dtypes")
    return x.astype(ml_dtypes.bfloat16)


REFUSED = (masked, series, scipy_sparse, scipy_coordinates, torch_sparse, torch_masked, torch_quantized)
REFUSED += (bfloat16_of_numpy,)


@pytest.mark.parametrize("target", [None, "numpy", "array_api_strict"])
@pytest.mark.parametrize("kind", REFUSED)
def test_what_a_network_refuses_is_refused_in_the_same_words(mnist, images, kind, target):
    x = kind(images[:6].astype(np.float32))
    with pytest.raises(pnn.InputError) as caught:
        mnist(x)
    words = str(caught.value)
    labels = np.zeros(6, dtype=int)
    for call in (
        lambda: pnn.infer(mnist, x, backend=target),
        lambda: pnn.infer(mnist, [x], backend=target),
        lambda: pnn.infer(mnist, iter([images[:6], x]), backend=target),
        lambda: pnn.evaluate(mnist, x, labels, backend=target),
        lambda: pnn.evaluate(mnist, x, labels, backend=target, per_sample=True),
        lambda: pnn.compare(mnist, x, backends=[target or "numpy"], in_process=True),
        lambda: pnn.explain(mnist, x),
    ):
        with pytest.raises(pnn.InputError) as caught:
            call()
        assert str(caught.value) == words


def test_labels_are_arrays_as_images_are(mnist, images):
    for labels in (np.ma.masked_equal(np.arange(6), 0), [None] * 6):
        with pytest.raises(pnn.InputError):
            pnn.evaluate(mnist, images[:6], labels)


@pytest.mark.parametrize("data", [None, object()])
def test_what_is_no_data_is_refused(mnist, data):
    with pytest.raises(pnn.InputError, match="an array, a path, or an iterable of batches, got"):
        pnn.infer(mnist, data)


def test_dask_with_chunks_of_unknown_size_says_what_to_call(mnist, images):
    array = pytest.importorskip("dask.array", reason="pip install 'dask[array]'")
    x = array.from_array(images[:60], chunks=(20, 784))
    x = x[x.sum(axis=1) > 0]
    labels = mnist.predict(images[:60])
    for call in (
        lambda: pnn.infer(mnist, x),
        lambda: pnn.infer(mnist, x, backend="numpy", outputs=True),
        lambda: pnn.infer(mnist, [images[:5], x]),
        lambda: pnn.evaluate(mnist, x, labels),
        lambda: pnn.evaluate(mnist, x, labels, per_sample=True),
    ):
        with pytest.raises(pnn.ShapeError, match=r"call x\.compute_chunk_sizes\(\) first"):
            call()
    x.compute_chunk_sizes()
    np.testing.assert_array_equal(pnn.infer(mnist, x), labels)
    assert pnn.evaluate(mnist, x, labels).accuracy == 1


def test_wrong_samples_are_refused(mnist):
    with pytest.raises(pnn.ShapeError, match="784"):
        pnn.infer(mnist, np.zeros((3, 700), np.uint8))


def test_one_value_of_the_last_axis_is_no_label():
    """Also where the layers take any shape, so that the data alone tell."""
    net = pnn.Network([pnn.Rescaling(2.0)])
    with pytest.raises(pnn.NetworkError, match=r"is regression, .* call infer\(net, data, outputs=True\), or"):
        pnn.infer(net, np.ones((4, 3, 1)))
    np.testing.assert_array_equal(pnn.infer(net, np.eye(3)), [0, 1, 2])


def test_numbers_one_by_one_are_no_labels():
    net = pnn.Network([pnn.Activation("relu")])
    np.testing.assert_array_equal(pnn.infer(net, np.array([-1.0, 2.0]), outputs=True), [0, 2])
    with pytest.raises(pnn.NetworkError, match="one number for each sample"):
        pnn.infer(net, np.array([-1.0, 2.0]))


@pytest.mark.parametrize("shape", [(), (784,)])
def test_one_sample_is_no_batch(mnist, shape):
    with pytest.raises(pnn.ShapeError, match="samples along their first axis"):
        pnn.infer(mnist, np.zeros(shape, np.uint8))


def test_regression_names_what_gives_its_values():
    net = pnn.Network([pnn.Dense(np.ones((3, 1)))])
    with pytest.raises(pnn.NetworkError, match=r"no labels: call infer\(net, data, outputs=True\), or, if"):
        pnn.infer(net, np.ones((2, 3)))
    assert pnn.infer(net, np.ones((2, 3)), outputs=True).tolist() == [[3.0], [3.0]]


@pytest.mark.parametrize("size", [1, 4])
def test_samples_of_nothing_but_nan_are_told_of(backend, size):
    """Once, with their number, however batches lie; a sample with some values is not among them."""
    net = pnn.Network([pnn.Flatten((2, 2)), pnn.Dense(np.eye(4)[:, :3], None, "softmax")])
    x = np.random.default_rng(0).normal(size=(8, 2, 2)).astype(np.float32)
    x[[1, 6]] = np.nan
    x[2, 0, 0] = x[3, 1, 1] = np.nan
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        pnn.infer(net, backend.place(x) if backend.name != "dask" else x, backend=backend, batch_size=size)
    told = [str(warning.message) for warning in caught if "nothing but nan" in str(warning.message)]
    assert told == ["nothing but nan in 2 of the samples: leave them out, for their labels mean nothing"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pnn.infer(net, x, outputs=True)
