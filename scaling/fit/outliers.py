"""Rows so far from the law that they are no scatter of it: a run that diverged, a digit that slipped."""

from collections.abc import Sequence

import numpy as np

from scaling.fit.estimate import Fit, fit
from scaling.fit.problem import predict
from train.errors import UserError

FAR = 10.0  # robust deviations
FEW = 0.05  # of the rows: more are no exceptions


def gross(fitted: Fit) -> np.ndarray:
    """Indices of rows beyond `FAR` robust deviations, where the loss resists them; none where they are many.

    Least squares does not resist, so that an outlier moves its optimum, and its intervals have to show that.
    """
    size = np.abs(fitted.residuals)
    through = min(fitted.question.free, size.size // 2)  # a fit in the median passes through as many rows
    scale = float(np.median(np.sort(size)[through:])) / 0.6745
    rows = np.flatnonzero((size > FAR * scale) & (size > fitted.question.delta))
    # Below a millionth of the output lies rounding, of a table's digits at the latest.
    return rows if scale > 1e-9 and rows.size <= max(1, FEW * size.size) else rows[:0]


def sentences(fitted: Fit, where: Sequence[str]) -> list[str]:
    """Which rows they are, by name, how to leave them out, and what that changes."""
    rows = gross(fitted)
    law = fitted.law
    if not rows.size:
        return []
    measured, expected = fitted.columns[law.output], law.natural(predict(law, fitted.theta, fitted.columns))
    rows = rows[np.argsort(-np.abs(fitted.residuals[rows]))]
    named = ", ".join(f"{where[i]} ({law.output} {measured[i]:.4g}, the law says {expected[i]:.4g})" for i in rows[:5])
    more = f" and {rows.size - 5} more" if rows.size > 5 else ""
    largest = set(np.argsort(-measured, kind="stable")[: rows.size]) == set(rows)
    remedy = f"--drop-outliers {rows.size}" if largest else "a --filter"
    text = (
        f"{rows.size} row{'s lie' if rows.size > 1 else ' lies'} more than {FAR:.0f} robust deviations from the law: "
        f"{named}{more}. Look at {'them' if rows.size > 1 else 'it'} first; {remedy} leaves "
        f"{'them' if rows.size > 1 else 'it'} out"
    )
    keep = np.setdiff1d(np.arange(measured.size), rows)
    try:
        other = fit(fitted.question, {name: v[keep] for name, v in fitted.columns.items()}, certify=False)
    except UserError:
        return [text]
    names = {**fitted.params, **fitted.derived}
    name = "a" if law.splits and "a" in names else law.headline
    value = {**other.params, **other.derived}[name]
    return [f"{text}, and {name} is then {value:.4g} instead of {names[name]:.4g}"]
