"""`RESULTS.md`: everything that was measured, with the date, the machine and the versions."""

from collections.abc import Sequence
from typing import Any

from benchmarks import cluster, scale
from benchmarks.contenders import CONTENDERS
from benchmarks.gpu import NO_DEVICE
from benchmarks.profiles import profile_figures
from benchmarks.ratios import Figure, Results, goal_figures
from benchmarks.suite import Suite
from benchmarks.tables import AMOUNTS, Table, figures_table, race_tables, ratios_table, shortfall_table
from benchmarks.targets import suite_figures, suite_ratios

__all__ = ["absentees", "results", "suite_absentees", "with_cluster"]

HOW = """\
Each contender runs in a process of its own, and one computes at a time. In each round all take a turn, in an
order that turns by one place, those that are compared one after the other, each for at least 60 ms and after
100 ms of calls, one at least, to warm up. No turn starts before the idle threads of the one before have stopped
spinning. A ratio is our time over theirs in the same round; given are the median over rounds, and the 10th and
90th percentile. Contenders that work in batches do so at their own best batch size, found before among 100,
250, 500, 1,000, 2,500 and 10,000 ("automatic" is what this package chooses by itself).
Every answer is checked against float64 before anything is timed.

Images are uint8 arrays of NumPy, and the cast and the division by 255 are timed. ONNX Runtime's and
scikit-learn's model take floats: NumPy casts and divides before them, in the time that counts. One image is an
array of the library already, for this package on PyTorch and JAX as for those libraries themselves.

"One thread" holds the BLAS, OpenMP, XLA, PyTorch and ONNX Runtime to one thread each by their settings, and this
package to one worker. "Cores busy" is processor time over time, which shows who goes beyond that.\
"""

NETWORKS = """\
The natural call of each contender, as a good user of it writes it: `net(x)` of this package, and
`jax.jit(net)(x)`; NumPy by hand, `activation(x @ W + b)` layer by layer; `torch.nn.Sequential`, and this package
on PyTorch, under inference mode; a function of `jax.nn` under `jax.jit`; a session of ONNX Runtime and a
compiled model of OpenVINO, both from one graph. Inputs are arrays of the library already. A network's name tells
the activation of its hidden layers (several take turns), its widths, and its last activation; where it ends in
"uint8", the call casts pixels and divides them by 255; where in "residual", the layers between the first and the
last are blocks, `activation(z + (activation(z @ W1 + b1) @ W2 + b2))`, for this package operators of ONNX.
"Compiled" on NumPy is `net.compile()`, held against the bare session.

Batches are of 1, 100 and 10,000 samples; wide networks get fewer than 10,000, so that a call takes less than a
second, and "rows" tells how many. Processes, turns and ratios are as in the races below, with turns of 15 ms, as
long to warm up, and seven rounds, or as many as fit eight seconds, at least five. What is beyond the worst is
raced again, three times as long, and all its rounds count. A hundred rows of each answer, the first and the last
among them, are checked against float64 before. Where the environment forces the BLAS of NumPy to a kernel, all
that is measured runs without that. JAX, which counts cores and not variables, is bound to one core for "one
thread"; PyTorch's threads are bound to a core each for "all cores", or Linux keeps both on one now and then.\
"""

WHY = """\
For each ratio beyond the worst, and for a missed median the ratio nearest to it: the steps of the same network,
written by hand and timed one by one, beside the call itself; on NumPy by blocks of rows that stay in cache, on
PyTorch with the whole batch. As in the package, a division by 255 is in the weights, and on NumPy a softmax after
sigmoid or tanh subtracts no maximum; unlike there, biases on NumPy are added row by row, exp is not computed by
exp2, factors of activations are in no weights, and hidden layers have the network's own units for one sample too,
not a multiple of 4. The compiled network's steps are the cast, and a bare session of the graph that it runs; with
all cores, the idle threads of either session still spin as the other's turn begins.
Nothing can be timed inside a program of `jax.jit`: there, what XLA counts in the program of this package and in
that of the function by hand.\
"""

STEPS = """\
What is above holds the missed goals against the arithmetic: the three matrix products of float32 images by the
weights, nothing else done, at their best batch size; and one square product of as many operations, which is what
the machine can do. Below, the steps from uint8 images to labels are written by hand and timed one by one, on one
thread, by blocks of rows that stay in cache, as `net(x)` takes them inside a batch of `infer`. The division by
255 is in the weights, and no label needs the softmax. Casts and products are NumPy's and its BLAS's own: a goal
below their time is out of reach for whoever calls them.\
"""

MEMORY = """\
Peak anonymous memory is RssAnon of the labelling process, read every 2 ms by another process, less what it was
after imports and a first prediction. Pages of a mapped file are not counted: the system drops them when it needs
room. Labels that are returned as one array take 8 bytes each, and as much again while batches are put together.
The overhead of a call is its time less that of the array operations that it comes to, written by hand, on one
thread, in turns. Temporary memory and the first call are those of a process that holds inputs and weights
already; what the call returns is not counted. Imports are timed inside fresh interpreters, in turns, from
bytecode of all modules.\
"""


