"""Files that ask for much: each function writes one whose size grows with `n`, and gives what `load` takes."""

import io
import json
import pickle
import zipfile

import h5py
import joblib
import numpy as np
import onnx
import torch
from safetensors.numpy import save_file
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

LAST = {"last": "identity"}
BETWEEN = {"activation": "relu", "last": "identity"}


def _own(path, architecture, tensors=None, meaning="{}"):
    text = architecture if isinstance(architecture, str) else json.dumps(architecture)
    metadata = {"format": "portable_nn", "version": "2", "architecture": text, "meaning": meaning}
    save_file(tensors or {"x": np.zeros(1)}, path, metadata)
    return {}


def layers_of_json(path, n):
    return _own(path, [{"layer": "Rescaling", "scale": 1.0, "offset": 0.0}] * n, _samples(2, 1))


def activations_of_json(path, n):
    return _own(path, [{"layer": "Activation", "name": "tanh"}] * n, _samples(2, 1, np.tanh(0.0)))


def nested_json(path, n):
    return _own(path, "[" * n + "]" * n)


def names_in_json(path, n):
    tensors = {"0.weight": np.zeros((1, n), np.float32), "0.bias": np.zeros(n, np.float32)}
    meaning = json.dumps({"classes": [f"c{i}" for i in range(n)]})
    return _own(path, [{"layer": "Dense", "activation": "softmax"}], tensors, meaning)


def many_samples(path, n):
    tensors = {"0.weight": np.zeros((1, n), np.float32), "0.bias": np.zeros(n, np.float32)}
    return _own(path, [{"layer": "Dense", "activation": "identity"}], tensors | _samples(n, 1))


def _samples(n, width, value=0.0):
    return {"samples.inputs": np.zeros((n, width)), "samples.outputs": np.full((n, width), value)}


def nodes_of_graph(path, n):
    nodes = [["Tanh", [f"v{i}"], [f"v{i + 1}"], {}, ""] for i in range(n)]
    entry = {"layer": "Graph", "nodes": nodes, "inputs": [["v0", "float32", [1]]], "outputs": [f"v{n}"]}
    return _own(path, [entry | {"opsets": {"": 20}}], _samples(2, 1))


def tensors_of_states(path, n):
    save_file({f"{i}.weight": np.zeros((1, 1), np.float32) for i in range(n)}, path)
    return BETWEEN


def members_of_zip(path, n):
    array = io.BytesIO()
    np.save(array, np.zeros((1, 1), np.float32))
    with zipfile.ZipFile(path, "w") as file:
        for i in range(n):
            file.writestr(f"W{i}.npy", array.getvalue())
    return BETWEEN


def names_of_a_dict(path, n):
    path.write_bytes(pickle.dumps({f"W{i}": None for i in range(n)}))
    return BETWEEN


def layers_of_a_pickle(path, n):
    joblib.dump({"coefs": [np.zeros((1, 1))] * n}, path)
    return BETWEEN


def nested_lists(path, n):
    path.write_bytes(b"\x80\2" + b"]" * n + b"a" * (n - 1) + b".")
    return BETWEEN


def nested_records(path, n):
    path.write_bytes(b"\x80\2" + b"ca\nb\n" * n + b"\x85R" * (n - 1) + b".")
    return BETWEEN


def doubled_tuples(path, n):
    path.write_bytes(b"\x80\2N" + b"2\x86" * n + b".")
    return BETWEEN


def memo(path, n):
    path.write_bytes(b"\x80\4]" + b"\x94" * n + b".")
    return BETWEEN


def marks(path, n):
    path.write_bytes(b"\x80\2" + b"(" * n + b"t" * n + b".")
    return BETWEEN


def _links(path, group, n):
    with h5py.File(path, "w") as file:
        group(file, n)
    return BETWEEN


def groups_of_hdf5(path, n):
    return _links(path, lambda file, n: [file.create_group(f"g{i}") for i in range(n)], n)


def hard_links_of_hdf5(path, n):
    def group(file, n):
        inner = file.create_group("a")
        for i in range(n):
            inner[f"l{i}"] = inner

    return _links(path, group, n)


