"""Files of Keras's models: those that Keras makes, changed ones, and those of configs that tests write."""

import json
import os
import zipfile
from importlib.util import find_spec

import numpy as np
import pytest
from helpers import run_python

SUFFIXES = ["keras", "h5"]


def generated(folder, library, *options):
    if not all(map(find_spec, ("keras", library))):
        pytest.skip(f"the oracle is Keras: pip install keras {library}")
    run_python("tests/formats/keras_models.py", folder, *options, env=os.environ | {"KERAS_BACKEND": library})
    return folder, json.loads((folder / "names.json").read_text())


def h5(path, config, version=None, **arrays):
    """A file as Keras 1 and 2 made them."""
    h5py = pytest.importorskip("h5py", reason="files are changed by h5py: pip install h5py")
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = json.dumps(config).encode()
        if version:
            file.attrs["keras_version"] = version.encode()
        for name, array in arrays.items():
            file[f"model_weights/{name.replace('__', '/')}"] = array
    return path


def dense(name, **options):
    return {"class_name": "Dense", "config": {"name": name} | options}


def members(path):
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def packed(path, contents):
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in contents.items():
            archive.writestr(name, data)
    return path


def changed(source, target, change):
    """A copy of a model's file whose config was changed."""
    if source.suffix == ".h5":
        h5py = pytest.importorskip("h5py", reason="files are changed by h5py: pip install h5py")
        target.write_bytes(source.read_bytes())
        with h5py.File(target, "r+") as file:
            config = json.loads(file.attrs["model_config"])
            change(config)
            file.attrs["model_config"] = json.dumps(config)
        return target
    contents = members(source)
    config = json.loads(contents["config.json"])
    change(config)
    return packed(target, contents | {"config.json": json.dumps(config)})


def last(config):
    return config["config"]["layers"][-1]


def with_config(path, config):
    return h5(path, config, "3.0.0", d__kernel=np.eye(2), d__bias=np.zeros(2))


def tensor(name, call=0, output=0):
    return {"class_name": "__keras_tensor__", "config": {"keras_history": [name, call, output]}}


def constant(value):
    return {"class_name": "__numpy__", "config": {"value": value}}


def node(kind, name, *calls, **options):
    return {
        "class_name": kind,
        "config": {"name": name, **options},
        "name": name,
        "inbound_nodes": [{"args": list(args), "kwargs": {}} for args in calls],
    }


def functional(nodes, inputs=("in", 0, 0), outputs=("d", 0, 0)):
    options = {"layers": nodes, "input_layers": list(inputs), "output_layers": list(outputs)}
    return {"class_name": "Functional", "config": {"name": "model"} | options}


START = node("InputLayer", "in", batch_shape=[None, 2])
SEQUENTIAL = {"class_name": "Sequential", "config": {"layers": [dense("d")]}}


def sequential(*layers, **options):
    return {"class_name": "Sequential", "config": {"layers": list(layers)} | options}


def layer(kind, **options):
    return {"class_name": kind, "config": {"name": "x"} | options}
