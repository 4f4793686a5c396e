"""What runs that are not made yet will measure: predictions and intervals of a fitted law."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Float

from scaling.counting import c_6nd
from scaling.fit.discrepancy import bounded, learn, standard_error
from scaling.fit.intervals import Interval, interval
from scaling.laws.optimum import optimum
from train.errors import UserError
from train.numbers import digits, si

if TYPE_CHECKING:
    from scaling.report.fitfile import Fitted

NEXT = (2.0, 4.0, 8.0, 10.0, 100.0)  # times the largest run fitted


class Prediction(NamedTuple):
    """One run to come."""

    inputs: dict[str, float]
    reach: float  # its compute (or the law's first input) over the largest fitted
    predicted: float
    interval: Interval  # of one run: constants, scatter, discrepancy


def predict(fitted: "Fitted", columns: Mapping[str, np.ndarray]) -> list[Prediction]:
    """Of every row of `columns`, the law's inputs [rows]."""
    law = fitted.law
    columns = {name: np.atleast_1d(np.asarray(columns[name], np.float64)) for name in law.inputs}
    reach = (c_6nd(columns["n"], columns["d"]) if law.trades else columns[law.inputs[0]]) / fitted.largest
    expected = law.natural(_expected(fitted, columns))
    values = law.natural(drawn(fitted, columns, reach))
    return [
        Prediction(
            {name: float(v[i]) for name, v in columns.items()},
            float(reach[i]),
            float(expected[i]),
            interval(values[:, i], fitted.level),
        )
        for i in range(reach.size)
    ]


def chained(first: "Fitted", second: "Fitted", columns: Mapping[str, np.ndarray]) -> list[Prediction]:
    """Of every row, what `second` makes of the output that `first` forecasts: a task law in two steps.

    Loss from N and D, then accuracy from that loss (Bhagia et al. 2024).  A draw of the one goes through a draw of the
    other, so the interval holds what both leave open.

    Raises UserError where `second` reads something else than the output of `first`.
    """
    law, task = first.law, second.law
    if task.inputs != (law.output,):
        raise UserError(
            f"{task.name} reads {' and '.join(task.inputs)}, and {law.name} gives {law.output}; the second step reads "
            f"what the first gives, as `--law accuracy` reads loss"
        )
    found = predict(first, columns)
    columns = {name: np.array([one.inputs[name] for one in found]) for name in law.inputs}
    reach = np.array([one.reach for one in found])
    middle = law.natural(drawn(first, columns, reach))
    pick = np.arange(len(middle)) % len(second.draws)
    scatter = np.random.default_rng(1).choice(second.residuals, pick.size) * second.scale[pick]
    values = task.natural(task.at(second.draws[pick][:, None], np.log(middle)) + scatter[:, None])
    expected = task.natural(task.at(second.theta, np.log([one.predicted for one in found])))
    return [
        one._replace(predicted=float(expected[i]), interval=interval(values[:, i], first.level))
        for i, one in enumerate(found)
    ]


def drawn(
    fitted: "Fitted", columns: Mapping[str, np.ndarray], reach: Float[np.ndarray, " rows"]
) -> Float[np.ndarray, "draws rows"]:
    """What runs may measure, in the space of the fit: constants, scatter, discrepancy beyond the runs fitted."""
    law, typical = fitted.law, float(np.sqrt(np.mean(fitted.residuals**2)))
    scatter = np.random.default_rng(0).choice(fitted.residuals, len(fitted.draws)) * fitted.scale
    values = law.at(fitted.draws[:, None], *_logs(fitted, columns)) + scatter[:, None]
    off = learn(fitted.past, standard_error(fitted.residuals, fitted.free))
    values = bounded(values, _expected(fitted, columns), reach, typical, off.prior, law.space == "log")
    return values + off.draw(reach, len(values)) * (reach > 1.0)


def _logs(fitted: "Fitted", columns: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    return [np.log(columns[name]) for name in fitted.law.inputs]


def _expected(fitted: "Fitted", columns: Mapping[str, np.ndarray]) -> np.ndarray:
    return fitted.law.at(fitted.theta, *_logs(fitted, columns))


def ahead(fitted: "Fitted", times: tuple[float, ...] = NEXT) -> list[Prediction]:
    """The best runs of the next budgets, `times` the largest fitted; of a law of one input, that input so much larger.

    Empty where the law has further inputs, or no best run.
    """
    law = fitted.law
    wanted = np.array(times) * fitted.largest
    if law.splits:
        best = optimum(law, fitted.theta, wanted)
        columns = {name: np.atleast_1d(np.asarray(best[name], np.float64)) for name in ("n", "d")}
    elif len(law.inputs) == 1 and law.inputs[0] not in law.levels:
        columns = {law.inputs[0]: wanted}
    else:
        return []
    good = np.all([np.isfinite(v) & (v > 0) for v in columns.values()], axis=0)
    found = predict(fitted, {name: v[good] for name, v in columns.items()}) if good.any() else []
    return [one for one in found if math.isfinite(one.predicted)]


def table(found: list[Prediction], fitted: "Fitted", output: str | None = None) -> list[str]:
    """Lines of the terminal: reach, inputs, prediction of the law's output (or of `output`), interval."""
    law = fitted.law
    names = [name.upper() for name in law.inputs]
    heads = ["reach", *(["C"] if law.trades else []), *names, output or law.output, f"{fitted.level:.0%} interval"]
    rows = [heads]
    for one in found:
        compute = [si(c_6nd(one.inputs["n"], one.inputs["d"]))] if law.trades else []
        rows.append(
            [f"{digits(one.reach, 3)} x", *compute, *(si(v) for v in one.inputs.values()), digits(one.predicted, 4),
             f"{digits(one.interval[0], 4)} to {digits(one.interval[1], 4)}"]
        )  # fmt: skip
    widths = [max(len(row[i]) for row in rows) for i in range(len(heads))]
    return ["  " + "  ".join(text.rjust(width) for text, width in zip(row, widths, strict=True)) for row in rows]
