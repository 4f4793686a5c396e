"""fit.json, written and read: every number of an analysis at full precision, and what a plan needs of it again."""

import importlib.metadata
import json
import math
import pathlib
import platform
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from scaling import predict, rates
from scaling.approaches import THIRD, Answer, Estimate, disagreement
from scaling.approaches.elasticity import Elasticity
from scaling.approaches.lines import Line
from scaling.fit.backtest import axis, known_errors
from scaling.fit.discrepancy import Past
from scaling.fit.intervals import interval
from scaling.fit.select import called, flags
from scaling.laws import own
from scaling.laws.api import Law
from scaling.laws.optimum import optimum
from scaling.logs import seeds
from train.bucket import local
from train.errors import UserError

if TYPE_CHECKING:
    from scaling.analyse import Analysis

DRAWS_KEPT = 200  # resamples in fit.json, for `plan`


def as_json(analysis: "Analysis") -> dict[str, Any]:
    """fit.json: every number at full precision; null where a number is not finite."""
    fit, held = analysis.fit, analysis.heldout
    kept = analysis.draws.theta[:DRAWS_KEPT]
    plain = {
        "law": fit.law.name,
        "equation": fit.law.equation,
        "source": fit.law.source,
        "groups": list(fit.law.groups),
        "formula": fit.law.formula,
        "law_file": fit.law.file,
        "counting": {**analysis.runs.mapping, "c": "6 n d" if fit.law.trades else analysis.runs.mapping.get("c")},
        "space": "log " + fit.law.output if fit.law.space == "log" else fit.law.output,
        "delta": fit.question.delta,
        "objective": fit.objective,
        "n_rows": fit.residuals.size,
        "n_runs": int(np.unique(analysis.runs.run).size),
        "dropped": analysis.runs.dropped,
        "guesses": analysis.runs.said,
        "params": fit.params,
        "units": {p.name: p.unit for p in fit.law.params if p.unit},
        "pinned": dict(fit.question.pin),
        "tied": dict(fit.question.tie),
        "derived": fit.derived,
        "interval": {
            "level": analysis.level, "method": analysis.draws.how, "draws": analysis.draws.size,
            **analysis.intervals,
        },
        "other_intervals": analysis.other_intervals,
        "certificate": fit.certificate._asdict(),
        "residual_rms": float(np.sqrt(np.mean(fit.residuals**2))),
        "range": ranges(analysis),
        "heldout": held and {
            "budget": held.budget, "reach": held.reach, "n_rows_fitted": held.fit.residuals.size,
            "predicted": held.best.predicted, "interval": held.best.interval, "measured": held.best.measured,
            "relative_error": held.relative_error, "of": "best loss of the budget" if held.isoflop else "mean of runs",
            "inside": held.best.inside, "mean_error": held.mean_error,
            "rms_error": held.rms_error, "coverage": held.coverage, "past_errors": held.past,
            "discrepancy": held.discrepancy._asdict(),
            "params": held.fit.params, "optimum": held.optimum, "runs": [run._asdict() for run in held.runs],
        },
        "past": past(analysis),
        "ahead": [one._asdict() for one in predict.ahead(of(analysis))],
        "backtest": [
            {"cutoff": w.cutoff, "n_rows_fitted": w.fitted, "params": fit.law.published(w.theta), "reach": w.reach,
             "relative_error": w.error, "inside": w.inside}
            for w in analysis.windows
        ],
        "horizons": analysis.horizons,
        "selection": selection(analysis),
        "better": better(analysis),
        "influence": [row._asdict() for row in analysis.influence],
        "conventions": analysis.conventions,
        "approach": analysis.choice.approach,
        "approaches": {name: _lines(one) for name, one in analysis.estimates.items()},
        "disagreement": disagreement_of(analysis),
        "causes": analysis.causes,
        "elasticity": {
            "law": analysis.elasticity,
            "profiles": next((bend._asdict() for bend in elasticities(analysis)), None),
        },
        "profiles": [minimum._asdict() for one in analysis.estimates.values() for minimum in one.minima],
        "kaplan": {
            name: {"equation": one.law.equation, "params": one.params, "n_rows": one.residuals.size}
            for name, one in analysis.kaplan.items()
        },
        "gap": gaps(analysis),
        "seeds": {"sd": seeds.noise(analysis.runs.table, fit.law.output)},
        "rates": [one._asdict() for one in rates.best(analysis.runs.tried)],
        "warnings": analysis.warnings,
        "resamples": {"theta": kept, "scale": analysis.draws.scale[: DRAWS_KEPT], "residuals": fit.residuals[:2000]},
        "versions": versions(),
    }  # fmt: skip
    return _finite(plain)


