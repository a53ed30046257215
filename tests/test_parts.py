"""Networks of several inputs and outputs: dicts of arrays, on every library and through every transformation."""

import pickle
from collections import OrderedDict

import numpy as np
import pytest
from branching import HEADS, INPUTS, LABELS, NODES, PLACES, TABLE, TWO, V, W, data, wanted, wanted_labels
from helpers import EPSILON, check_beside, check_place, placed
from hypothesis import given as examples
from hypothesis import settings
from hypothesis import strategies as st

import portable_nn as pnn
from portable_nn.errors import InputError, InputWarning, NetworkError, PlacementError, ShapeError
from portable_nn.layers import Graph, Node, Value
from portable_nn.operators import OPERATORS

GIVEN = data(7)


def on(backend, given, dtype="float32"):
    """The same samples on a backend, floats in a dtype."""
    return {
        name: placed(backend, array, dtype) if array.dtype.kind == "f" else backend.place(array.astype(np.int32))
        for name, array in given.items()
    }


@pytest.mark.parametrize(
    ("n", "told"), [(1, "0"), (8, "0, 1, 2, 3, 4, 5, 6, 7"), (9, "0, 1, 2, 3, 4, 5, 6, 7, …")]
)
def test_some_of_the_names_that_came_are_told(n, told):
    with pytest.raises(InputError, match=f"got one of {told}$"):
        LABELS({str(i): np.zeros(1) for i in range(n)})


@pytest.mark.parametrize("n", [0, 1, 7, 4001])
def test_any_number_of_samples(backend, n):
    given = data(n)
    x = on(backend, given)
    if not backend.has_labels():
        pytest.skip("argmax gives integers that the device has not")
    for net in (TWO, TWO.to(backend)):
        found = net(x)
        assert list(found) == ["y", "k"]
        check_beside(found["y"], x["x"], x["x"].dtype, (n, 6))
        check_place(found["k"], x["x"])
        assert tuple(found["k"].shape) == (n,)
        if n:
            exact = wanted(given)
            np.testing.assert_allclose(backend.to_numpy(found["y"]), exact["y"], atol=1e-5)
            margin = np.diff(np.sort(exact["y"], axis=1)[:, -2:])[:, 0]
            sure = margin > 1e-4
            np.testing.assert_array_equal(backend.to_numpy(found["k"])[sure], exact["k"][sure])


@pytest.mark.dtypes("float16", "bfloat16", "float64")
def test_floats_follow_the_input_and_integers_stay(backend, dtype):
    x = on(backend, GIVEN, dtype)
    found = LABELS(x)
    check_beside(found, x["x"], x["x"].dtype, (7, 3))
    exact = LABELS(GIVEN)
    np.testing.assert_allclose(backend.to_numpy(found), exact, atol=8 * max(EPSILON[dtype], EPSILON["float32"]))


def test_places_alone_stay_integers(backend):
    x = backend.place(GIVEN["place"].astype(np.int32))
    found = PLACES(x)
    check_beside(found, x, backend.dtype("float32"), (7, 3))
    np.testing.assert_allclose(backend.to_numpy(found), PLACES(GIVEN["place"]), atol=1e-6)


def test_labels_are_those_of_the_outputs(backend):
    if not backend.has_labels():
        pytest.skip("argmax gives integers that the device has not")
    found = backend.to_numpy(LABELS.predict(on(backend, GIVEN)))
    np.testing.assert_array_equal(found, wanted_labels(GIVEN))
    logits = backend.to_numpy(LABELS.logits(on(backend, GIVEN)))
    np.testing.assert_array_equal(logits.argmax(axis=1), wanted_labels(GIVEN))


@examples(n=st.integers(1, 900), seed=st.integers(0, 9), leading=st.sampled_from([(), (1,), (3,), (2, 2)]))
@settings(deadline=None, max_examples=30)
def test_blocks_and_leading_axes_change_nothing(n, seed, leading):
    given = data(n * int(np.prod(leading)), seed)
    flat = TWO(given)
    more = TWO({name: array.reshape(*leading, n, *array.shape[1:]) for name, array in given.items()})
    for name, array in flat.items():
        assert more[name].shape == (*leading, n, *array.shape[1:])
        np.testing.assert_allclose(more[name].reshape(array.shape), array, atol=1e-5)
    np.testing.assert_allclose(flat["y"], wanted(given)["y"], atol=1e-5)


