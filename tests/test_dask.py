"""Dask arrays: one task a block, whatever the chunks."""

import pickle
import subprocess
import sys

import numpy as np
import pytest
from helpers import TOLERANCE, forward

import portable_nn as pnn
from portable_nn.layers import Graph
from portable_nn.operators import OPERATORS
from portable_nn.readers.onnx import Node, Value

COUNT = 64
METHODS = ["__call__", "predict", "logits"]


@pytest.fixture
def fresh():
    """A network that has placed no weights yet."""
    return pnn.load("mnist")


@pytest.fixture(scope="module")
def images(mnist_test):
    return mnist_test[0][:COUNT]


@pytest.fixture(scope="module")
def wanted(images):
    """The probabilities."""
    return forward(pnn.load("mnist"), images)


@pytest.fixture
def counted(dask):
    """Dask computing in this thread, and a list that grows with each time it does."""
    import dask as whole

    computed = []

    def scheduler(graph, keys, **options):
        computed.append(keys)
        return whole.get(graph, keys, **options)

    with whole.config.set(scheduler=scheduler):
        yield computed


def check(outputs, wanted, dtype="float32"):
    np.testing.assert_allclose(outputs, wanted, rtol=0, atol=TOLERANCE[dtype])


def tasks(array):
    """The keys of a graph."""
    return dict(array.__dask_graph__()).keys()


@pytest.mark.parametrize("chunks", [(16, 784), (10, 100), (64, 784)], ids=str)
@pytest.mark.parametrize("dtype", ["bool", "uint8", "int64", ">i2", "float16", "float32", ">f4", "float64"])
def test_every_dtype_and_a_split_feature_axis(dask, counted, fresh, images, chunks, dtype):
    samples = images.astype(dtype)
    wanted = forward(fresh, samples)
    computed = np.dtype(dtype).newbyteorder("=") if "f" in dtype else np.dtype("float32")
    x = dask.from_array(samples, chunks=chunks)
    for net in fresh, fresh.to("dask"):
        counted.clear()
        outputs, labels = net(x), net.predict(x)
        assert not counted
        assert isinstance(outputs, dask.Array)
        assert (outputs.shape, labels.shape) == ((COUNT, 10), (COUNT,))
        assert (outputs.chunks[0], labels.chunks[0]) == (x.chunks[0], x.chunks[0])
        for lazy in outputs, labels:
            assert type(lazy._meta) is np.ndarray
            assert lazy.dtype == lazy.compute().dtype
        assert outputs.dtype == computed
        check(outputs.compute(), wanted, computed.name)
        if dtype != "float16":  # whose own products may tie
            np.testing.assert_array_equal(labels.compute(), wanted.argmax(axis=-1))


@pytest.mark.parametrize("method", METHODS)
def test_one_task_a_block_and_one_key(dask, fresh, images, method):
    x = dask.from_array(images, chunks=(8, 784)).persist(scheduler="synchronous")
    found = getattr(fresh, method)(x)
    assert len(tasks(found) - tasks(x)) == COUNT // 8 + 1


@pytest.mark.parametrize("method", METHODS)
def test_no_axis_is_summed_over_which_takes_dask_twice_the_time(dask, fresh, images, method):
    found = getattr(fresh, method)(dask.from_array(images, chunks=(8, 784)))
    layer = found.dask.layers[found.name]
    assert all(set(axes) <= set(layer.output_indices) for _, axes in layer.indices if axes is not None)


def steps_before(dask):
    """Arrays that are alike, of the one chunks of four samples of three, by the step that gives them."""
    row, column = np.arange(4.0), np.arange(24.0).reshape(6, 4)
    wide = dask.from_array(column, chunks=(2, -1))
    yield "an array", dask.from_array(column, chunks=(2, 4))
    yield "split samples", dask.from_array(column, chunks=(2, 3))
    yield "one chunk", dask.from_array(column, chunks=-1)
    yield (
        "a new axis",
        dask.arange(0, 24, 4, chunks=2).map_blocks(
            lambda block: block[:, None] + row, new_axis=1, chunks=((2, 2, 2), (4,)), dtype=float
        ),
    )
    yield "a new axis before", dask.from_array(row, chunks=-1).map_blocks(
        lambda block, block_info: column[slice(*block_info[None]["array-location"][0])],
        new_axis=0, chunks=((2, 2, 2), (4,)), dtype=float,
    )  # fmt: skip
    yield "broadcast", dask.arange(0, 24, 4, chunks=2)[:, None] + dask.from_array(row, chunks=-1)
    yield "sums", wide @ dask.eye(4, chunks=-1)
    yield (
        "a dropped axis",
        dask.stack([wide, wide], axis=-1).rechunk({2: -1}).map_blocks(lambda block: block[..., 0], drop_axis=2),
    )
    yield "transposed", dask.from_array(column.T, chunks=(-1, 2)).T
    yield "two axes before", dask.from_array(column.reshape(2, 3, 4), chunks=(1, 2, 4)).reshape(6, 4)
    yield "of a network", pnn.Network([pnn.Dense(np.eye(4))])(wide)
    yield "of unknown size", wide[wide[:, 0] >= 0]