def doubled_groups_of_hdf5(path, n):
    def group(file, n):
        inner = file.create_group("a")
        for _ in range(min(n, 40)):
            outer = file.create_group(None)
            outer["l"] = outer["r"] = inner
            inner = outer
        file["b"] = inner

    return _links(path, group, n)


def datasets_of_hdf5(path, n):
    return _links(path, lambda file, n: [file.create_dataset(f"d{i}", data=np.zeros(1)) for i in range(n)], n)


def config_of_hdf5(path, n):
    start = {"class_name": "InputLayer", "config": {"name": "x", "batch_shape": [None, 1]}}
    config = {"class_name": "Sequential", "config": {"name": "s", "layers": [start, *map(_tanh, range(n))]}}
    return _keras(path, config)


def _tanh(i):
    return {"class_name": "Activation", "config": {"name": f"a{i}", "activation": "tanh"}}


def nested_models_of_keras(path, n):
    inner = _tanh(0)
    for i in range(min(n, 150)):
        inner = {"class_name": "Sequential", "config": {"name": f"s{i}", "layers": [inner]}}
    return _keras(path, inner)


def functional_of_keras(path, n):
    def layer(i):
        come = {"class_name": "__keras_tensor__", "config": {"keras_history": [f"a{i - 1}", 0, 0]}}
        config = {"name": f"a{i}", "activation": "tanh"}
        return {
            "class_name": "Activation", "config": config, "name": f"a{i}",
            "inbound_nodes": [{"args": [come], "kwargs": {}}],
        }  # fmt: skip

    start = {"class_name": "InputLayer", "config": {"name": "a0", "batch_shape": [None, 1]}, "name": "a0"}
    layers = [start | {"inbound_nodes": []}, *map(layer, range(1, n))]
    ends = {"input_layers": [["a0", 0, 0]], "output_layers": [[f"a{n - 1}", 0, 0]]}
    return _keras(path, {"class_name": "Functional", "config": {"name": "f", "layers": layers, **ends}})


def _keras(path, config):
    weights = io.BytesIO()
    with h5py.File(weights, "w") as file:
        file.create_group("layers")
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("config.json", json.dumps(config))
        file.writestr("metadata.json", json.dumps({"keras_version": "3.15.1"}))
        file.writestr("model.weights.h5", weights.getvalue())
    return {}


def _onnx(path, nodes, constants=(), outputs=None):
    value = onnx.helper.make_tensor_value_info
    ends = [value(name, 1, None) for name in outputs or [nodes[-1].output[0]]]
    graph = onnx.helper.make_graph(nodes, "g", [value("v0", 1, ["n", 1])], ends, list(constants))
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)])
    path.write_bytes(model.SerializeToString())
    return {}


def chain_of_onnx(path, n):
    node = onnx.helper.make_node
    return _onnx(path, [node("Tanh", [f"v{i}"], [f"v{i + 1}"]) for i in range(n)])


def branches_of_onnx(path, n):
    node = onnx.helper.make_node
    return _onnx(path, [node("Add", [f"v{i}", f"v{max(i - 1, 0)}"], [f"v{i + 1}"]) for i in range(n)])


def additions_of_onnx(path, n):
    node, constant = onnx.helper.make_node, onnx.numpy_helper.from_array
    constants = [constant(np.ones(1, np.float32), f"c{i}") for i in range(n)]
    return _onnx(path, [node("Add", [f"v{i}", f"c{i}"], [f"v{i + 1}"]) for i in range(n)], constants)


def readers_of_onnx(path, n):
    node = onnx.helper.make_node
    return _onnx(
        path,
        [*[node("Tanh", ["v0"], [f"t{i}"]) for i in range(n)], node("Sum", [f"t{i}" for i in range(n)], ["y"])],
    )


def outputs_of_onnx(path, n):
    nodes = [onnx.helper.make_node("Tanh", [f"v{i}"], [f"v{i + 1}"]) for i in range(n)]
    return _onnx(path, nodes, outputs=[f"v{i + 1}" for i in range(n)])


def inputs_of_onnx(path, n):
    return _onnx(path, [onnx.helper.make_node("Mul", ["v0"] * n, ["y"])])


