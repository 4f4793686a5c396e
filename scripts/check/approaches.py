"""How wrong approach 2 is on surfaces whose optimum is known, by shape: `python -m scripts.check.approaches`.

Error of the exponent a of N* ~ C^a, without noise (worst and median) and with it (root mean square, bias and sd).
Every design has two sizes or more on each side of every optimum.  Writes a table as it goes; about five minutes on one
core.
"""

import itertools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from scaling.approaches.shapes import OK, SHAPES, vertices

NAMES = tuple(SHAPES)
NOISE = (0.001, 0.003, 0.01)  # relative sd of a loss
TRIALS = 40


class Surface(NamedTuple):
    """(A / N^alpha)^p + (B / D^beta)^p to the power 1 / p, plus E: Chinchilla's law where p is 1."""

    floor: float
    a: float
    b: float
    alpha: float
    beta: float
    power: float = 1.0

    def loss(self, n: np.ndarray, d: np.ndarray) -> np.ndarray:
        p = self.power
        return self.floor + ((self.a * n**-self.alpha) ** p + (self.b * d**-self.beta) ** p) ** (1 / p)

    def log_n(self, c: np.ndarray) -> np.ndarray:
        """ln of the best size at C = 6 N D: where alpha (A / N^alpha)^p = beta (B / D^beta)^p."""
        p, total = self.power, self.alpha + self.beta
        ratio = np.log(self.alpha / self.beta) / p + np.log(self.a / self.b)
        return (ratio + self.beta * np.log(c / 6)) / total

    @property
    def exponent(self) -> float:
        return self.beta / (self.alpha + self.beta)


CHINCHILLA = {
    "Hoffmann .34 .28": Surface(1.69, 406.4, 410.7, 0.34, 0.28),
    "Besiroglu .348 .366": Surface(1.82, 482.0, 2085.0, 0.348, 0.366),
    "uneven .465 .155": Surface(1.69, 400.0, 400.0, 0.465, 0.155),
    "equal .33 .33": Surface(1.70, 420.0, 1100.0, 0.33, 0.33),
    "Gemstones-like .29 .71": Surface(1.90, 60.0, 3e5, 0.29, 0.71),
}
OTHERS = {  # whose profiles are not of the shape of any method here
    "power mean, p .7": Surface(1.69, 406.4, 410.7, 0.34, 0.28, 0.7),
    "power mean, p 1.5": Surface(1.69, 406.4, 410.7, 0.34, 0.28, 1.5),
    "power mean, p 1.5, uneven": Surface(1.69, 400.0, 400.0, 0.465, 0.155, 1.5),
    "no floor, p 2": Surface(0.0, 30.0, 40.0, 0.12, 0.15, 2.0),
}
SPANS, SIZES, BUDGETS = (2.0, 4.0, 8.0, 16.0), (5, 7, 10, 15), (4, 9)
PLACES = ("centred", "above", "below", "drifts up", "drifts down", "ladder")


class Sweep(NamedTuple):
    """Sizes on each budget."""

    log_c: np.ndarray  # [K]
    log_n: list[np.ndarray]  # [S] of each
    losses: list[np.ndarray]  # [S] of each, without noise


def design(surface: Surface, budgets: int, sizes: int, span: float, place: str, decades: float = 3.0) -> Sweep | None:
    """A sweep, or None where fewer than two sizes lie on one side of an optimum."""
    log_c = np.log(np.geomspace(1e18, 10.0 ** (18 + decades), budgets))
    best, reach = surface.log_n(np.exp(log_c)), np.log(span)
    step = 2 * reach / (sizes - 1)
    furthest = 0.9 * (max((sizes - 1) / 2 - 2, 0) + 0.49) * step  # that leaves two sizes beyond
    along = np.linspace(-1, 1, budgets)
    shift = {
        "centred": 0.0, "above": furthest, "below": -furthest, "drifts up": furthest * along,
        "drifts down": -furthest * along, "ladder": 0.0,
    }[place] + np.zeros(budgets)  # fmt: skip
    if place == "ladder":  # one ladder of sizes for all; of it each budget gets those within `span` of its best
        rungs = np.arange(best[0] - reach, best[-1] + reach + step, step)
        log_n = [rungs[np.abs(rungs - at) <= reach + 1e-9] for at in best]
    else:
        log_n = [at + moved + np.linspace(-reach, reach, sizes) for at, moved in zip(best, shift, strict=True)]
    if any(
        min(np.sum(x < at - 1e-9), np.sum(x > at + 1e-9)) < 2 or x.size < 5 for x, at in zip(log_n, best, strict=True)
    ):
        return None
    losses = [surface.loss(np.exp(x), np.exp(c - x) / 6) for c, x in zip(log_c, log_n, strict=True)]
    return Sweep(log_c, log_n, losses)