def test_whatever_step_is_before(dask):
    weight = np.random.default_rng(0).normal(size=(4, 3))
    net, numbers = pnn.Network([pnn.Dense(weight, None, "tanh")]), np.arange(24.0).reshape(6, 4)
    for name, x in steps_before(dask):
        for method in METHODS:
            lazy, wanted = getattr(net, method)(x), getattr(net, method)(numbers)
            np.testing.assert_allclose(lazy, wanted, rtol=1e-12, err_msg=name)
            np.testing.assert_allclose((lazy + 1).map_blocks(np.negative), -wanted - 1, rtol=1e-12, err_msg=name)
            lazy.compute_chunk_sizes()
            assert lazy.shape == wanted.shape


def test_all_results_of_one_network_share_its_key(dask, fresh, images):
    both = [dask.from_array(images.astype(dtype), chunks=(8, 784)) for dtype in ("uint8", "float64")]
    before = {key for x in both for key in tasks(x)}
    found = [getattr(net, method)(x) for net in (fresh, pnn.load("mnist")) for method in METHODS for x in both]
    assert len({key for array in found for key in tasks(array) - before if isinstance(key, str)}) == 1
    other = pnn.Network([pnn.Dense(fresh.layers[1].weight + 1)])
    assert not (tasks(other(both[0])) - before) & tasks(found[0])


def test_weights_travel_once_and_not_with_each_task(dask, fresh):
    def size(blocks):
        return len(pickle.dumps(dict(fresh(dask.zeros((blocks, 784), chunks=(1, 784))).__dask_graph__())))

    of_weights = sum(array.nbytes for layer in fresh.layers for array in layer.arrays.values())
    assert of_weights < size(1) < of_weights + 10_000
    assert size(101) - size(1) < 100_000


def test_a_pickled_key_gives_the_same(dask, fresh, images):
    x = dask.from_array(images, chunks=(30, 784))
    for net in fresh, fresh.to("dask:torch"):
        lazy = net(x)
        np.testing.assert_array_equal(pickle.loads(pickle.dumps(lazy)).compute(), lazy.compute())


@pytest.mark.parametrize("leading", [(), (1,), (0,), (7,), (2, 3), (0, 2), (1, 2, 3)], ids=str)
@pytest.mark.parametrize("sample", [(784,), (28, 28)], ids=str)
def test_any_leading_axes(dask, mnist_test, leading, sample):
    flatten = [pnn.Flatten(sample)] if len(sample) > 1 else []
    net = pnn.Network([*flatten, *pnn.load("mnist").layers])
    numbers = mnist_test[0][: np.prod(leading, dtype=int)].reshape(*leading, *sample)
    wanted = forward(net, numbers)
    for chunks in (-1, 2, (*(1 for _ in leading), *sample)):
        x = dask.from_array(numbers, chunks=chunks)
        outputs, labels = net(x), net.predict(x)
        assert (outputs.shape, labels.shape) == ((*leading, 10), leading)
        check(outputs.compute(), wanted)
        np.testing.assert_array_equal(labels.compute(), wanted.argmax(axis=-1))


@pytest.mark.parametrize("net", [pnn.Network([pnn.Rescaling(2.0, 1.0)])], ids=repr)
def test_a_network_that_takes_samples_of_any_shape(dask, net):
    numbers = np.arange(24.0).reshape(4, 6)
    x = dask.from_array(numbers, chunks=(3, 2))
    np.testing.assert_array_equal(net(x), 2 * numbers + 1)
    assert net(x).chunks == x.chunks
    np.testing.assert_array_equal(net.predict(x), [5, 5, 5, 5])


@pytest.mark.parametrize(
    "layer",
    [pnn.Activation("softmax"), pnn.Activation("glu"), pnn.Normalize(), pnn.Normalize(centred=False)],
    ids=repr,
)
def test_what_is_computed_of_several_values_has_them_all(dask, layer):
    """However they are chunked, and for samples of one length after those of another."""
    net = pnn.Network([layer, pnn.Rescaling(2.0)])
    for shape in (4, 6), (2, 3, 8), (2,):
        numbers = np.sin(np.arange(np.prod(shape), dtype=float)).reshape(shape)
        for method in METHODS if shape[-1] > 2 else METHODS[:1]:
            wanted, found = (getattr(net, method)(x) for x in (numbers, dask.from_array(numbers, chunks=1)))
            assert found.shape == wanted.shape
            np.testing.assert_allclose(found, wanted, rtol=1e-12)