def versions() -> dict[str, str]:
    """Of what the numbers rest on."""
    return {"python": platform.python_version()} | {n: importlib.metadata.version(n) for n in ("jax", "numpy")}


def selection(analysis: "Analysis") -> dict[str, Any] | None:
    """Laws of the same inputs beside the one that was asked for."""
    found = analysis.selection
    return found and {**found._asdict(), "clear": found.clear, "scores": [score._asdict() for score in found.scores]}


def _lines(found: Estimate) -> dict[str, Any]:
    """The lines of an approach, as `_line` reads them again."""
    lines = {
        name: {
            "value": line.exponent, "interval": line.interval, "k": line.k, "level": line.level,
            "draws": line.draws[:DRAWS_KEPT],
        }
        for name, line in (("a", found.n), ("b", found.d))
    }  # fmt: skip
    return {**lines, **found.fields}


def elasticities(analysis: "Analysis") -> list[Elasticity]:
    """Of substitution between N and D, read off the runs without a law."""
    return [one.elasticity for one in analysis.estimates.values() if one.elasticity is not None]


def largest_of(analysis: "Analysis") -> float:
    """Compute of the largest run fitted, FLOPs; of laws that know none, their first column."""
    return float(axis(analysis.fit.law, analysis.columns).max())


def disagreement_of(analysis: "Analysis") -> str:
    """The sentence where approaches disagree at the largest compute fitted, or ""."""
    return of(analysis).disagreement(largest_of(analysis))


def gaps(analysis: "Analysis") -> dict[str, float] | None:
    """Held-out minus training loss, nats per token, over the runs that recorded both."""
    train = analysis.runs.table.get("train_loss")
    if train is None or train.dtype != np.float64 or analysis.fit.law.output != "loss":
        return None
    both = (analysis.columns["loss"] - train)[np.isfinite(train)]
    return {"mean": float(both.mean()), "worst": float(both.max()), "runs": both.size} if both.size else None


def _finite(tree: object) -> Any:
    """Arrays as lists, and null for what JSON has no number for."""
    if isinstance(tree, np.ndarray | np.generic):
        tree = tree.tolist()
    if isinstance(tree, dict):
        return {name: _finite(v) for name, v in tree.items()}
    if isinstance(tree, list | tuple):
        return [_finite(v) for v in tree]
    return None if isinstance(tree, float) and not math.isfinite(tree) else tree


class Fitted(NamedTuple):
    """What fit.json holds of a law: enough to forecast with intervals."""

    law: Law
    params: dict[str, float]
    theta: np.ndarray  # [P]
    draws: np.ndarray  # [draws, P]
    scale: np.ndarray  # [draws]
    residuals: np.ndarray
    free: int  # parameters that were fitted
    past: Past  # errors of earlier forecasts, one list a cutoff
    largest: float  # FLOPs of the largest run fitted
    counting: dict[str, Any]
    level: float
    better: str  # a sentence, where another law is clearly the better one to forecast with
    lines: dict[str, tuple[Line, Line]]  # of the approaches that the runs allowed beside the law: N* and D* of C
    causes: list[str]  # why the approaches may disagree

    def answers(self, c: float) -> list[Answer]:
        """The best run for C FLOPs, by every approach."""
        found = []
        if self.law.splits:
            best, drawn = optimum(self.law, self.theta, c), optimum(self.law, self.draws, c)
            ends = (interval(drawn[name], self.level) for name in ("n", "d"))
            found.append(Answer(THIRD, float(best["n"]), float(best["d"]), *ends))
        for name, lines in self.lines.items():
            (n, n_interval), (d, d_interval) = (line.at(c) for line in lines)
            found.append(Answer(name, n, d, n_interval, d_interval))
        return found

    def disagreement(self, c: float) -> str:
        """A sentence where the answers for C FLOPs disagree, or ""."""
        return disagreement(self.answers(c), c, self.causes)


