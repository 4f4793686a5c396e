"""What runs can identify: refusals before a fit, and after it sentences that say which runs would help."""

from typing import TYPE_CHECKING, Any

import numpy as np

from scaling.laws.api import Law
from train.errors import UserError

if TYPE_CHECKING:
    from scaling.fit.estimate import Columns, Fit


def check(law: Law, columns: "Columns", free: int) -> None:
    """Refuses data from which the `free` parameters of the law cannot be identified."""
    missing = [name for name in (*law.inputs, law.output) if name not in columns]
    if missing:
        raise UserError(
            f"{law.name} reads {' and '.join((*law.inputs, law.output))}, and there is no {missing[0]}; "
            f"these columns are known: {', '.join(columns)}"
        )
    for name in (*law.inputs, law.output):
        positive = name in law.inputs or law.space == "log"
        bad = np.flatnonzero(~(np.isfinite(columns[name]) & ((columns[name] > 0) | (not positive))))
        if bad.size:
            raise UserError(
                f"{name} of row {bad[0]} is {columns[name][bad[0]]}; every {name} must be finite"
                f"{' and positive' if positive else ''} ({bad.size} such rows): drop them"
            )
    rows = columns[law.output].size
    if rows < free + 1:
        raise UserError(f"{rows} rows cannot fit the {free} parameters of {law.name}; it needs at least {free + 1}")
    for name in law.inputs:
        distinct, need = np.unique(columns[name]).size, law.levels.get(name, 3)
        if distinct < need:
            raise UserError(
                f"{name} takes {distinct} value{'s' * (distinct > 1)}, so {law.name}'s exponent of {name} cannot be "
                f"identified; add runs until {name} takes at least {need}, a factor of two apart or more"
            )
    together = [name for name in law.inputs if law.levels.get(name, 3) > 1]
    logs = np.stack([np.log(columns[name]) for name in together])
    logs -= logs.mean(1, keepdims=True)
    if np.linalg.matrix_rank(logs, tol=1e-6 * np.linalg.norm(logs)) < len(together):
        raise UserError(
            f"{' and '.join(together)} move together in every row (for n and d: the same power law ties tokens to "
            f"parameters), so their exponents cannot be told apart; add runs of one model size at several numbers of "
            f"tokens"
        )


def flags(fit: "Fit") -> list[str]:
    """What a reader must know before using the constants, as sentences."""
    law, params, certificate = fit.law, fit.params, fit.certificate
    found = []
    floor = law.floor
    if floor and floor not in fit.pin and params[floor] < 1e-2 * np.min(fit.columns[law.output]):
        found.append(
            f"{floor} ran to zero ({params[floor]:.2g}): the floor is below what these losses can show, and a fit "
            f"without it says the same. Larger runs would identify it, or pin it (--pin {floor}=VALUE)."
        )
    for name, (low, high) in law.typical.items():
        if name not in fit.pin and not low < params[name] < high:
            found.append(
                f"{name} is {params[name]:.3g}, outside what published fits have shown ({low:g} to {high:g}): its term "
                f"is either constant over these runs or only seen in the smallest. Runs further apart identify it."
            )
    if certificate.starts_at_optimum < 0.1:
        found.append(
            f"only {certificate.starts_at_optimum:.0%} of {certificate.starts} starts reached the optimum: other "
            f"minima are near"
        )
    near = [other for other in certificate.other_minima if other["above"] < 0.1]
    if near:
        text = ", ".join(f"{name} {value:.4g}" for name, value in near[0]["params"].items())
        found.append(f"another minimum lies only {near[0]['above']:.1%} above the optimum ({text}): more runs decide")
    if not certificate.hessian_condition < 1e8:
        found.append(
            f"the Hessian's condition number is {certificate.hessian_condition:.1e}: some combination of the "
            f"parameters is free"
        )
    if certificate.invariance > 1e-5:
        found.append(
            f"a change of units or of the objective's scale moves a parameter by {certificate.invariance:.1e}: the "
            f"optimum is flat to rounding in some direction"
        )
    return found


def design_warnings(law: Law, columns: Any) -> list[str]:
    """What these runs cannot tell, whatever the fit says."""
    from scaling.counting import c_6nd

    found = []
    for name in law.inputs:
        values = np.unique(columns[name]).size
        if law.levels.get(name, 3) <= values < 5:
            found.append(
                f"{name.upper()} takes only {values} values, and its exponent rests on them; five or more would do"
            )
    if not law.trades:
        name = law.inputs[0]
        if len(law.inputs) > 1 or name not in ("n", "d"):
            return found
        limited = columns["loss"].size - frontier(columns[name], columns["loss"]).size
        if limited:
            found.append(
                f"{limited} runs did no better than a run of smaller {name.upper()}, so something else limits them, "
                f"and {law.equation} says nothing of that; fit runs that only {name.upper()} limits"
            )
        return found
    edges, spread, spans = [], 1.0, []
    for budget in np.unique(columns["budget"]):
        c = c_6nd(columns["n"], columns["d"])[columns["budget"] == budget]
        spans.append(c.max() / c.min())
    if np.median(spans) > 1.45:  # octaves of runs that were not made budget by budget
        return found
    for budget in np.unique(columns["budget"]):
        rows = columns["budget"] == budget
        n, loss, c = columns["n"][rows], columns["loss"][rows], c_6nd(columns["n"], columns["d"])[rows]
        spread = max(spread, c.max() / c.min())
        if np.unique(n).size > 2 and n[loss.argmin()] in (n.min(), n.max()):
            edges.append(f"{budget:.2g} (the {'smallest' if n[loss.argmin()] == n.min() else 'largest'})")
    if edges:
        found.append(
            f"the best run is at the edge of its sizes at {', '.join(edges)} FLOPs, so the optimum there is "
            f"extrapolated; add sizes beyond it"
        )
    if spread > 1.2:
        found.append(
            f"runs of one budget differ {spread:.2g}-fold in 6 N D with the N that was fitted; forecasts are for their "
            f"geometric mean"
        )
    return found


def frontier(x: np.ndarray, loss: np.ndarray) -> np.ndarray:
    """Indices of the runs whose loss no run of smaller or equal `x` reaches, from the smallest `x`."""
    order = np.lexsort((loss, x))
    best = np.minimum.accumulate(loss[order])
    return order[np.r_[True, best[1:] < best[:-1]]]