def test_the_widest_floating_dtype_is_that_of_the_computation():
    assert TWO(GIVEN | {"z": GIVEN["z"].astype(np.float64)})["y"].dtype == np.float64
    assert TWO(GIVEN | {"x": GIVEN["x"].astype(np.float16)})["y"].dtype == np.float32
    assert TWO(GIVEN | {"x": np.ones((7, 4), int), "z": np.ones((7, 2), bool)})["y"].dtype == np.float32


def test_lists_mappings_and_memory_maps_are_taken(tmp_path):
    exact = wanted(GIVEN)
    np.save(tmp_path / "x.npy", GIVEN["x"])
    np.savez(tmp_path / "all.npz", **GIVEN)
    for given in (
        {name: array.tolist() for name, array in GIVEN.items()},
        OrderedDict(reversed(GIVEN.items())),
        GIVEN | {"x": np.load(tmp_path / "x.npy", mmap_mode="r")},
        np.load(tmp_path / "all.npz"),
        {name: array.astype(array.dtype.newbyteorder(">")) for name, array in GIVEN.items()},
    ):
        for _ in range(2):
            found = TWO(given)
            assert type(found["y"]) is np.ndarray
            np.testing.assert_allclose(found["y"], exact["y"], atol=1e-6)
            np.testing.assert_array_equal(found["k"], exact["k"])


def test_one_input_may_be_named_where_the_network_knows_its_name():
    np.testing.assert_array_equal(PLACES({"place": GIVEN["place"]}), PLACES(GIVEN["place"]))
    for net in (HEADS, PLACES):
        with pytest.raises(
            InputError, match="the network takes one array, got a dict of q, r: give the array alone"
        ):
            net({"q": GIVEN["x"], "r": GIVEN["x"]})


def without(name):
    return {other: array for other, array in GIVEN.items() if other != name}


@pytest.mark.parametrize(
    ("given", "error", "match"),
    [
        (without("z"), InputError, "takes a dict of x, place, z, got one of x, place$"),
        (GIVEN | {"q": GIVEN["x"]}, InputError, "got one of x, place, z, q"),
        ({}, InputError, "got one of nothing"),
        (GIVEN["x"], InputError, r"several arrays: give a dict, \{'x': …, 'place': …, 'z': …\}, got ndarray"),
        (GIVEN | {"place": GIVEN["place"][:3]}, ShapeError, r"as many samples of each: .*place has shape \(3,\)"),
        (GIVEN | {"place": GIVEN["place"][:1]}, ShapeError, r"as many samples of each: .*place has shape \(1,\)"),
        (GIVEN | {"z": GIVEN["z"][None]}, ShapeError, r"z has shape \(1, 7, 2\)"),
        (GIVEN | {"x": GIVEN["x"][:, :3]}, ShapeError, r"input 'x': the network takes .* got \(7, 3\)"),
        (GIVEN | {"z": [[1.0], [1.0, 2.0]]}, ShapeError, "input 'z': a list of rows that differ"),
        (GIVEN | {"place": GIVEN["x"][:, 0]}, InputError, "'place' takes int64, got float32: cast it first"),
        (GIVEN | {"place": GIVEN["place"] > 2}, InputError, "'place' takes int64, got bool: cast it first"),
        (GIVEN | {"x": GIVEN["x"].astype(complex)}, InputError, "expected real numbers, got dtype complex"),
        (GIVEN | {"x": GIVEN["x"].astype(str)}, InputError, "got dtype <U"),
        (GIVEN | {"x": None}, InputError, "input 'x': expected an array"),
        (GIVEN | {"place": GIVEN["place"] + 100}, ShapeError, "does not take .* out of bounds"),
    ],
)
def test_what_does_not_fit_is_refused_before_and_after_it_was_called(given, error, match):
    for net in (pnn.Network(TWO.layers), TWO):
        with pytest.raises(error, match=match):
            net(given)


@pytest.mark.parametrize("change", ["place", "x"])
def test_inputs_of_different_length_are_refused_on_every_library(backend, change):
    given = on(backend, GIVEN)
    LABELS(given)
    with pytest.raises(ShapeError, match="give as many samples of each"):
        LABELS(given | {change: given[change][:1, ...]})


