"""What this machine must find before it is asked about real runs: published numbers, and laws planted in the data.

Each check is a function of nothing that returns what is expected, what was found, and the relative tolerance; `CHECKS`
is the table of them.
"""

import functools
import math
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from scaling import counting
from scaling.approaches.bias import bias
from scaling.fit.estimate import Fit, centre, fit
from scaling.laws import LAWS, PUBLISHED, bridge, chinchilla, hoffmann, kaplan, n_opt, regimes
from scaling.laws.optimum import optimum
from scaling.selftest import sources


class Check(NamedTuple):
    expected: float
    found: float
    tolerance: float  # relative

    @property
    def ok(self) -> bool:
        return bool(abs(self.found - self.expected) <= self.tolerance * abs(self.expected))


# Every fit below has 33 to 64 runs of one law, so that one compiled program serves them all.
N, D = np.geomspace(1e7, 1e10, 6)[:, None], np.geomspace(1e9, 1e12, 7)[None]


@functools.cache
def planted() -> Fit:
    return fit(chinchilla, sources.chinchilla_noisy(hoffmann.PUBLISHED, N, D, 0.0, 0).columns)


@functools.cache
def noisy() -> Fit:
    return fit(chinchilla, sources.chinchilla_noisy(hoffmann.PUBLISHED, N, D, 3e-3, 0).columns)


@functools.cache
def zipf() -> tuple[sources.Source, Fit]:
    made = sources.zipf_separable(np.geomspace(1e4, 1e8, 7).round()[:, None], np.geomspace(1e5, 1e9, 9).round()[None])
    return made, fit(chinchilla, made.columns)


def kaplan_value(name: str, *at: float, expected: float) -> Check:
    return Check(expected, float(LAWS[name](kaplan.PUBLISHED[name], *at)), 1e-6 if name != "b_crit" else 1e-3)


def same_planted(name: str) -> Check:
    return Check(hoffmann.PUBLISHED[name], planted().params[name], 1e-6)


def same_zipf(name: str, tolerance: float) -> Check:
    made, found = zipf()
    return Check(made.truth[name], found.params[name], tolerance)


def units() -> Check:
    """N and D counted in millions: the exponent stays."""
    changed = {name: v / 1e6 if name in "nd" else v for name, v in noisy().columns.items()}
    return Check(noisy().params["alpha"], fit(chinchilla, changed).params["alpha"], 1e-7)


def units_of_loss() -> Check:
    """Bits instead of nats: E changes by ln 2."""
    changed = noisy().columns | {"loss": noisy().columns["loss"] / math.log(2)}
    return Check(noisy().params["E"], fit(chinchilla, changed).params["E"] * math.log(2), 1e-7)


def order() -> Check:
    rows = np.random.default_rng(0).permutation(noisy().columns["n"].size)
    return Check(
        noisy().params["beta"], fit(chinchilla, {k: v[rows] for k, v in noisy().columns.items()}).params["beta"], 1e-7
    )


def repeated_rows() -> Check:
    """A run written down twice is a run of weight two, as in every bootstrap."""
    columns, twice = noisy().columns, np.arange(0, 42, 2)
    double = fit(chinchilla, {name: np.concatenate([v, v[twice]]) for name, v in columns.items()})
    weights = np.ones(42)
    weights[twice] = 2.0
    return Check(double.params["alpha"], _weighted(weights), 1e-7)


def objective(scale: float) -> Check:
    """The objective times a constant: an optimiser with absolute tolerances stops early or never."""
    return Check(noisy().params["alpha"], _weighted(np.full(42, scale)), 1e-8)


def _weighted(weights: np.ndarray) -> float:
    """alpha of the noisy runs under these weights, from a start beside the optimum."""
    problem = centre(chinchilla, noisy().columns)
    start = problem.law.rescale(noisy().theta, problem.units, sign=-1.0) + 1e-2
    found = problem.solve(problem.y[None], weights[None], start[None])
    return chinchilla.published(problem.raw(found.theta[0]))["alpha"]


def context_table() -> Check:
    made = sources.context_table(np.geomspace(8, 1024, 7).round()[:, None], np.geomspace(1e4, 1e7, 9).round()[None])
    return Check(made.truth["E"], fit(chinchilla, made.columns).params["E"], 1e-2)


def repeated_data(n: float, d: float, expected: float) -> Check:
    return Check(expected, float(regimes.constrained(regimes.PUBLISHED, n, d, 25e9)), 1e-12)


def repeated_data_best() -> Check:
    """The authors' grid reaches this loss with 1e22 FLOPs and 25e9 unique tokens; the root must too."""
    grid = regimes.constrained(regimes.PUBLISHED, 7_022_364_735.88, 237_336_955_477.55, 25e9)
    found = optimum(regimes.constrained, regimes.constrained.free(regimes.PUBLISHED)[None], [1e22], {"u": 25e9})
    return Check(float(grid), float(found["loss"][0]), 1e-7)


def overflow() -> Check:
    found = counting.c_6nd(np.array([6_900_000_000]), np.array([138_000_000_000]))[0]
    return Check(float(6 * 6_900_000_000 * 138_000_000_000), float(found), 1e-15)


def gpt3_parameters() -> Check:
    shape = {"layers": 96, "width": 12288, "context": 2048, "vocab": 50257, "heads": 96, "bias": True}
    return Check(174.6e9, float(counting.count(shape).params_total), 1e-3)


