"""The benchmarks run; what they measure is no test's business."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from clusters import until

import portable_nn as pnn
from benchmarks import cells, dispatch, labelling, memory, ratios, runner, steps, suite
from benchmarks.__main__ import AGAIN, measured_before
from benchmarks.contenders import CONTENDERS, NATURAL, WORKLOADS, portable
from benchmarks.dispatch import folded
from benchmarks.networks import BATCHES, NETWORKS, Architecture, Cell
from benchmarks.oracle import in_float64
from benchmarks.peers import race
from benchmarks.processes import Worker
from benchmarks.profiles import profile_figures, profiles
from benchmarks.racing import QUICK, Effort
from benchmarks.report import results, suite_absentees, with_cluster
from benchmarks.steps import blocks_through
from benchmarks.tables import figures_table, ratios_table
from benchmarks.targets import PAIRS, misses, profiled, suite_figures, suite_ratios

ROOT = Path(__file__).parents[1]
SMALL, FLOAT64 = "relu-4-20x2-1-identity", "tanh-4-50x3-1-identity-float64"
PIXELS = "sigmoid-784-50-100-10-softmax-uint8"
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


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cluster")
    path, report = folder / "cluster.json", folder / "RESULTS.md"
    report.write_text("# Results\n\n## Scale\n\nslow\n\n## GPU\n\nnone\n")
    printed = run("cluster", "--quick", "--json", str(path), "--write", str(report))
    return printed, json.loads(path.read_text()), report.read_text()


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    path = tmp_path_factory.mktemp("networks") / "networks.json"
    chosen = ("--networks", SMALL, FLOAT64, "--batches", "1", "100", "--only", "portable-numpy", "by-hand")
    printed = run("networks", "--quick", "--json", str(path), *chosen)
    return printed, json.loads(path.read_text())


def installed_module(name):
    return importlib.util.find_spec(name) is not None


def installed(contender):
    return all(installed_module(name) for name in CONTENDERS[contender].needs)


@pytest.mark.slow
def test_peers_gives_times_of_every_contender(peers):
    printed, found, _ = peers
    assert found["kind"] == "peers"
    assert set(found["environment"]["versions"]) >= {"python", "portable_nn", "numpy"}
    assert (
        found["environment"]["BLAS of NumPy"] or sys.platform == "darwin"
    )  # whose own threadpoolctl does not know
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


@pytest.mark.slow
def test_peers_holds_ratios_against_goals(peers):
    figures = peers[1]["figures"]
    assert {figure["threads"] for figure in figures} == {"one", "all"}
    for figure in figures:
        assert figure["p10"] <= figure["median"] <= figure["p90"]
        assert figure["verdict"] == ("met" if figure["median"] <= figure["at_most"] else "missed")


@pytest.mark.slow
def test_peers_draws(peers):
    pytest.importorskip("matplotlib", reason="pip install matplotlib")
    assert (peers[2] / "ratios.png").stat().st_size > 10_000


@pytest.mark.slow
def test_scale_measures_everything(scale):
    printed, found = scale
    measured = found["results"]
    assert [row["images"] for row in measured["streamed"]] == [10_000, 20_000]
    assert measured["mapped"]["images"] == 20_000
    assert all(min(taken) > 0 for taken in measured["imports"].values())
    assert "microseconds" in measured["dispatch"]["numpy"]
    assert all(min(taken) > 0 for taken in measured["steps"].values())
    assert "Scale" in printed


@pytest.mark.slow
def test_the_costs_are_held_against_goals(scale):
    figures = [figure for figure in scale[1]["figures"] if figure["at_most"] is not None]
    whats = " ".join(figure["what"] for figure in figures)
    for what in ("infer of one sample", "bare operations, NumPy", "products alone", "temporary", "first call"):
        assert what in whats


@pytest.mark.slow
def test_networks_gives_times_of_every_cell(networks):
    printed, found = networks
    assert found["kind"] == "networks"
    assert set(found["results"]) == {"one", "all"}
    for raced in found["results"].values():
        assert set(raced) == {SMALL, FLOAT64}
        for batches in raced.values():
            assert set(batches) == {"1", "100"}
            for entries in batches.values():
                assert set(entries) == {"portable-numpy", "by-hand"}
                for entry in entries.values():
                    assert entry["state"] == "ready", entry
                    assert len(entry["seconds"]) == len(entry["cores"])
                    assert len(entry["seconds"]) in (QUICK.rounds, (1 + AGAIN) * QUICK.rounds)
                    assert min(entry["seconds"]) > 0
    assert all(title in printed for title in ("Every ratio, the worst first", "Targets", SMALL))


@pytest.mark.slow
def test_the_report_has_all_sections(peers, networks, scale, cluster):
    text = results(peers[1], networks[1], scale[1], cluster[1], [], "results.svg")
    assert [line.partition(":")[0] for line in text.splitlines() if line.startswith("## ")] == [
        "## Goals", "## Networks", "## Where the time goes", "## Races", "## Scale", "## Cluster", "## GPU",
    ]  # fmt: skip
    assert "No CUDA device" in text
    assert (
        len({line.count("|") for line in text.split("## Goals")[1].split("![")[0].splitlines() if "|" in line})
        == 1
    )


@pytest.mark.slow
def test_the_cluster_is_written_into_a_report_that_is_there(cluster):
    printed, found, text = cluster
    assert [line for line in text.splitlines() if line.startswith("## ")] == ["## Scale", "## Cluster", "## GPU"]
    assert "two workers / one, wall" in printed
    assert "| two workers / one, wall |" in text
    assert text.count(found["environment"]["date"]) == 1
    assert text.startswith("# Results\n\n## Scale\n\nslow\n\n## Cluster\n\n")
    assert text.endswith("\n\n## GPU\n\nnone\n")
    assert with_cluster(text, found) == text


@pytest.mark.skipif(os.name == "nt", reason="signals are of POSIX: run on Linux or macOS")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_processes_of_the_cluster_end_with_the_benchmark(number):
    psutil = pytest.importorskip("psutil", reason="pip install 'dask[array,distributed]'")
    command = [sys.executable, "-m", "benchmarks", "cluster", "--quick"]
    done = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=ROOT)
    own = psutil.Process(done.pid)

    def is_of_dask(process):
        try:
            return "dask" in process.cmdline()
        except psutil.NoSuchProcess:  # it has ended meanwhile
            return False

    def started():
        found = [*filter(is_of_dask, own.children())]
        return len(found) > 1 and found  # a scheduler and a worker

    def ended(process):
        try:
            return process.status() == psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return True

    children = until(started, done)
    done.send_signal(number)
    until(lambda: all(map(ended, children)))
    done.kill()  # a client of Dask's may not let it go for a minute
    done.wait()


def entries_of(**seconds):
    """The record of contenders that took so long in each of two rounds."""
    return {
        name.replace("_", "-"): {"state": "ready", "seconds": [s, s], "cores": [1, 1]}
        for name, s in seconds.items()
    }


def test_every_ratio_stands_in_the_table_the_worst_first():
    fast = entries_of(portable_numpy=1.0, by_hand=2.0, onnxruntime=0.5, portable_jax=9.0, jax_jit=1.0)
    slow = entries_of(portable_numpy=3.0, by_hand=2.0)
    found = suite_ratios({"one": {SMALL: {"1": fast, "100": slow}}})
    rows = [row[1:6:3] + row[-1:] for row in ratios_table(found).rows]
    assert [ratio.figure.median for ratio in found] == [2.0, 1.5, 0.5, 9.0]
    assert [(ratio.pair.against, ratio.batch) for ratio in found][:3] == [
        ("onnxruntime", 1), ("by-hand", 100), ("by-hand", 1),
    ]  # fmt: skip
    assert [row[-1] for row in rows] == ["missed", "missed", "met", ""]
    assert [ratio.batch for ratio in misses(found)] == [1, 100]


def test_targets_hold_the_median_and_the_worst():
    raced = {
        str(batch): entries_of(portable_numpy=s, by_hand=1.0)
        for batch, s in zip(BATCHES, (0.5, 1.0, 1.2), strict=True)
    }
    figures = suite_figures(suite_ratios({"one": {SMALL: raced}, "all": {SMALL: raced}}))
    assert [(figure.threads, figure.median, figure.at_most, figure.verdict) for figure in figures] == [
        ("one", 1.0, 0.9, "missed"),
        ("one", 1.2, 1.1, "missed"),
        ("all", 1.0, 1.0, "met"),
        ("all", 1.2, 1.3, "met"),
    ]


@pytest.mark.parametrize(
    ("seconds", "batches"),
    [
        ((0.5, 0.8, 1.0), []),
        ((0.5, 1.0, 1.05), [100]),
        ((0.5, 1.0, 2.0), [10_000, 100]),
        ((2.0, 0.5, 2.1), [10_000, 1]),
    ],
)
def test_a_missed_median_is_profiled_by_the_ratio_nearest_to_it(seconds, batches):
    raced = {
        str(batch): entries_of(portable_numpy=s, by_hand=1.0) for batch, s in zip(BATCHES, seconds, strict=True)
    }
    ratios = suite_ratios({"one": {SMALL: raced}})
    assert [ratio.batch for ratio in profiled(ratios)] == batches


@pytest.mark.parametrize(
    ("median", "at_most", "shown"),
    [
        (1.0009, 1.0, "1.001 ms"), (1.0000004, 1.0, "1.0000004 ms"), (1.0009, None, "1 ms"), (1.0, 1.0, "1 ms"),
        (1.1524, 1.1, "1.15 ms"), (2000.3, 2000.0, "2,000.3 ms"), (20_003.0, 10_000.0, "20,003 ms"),
        (np.nextafter(1.15, 2), 1.15, "1.1500000000000001 ms"),
    ],
)  # fmt: skip
def test_what_is_missed_looks_larger_than_what_it_may_be(median, at_most, shown):
    figure = ratios.spread("what", [median], at_most, unit="ms")
    assert figures_table("", [figure]).rows[0][2] == shown


def test_openvino_counts_at_the_largest_batch_alone():
    raced = {str(batch): entries_of(portable_numpy=1.0, openvino=1.0) for batch in BATCHES}
    held = [ratio for ratio in suite_ratios({"one": {SMALL: raced}}) if ratio.figure.at_most is not None]
    assert [ratio.batch for ratio in held] == [10_000]


def test_the_suite_is_wide_enough():
    hidden = {name for network in NETWORKS.values() for name in network.hidden.split()}
    assert len(NETWORKS) >= 14
    assert hidden >= {"relu", "leaky_relu", "elu", "gelu", "gelu_tanh", "silu", "softplus", "tanh", "sigmoid"}
    widths = {width for network in NETWORKS.values() for width in network.widths}
    assert {4, 4096} <= widths
    assert {len(network.widths) - 2 for network in NETWORKS.values()} >= {1, 8}
    assert {network.last for network in NETWORKS.values()} >= {"identity", "sigmoid", "softmax"}
    assert {network.dtype for network in NETWORKS.values()} == {"float32", "float64"}
    assert {network.pixels for network in NETWORKS.values()} == {False, True}
    assert {network.residual for network in NETWORKS.values()} == {False, True}


def test_wide_networks_get_fewer_rows():
    wide, narrow = Architecture("relu", (4096, 4096, 10), "identity"), Architecture("relu", (4, 4, 1), "identity")
    assert wide.rows(10_000) == 2000
    assert wide.rows(100) == 100
    assert narrow.rows(10_000) == 10_000


@pytest.mark.slow
@pytest.mark.parametrize("contender", NATURAL)
def test_every_contender_answers(contender):
    if not installed(contender):
        pytest.skip(f"pip install {' '.join(CONTENDERS[contender].needs.values())}")
    every = [
        "relu-784-512-10-softmax-uint8",
        "gelu_tanh-softplus-elu-silu-64-96x4-4-identity",
        "gelu-32-128x2-1-identity",
        "leaky_relu-8-32-100-sigmoid",
        "relu-64-128x7-8-identity-residual",
    ]
    found = suite.race([contender], every, [100], "one", QUICK)
    for network in every:
        assert found[network]["100"][contender]["state"] == "ready", found[network]
    assert suite_absentees({"one": found}) == []


def test_a_wrong_output_is_not_timed():
    cell = Cell(NETWORKS[SMALL], 1000)
    outputs = pnn.Network(cell.layers)(cell.x)
    cells.check(cell, outputs)
    outputs[-1] += 0.01
    with pytest.raises(ValueError, match="differ by"):
        cells.check(cell, outputs)


@pytest.mark.filterwarnings("ignore:os.fork:RuntimeWarning")  # JAX warns where another's import forks
def test_a_dtype_that_a_contender_lacks_is_no_failure():
    pytest.importorskip("openvino", reason="pip install openvino")
    found = suite.race(["openvino"], [FLOAT64], [1], "one", QUICK)
    assert found[FLOAT64]["1"]["openvino"]["state"] == "failed"
    assert suite_absentees({"one": found})[0].startswith("OpenVINO: failed")


def test_the_compiled_network_counts_in_float32_alone():
    entries = {"1": entries_of(portable_numpy_compiled=1.2, onnxruntime=1.0)}
    (missed,) = misses(suite_ratios({"one": {SMALL: entries, FLOAT64: entries}}))
    assert missed.network == SMALL


@pytest.mark.parametrize("network", [name for name, network in NETWORKS.items() if not network.residual])
def test_the_steps_by_hand_are_those_of_the_network(network):
    cell, taken = Cell(NETWORKS[network], 100), []
    blocks = [*blocks_through(folded(cell.layers), cell.x, taken.append)]
    cells.check(cell, np.concatenate(blocks))
    assert "biases, added in place" in taken


def test_folding_takes_each_rescaling_and_keeps_the_outputs():
    rng = np.random.default_rng(0)
    layers = [
        pnn.Rescaling(1 / 255, -0.5),
        pnn.Dense(rng.standard_normal((5, 4)), rng.standard_normal(4), "sigmoid"),
        pnn.Rescaling(2.0, 0.25),
        pnn.Dense(rng.standard_normal((4, 3)), rng.standard_normal(3), "softmax"),
    ]
    x = rng.integers(0, 256, (7, 5)).astype(np.float64)
    dense = [*folded(layers)]
    assert [layer.activation for layer in dense] == ["sigmoid", "softmax"]
    assert np.abs(in_float64(dense, x) - in_float64(layers, x)).max() < 1e-12


@pytest.mark.parametrize(("call", "library"), [(dispatch.on_numpy, "numpy"), (dispatch.on_torch, "torch")])
def test_the_bare_operations_give_what_the_call_gives(call, library):
    pytest.importorskip(library)
    assert len(call(rounds=2)) == 2  # it compares the outputs before


def test_what_is_raced_again_has_all_its_rounds():
    def ready(seconds):
        return {"state": "ready", "seconds": seconds, "cores": [1.0] * len(seconds)}

    found = {SMALL: {"1": {"by-hand": ready([1.0, 2.0]), "openvino": {"state": "missing"}}, "100": {}}}
    suite.extended(found, {SMALL: {"1": {"by-hand": ready([3.0]), "openvino": {"state": "missing"}}}})
    assert found[SMALL]["1"] == {"by-hand": ready([1.0, 2.0, 3.0]), "openvino": {"state": "missing"}}


def test_the_number_of_rounds_is_cut_to_the_fewest(monkeypatch):
    monkeypatch.setattr(suite, "SECONDS", 0)
    found = suite.race(["by-hand"], [SMALL], [1], "one", Effort(rounds=9))
    assert len(found[SMALL]["1"]["by-hand"]["seconds"]) == suite.FEWEST


@pytest.mark.slow
def test_a_report_is_put_together_from_pieces(tmp_path, peers, networks, scale, cluster):
    pieces = [
        found | {"results": {threads: found["results"][threads]}}
        for found in (peers[1], networks[1])
        for threads in ("all", "one")
    ]
    paths = [tmp_path / f"{i}.json" for i in range(6)]
    for path, piece in zip(paths, [scale[1], cluster[1], *pieces], strict=True):
        path.write_text(json.dumps(piece))
    raced, suited, scaled, clustered = measured_before(paths)
    assert raced["results"] == peers[1]["results"]
    assert suited["results"] == networks[1]["results"]
    assert (scaled, clustered) == (scale[1], cluster[1])


@pytest.mark.parametrize(
    "pair", [pair for pair in PAIRS if pair.worst], ids=lambda pair: f"{pair.ours}-{pair.against}"
)
def test_a_miss_has_its_profile(pair):
    if not (installed(pair.ours) and installed(pair.against)):
        pytest.skip("one of the two is not installed")
    raced = {str(pair.batches[-1]): {pair.ours: {"seconds": [9.0]}, pair.against: {"seconds": [1.0]}}}
    (profile,) = profiles(misses(suite_ratios({"one": {SMALL: raced}})))
    assert "problem" not in profile
    figures = profile_figures(profile)
    assert len(figures) >= 4
    assert all(figure.median >= 0 for figure in figures)


def test_profiles_are_added_to_what_was_measured_before(tmp_path):
    path = tmp_path / "networks.json"
    raced = {"1": entries_of(portable_numpy=9.0, by_hand=1.0)}
    measured = {"kind": "networks", "results": {"one": {SMALL: raced}}, "profiles": []}
    path.write_text(json.dumps(measured))
    printed = run("profile", str(path))
    found = json.loads(path.read_text())
    assert [profile["what"] for profile in found["profiles"]] == [
        f"portable_nn, NumPy / NumPy by hand, {SMALL} by 1"
    ]
    assert "the call itself, ours" in printed
    assert found | {"profiles": []} == measured


class Here:
    """A worker in this process."""

    def __init__(self, module, environment):
        self.functions = steps.functions()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def ready(self):
        pass

    def call(self, function, **arguments):
        return self.functions[function](**arguments)


@pytest.mark.parametrize("contender", ["portable-numpy", "portable-numpy-compiled", "portable-torch"])
def test_the_call_of_a_profile_is_the_one_that_missed(contender, monkeypatch):
    if not installed(contender):
        pytest.skip(f"pip install {' '.join(CONTENDERS[contender].needs.values())}")
    made, natural = [], portable.natural
    monkeypatch.setattr(portable, "natural", lambda cell: made.append(cell.how) or natural(cell))
    monkeypatch.setattr("benchmarks.profiles.Worker", Here)
    against = next(pair.against for pair in PAIRS if pair.ours == contender)
    raced = {"1": {contender: {"seconds": [9.0]}, against: {"seconds": [1.0]}}}
    (profile,) = profiles(misses(suite_ratios({"all": {PIXELS: raced}})))
    assert made == [CONTENDERS[contender].how]
    assert ("the bare session" in profile["steps"]) == (contender == "portable-numpy-compiled")


def test_workers_are_not_forced_to_a_kernel(tmp_path, monkeypatch):
    (tmp_path / "told.py").write_text("import os\ndef functions(): return {'variable': os.environ.get}")
    for name in ("OPENBLAS_CORETYPE", "OTHER"):
        monkeypatch.setenv(name, "Nonesuch")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with Worker("told", {"MORE": "more"}) as worker:
        worker.ready()
        found = {name: worker.call("variable", key=name) for name in ("OPENBLAS_CORETYPE", "OTHER", "MORE")}
    assert found == {"OPENBLAS_CORETYPE": None, "OTHER": "Nonesuch", "MORE": "more"}


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


def test_gpu_says_where_there_is_none(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(Path(pnn.__file__).parents[1]))  # without a stand-in for CuPy
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert "No CUDA device" in run("gpu")


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
