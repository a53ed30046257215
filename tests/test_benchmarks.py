"""The benchmarks run; what they measure is no test's business."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import labelling, memory, ratios, runner
from benchmarks.contenders import CONTENDERS, WORKLOADS
from benchmarks.peers import QUICK, race
from benchmarks.report import results

ROOT = Path(__file__).parents[1]
CHEAP = ("portable-numpy", "book", "book-100", "products", "peak")


def run(*arguments):
    command = [sys.executable, "-m", "benchmarks", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def peers(tmp_path_factory):
    folder = tmp_path_factory.mktemp("peers")
    only = ("--only", *CHEAP, *(["onnxruntime"] if installed("onnxruntime") else []))
    plot = ("--plot", str(folder / "ratios.png")) if installed_module("matplotlib") else ()
    printed = run("peers", "--quick", "--json", str(folder / "peers.json"), *plot, *only)
    return printed, json.loads((folder / "peers.json").read_text()), folder


@pytest.fixture(scope="module")
def scale(tmp_path_factory):
    path = tmp_path_factory.mktemp("scale") / "scale.json"
    printed = run("scale", "--quick", "--json", str(path))
    return printed, json.loads(path.read_text())


def installed_module(name):
    return importlib.util.find_spec(name) is not None


def installed(contender):
    return all(installed_module(name) for name in CONTENDERS[contender].needs)


def test_peers_gives_times_of_every_contender(peers):
    printed, found, _ = peers
    assert found["kind"] == "peers"
    assert set(found["environment"]["versions"]) >= {"python", "portable_nn", "numpy"}
    assert set(found["results"]) == {"one", "all"}
    for entries in found["results"].values():
        assert set(entries) >= set(CHEAP)
        for name, entry in entries.items():
            assert entry["state"] == "ready", entry
            assert set(entry["seconds"]) <= set(WORKLOADS)
            for workload, seconds in entry["seconds"].items():
                assert len(seconds) == len(entry["cores"][workload]) == QUICK.rounds
                assert min(seconds) > 0
                assert entry["batch_sizes"][workload] in (1, *CONTENDERS[name].batch_sizes)
    assert all(title in printed for title in ("Goals", *WORKLOADS.values()))


def test_peers_holds_ratios_against_goals(peers):
    figures = peers[1]["figures"]
    assert {figure["threads"] for figure in figures} == {"one", "all"}
    for figure in figures:
        assert figure["p10"] <= figure["median"] <= figure["p90"]
        assert figure["verdict"] == ("met" if figure["median"] <= figure["at_most"] else "missed")


def test_peers_draws(peers):
    pytest.importorskip("matplotlib", reason="pip install matplotlib")
    assert (peers[2] / "ratios.png").stat().st_size > 10_000


def test_scale_measures_everything(scale):
    printed, found = scale
    measured = found["results"]
    assert [row["images"] for row in measured["streamed"]] == [10_000, 20_000]
    assert measured["mapped"]["images"] == 20_000
    assert all(min(taken) > 0 for taken in measured["imports"].values())
    assert "microseconds" in measured["dispatch"]["numpy"]
    assert all(min(taken) > 0 for taken in measured["steps"].values())
    assert "Scale" in printed


def test_the_report_has_all_sections(peers, scale):
    text = results(peers[1], scale[1], [], "results.svg")
    assert [line.partition(":")[0] for line in text.splitlines() if line.startswith("## ")] == [
        "## Goals", "## Where the time goes", "## Races", "## Scale", "## GPU",
    ]  # fmt: skip
    assert "No CUDA device" in text
    assert (
        len({line.count("|") for line in text.split("## Goals")[1].split("![")[0].splitlines() if "|" in line})
        == 1
    )


def test_a_missing_library_is_no_failure(tmp_path, monkeypatch):
    (tmp_path / "onnxruntime.py").write_text("raise ModuleNotFoundError('gone', name='onnxruntime')")
    (tmp_path / "onnx.py").write_text("TensorProto = helper = numpy_helper = None")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    found = race(["onnxruntime"], "one", QUICK)
    assert found == {"onnxruntime": {"state": "missing", "reason": "pip install onnxruntime"}}


def test_a_contender_that_breaks_is_no_failure(tmp_path, monkeypatch):
    (tmp_path / "sklearn.py").write_text("import os; os._exit(3)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    found = race(["scikit-learn"], "one", QUICK)
    assert found == {"scikit-learn": {"state": "failed", "reason": "the process ended with status 3"}}


def test_gpu_says_where_there_is_none():
    printed = run("gpu")
    assert "No CUDA device" in printed or "CUDA" in printed


@pytest.mark.parametrize(
    ("workload", "wrong"), [("labels", np.zeros(10_000)), ("label", 0), ("probabilities", 0.1)]
)
def test_a_wrong_answer_is_not_timed(workload, wrong):
    with pytest.raises(ValueError, match="differ"):
        runner.check(workload, wrong, is_limit=False)


def test_the_best_size_is_the_fastest(monkeypatch):
    monkeypatch.setattr(runner, "seconds_of", lambda task, _: abs(task() - 500))
    assert runner.best_size(lambda size: lambda: size, (100, 500, 1000)) == 500


def test_ratios_are_taken_within_rounds():
    ours, theirs = {"seconds": {"labels": [1.0, 4.0]}}, {"seconds": {"labels": [2.0, 4.0]}}
    assert ratios.ratios(ours, theirs, "labels").tolist() == [0.5, 1.0]
    assert ratios.ratios(ours, {"state": "missing"}, "labels") is None


def test_goals_name_contenders_and_workloads():
    for goal in ratios.GOALS:
        assert {goal.ours, goal.against} <= set(CONTENDERS)
        assert goal.workload in WORKLOADS


def test_images_are_repeated_to_the_number():
    images = np.arange(3)
    assert np.concatenate([*labelling.repeated(images, 7)]).tolist() == [0, 1, 2, 0, 1, 2, 0]


def test_the_peak_of_anonymous_memory():
    code = "input(); import numpy; a = numpy.ones(2**23); print(flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=-1, stdout=-1, text=True) as process:
        if memory.anonymous(process.pid) is None:
            process.kill()
            pytest.skip("this system has no /proc/PID/status with RssAnon")
        with memory.AnonymousMemory(process.pid) as watched:
            process.stdin.write("\n")
            process.stdin.flush()
            process.stdout.readline()
        process.stdin.write("\n")
    assert watched.growth >= 2**26 - 2**20