def gpt3_flops() -> Check:
    return Check(3640.0, float(counting.c_6nd(175e9, 300e9) / counting.PETAFLOP_DAY), 2e-3)


def exponent_of_size() -> Check:
    return Check(PUBLISHED["Hoffmann et al. 2022, approach 3"]["a"], planted().derived["a"], 1e-2)


def gopher(params: str, expected: float) -> Check:
    constants = {"TeX source": hoffmann.PUBLISHED, "rounded": hoffmann.ROUNDED}[params]
    return Check(expected, float(n_opt(constants, 5.88e23)), 1e-4)


def approach_2(params: dict[str, float], span: float, expected: float) -> Check:
    """Relative error of D* at 1e24 FLOPs, of parabolas through noise-free runs N_opt / span to N_opt x span."""
    return Check(expected, bias(params, span).d, 2e-3)


def kaplan_from_chinchilla(params: dict[str, float], expected: float) -> Check:
    """The exponent of Kaplan's sizes on Chinchilla's surface, embeddings not counted (Pearce & Song 2024)."""
    return Check(expected, bridge.fitted_slope(params), 1e-4)


UNEVEN = {"E": 1.69, "A": 400.0, "B": 400.0, "alpha": 0.465, "beta": 0.155}

CHECKS: dict[str, Callable[[], Check]] = {
    "Kaplan et al. 2020, L(N = 1e9)": lambda: kaplan_value("kaplan_n", 1e9, expected=2.375640),
    "Kaplan et al. 2020, L(D = 1e10)": lambda: kaplan_value("kaplan_d", 1e10, expected=2.262442),
    "Kaplan et al. 2020, L(N = 1e9, D = 1e10)": lambda: kaplan_value("kaplan_nd", 1e9, 1e10, expected=2.419652),
    "Kaplan et al. 2020, L(N = 1e9, S_min = 1e5)": lambda: kaplan_value("kaplan_ns", 1e9, 1e5, expected=2.400514),
    "Kaplan et al. 2020, B_crit(L = 3), tokens": lambda: kaplan_value("b_crit", 3.0, expected=1.069e6),
    "Hoffmann et al. 2022, N_opt at 5.88e23 FLOPs": lambda: gopher("TeX source", 4.0743e10),
    "the same, constants as rounded in the text": lambda: gopher("rounded", 3.2491e10),
    "the same, a of N_opt ~ C^a": exponent_of_size,
    "Muennighoff et al. 2023, L(6.34e9, 242e9; 25e9)": lambda: repeated_data(6.34e9, 242e9, 2.2256440889984477),
    "Muennighoff et al. 2023, L(8.67e9, 178e9; 25e9)": lambda: repeated_data(8.67e9, 178e9, 2.2269634075087867),
    "the same, least loss of 1e22 FLOPs": repeated_data_best,
    "Brown et al. 2020, parameters of GPT-3": gpt3_parameters,
    "Brown et al. 2020, petaflop/s-days of GPT-3": gpt3_flops,
    "6 N D beyond the range of int64": overflow,
    "planted law without noise: E": lambda: same_planted("E"),
    "planted law without noise: A": lambda: same_planted("A"),
    "planted law without noise: B": lambda: same_planted("B"),
    "planted law without noise: alpha": lambda: same_planted("alpha"),
    "planted law without noise: beta": lambda: same_planted("beta"),
    "N and D in millions: alpha": units,
    "loss in bits: E in nats": units_of_loss,
    "rows in another order: beta": order,
    "rows twice are weights of two: alpha": repeated_rows,
    "objective times 1e-6: alpha": lambda: objective(1e-6),
    "objective times 1e6: alpha": lambda: objective(1e6),
    "approach 2, error of D* by its parabolas, N x 2": lambda: approach_2(hoffmann.ROUNDED, 2.0, -0.00327),
    "approach 2, error of D* by its parabolas, N x 16": lambda: approach_2(hoffmann.ROUNDED, 16.0, -0.05100),
    "the same, exponents far from equal": lambda: approach_2(UNEVEN, 16.0, -0.23116),
    "Kaplan's a by counting, Hoffmann's constants": lambda: kaplan_from_chinchilla(bridge.HOFFMANN, 0.7388),
    "Kaplan's a by counting, Besiroglu's constants": lambda: kaplan_from_chinchilla(bridge.BESIROGLU, 0.7805),
    "Zipf's source, closed form: E": lambda: same_zipf("E", 1e-3),
    "Zipf's source, closed form: alpha": lambda: same_zipf("alpha", 1e-3),
    "Zipf's source, closed form: beta": lambda: same_zipf("beta", 1e-3),
    "tables of counts, entropy known: E": context_table,
}


def run(say: Callable[[str], object] = print) -> bool:
    """Runs every check, a line each; True where all hold."""
    start, failed = time.perf_counter(), 0
    say(f"{'':<52}{'expected':>18}{'found':>18}")
    for name, check in CHECKS.items():
        made = check()
        failed += not made.ok
        verdict = "ok" if made.ok else f"WRONG: they differ by more than {made.tolerance:g} of it"
        say(f"{name:<52}{made.expected:>18.10g}{made.found:>18.10g}  {verdict}")
    say(f"{len(CHECKS) - failed} of {len(CHECKS)} hold, {time.perf_counter() - start:.0f} s")
    return not failed