@pytest.mark.parametrize("operator", ["Tanh", "Softmax", "Flatten"])
def test_a_graph_that_takes_samples_of_any_shape(dask, operator):
    graph = Graph([Node(operator, ("x",), ("y",))], [Value("x", "float32", None)], ["y"], {"": 20})
    net = pnn.Network([graph])
    for shape in (4, 6), (4, 2, 3), (5, 3):
        numbers = np.arange(np.prod(shape), dtype=float).reshape(shape)
        for method in METHODS:
            wanted, found = (getattr(net, method)(x) for x in (numbers, dask.from_array(numbers, chunks=2)))
            assert found.shape == wanted.shape
            np.testing.assert_allclose(found, wanted, rtol=1e-12)


def test_several_axes_of_features_become_one_or_more(dask):
    net = pnn.Network([pnn.Flatten((2, 3))])
    numbers = np.arange(24.0).reshape(4, 2, 3)
    found = net(dask.from_array(numbers, chunks=(3, 1, 2)))
    assert found.shape == (4, 6)
    np.testing.assert_array_equal(found, numbers.reshape(4, 6))


def test_one_network_takes_arrays_of_several_numbers_of_axes(dask, fresh, images, wanted):
    x = dask.from_array(images, chunks=(16, 784))
    for leading in (64,), (2, 32), (4, 4, 4):
        check(fresh(x.reshape(*leading, 784)).compute(), wanted.reshape(*leading, 10))


@pytest.mark.parametrize("sample", [(784,), (28, 28)], ids=str)
def test_chunks_of_unknown_and_of_no_size(dask, counted, images, wanted, sample):
    flatten = [pnn.Flatten(sample)] if len(sample) > 1 else []
    net = pnn.Network([*flatten, *pnn.load("mnist").layers])
    bright = images.mean(axis=1) > 30
    bright[:20] = False  # two chunks of nothing
    x = dask.from_array(images.reshape(-1, *sample), chunks=(10, *sample))[dask.from_array(bright, chunks=10)]
    outputs, labels = net(x), net.predict(x)
    assert not counted
    assert np.isnan(outputs.shape[0])
    assert 0 < bright.sum() < 44
    check(outputs.compute(), wanted[bright])
    np.testing.assert_array_equal(labels.compute(), wanted[bright].argmax(axis=-1))


@pytest.mark.parametrize("spec", ["torch", "jax", "array_api_strict:device1"])
def test_another_library_computes_inside_the_blocks(dask, images, wanted, spec):
    pytest.importorskip(spec.partition(":")[0])
    net = pnn.load("mnist").to(f"dask:{spec}")
    assert net.backend.device == pnn.backends.get(spec)
    for dtype in ("bool", "uint8", ">f4", "float32"):
        samples = images.astype(dtype)
        x = dask.from_array(samples, chunks=(10, 784))
        outputs, labels = net(x), net.predict(x)
        assert (type(outputs.compute()), outputs.dtype) == (np.ndarray, outputs.compute().dtype)
        check(outputs.compute(), forward(net.to_numpy(), samples))
        np.testing.assert_array_equal(labels.compute(), forward(net.to_numpy(), samples).argmax(axis=-1))


def test_inside_the_blocks_is_the_library_that_the_network_is_bound_to(dask, monkeypatch):
    pytest.importorskip("array_api_strict")
    inside = []

    def noted(x, *, xp):
        inside.append(xp.__name__.rpartition(".")[2])
        return x

    monkeypatch.setitem(OPERATORS, "com.example.Noted", {1: noted})
    node, value = Node("com.example.Noted", ("x",), ("y",)), Value("x", "float32", (2,))
    net = pnn.Network([Graph([node], [value], ["y"], {"": 20, "com.example": 1})])
    for spec, library in ("dask", "numpy"), ("dask:array_api_strict", "array_api_strict"):
        lazy = net.to(spec)(dask.zeros((4, 2), chunks=2, dtype="float32"))
        inside.clear()
        lazy.compute(scheduler="synchronous")
        assert set(inside) == {library}


def test_a_bound_network_refuses_what_is_not_in_chunks(dask, images):
    for spec in ("dask", "dask:torch"):
        with pytest.raises(pnn.PlacementError, match=r"the input is on numpy: call net.to\('numpy'\)"):
            pnn.load("mnist").to(spec)(images)
    with pytest.raises(pnn.PlacementError, match=r"the input is on dask: call net.to\('dask'\)"):
        pnn.load("mnist").to("numpy")(dask.from_array(images))