def of(analysis: "Analysis") -> Fitted:
    """The same of an analysis at hand, with all its draws."""
    fit = analysis.fit
    return Fitted(
        law=fit.law, params=fit.params, theta=fit.theta, draws=analysis.draws.theta, scale=analysis.draws.scale,
        residuals=fit.residuals, free=fit.question.free, past=past(analysis),
        largest=largest({"range": ranges(analysis)}), counting=analysis.runs.mapping, level=analysis.level,
        better=better(analysis), lines={name: (one.n, one.d) for name, one in analysis.estimates.items()},
        causes=analysis.causes,
    )  # fmt: skip


def past(analysis: "Analysis") -> Past:
    every = np.ones(analysis.fit.residuals.size, bool)
    return known_errors(analysis.windows, every, analysis.columns["budget"])


def ranges(analysis: "Analysis") -> dict[str, list[float]]:
    """Least and most of every column."""
    return {name: [float(np.min(v)), float(np.max(v))] for name, v in analysis.columns.items()}


def better(analysis: "Analysis") -> str:
    """A sentence, where another law than the one fitted is clearly the better one to forecast with."""
    found = analysis.selection
    if not found or not found.clear or found.chosen == called(analysis.fit.question):
        return ""
    return f"{found.sentence}; {flags(found.chosen)} fits it"


def load(path: str | pathlib.Path, law_file: str | pathlib.Path | None = None) -> Fitted:
    """Reads fit.json; `law_file` is the reader's own law again, where the fit is of one."""
    path = local(path)
    path = path / "fit.json" if path.is_dir() else path
    if not path.exists():
        raise UserError(f"{path} does not exist; `python -m scaling fit RUNS --out DIR` writes DIR/fit.json")
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        law = own.again(found, law_file)
        params = {name: math.inf if v is None else v for name, v in found["params"].items()}
        resamples = found["resamples"]
        return Fitted(
            law=law, params=params, theta=law.free(params),
            draws=np.array(resamples["theta"], np.float64).reshape(-1, len(law.names)),
            scale=np.array(resamples["scale"], np.float64), residuals=np.array(resamples["residuals"], np.float64),
            free=len(law.params) - len(found["pinned"]) - len(found["tied"]),
            past=[[(error, reach) for error, reach in window] for window in found["past"]],
            largest=largest(found), counting=found["counting"],
            level=found["interval"]["level"], better=found["better"],
            lines={name: (_line(of["a"]), _line(of["b"])) for name, of in found["approaches"].items()},
            causes=found["causes"],
        )  # fmt: skip
    except UserError:
        raise
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{path} is not the fit.json of `python -m scaling fit` ({error!r}); fit the runs again"
        ) from None


def _line(found: dict[str, Any]) -> Line:
    """A line as `_lines` wrote it."""
    known = lambda v: math.nan if v is None else float(v)
    low, high = (known(v) for v in found["interval"])
    draws = np.array([[known(v) for v in draw] for draw in found["draws"]], np.float64).reshape(-1, 2)
    return Line(known(found["k"]), known(found["value"]), (low, high), draws, found["level"])


def largest(found: dict[str, Any]) -> float:
    """Compute of the largest run fitted, FLOPs; of laws that know none, their first column."""
    return found["range"].get("c", next(iter(found["range"].values())))[1]