CLUSTER = """\
Scheduler and workers are processes on this machine, workers of one thread with the environment that
`--scheduler local` gives them; "Dask's own environment" is that of a nanny. Processor time is that of client,
scheduler and worker together, over that of `pnn.infer` with one worker in the same round; the first round, which
imports, is left out. Two workers and one take turns, each on a cluster of its own that is warm. Memory is RssAnon
of client and scheduler at its peak. What `docs/cluster.md` derives for other machines is arithmetic.\
"""


def results(
    peers: dict[str, Any],
    networks: dict[str, Any],
    scaled: dict[str, Any],
    clustered: dict[str, Any],
    gpu: Sequence[Figure],
    picture: str,
) -> str:
    """The text of the file, from the JSON of the races, the suite, `scale` and `cluster`, and `gpu`'s figures."""
    by_scale, on_cluster = scale.figures(scaled["results"]), cluster.figures(clustered["results"])
    ratios = suite_ratios(networks["results"])
    figures = [*suite_figures(ratios), *by_scale, *on_cluster, *goal_figures(peers["results"])]
    beside = [figure for figure in suite_figures(ratios) if figure.at_most is None]
    goals = [figure for figure in figures if figure.at_most is not None]
    met = sum(figure.verdict == "met" for figure in goals)
    races = [f"### {table.title}\n\n{table.markdown()}" for table in race_tables(peers["results"])]
    absent = [f"- {line}" for line in absentees(peers["results"])]
    kinds = {"networks": networks, "races": peers, "scale": scaled, "cluster": clustered}
    dates = ", ".join(f"{kind} {found['environment']['date']}" for kind, found in kinds.items())
    not_run = [f"- {line}" for line in suite_absentees(networks["results"])]
    sections = [
        "# Results\n\nWritten by `python -m benchmarks report`.",
        _environment(networks["environment"] | {"date": dates}).markdown(),
        f"## Goals: {met} of {len(goals)} met",
        figures_table("Goals", goals).markdown(),
        f"![Ratios of times]({picture})",
        f"## Networks\n\n{NETWORKS}",
        *([f"### Beside the targets\n\n{figures_table('', beside).markdown()}"] if beside else []),
        f"### Every ratio, the worst first\n\n{ratios_table(ratios).markdown()}",
        *(["### Why\n\n" + WHY, *_profiled(networks["profiles"])] if networks["profiles"] else []),
        *(["### Did not run", "\n".join(not_run)] if not_run else []),
        f"## Where the time goes\n\n{shortfall_table(peers['results']).markdown()}\n\n{STEPS}",
        figures_table("Steps", scale.step_figures(scaled["results"])).markdown(),
        f"## Races\n\n{HOW}",
        *races,
        *(["### Not in the races", "\n".join(absent)] if absent else []),
        f"## Scale\n\n{figures_table('Scale', by_scale).markdown()}\n\n{MEMORY}",
        _cluster(clustered),
        f"## GPU\n\n{figures_table('GPU', gpu).markdown() if gpu else NO_DEVICE}",
    ]
    return "\n\n".join(sections) + "\n"


def with_cluster(text: str, clustered: dict[str, Any]) -> str:
    """The file again with that section alone written anew, which says on what machine it was measured."""
    machine = _environment(clustered["environment"]).markdown()
    section = f"{_cluster(clustered)}\n\n{machine}\n\n"
    before, _, after = text.partition("## GPU\n")
    before, _, _ = before.partition("## Cluster\n")
    return f"{before}{section}## GPU\n{after}"


def _cluster(found: dict[str, Any]) -> str:
    table = figures_table("Cluster", cluster.figures(found["results"])).markdown()
    return f"## Cluster\n\n{table}\n\n{CLUSTER}"


def _profiled(profiles: Sequence[dict[str, Any]]) -> list[str]:
    return [
        f"#### {profile['what']}, {AMOUNTS[profile['threads']]}\n\n"
        + (profile.get("problem") or figures_table("Steps", profile_figures(profile)).markdown())
        for profile in profiles
    ]


def absentees(races: Results) -> list[str]:
    """Who did not run, and why."""
    return [
        f"{CONTENDERS[name].title}, threads: {threads}: {entry['state']}: {entry['reason']}"
        for threads, entries in races.items()
        for name, entry in entries.items()
        if entry["state"] != "ready"
    ]


def suite_absentees(found: dict[str, Suite]) -> list[str]:
    """Who did not run which networks of the suite, and why."""
    reasons: dict[str, list[str]] = {}
    for threads, networks in found.items():
        for network, batches in networks.items():
            for batch, entries in batches.items():
                for name, entry in entries.items():
                    if entry["state"] != "ready":
                        reason = f"{CONTENDERS[name].title}: {entry['state']}: {entry['reason']}"
                        reasons.setdefault(reason, []).append(f"{network} by {int(batch):,}, threads: {threads}")
    return [f"{reason} ({'; '.join(where)})" for reason, where in reasons.items()]


def _environment(found: dict[str, Any]) -> Table:
    rows = [(name, str(value)) for name, value in found.items() if name != "versions"]
    versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    return Table("Machine", ("machine", ""), [*rows, ("versions", versions)])