@pytest.mark.parametrize("spec", ["dask:torch", "dask:jax"])
def test_verified_and_compared_inside_chunks(dask, spec):
    pytest.importorskip(spec.partition(":")[2])
    net = pnn.Network([pnn.Dense(np.eye(3, dtype=np.float32), None, "softmax")])
    assert net.verify(spec).share < 1
    quick = {"in_process": True, "budget": 0.001, "batch_sizes": [1]}
    found = pnn.compare(net, np.eye(3), backends=[spec], dtypes=["float16", "float32", "bfloat16"], **quick)
    assert [row.state for row in found.rows] == ["agrees", "agrees", "unsupported"]  # chunks have no bfloat16


def test_chunks_of_pytorch_are_refused_with_the_reason(dask, torch, fresh):
    x = dask.zeros((4, 784), chunks=2, dtype="float32")
    chunks = x.map_blocks(lambda block: torch.as_tensor(block.copy()), meta=torch.zeros(0, 0))
    with pytest.raises(
        pnn.InputError, match=r"chunks of NumPy or CuPy, and these are of torch:cpu: call .*dask:torch"
    ):
        fresh(chunks)
    fresh(x)
    with pytest.raises(pnn.InputError, match="of torch"):
        fresh(chunks)


def test_masked_and_sparse_chunks_are_refused_as_their_arrays_are(dask, fresh):
    masked = dask.ma.masked_equal(dask.zeros((4, 784), chunks=2), 1)
    with pytest.raises(pnn.InputError, match="masked"):
        fresh(masked)


def test_wrong_samples_are_refused_at_once(dask, counted, fresh):
    with pytest.raises(pnn.ShapeError, match=r"\(\.\.\., 784\)"):
        fresh(dask.zeros((4, 783)))
    with pytest.raises(pnn.InputError, match="complex"):
        fresh(dask.zeros((4, 784), dtype=complex))
    with pytest.raises(pnn.NetworkError, match="regression"):
        pnn.Network([pnn.Dense(np.ones((784, 1)))]).predict(dask.zeros((4, 784)))
    assert not counted


def test_weights_in_dask_arrays_are_the_users_own(dask, images):
    backend = pnn.backends.get("dask")
    own = pnn.Network(layer.map(backend.place) for layer in pnn.load("mnist").layers)
    found = own(dask.from_array(images.astype(np.float32), chunks=(16, 784)))
    check(found.compute(), forward(pnn.load("mnist"), images))


def test_samples_of_unknown_number_that_are_to_be_reshaped(dask, fresh, images):
    x = dask.from_array(images.reshape(-1, 28, 28).astype(np.float32), chunks=(16, 28, 28))
    x, known = x[x.sum(axis=(1, 2)) > 0], x
    own = pnn.Network([pnn.Flatten((28, 28)), pnn.Dense(dask.from_array(np.eye(784, 2, dtype=np.float32)))])
    nodes = [Node("Flatten", ("x",), ("f",)), Node("Sqrt", ("f",), ("s",)), Node("MatMul", ("s", "w"), ("y",))]
    graph = Graph(nodes, [Value("x", "float32", (28, 28))], ["y"], {"": 20}, w=np.eye(784, 2, dtype=np.float32))
    for net in (fresh, own, pnn.Network([graph.map(dask.from_array)])):
        with pytest.raises(pnn.ShapeError, match=r"unknown size.*: call x\.compute_chunk_sizes\(\) first"):
            net(x)
        assert net(known).compute().shape == (COUNT, *net.output_shape)


@pytest.mark.parametrize("result", ["__call__", "predict", "logits"])
@pytest.mark.parametrize(
    "layer", [None, pnn.Activation("softmax"), pnn.Normalize()], ids=["mnist", "softmax", "normalize"]
)
def test_samples_of_unknown_size(dask, fresh, images, layer, result):
    net = fresh if layer is None else pnn.Network([layer])
    x = dask.from_array(images.astype(np.float32), chunks=(16, 100))
    x = x[:, dask.ones(784, chunks=100) > 0]
    with pytest.raises(pnn.ShapeError, match=r"unknown size.*call x\.compute_chunk_sizes\(\) first"):
        getattr(net, result)(x)
    assert len(getattr(net, result)(x.compute_chunk_sizes()).compute()) == COUNT


def test_query_planning_for_arrays_is_refused_with_the_remedy(dask):
    code = (
        "import dask.array, portable_nn as pnn\n"
        "try: pnn.load('mnist')(dask.array.zeros((4, 784)))\n"
        "except pnn.BackendError as error: print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", f"import dask; dask.config.set({{'array.query-planning': True}})\n{code}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "array.query-planning" in done.stdout
