"""Approach 2 of Hoffmann et al. 2022 (arXiv:2203.15556): the best size for a budget, without a law of loss.

`profiles` takes several sizes on each of several budgets and reads the minimum of each profile, then fits N* ~ C^a and
D* ~ C^b by a line in logs.  It does not know which sizes were left out, so a minimum without two sizes on
each side of it is refused.

K budgets, R rows, S sizes on one budget, B bootstrap draws.
"""

import argparse
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from scaling import budgets
from scaling.approaches import Approach, Estimate, Marks, Option, Rows
from scaling.approaches.elasticity import Elasticity, elasticity
from scaling.approaches.lines import LEVEL, Line, checked, least_squares, line
from scaling.approaches.shapes import (
    ABOVE,
    BELOW,
    DOWNWARDS,
    LARGEST,
    OK,
    SHAPES,
    SMALLEST,
    Shape,
    Vertices,
    squares_left,
    vertices,
    windowed,
)
from scaling.laws import hoffmann
from train.errors import UserError, suggest
from train.numbers import digits
from train.numbers import si as say

LOG6 = hoffmann.LOG6
DEFAULT = "skewed"  # the least wrong on known surfaces: scripts/check/approaches.py
BESIDE = 2  # sizes that must lie on each side of a minimum
WEIGHTS = ("equal", "variance")
MOST = 4_000  # sizes that profiles are drawn through; of more, as many at equal steps of their order
SAME = 1e-3  # relative difference up to which C as given is 6 N D


class Minimum(NamedTuple):
    """The best run of one budget."""

    budget: float  # its label, as given
    c: float  # FLOPs: geometric mean of the budget's runs
    n: float  # parameters; nan where refused
    d: float  # tokens: c / (6 n), or between the runs' own where C is not 6 N D; nan where refused
    loss: float  # of the fitted profile, nats per token; nan where refused
    bend: float  # second derivative of the fitted profile by ln N there; nan where refused
    rows: np.ndarray  # of the columns: the best run of each size, sizes ascending
    sizes: np.ndarray  # theirs, parameters
    status: str  # "ok", or a sentence that says why the minimum is not used and which runs would mend it
    warning: str  # a sentence, or "" where there is nothing to say
    sd: float  # of ln n, by the bootstrap; nan where there is none


class Profiles(NamedTuple):
    """Approach 2."""

    method: str  # a name in shapes.SHAPES
    minima: list[Minimum]  # budgets ascending, those that are refused too
    n: Line  # N* of C
    d: Line  # D* of C
    loss: Line  # L* of C: a power law without a floor, for interpolation only
    noise: float  # sd of loss that the bootstrap injects, nats (mean over rows); nan where there is none
    noise_source: str  # "given", "residuals" or "none"
    weights: str  # of the budgets in the lines: "equal", or "variance" (1 / sd^2 of ln N*)
    elasticity: Elasticity
    warnings: list[str]

    @property
    def a(self) -> float:
        """Exponent of N* = k_n C^a."""
        return self.n.exponent

    @property
    def b(self) -> float:
        """Exponent of D* = k_d C^b."""
        return self.d.exponent


class Profile(NamedTuple):
    """One budget's runs, one of each size."""

    budget: float
    log_c: float
    x: np.ndarray  # [S] ln N, ascending
    loss: np.ndarray  # [S]
    log_d: np.ndarray  # [S]
    rows: np.ndarray  # [S]
    exact: bool  # C = 6 N D
    spread: float  # ratio of the largest to the smallest C