def exponents(sweep: Sweep, losses: list[np.ndarray], name: str) -> np.ndarray:
    """a [B] of the line through the minima of losses [B, S] of each budget; nan where fewer than two are left."""
    found = vertices(sweep.log_n, losses, SHAPES[name])
    x = np.stack([v.x for v in found], 1)
    good = np.stack([v.code == OK for v in found], 1)
    weight = good / np.maximum(good.sum(1, keepdims=True), 1)
    centred = sweep.log_c - (weight * sweep.log_c).sum(1, keepdims=True)
    with np.errstate(all="ignore"):
        a = (good * centred * np.where(good, x, 0.0)).sum(1) / (good * centred**2).sum(1)
    return np.where(good.sum(1) > 1, a, np.nan)


def designs(surfaces: dict[str, Surface]) -> Iterator[tuple[str, float, int, int, str, Sweep]]:
    for name, span, sizes, budgets, place in itertools.product(surfaces, SPANS, SIZES, BUDGETS, PLACES):
        made = design(surfaces[name], budgets, sizes, span, place)
        if made is not None:
            yield name, span, sizes, budgets, place, made


def exact(surfaces: dict[str, Surface]) -> None:
    """Errors without noise."""
    errors: dict[str, list[tuple[float, float, str]]] = {name: [] for name in NAMES}
    for surface, span, sizes, budgets, place, made in designs(surfaces):
        for name in NAMES:
            a = exponents(made, [y[None] for y in made.losses], name)[0] - surfaces[surface].exponent
            errors[name].append((abs(a), span, f"{surface}, x/÷ {span:g}, {sizes} sizes, {budgets} budgets, {place}"))
    for name, found in errors.items():
        worst = max(found, key=lambda one: one[0] if np.isfinite(one[0]) else np.inf)
        spans = "  ".join(f"{max(e for e, s, _ in found if s == span):.4f}" for span in SPANS)
        middle = np.median([e for e, _, _ in found])
        print(f"  {name:<9} worst {worst[0]:.5f}  median {middle:.6f}  by width {spans}  ({worst[2]})", flush=True)


def noisy(surfaces: dict[str, Surface], noise: float) -> None:
    """Errors with noise, over every seventh design."""
    every: dict[str, list[np.ndarray]] = {name: [] for name in NAMES}
    rng = np.random.default_rng(0)
    for surface, _, _, _, _, made in itertools.islice(designs(surfaces), 0, None, 7):
        losses = [y * (1 + noise * rng.standard_normal((TRIALS, y.size))) for y in made.losses]
        for name in NAMES:
            every[name].append(exponents(made, losses, name) - surfaces[surface].exponent)
    for name, found in every.items():
        known = [one[np.isfinite(one)] for one in found]
        rms = np.sqrt([np.mean(one**2) for one in known])
        bias, sd = np.abs([one.mean() for one in known]), np.array([one.std() for one in known])
        print(
            f"  {name:<9} rms {np.sqrt(np.mean(rms**2)):.4f} (median {np.median(rms):.4f}, worst {rms.max():.3f})  "
            f"|bias| {bias.mean():.4f}  sd {sd.mean():.4f}", flush=True,
        )  # fmt: skip


def main() -> None:
    for title, surfaces in (("Chinchilla's law", CHINCHILLA), ("other surfaces", OTHERS)):
        count = sum(1 for _ in designs(surfaces))
        print(f"{title}, {count} designs, |error of a| without noise (by width x/÷ 2, 4, 8, 16)")
        exact(surfaces)
        for noise in NOISE:
            print(f"{title}, noise {noise:.1%}")
            noisy(surfaces, noise)


if __name__ == "__main__":
    main()
