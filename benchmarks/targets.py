"""The targets of the suite: pairs of contenders, and what the ratios of their times may be."""

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median

import numpy as np

from benchmarks.contenders import CONTENDERS
from benchmarks.networks import BATCHES, NETWORKS
from benchmarks.ratios import Figure, spread
from benchmarks.suite import Suite

__all__ = ["PAIRS", "Pair", "Ratio", "misses", "profiled", "suite_figures", "suite_ratios"]

MORE_WITH_ALL_CORES = {"median": 0.1, "worst": 0.2}


@dataclass(frozen=True)
class Pair:
    """Two contenders, and what the ratios of our time over theirs may be with one thread.

    Attributes
    ----------
    ours, against : str
        Names of contenders.
    median, worst : float or None
        None where the ratios are shown, but held against nothing.
    batches : tuple of int
        The batches that count.
    dtypes : tuple of str
        The dtypes of networks that count.
    """

    ours: str
    against: str
    median: float | None = None
    worst: float | None = None
    batches: tuple[int, ...] = BATCHES
    dtypes: tuple[str, ...] = ("float32", "float64")

    @property
    def title(self) -> str:
        """The two."""
        return f"{CONTENDERS[self.ours].title} / {CONTENDERS[self.against].title}"

    def at_most(self, which: str, threads: str) -> float | None:
        """The largest "median" or "worst" ratio that meets the target."""
        limit: float | None = getattr(self, which)
        more = MORE_WITH_ALL_CORES[which] if threads == "all" else 0
        return None if limit is None else round(limit + more, 2)


PAIRS = (
    Pair("portable-numpy", "by-hand", 0.9, 1.1),
    Pair("portable-numpy", "onnxruntime", 1.15, 1.5),
    Pair("portable-numpy-compiled", "onnxruntime", 1.05, 1.15, dtypes=("float32",)),
    Pair("portable-numpy", "openvino", 1.25, 1.5, batches=(10_000,)),
    Pair("portable-torch", "torch-nn", 0.95, 1.1),
    Pair("portable-jax-jit", "jax-jit", 1.0, 1.15),
    Pair("portable-numpy", "openvino", batches=(1, 100)),
    Pair("portable-jax", "jax-jit"),
    Pair("portable-jax-compiled", "jax-jit"),
)


@dataclass(frozen=True)
class Ratio:
    """Our time over theirs for one network and batch.

    Attributes
    ----------
    pair : Pair
    network : str
    batch : int
    threads : {"one", "all"}
    figure : Figure
        The ratio, held against the worst that the pair may have.
    ours, theirs : float
        Seconds.
    """

    pair: Pair
    network: str
    batch: int
    threads: str
    figure: Figure
    ours: float
    theirs: float

    @property
    def rows(self) -> int:
        """Samples in a call: fewer than the batch where the network is wide."""
        return NETWORKS[self.network].rows(self.batch)


def suite_ratios(results: dict[str, Suite]) -> list[Ratio]:
    """Every ratio, the worst first, and those of pairs without a target after them."""
    return sorted(_ratios(results), key=lambda ratio: (ratio.pair.worst is None, -ratio.figure.median))


def _ratios(results: dict[str, Suite]) -> Iterator[Ratio]:
    for threads, networks in results.items():
        for network, batches in networks.items():
            for batch, entries in batches.items():
                for pair in PAIRS:
                    ours, theirs = (entries.get(name, {}).get("seconds") for name in (pair.ours, pair.against))
                    counts = int(batch) in pair.batches and NETWORKS[network].dtype in pair.dtypes
                    if ours and theirs and counts:
                        at_most = pair.at_most("worst", threads)
                        figure = spread(pair.title, np.divide(ours, theirs), at_most, threads=threads)
                        yield Ratio(pair, network, int(batch), threads, figure, median(ours), median(theirs))


def suite_figures(ratios: list[Ratio]) -> list[Figure]:
    """The median and the worst ratio of each pair, by threads, held against the targets."""
    found = []
    for pair, threads, of_both in _by_pair(ratios):
        values = [ratio.figure.median for ratio in of_both]
        for which, of in ("median", median), ("worst", max):
            what = f"{pair.title}, {_of_batches(pair)}: {which} of {len(values)}"
            found.append(spread(what, [of(values)], pair.at_most(which, threads), threads=threads))
    return found


def _by_pair(ratios: list[Ratio]) -> Iterator[tuple[Pair, str, list[Ratio]]]:
    for pair in PAIRS:
        for threads in ("one", "all"):
            of_both = [ratio for ratio in ratios if ratio.pair == pair and ratio.threads == threads]
            if of_both:
                yield pair, threads, of_both


def _of_batches(pair: Pair) -> str:
    return "every batch" if pair.batches == BATCHES else "batch " + ", ".join(f"{n:,}" for n in pair.batches)


def misses(ratios: list[Ratio]) -> list[Ratio]:
    """The ratios beyond the worst that their pair may have."""
    return [ratio for ratio in ratios if ratio.figure.verdict == "missed"]


def profiled(ratios: list[Ratio]) -> list[Ratio]:
    """The misses, and for each median that is missed the ratio nearest to it."""
    found = misses(ratios)
    for pair, threads, of_both in _by_pair(ratios):
        middle = median(ratio.figure.median for ratio in of_both)
        at_most = pair.at_most("median", threads)
        if at_most is not None and middle > at_most:
            nearest = min(of_both, key=lambda ratio: abs(ratio.figure.median - middle))
            found += [nearest] if nearest not in found else []
    return found
