"""The command line: ``python -m benchmarks COMMAND``, from the repository's root; ``--help`` lists the commands.

What a contender needs and is not installed, the table says, with the pip command. The terminal needs rich, the
picture matplotlib.
"""

import argparse
import fnmatch
import json
import signal
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks import cluster, gpu, peers, scale, suite
from benchmarks.contenders import CONTENDERS, NATURAL, PEERS
from benchmarks.environment import of_workers
from benchmarks.networks import BATCHES, NETWORKS
from benchmarks.profiles import profile_figures, profiles
from benchmarks.racing import FULL, QUICK, Effort
from benchmarks.ratios import goal_figures
from benchmarks.report import absentees, results, suite_absentees, with_cluster
from benchmarks.tables import figures_table, race_tables, ratios_table
from benchmarks.targets import misses, profiled, suite_figures, suite_ratios

RESULTS = Path(__file__).with_name("RESULTS.md")
PICTURE = RESULTS.with_name("results.svg")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command."""
    options = parser().parse_args(arguments)
    options.run(options)


def parser() -> argparse.ArgumentParser:
    """The commands and their options."""
    top = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure portable_nn.")
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    for name, run, text in (
        ("peers", run_peers, "race against other libraries and the hardware"),
        ("networks", run_networks, "the natural call of every contender, for many networks and batches"),
        ("profile", run_profile, "what networks measured before, with where the time of each miss goes"),
        ("scale", run_scale, "time and memory as the work grows, dispatch, import"),
        ("cluster", run_cluster, "lazy arrays, and a Dask cluster on this machine"),
        ("gpu", run_gpu, "the race on a CUDA device"),
        ("report", run_report, "all of it, written to RESULTS.md"),
    ):
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(run=run)
        if name in ("peers", "networks", "scale", "cluster"):
            command.add_argument("--quick", action="store_true", help="only see that it runs")
            command.add_argument("--json", type=Path, metavar="FILE", help="write everything measured")
        if name == "profile":
            command.add_argument("file", type=Path, help="what networks wrote with --json, and this writes anew")
        if name == "report":
            command.add_argument(
                "--from",
                dest="measured",
                nargs="+",
                type=Path,
                help="what peers, networks, scale and cluster wrote with --json",
            )
        if name == "cluster":
            command.add_argument(
                "--write",
                type=Path,
                metavar="FILE",
                nargs="?",
                const=RESULTS,
                help="put it into RESULTS.md",
            )
        if name == "peers":
            command.add_argument("--plot", type=Path, metavar="FILE", help="draw the ratios (.png, .svg)")
        if name in ("peers", "networks"):
            names = PEERS if name == "peers" else NATURAL
            command.add_argument("--threads", choices=("one", "all"), help="both if not given")
            command.add_argument("--only", nargs="+", choices=names, metavar="NAME", help=", ".join(names))
        if name == "networks":
            command.add_argument(
                "--networks", nargs="+", type=matching, metavar="PATTERN", help="those of such a name: 'relu-*'"
            )
            command.add_argument("--batches", nargs="+", type=int, choices=BATCHES, metavar="N")
            command.add_argument("--profile", action="store_true", help="show where the time of each miss goes")
    return top


def run_peers(options: argparse.Namespace) -> None:
    """Race, print, and write what was asked for."""
    effort = QUICK if options.quick else FULL
    names = options.only or [name for name in PEERS if not (options.quick and CONTENDERS[name].is_slow)]
    threads = [options.threads] if options.threads else ["one", "all"]
    found = measured_peers(effort, names, threads)
    for table in race_tables(found["results"]):
        table.print()
    figures_table("Goals", goal_figures(found["results"])).print()
    print(*absentees(found["results"]), sep="\n", end="")
    write_json(options.json, found)
    if options.plot:
        from benchmarks.picture import draw

        draw(found["results"], options.plot)


def run_networks(options: argparse.Namespace) -> None:
    """Race, print, and write what was asked for."""
    networks = sorted({name for names in options.networks or [[*NETWORKS]] for name in names})
    found = measured_networks(
        QUICK if options.quick else FULL,
        options.only or NATURAL,
        networks,
        options.batches or BATCHES,
        [options.threads] if options.threads else ["one", "all"],
        options.profile,
    )
    ratios = suite_ratios(found["results"])
    ratios_table(ratios).print()
    figures_table("Targets", suite_figures(ratios)).print()
    print_profiles(found["profiles"])
    print(*suite_absentees(found["results"]), sep="\n", end="")
    write_json(options.json, found)


def run_profile(options: argparse.Namespace) -> None:
    """Profile the misses of a file, print, and write them into it."""
    found = json.loads(options.file.read_text())
    with Console(stderr=True).status("") as status:
        found["profiles"] = profiles(profiled(suite_ratios(found["results"])), status.update)
    print_profiles(found["profiles"])
    write_json(options.file, found)


def print_profiles(found: list[dict[str, Any]]) -> None:
    """A table for each."""
    for profile in found:
        figures_table(profile["what"], profile_figures(profile)).print()


def matching(pattern: str) -> list[str]:
    """The networks whose name matches, at least one."""
    names = fnmatch.filter(NETWORKS, pattern)
    if not names:
        raise argparse.ArgumentTypeError(f"no network is called {pattern}: choose from {', '.join(NETWORKS)}")
    return names


def run_scale(options: argparse.Namespace) -> None:
    """Measure, print, and write what was asked for."""
    found = measured_scale(scale.QUICK if options.quick else scale.FULL)
    figures_table("Scale", scale.figures(found["results"])).print()
    write_json(options.json, found)


def run_cluster(options: argparse.Namespace) -> None:
    """Measure, print, and write what was asked for."""
    for number in signal.SIGINT, signal.SIGTERM:
        signal.signal(number, cluster.stop)
    found = measured_cluster(cluster.QUICK if options.quick else cluster.FULL)
    figures_table("Cluster", cluster.figures(found["results"])).print()
    write_json(options.json, found)
    if options.write:
        options.write.write_text(with_cluster(options.write.read_text(), found))


def run_gpu(_: argparse.Namespace) -> None:
    """Measure on CUDA, or say that there is none."""
    found = gpu.devices()
    if not found:
        print(gpu.NO_DEVICE)
        return
    figures_table("CUDA", gpu.figures(found)).print()
    figures_table("Calls on the device", gpu.call_figures(found)).print()


def run_report(options: argparse.Namespace) -> None:
    """Write everything down, measured now or before."""
    from benchmarks.picture import draw

    both = ["one", "all"]
    if options.measured:
        raced, networks, scaled, clustered = measured_before(options.measured)
    else:
        raced = measured_peers(FULL, PEERS, both)
        networks = measured_networks(FULL, NATURAL, [*NETWORKS], BATCHES, both)
        scaled, clustered = measured_scale(scale.FULL), measured_cluster(cluster.FULL)
    found = gpu.devices()
    draw(raced["results"], PICTURE)
    on_gpu = gpu.figures(found) if found else []
    RESULTS.write_text(results(raced, networks, scaled, clustered, on_gpu, PICTURE.name))
    print(f"written: {RESULTS.name}, {PICTURE.name}")


def measured_before(paths: Sequence[Path]) -> tuple[dict[str, Any], ...]:
    """The races of some files as one, their suites as one, and the scale and the cluster of others."""
    records = [json.loads(path.read_text()) for path in paths]
    (scaled,) = (record for record in records if record["kind"] == "scale")
    (clustered,) = (record for record in records if record["kind"] == "cluster")
    return merged(records, "peers"), merged(records, "networks"), scaled, clustered


def merged(records: Sequence[dict[str, Any]], kind: str) -> dict[str, Any]:
    """The records of a kind as one, each with its number of threads."""
    races = [record for record in records if record["kind"] == kind]
    results = {threads: entries for race in races for threads, entries in race["results"].items()}
    whys = [profile for race in races for profile in race.get("profiles", [])]
    return races[0] | {"results": results, "profiles": whys}


def measured_peers(effort: Effort, names: Sequence[str], threads: Sequence[str]) -> dict[str, Any]:
    """The races, with the machine they were run on."""
    with Console(stderr=True).status("") as status:
        raced = {amount: peers.race(names, amount, effort, status.update) for amount in threads}
    return {"kind": "peers", "environment": of_workers(), "results": raced} | {
        "figures": [figure.record() for figure in goal_figures(raced)]
    }


AGAIN = 3
"""Times as many rounds for what is beyond its target, to tell a slow network from a moment's noise: all count."""