def doubled_sizes_of_onnx(path, n):
    """A condition whose operands are made of themselves, twice each."""
    node = onnx.helper.make_node
    branch = onnx.helper.make_graph(
        [node("Tanh", ["v0"], ["t"])], "b", [], [onnx.helper.make_empty_tensor_value_info("t")]
    )
    zero = onnx.numpy_helper.from_array(np.array(0), "zero")
    sizes = [node("Size", ["v0"], ["s0"]), *[node("Mul", [f"s{i}"] * 2, [f"s{i + 1}"]) for i in range(n)]]
    equal = node("Equal", [f"s{n}", "zero"], ["c"])
    either = node("If", ["c"], ["y"], then_branch=branch, else_branch=branch)
    return _onnx(path, [*sizes, equal, either], [zero])


def same_of_onnx(path, n):
    node = onnx.helper.make_node
    return _onnx(path, [node("Identity", [f"v{i}"], [f"v{i + 1}"]) for i in range(n)])


def nested_protobuf(path, n):
    graph = b""
    for _ in range(min(n, 5000)):
        for field in (b"\x32", b"\x2a", b"\x0a"):  # a graph in an attribute in a node in a graph
            graph = field + _varint(len(graph)) + graph
    path.write_bytes(b"\x08\x07\x3a" + _varint(len(graph)) + graph + b"\x42\x02\x10\x14")
    return {}


def _varint(value):
    whole = bytearray()
    while value > 127:
        whole.append(value & 127 | 128)
        value >>= 7
    return bytes([*whole, value])


def storages_of_pytorch(path, n):
    """A storage that n tensors view whole, each spread out where it is bfloat16."""
    whole = torch.zeros(n, 1, dtype=torch.bfloat16)
    torch.save({f"{i}.weight": whole.view(n, 1) for i in range(n)}, path)
    return BETWEEN


def legacy_storages_of_pytorch(path, n):
    tensors = {f"{i}.weight": torch.zeros(1, 1) for i in range(n)}
    torch.save(tensors, path, _use_new_zipfile_serialization=False)
    return BETWEEN


def modules_of_pytorch(path, n):
    torch.save(nn.Sequential(nn.Linear(1, 1), *[nn.Tanh() for _ in range(n)]), path)
    return {}


def nested_modules_of_pytorch(path, n):
    module = nn.Linear(1, 1)
    for _ in range(min(n, 150)):
        module = nn.Sequential(module, nn.Tanh())
    torch.save(module, path)
    return {}


def steps_of_scikit_learn(path, n):
    x = np.zeros((4, 1))
    scaler = StandardScaler().fit(x)
    last = MLPRegressor(hidden_layer_sizes=(1,), max_iter=1).fit(x, x[:, 0])
    joblib.dump(Pipeline([*[(f"s{i}", scaler) for i in range(n)], ("m", last)]), path)
    return {}


FILES = {
    **dict.fromkeys((layers_of_json, activations_of_json, nested_json, names_in_json), ".safetensors"),
    **dict.fromkeys((many_samples, nodes_of_graph, tensors_of_states), ".safetensors"),
    **dict.fromkeys((members_of_zip,), ".npz"),
    **dict.fromkeys((names_of_a_dict, nested_lists, nested_records, doubled_tuples, memo, marks), ".pkl"),
    **dict.fromkeys((layers_of_a_pickle, steps_of_scikit_learn), ".joblib"),
    **dict.fromkeys((groups_of_hdf5, hard_links_of_hdf5, doubled_groups_of_hdf5, datasets_of_hdf5), ".h5"),
    **dict.fromkeys((config_of_hdf5, nested_models_of_keras, functional_of_keras), ".keras"),
    **dict.fromkeys(
        (chain_of_onnx, branches_of_onnx, additions_of_onnx, readers_of_onnx, outputs_of_onnx), ".onnx"
    ),
    **dict.fromkeys((doubled_sizes_of_onnx, inputs_of_onnx, same_of_onnx, nested_protobuf), ".onnx"),
    **dict.fromkeys((storages_of_pytorch, legacy_storages_of_pytorch), ".pt"),
    **dict.fromkeys((modules_of_pytorch, nested_modules_of_pytorch), ".pt"),
}