def test_arrays_of_two_libraries_are_refused(torch, jax):
    with pytest.raises(
        PlacementError, match=r"inputs are on torch:cpu \(x\) and numpy \(place\) and numpy \(z\)"
    ):
        TWO(GIVEN | {"x": torch.from_numpy(GIVEN["x"])})
    with pytest.raises(PlacementError, match="bring them to one library and device"):
        TWO({name: jax.numpy.asarray(array) for name, array in GIVEN.items()} | {"z": GIVEN["z"]})
    with pytest.raises(PlacementError, match="bring them to one library and device"):
        jax.jit(lambda x: TWO(GIVEN | {"x": x}))(GIVEN["x"])


def test_what_cannot_be_meant_gets_a_warning():
    with pytest.warns(InputWarning, match="all values that came are nan"):
        pnn.Network(TWO.layers)(GIVEN | {"z": np.full((7, 2), np.nan, np.float32)})
    with pytest.warns(InputWarning, match="and the network takes -9 to 9"):
        LABELS.described(input_range=(-9, 9))(GIVEN | {"x": GIVEN["x"] * 100})


def test_only_the_first_layer_takes_several_and_only_the_last_gives_several():
    with pytest.raises(NetworkError, match="layer 1 takes x, place, z, and layer 0 gives one array"):
        pnn.Network([pnn.Rescaling(2.0), *TWO.layers])
    with pytest.raises(NetworkError, match="layer 0 gives y, k, and layer 1 takes one array"):
        pnn.Network([*TWO.layers, pnn.Activation("relu")])


def test_labels_of_a_graph_that_takes_several_and_gives_one():
    net = pnn.Network([Graph(NODES[:-1], INPUTS, ["y"], {"": 20}, **TWO.layers[0].constants)])
    np.testing.assert_array_equal(net.predict(GIVEN), wanted(GIVEN)["k"])


def test_shapes_that_are_not_known_are_not_held_to_any():
    inputs = [Value("x", "float32", (None,)), Value("place", "int64"), Value("z", "float32", (2,))]
    net = pnn.Network([Graph(NODES, inputs, ["y", "k"], {"": 20}, **TWO.layers[0].constants)])
    for _ in range(2):
        np.testing.assert_allclose(net(GIVEN)["y"], wanted(GIVEN)["y"], atol=1e-6)
    with pytest.raises(ShapeError, match=r"takes arrays of shape \(..., \?\), got \(\)"):
        net(GIVEN | {"x": np.float32(1)})


def test_what_it_takes_and_gives_is_told_by_name():
    assert TWO.inputs == {"x": (4,), "place": (), "z": (2,)}
    assert TWO.outputs == {"y": (6,), "k": ()}
    inputs = [Value("x", "float32", (None,)), Value("place", "int64"), Value("z", "float32", (2,))]
    unknown = pnn.Network([Graph(NODES, inputs, ["y", "k"], {"": 20}, **TWO.layers[0].constants)])
    assert unknown.inputs == {"x": None, "place": None, "z": (2,)}
    assert unknown.outputs == {"y": None, "k": None}


@pytest.mark.parametrize(("names", "others"), [("inputs", "x, place, z"), ("outputs", "y, k")])
def test_several_arrays_have_names_already(names, others):
    with pytest.raises(NetworkError, match=f"it has several {names}, of the names {others}: give it no others"):
        TWO.described(**{names: ["a", "b"]})


def test_it_survives_pickle_and_knows_its_dtype():
    again = pickle.loads(pickle.dumps(TWO))
    np.testing.assert_array_equal(again(GIVEN)["y"], TWO(GIVEN)["y"])
    np.testing.assert_allclose(TWO.astype("float64")(GIVEN)["y"], wanted(GIVEN)["y"], atol=1e-6)


def lazy(dask, given=GIVEN):
    chunks = {"x": (3, 4), "place": (3,), "z": (3, 1)}
    return {name: dask.from_array(array, chunks=chunks[name]) for name, array in given.items()}


def test_dask_gives_chunks_as_they_came(dask):
    found = TWO(lazy(dask))
    assert {name: (array.shape, array.chunks[0], array.dtype) for name, array in found.items()} == {
        "y": ((7, 6), (3, 3, 1), np.float32),
        "k": ((7,), (3, 3, 1), np.int64),
    }
    np.testing.assert_allclose(found["y"].compute(), wanted(GIVEN)["y"], atol=1e-6)
    np.testing.assert_array_equal(found["k"].compute(), wanted(GIVEN)["k"])
    apart = lazy(dask) | {"place": dask.from_array(GIVEN["place"], chunks=7)}
    np.testing.assert_array_equal(LABELS.predict(apart).compute(), wanted_labels(GIVEN))
    np.testing.assert_allclose(HEADS(apart["x"])["t"].compute(), HEADS(GIVEN["x"])["t"], atol=1e-6)
    np.testing.assert_array_equal(PLACES.predict(apart["place"]).compute(), PLACES.predict(GIVEN["place"]))


