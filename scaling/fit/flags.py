"""What a reader must know before using a fit, as sentences: of its constants, and of the runs behind them."""

import numpy as np

from scaling import budgets
from scaling.fit.estimate import Columns, Fit
from scaling.laws.api import Law


def flags(fit: Fit) -> list[str]:
    """What the optimum says of itself."""
    law, params, certificate, held = fit.law, fit.params, fit.certificate, fit.question.pin
    found = [] if certificate.converged else [f"not converged: {certificate.reason}; what follows is no optimum"]
    floor = law.floor
    if floor and floor not in held and params[floor] < 1e-2 * np.min(fit.columns[law.output]):
        found.append(
            f"{floor} ran to zero ({params[floor]:.2g}): the floor is below what these losses can show, and a fit "
            f"without it says the same. Larger runs would identify it, or pin it (--pin {floor}=VALUE)."
        )
    top = law.ceiling
    if top and top not in held and params[top] > 2.0 * np.max(fit.columns[law.output]):
        found.append(
            f"{top} is {params[top]:.3g}, and no run here measured more than {np.max(fit.columns[law.output]):.3g}: "
            f"these runs do not show the {law.output} of an uninformed guess. Pin it (--pin {top}=VALUE; for nats per "
            f"token it is ln of the vocabulary, 10.82 of 50,257)."
        )
    for name in certificate.at_zero:
        if name != floor:
            found.append(
                f"{name} is zero: these rows are explained no worse without its term, and an exponent within it means "
                f"nothing"
            )
    for name, (low, high) in law.typical.items():
        if name not in held and not low < params[name] < high:
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


def design_flags(law: Law, columns: Columns) -> list[str]:
    """What these runs cannot tell, whatever the fit says.  Columns are [runs], budget among them."""
    found = []
    for name in (name for name in law.inputs if name != "group"):  # a label has no exponent
        values = np.unique(columns[name]).size
        if law.levels.get(name, 3) <= values < 5:
            found.append(
                f"{name.upper()} takes only {values} values, and its exponent rests on them; five or more would do"
            )
    if law.trades:
        return found + _of_budgets(columns)
    return found + _limited(law, columns)


def _limited(law: Law, columns: Columns) -> list[str]:
    """Runs that something else than the law's one amount limits."""
    name = law.inputs[0]
    if law.output != "loss" or law.inputs not in (("n",), ("d",)):
        return []
    limited = columns["loss"].size - frontier(columns[name], columns["loss"]).size
    if not limited:
        return []
    return [
        f"{limited} runs did no better than a run of smaller {name.upper()}, so something else limits them, "
        f"and {law.equation} says nothing of that; fit runs that only {name.upper()} limits"
    ]


def _of_budgets(columns: Columns) -> list[str]:
    if not budgets.is_sweep(columns):  # octaves of runs that were not made budget by budget
        return []
    edges, uneven, found = [], 1.0, []
    for rows in budgets.profile_rows(columns):
        n, loss = columns["n"][rows], columns["loss"][rows]
        uneven = max(uneven, budgets.unevenness(n, columns["d"][rows]))
        if n[loss.argmin()] in (n.min(), n.max()):
            side = "smallest" if n[loss.argmin()] == n.min() else "largest"
            edges.append(f"{columns['budget'][rows[0]]:.2g} (the {side})")
    if edges:
        found.append(
            f"the best run is at the edge of its sizes at {', '.join(edges)} FLOPs, so the optimum there is "
            f"extrapolated; add sizes beyond it"
        )
    if uneven > budgets.EVEN:
        found.append(
            f"runs of one budget differ {uneven:.2g}-fold in 6 N D with the N that was fitted; forecasts are for their "
            f"geometric mean"
        )
    return found


def frontier(x: np.ndarray, loss: np.ndarray) -> np.ndarray:
    """Indices of the runs whose loss no run of smaller or equal `x` reaches, from the smallest `x`."""
    order = np.lexsort((loss, x))
    best = np.minimum.accumulate(loss[order])
    return order[np.r_[True, best[1:] < best[:-1]]]