def measured_networks(
    effort: Effort,
    names: Sequence[str],
    networks: Sequence[str],
    batches: Sequence[int],
    threads: Sequence[str],
    profile: bool = True,
) -> dict[str, Any]:
    """The suite, with the machine it was run on."""
    with Console(stderr=True).status("") as status:
        race = partial(suite.race, names, tell=status.update)
        raced = {amount: race(networks, batches, amount, effort) for amount in threads}
        again = {(miss.threads, miss.batch, miss.network) for miss in misses(suite_ratios(raced))}
        for (amount, batch), cells in groupby(sorted(again), key=itemgetter(0, 1)):
            missed = [network for *_, network in cells]
            suite.extended(
                raced[amount], race(missed, [batch], amount, replace(effort, rounds=AGAIN * effort.rounds))
            )
        whys = profiles(profiled(suite_ratios(raced)), status.update) if profile else []
    return {"kind": "networks", "environment": of_workers(), "results": raced, "profiles": whys} | {
        "figures": [figure.record() for figure in suite_figures(suite_ratios(raced))]
    }


def measured_scale(extent: scale.Extent) -> dict[str, Any]:
    """What grows with the work, with the machine it was run on."""
    with Console(stderr=True).status("") as status:
        found = scale.measure(extent, status.update)
    return {"kind": "scale", "environment": of_workers(), "results": found} | {
        "figures": [figure.record() for figure in scale.figures(found)]
    }


def measured_cluster(extent: cluster.Extent) -> dict[str, Any]:
    """Dask on this machine, with the machine it was run on."""
    with Console(stderr=True).status("") as status:
        found = cluster.measure(extent, status.update)
    return {"kind": "cluster", "environment": of_workers(), "results": found} | {
        "figures": [figure.record() for figure in cluster.figures(found)]
    }


def write_json(path: Path | None, found: dict[str, Any]) -> None:
    """Write what was found, if there is a place for it."""
    if path is not None:
        path.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