def test_dask_computes_each_block_once_for_all_outputs(dask, monkeypatch):
    import dask as package

    samples = []

    def counted(x, *, xp):
        samples.append(x.shape[0])
        return x + 1

    monkeypatch.setitem(OPERATORS, "com.example.Counted", {1: counted})
    nodes = [Node("com.example.Counted", ("x",), ("y",)), Node("Exp", ("y",), ("e",))]
    net = pnn.Network([Graph(nodes, [Value("x", "float32", (4,))], ["y", "e"], {"": 20, "com.example": 1})])
    found = net(lazy(dask)["x"])
    samples.clear()
    package.compute(found, scheduler="synchronous")
    assert sorted(samples) == [1, 3, 3]


def test_dask_computes_with_another_library(dask, torch):
    given = {name: dask.from_array(array, chunks=4) for name, array in GIVEN.items()}
    found = TWO.to("dask:torch")(given)
    assert type(found["y"].compute()) is np.ndarray
    np.testing.assert_allclose(found["y"].compute(), wanted(GIVEN)["y"], atol=1e-6)


def test_transformations_of_jax(jax):
    given = {name: jax.numpy.asarray(array) for name, array in GIVEN.items()}
    exact = wanted(GIVEN)
    for net in (TWO, TWO.compile(), jax.jit(TWO), jax.vmap(TWO), TWO.to("jax")):
        np.testing.assert_allclose(net(given)["y"], exact["y"], atol=1e-5)
    gradient = jax.grad(lambda z: TWO(given | {"z": z})["y"].sum())(given["z"])
    np.testing.assert_allclose(gradient, np.tile(V.sum(axis=1), (7, 1)), atol=1e-5)
    slope = 1 - np.tanh(GIVEN["x"].astype(float) @ W) ** 2
    jacobian = jax.jacfwd(lambda x: TWO(given | {"x": x})["y"].sum(axis=0))(given["x"])
    np.testing.assert_allclose(jacobian[0, :, :].T, W[:, 0][:, None] * slope[:, 0], atol=1e-5)


@pytest.mark.filterwarnings("ignore:Dynamo detected a call to a `functools.lru_cache`:UserWarning")
def test_transformations_of_pytorch(torch):
    given = {name: torch.from_numpy(array) for name, array in GIVEN.items()}
    exact = wanted(GIVEN)
    torch.compiler.reset()
    fresh = pnn.Network(TWO.layers)
    compiled = torch.compile(fresh.__call__, fullgraph=True, backend="aot_eager")
    for net in (compiled, torch.vmap(TWO), TWO.to("torch")):
        np.testing.assert_allclose(net(given)["y"].numpy(), exact["y"], atol=1e-5)
    z = given["z"].clone().requires_grad_()
    TWO(given | {"z": z})["y"].sum().backward()
    np.testing.assert_allclose(z.grad.numpy(), np.tile(V.sum(axis=1), (7, 1)), atol=1e-5)


def test_weights_of_another_library_are_trained(torch):
    own = pnn.Network(layer.map(lambda w: torch.from_numpy(w.copy()).requires_grad_()) for layer in LABELS.layers)
    own({name: torch.from_numpy(array) for name, array in GIVEN.items()}).log().sum().backward()
    table = own.layers[0].constants["table"].grad
    assert table.shape == TABLE.shape
    assert set(np.flatnonzero(table.abs().sum(axis=1).numpy())) == set(GIVEN["place"].tolist())


def test_explain_says_what_is_cast():
    given = GIVEN | {"x": GIVEN["x"].astype(np.float64), "z": np.ones((7, 2), int)}
    found = pnn.explain(pnn.Network(TWO.layers), given)
    assert (found.dtype, found.input_cast) == ("float64", "int64 to float64")
    assert pnn.explain(TWO, GIVEN).input_cast == ""
    assert pnn.explain(PLACES, GIVEN["place"]).input_cast == ""