def profiles(
    columns: Mapping[str, Any],
    *,
    method: str = DEFAULT,
    window: int = 5,
    weights: str = "equal",
    noise: Any = None,
    draws: int = 1000,
    seed: int = 0,
    level: float = LEVEL,
) -> Profiles:
    """Approach 2: lines through the minima of isoFLOP profiles.

    Columns [R]: n, d, loss, budget (equal labels are one profile), and c if C is not 6 n d.  Of runs with the same n on
    the same budget the best is kept.  `method` names the shape that the minimum of loss over ln N is read from
    (shapes.SHAPES): two exponentials whose rates all budgets share ("skewed"), Akima's interpolant in log-log ("akima",
    Porian et al. 2024, arXiv:2406.19146), a local cubic ("cubic"), a least-squares parabola through the `window` sizes
    nearest to the lowest ("window"), or through every size ("parabola", as Hoffmann et al. published).  A parabola is
    biased by the skew of the profile, more the wider the sizes reach: see `bias`.

    Intervals are those of Porian et al. 2024: `draws` times noise is added to every loss and everything is refitted.
    `noise` is the sd of a loss in nats, one for all or [R]; where it is None, it is that of the residuals from the
    shape ("akima", which leaves none: from windowed parabolas), which counts their misfit as noise.  `weights`
    "variance" weights a budget by 1 / sd^2 of its ln N*.  On 9 budgets of 10 sizes with 3 millinats of noise, 90 %
    intervals of a covered it in 90 % of sweeps ("parabola"), 95 % ("window") and 98 % ("akima"): noise is added to
    noise, and the local methods feel it.
    """
    for name, choices in ((method, tuple(SHAPES)), (weights, WEIGHTS)):
        if name not in choices:
            raise UserError(f"{name!r} is not known here{suggest(name, choices)}")
    if window < 3:
        raise UserError(f"a window of {window} sizes holds no parabola; give 3 or more")
    shape = windowed(window) if method == "window" else SHAPES[method]
    groups = _grouped(columns)
    given = sum(p.x.size for p in groups)
    groups = [_thinned(p, max(MOST // len(groups), shape.fewest)) for p in groups] if given > MOST else groups
    minima = _minima(groups, method, shape)
    used = [i for i, m in enumerate(minima) if m.status == "ok"]
    if len(used) < 2:
        refused = "; ".join(m.status for m in minima if m.status != "ok")
        raise UserError(
            f"{len(used)} of {len(minima)} budgets brackets its best size and a line needs 2"
            + (f": {refused}" if refused else "; add runs on other budgets")
        )
    sd, source = _noise(groups, noise, shape, np.size(columns["loss"]))
    good = [groups[i] for i in used]
    drawn, bends = _draw(good, sd, shape, draws, seed) if sd is not None and draws else (None, None)
    sds = np.full(len(used), np.nan) if drawn is None else _sd(drawn[0])
    for i, value in zip(used, sds, strict=True):
        minima[i] = minima[i]._replace(sd=float(value))
    if weights == "variance" and not np.all(np.isfinite(sds)):
        raise UserError("weights 'variance' need the noise of a loss: give it (nats), or 4 sizes or more on a budget")
    weight = 1.0 / np.maximum(sds, 1e-12) ** 2 if weights == "variance" else np.ones(len(used))
    log_c = np.array([p.log_c for p in good])
    points = np.log([[getattr(minima[i], name) for i in used] for name in ("n", "d", "loss")])
    lines = [
        _line_of(log_c, y, weight, None if drawn is None or len(used) < 3 else drawn[k], level)
        for k, y in enumerate(points)
    ]
    return Profiles(
        method, minima, *lines, np.nan if sd is None else float(np.mean(sd)), source, weights,
        elasticity(log_c, np.exp(points[2]), np.array([minima[i].bend for i in used]),
                   None if drawn is None or len(used) < 3 else (np.exp(drawn[2]), bends), level),
        _sampled(groups, given) + _warnings(groups, minima, used, drawn, draws),
    )  # fmt: skip


def _grouped(columns: Mapping[str, Any]) -> list[Profile]:
    """One profile a budget, budgets ascending in FLOPs."""
    table = checked(columns, ("budget",))
    labels, which = np.unique(np.asarray(table["budget"], np.float64), return_inverse=True)
    found = [_profile(table, float(label), np.flatnonzero(which == i)) for i, label in enumerate(labels)]
    return sorted(found, key=lambda p: p.log_c)


def _profile(table: dict[str, np.ndarray], budget: float, rows: np.ndarray) -> Profile:
    """The best run of each size, sizes ascending."""
    rows = rows[np.lexsort((table["loss"][rows], table["n"][rows]))]
    rows = rows[np.r_[True, np.diff(table["n"][rows]) > 0]]
    c, n, d = table["c"][rows], table["n"][rows], table["d"][rows]
    exact = bool(np.allclose(c, 6.0 * n * d, rtol=SAME, atol=0.0))
    log_c = float(np.log(c).mean())
    return Profile(budget, log_c, np.log(n), table["loss"][rows], np.log(d), rows, exact, float(c.max() / c.min()))


def _thinned(p: Profile, most: int) -> Profile:
    """At most `most` of its sizes, the smallest and the largest among them."""
    kept = np.unique(np.linspace(0, p.x.size - 1, min(most, p.x.size)).round().astype(int))
    return p._replace(x=p.x[kept], loss=p.loss[kept], log_d=p.log_d[kept], rows=p.rows[kept])


def _sampled(groups: list[Profile], given: int) -> list[str]:
    used = sum(p.x.size for p in groups)
    return [f"isoFLOP profiles are drawn through {used:,} of {given:,} sizes, at equal steps of their order"] * (
        used < given
    )


def _minima(groups: list[Profile], method: str, shape: Shape) -> list[Minimum]:
    """The minimum of each budget, or why there is none."""
    many = [p for p in groups if p.x.size >= shape.fewest]
    found = vertices([p.x for p in many], [p.loss[None] for p in many], shape) if many else []
    of = {p.budget: at for p, at in zip(many, found, strict=True)}
    return [_minimum(p, of.get(p.budget), method, shape) for p in groups]


def _minimum(p: Profile, found: Vertices | None, method: str, shape: Shape) -> Minimum:
    """The minimum of one budget, or why there is none."""
    refused = Minimum(
        p.budget, float(np.exp(p.log_c)), np.nan, np.nan, np.nan, np.nan, p.rows, np.exp(p.x), "", "", np.nan
    )
    if found is None:
        return refused._replace(
            status=f"at {say(refused.c)} FLOPs there {'is' if p.x.size == 1 else 'are'} {p.x.size} "
            f"size{'s' * (p.x.size > 1)} and {method} needs {shape.fewest}; add sizes on both sides of "
            f"{say(np.exp(p.x[np.argmin(p.loss)]))}"
        )
    x, code = float(found.x[0]), int(found.code[0])
    warning = _off_centre(p) if method == "parabola" and code in (OK, BELOW, ABOVE) else ""
    status = _sentence(p, code) if code != OK else _unbracketed(p, x)
    if status:
        return refused._replace(status=status, warning=warning)
    d = float(np.exp(_log_d(p, x)))
    return refused._replace(
        n=float(np.exp(x)), d=d, loss=float(found.loss[0]), bend=float(found.bend[0]), status="ok", warning=warning
    )


def _unbracketed(p: Profile, x: float) -> str:
    """Why a minimum at ln N `x` without two sizes on each side is refused, and which to add; "" where it has them."""
    missing = []
    for side, count, end in (
        ("below", int(np.sum(p.x < x)), float(np.exp(p.x[0]))),
        ("above", int(np.sum(p.x > x)), float(np.exp(p.x[-1]))),
    ):
        if count < BESIDE:
            missing.append((f"{('no', 'one')[count]} size {side}", f"{side} {say(end)}"))
    if not missing:
        return ""
    return (
        f"at {say(np.exp(p.log_c))} FLOPs the minimum has {' and '.join(had for had, _ in missing)} it and needs "
        f"{BESIDE}; add sizes {' and '.join(add for _, add in missing)}"
    )


def _sentence(p: Profile, code: int) -> str:
    """Why a minimum is refused, and which runs would mend it."""
    small, large = say(np.exp(p.x[0])), say(np.exp(p.x[-1]))
    said = {
        SMALLEST: f"the best run is the smallest of {p.x.size} sizes; add sizes below {small}",
        LARGEST: f"the best run is the largest of {p.x.size} sizes; add sizes above {large}",
        BELOW: f"the fitted profile's vertex lies below the sizes that it was fitted to; add sizes below {small}",
        ABOVE: f"the fitted profile's vertex lies above the sizes that it was fitted to; add sizes above {large}",
        DOWNWARDS: f"the fitted profile opens downwards, so noise hides the minimum; add sizes below {small} and above "
        f"{large}, or seeds",
    }
    return f"at {say(np.exp(p.log_c))} FLOPs {said[code]}"


def _off_centre(p: Profile) -> str:
    """The sentence where the lowest run is not in the middle third: a parabola is tilted by the longer of its sides."""
    low, high, best = p.x[0], p.x[-1], p.x[np.argmin(p.loss)]
    share = (best - low) / (high - low)
    if 1 / 3 - 1e-9 <= share <= 2 / 3 + 1e-9:
        return ""
    third, missing = ("lower", f"down to {say(np.exp(2 * best - high))}") if share < 0.5 else (
        "upper", f"up to {say(np.exp(2 * best - low))}",
    )  # fmt: skip
    return (
        f"at {say(np.exp(p.log_c))} FLOPs the best size, {say(np.exp(best))}, is in the {third} third of "
        f"{say(np.exp(low))} to {say(np.exp(high))} (log scale), and the longer side tilts a parabola; add sizes "
        f"{missing}"
    )


def _log_d(p: Profile, x: Any) -> Any:
    """ln D at ln N: what C = 6 N D leaves, or between the runs' own where C is counted otherwise."""
    return p.log_c - LOG6 - x if p.exact else np.interp(x, p.x, p.log_d)


def _noise(groups: list[Profile], noise: Any, shape: Shape, rows: int) -> tuple[np.ndarray | None, str]:
    """sd [R] of every loss, and where it is from."""
    if noise is not None:
        sd = np.asarray(noise, np.float64)
        if sd.shape not in ((), (rows,)) or not np.all(np.isfinite(sd) & (sd > 0)):
            raise UserError(f"noise is the sd of a loss in nats: one positive number, or one for each of {rows} rows")
        return np.broadcast_to(sd, (rows,)), "given"
    many = [p for p in groups if p.x.size >= shape.fewest]
    squares, freedom = squares_left([p.x for p in many], [p.loss for p in many], shape)
    return (np.full(rows, np.sqrt(squares / freedom)), "residuals") if freedom > 0 else (None, "none")


def _draw(groups: list[Profile], sd: np.ndarray, shape: Shape, draws: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Of the minima of noisier profiles: logs of n, d and loss [3, B, K], and bends [B, K]; nan where refused."""
    rng = np.random.default_rng(seed)
    losses = [np.maximum(p.loss + sd[p.rows] * rng.standard_normal((draws, p.x.size)), 1e-300) for p in groups]
    found, bends = [], []
    for p, at in zip(groups, vertices([p.x for p in groups], losses, shape), strict=True):
        good = (at.code == OK) & (at.loss > 0)
        x = np.where(good, at.x, np.nan)
        found.append([x, _log_d(p, x), np.log(np.where(good, at.loss, np.nan))])
        bends.append(np.where(good, at.bend, np.nan))
    return np.moveaxis(np.array(found), 0, -1), np.array(bends).T


def _sd(values: np.ndarray) -> np.ndarray:
    """sd [K] of draws [B, K] that are numbers; nan where fewer than two are."""
    count = np.isfinite(values).sum(0)
    with np.errstate(all="ignore"):
        mean = np.nansum(values, axis=0) / count
        return np.where(count > 1, np.sqrt(np.nansum((values - mean) ** 2, axis=0) / (count - 1)), np.nan)


def _line_of(x: np.ndarray, y: np.ndarray, weights: np.ndarray, drawn: np.ndarray | None, level: float) -> Line:
    """The line through the minima y [K], with those of the draws [B, K]."""
    return line(x, y, weights, np.empty((0, 2)) if drawn is None else least_squares(x, drawn, weights), level)


def _warnings(
    groups: list[Profile], minima: list[Minimum], used: list[int], drawn: np.ndarray | None, draws: int
) -> list[str]:
    """What a reader must know before using the lines, as sentences."""
    said = [m.status for m in minima if m.status != "ok"] + [m.warning for m in minima if m.warning]
    said += [
        f"at {say(np.exp(p.log_c))} FLOPs the runs differ in FLOPs by a factor of {p.spread:.2g}, so the profile "
        f"mixes size with compute; split the budget or rerun the outliers"
        for p in groups
        if p.spread > budgets.EVEN
    ]
    if draws and len(used) < 3:
        said.append("two budgets give a line and no interval; add a third")
    elif draws and drawn is None:
        said.append("no budget has more than 3 sizes, so nothing shows the noise of a loss; give it for intervals")
    if drawn is not None:
        lost = np.isnan(drawn[0]).mean(0)
        said += [
            f"at {say(minima[i].c)} FLOPs noise moves the minimum to the edge of the sizes in {share:.0%} of draws; "
            f"add sizes on both sides, or seeds"
            for i, share in zip(used, lost, strict=True)
            if share > 0.05
        ]
    return said


def estimate(rows: Rows, options: Mapping[str, Any]) -> Estimate:
    """Of the rows of every budget that is a profile."""
    known = list(budgets.profile_rows(rows.columns))
    if len(known) < 2:
        raise UserError(
            f"it needs two budgets of 4 sizes or more, each at one compute; these rows have {len(known)} such "
            f"budget{'s' * (len(known) != 1)}; add sizes at equal 6 N D"
        )
    kept = np.sort(np.concatenate(known))
    found = profiles(
        {name: v[kept] for name, v in rows.columns.items()}, method=options["profile"], weights=options["weights"],
        noise=rows.noise if options["noise"] is None else options["noise"], level=rows.level,
    )  # fmt: skip
    used = [m for m in found.minima if m.status == "ok"]
    off = [m for m in found.minima if m.status != "ok" or _lopsided(m)]
    shown = ", ".join(say(m.c) for m in off[:4])
    return Estimate(
        found.n, found.d, f"{found.method} shape", {"method": found.method, "weights": found.weights},
        Marks("the minima of the budgets' profiles", [(m.c, m.n, m.d) for m in used]), found.minima, found.elasticity,
        found.warnings, f"Off centre or refused: the profiles at {shown} FLOPs." if off else "", _decides(used),
    )  # fmt: skip


def _lopsided(m: Minimum) -> bool:
    """Does a third of the sizes or less lie on one side of the minimum?"""
    below = float(np.mean(m.sizes < m.n))
    return min(below, 1 - below) < 1 / 3


def _decides(used: list[Minimum]) -> str:
    """The budget whose leaving out moves a the most, and by how much; "" with fewer than three."""
    if len(used) < 3:
        return ""
    c, n = np.log([m.c for m in used]), np.log([m.n for m in used])
    moved = [np.polyfit(np.delete(c, i), np.delete(n, i), 1)[0] - np.polyfit(c, n, 1)[0] for i in range(c.size)]
    most = int(np.argmax(np.abs(moved)))
    return (
        f"Approach 2 rests most on the rows at {say(used[most].c)} FLOPs: without them a moves by "
        f"{digits(moved[most], 2)}."
    )


def sd(text: str) -> float:
    if not float(text) > 0:
        raise argparse.ArgumentTypeError(f"{float(text):g} is not the sd of a loss in nats, as 0.003")
    return float(text)


APPROACH = Approach(
    "2", "isoFLOP profiles", lambda rows: budgets.is_sweep(rows.columns), estimate,
    {
        "profile": Option(
            DEFAULT, "SHAPE",
            f"of isoFLOP profiles, for approach 2: {', '.join(SHAPES)}; default: {DEFAULT}",
            choices=tuple(SHAPES),
        ),
        "weights": Option("equal", "W", "of budgets in approach 2: equal, variance", choices=WEIGHTS),
        "noise": Option(None, "SD", "of a loss, nats, for approach 2; default: measured", type=sd),
    },
)  # fmt: skip
