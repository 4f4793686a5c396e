"""What to train: the best N and D for a budget, a loss, a token count or a size, from a fitted law."""

import math
from typing import NamedTuple

import numpy as np

from scaling import predict
from scaling.approaches import Answer
from scaling.fit.intervals import Interval, interval
from scaling.laws import chinchilla, efficiency
from scaling.laws.optimum import compute_for_loss, optimum
from scaling.report.fitfile import Fitted
from train.errors import UserError
from train.numbers import si


class Plan(NamedTuple):
    """A run and what it should reach."""

    n: float
    d: float
    c: float  # 6 N D FLOPs
    tokens_per_parameter: float
    steps: int | None  # where a batch was given
    loss: float
    interval: Interval  # of the loss of one run: constants, scatter, discrepancy
    n_interval: Interval  # of the best N for these FLOPs
    d_interval: Interval
    per_doubling: float  # loss gained by twice the compute, best split
    per_tokens: float  # loss gained by twice the tokens at this N
    per_params: float  # loss gained by twice the parameters at this D
    reach: float  # c over the largest run fitted
    answers: list[Answer]  # the best run for `c`, by every approach that the runs allowed
    disagreement: str  # a sentence where the intervals of two do not overlap, or ""
    warnings: list[str]


def plan(
    fitted: Fitted,
    *,
    flops: float | None = None,
    loss: float | None = None,
    tokens: float | None = None,
    params: float | None = None,
    batch: float | None = None,
    group: str | None = None,
) -> Plan:
    """One of `flops`, `loss`, `tokens`, `params` fixes the best run; `tokens` with `params` asks about that very run.

    `batch` is in tokens.
    """
    if fitted.law.groups:
        fitted = of_group(fitted, group)
    law = fitted.law
    if not law.splits:
        raise UserError(f"{law.name} does not trade N against D alone, so it has no plan; fit --law chinchilla")
    asked = {"--flops": flops, "--loss": loss, "--tokens": tokens, "--params": params}
    given = {name: v for name, v in asked.items() if v is not None}
    for name, value in {**given, "--batch": batch}.items():
        if value is not None and not (math.isfinite(value) and value > 0):
            raise UserError(f"{name} is {value:g}; it must be positive")
    if len(given) != 1 and set(given) != {"--tokens", "--params"}:
        raise UserError(
            f"a plan starts from one of {', '.join(asked)} (or from --tokens with --params), not {list(given)}"
        )
    n, d = _run(fitted, flops, loss, tokens, params)
    c = 6.0 * n * d
    at = lambda n, d: float(law.natural(law.at(fitted.theta, np.log(n), np.log(d))))
    reach = c / fitted.largest
    drawn = predict.drawn(fitted, {"n": np.array([n]), "d": np.array([d])}, np.array([reach]))[:, 0]
    here, twice = at(n, d), float(optimum(law, fitted.theta, 2 * c)["loss"])
    answers = fitted.answers(c)  # the law's first
    return Plan(
        n=n, d=d, c=c, tokens_per_parameter=d / n, steps=None if batch is None else math.ceil(d / batch), loss=here,
        interval=interval(law.natural(drawn), fitted.level), n_interval=answers[0].n_interval,
        d_interval=answers[0].d_interval, answers=answers, disagreement=fitted.disagreement(c),
        per_doubling=float(optimum(law, fitted.theta, c)["loss"]) - twice, per_tokens=here - at(n, 2 * d),
        per_params=here - at(2 * n, d), reach=reach, warnings=_warnings(fitted, reach),
    )  # fmt: skip


def of_group(fitted: Fitted, group: str | None) -> Fitted:
    """The fit of one group of runs, by the law that it shares with the others."""
    if group is None:
        raise UserError(f"this fit is of several groups; choose one with --group: {', '.join(fitted.law.groups)}")
    theta = efficiency.alone(fitted.law, fitted.theta, group)
    params = {name: float(v) for name, v in chinchilla.published(theta).items()}
    draws = efficiency.alone(fitted.law, fitted.draws, group)
    return fitted._replace(law=chinchilla, params=params, theta=theta, draws=draws)


def _run(fitted: Fitted, flops, loss, tokens, params) -> tuple[float, float]:
    law, theta = fitted.law, fitted.theta
    if tokens is not None and params is not None:
        return float(params), float(tokens)
    if loss is not None:
        flops = float(compute_for_loss(law, theta, loss))
        if not math.isfinite(flops):
            floor = fitted.params.get(law.floor or "", 0.0)
            raise UserError(
                f"no compute reaches a loss of {loss:g}: the law's floor is {floor:.4g}; ask for more than that"
            )
    if flops is None:  # the compute whose best run has these tokens, or parameters
        name, wanted = ("d", tokens) if tokens is not None else ("n", params)
        low, high = 1.0, 200.0
        for _ in range(200):
            middle = 0.5 * (low + high)
            below = float(optimum(law, theta, math.exp(middle))[name]) < wanted
            low, high = (middle, high) if below else (low, middle)
        flops = math.exp(0.5 * (low + high))
    best = optimum(law, theta, flops)
    n, d = float(best["n"]), float(best["d"])
    if not (math.isfinite(n) and math.isfinite(d)):
        raise UserError(
            f"{law.name} with {fitted.params} has no best run at {flops:.3g} FLOPs: an exponent is not positive"
        )
    return n, d


def _warnings(fitted: Fitted, reach: float) -> list[str]:
    sentences = []
    tested = max((reach for window in fitted.past for _, reach in window), default=1.0)
    if reach > 1.0 and reach > tested * 1.5:
        sentences.append(
            f"this is {reach:.2g} times beyond the largest run fitted, and the law was tested {tested:.2g} times "
            f"beyond its runs; out there the interval rests on forecasts of public runs"
        )
    if fitted.better:
        sentences.append(fitted.better)
    if not fitted.past:
        sentences.append(
            "no run was held out when this law was fitted: how far it may bend away is taken from public runs alone"
        )
    return sentences


def text(plan: Plan, fitted: Fitted) -> str:
    """What the terminal shows."""
    low, high = plan.interval
    span = lambda ends: f"{fitted.level:.0%} interval {si(ends[0])} to {si(ends[1])}"
    lines = [f"! {plan.disagreement}"] if plan.disagreement else []
    lines += [
        f"N       {si(plan.n):>8}  parameters ({fitted.counting.get('n', '')}); the best N has {span(plan.n_interval)}",
        f"D       {si(plan.d):>8}  tokens; the best D has {span(plan.d_interval)}",
        f"D / N   {plan.tokens_per_parameter:>8.3g}  tokens per parameter",
        f"C       {si(plan.c):>8}  FLOPs (6 N D), {plan.reach:.2g} times the largest run fitted",
    ]
    if plan.steps is not None:
        lines.append(f"steps   {plan.steps:>8,}")
    lines += [
        f"loss    {plan.loss:>8.4f}  {fitted.level:.0%} interval {low:.4f} to {high:.4f}",
        f"        twice the compute gains {plan.per_doubling:.4f}, twice the tokens {plan.per_tokens:.4f}, "
        f"twice the parameters {plan.per_params:.4f}",
    ]
    if len(plan.answers) > 1:
        lines.append(f"best run for {si(plan.c)} FLOPs by each approach, {fitted.level:.0%} intervals")
        lines += [f"  {one.approach:<32} N {_ends(one.n, one.n_interval)}  D {_ends(one.d, one.d_interval)}"
                  for one in plan.answers]  # fmt: skip
    return "\n".join(lines + [f"! {sentence}" for sentence in plan.warnings])


def _ends(value: float, ends: tuple[float, float]) -> str:
    """A value with its interval, where it has one."""
    return f"{si(value)} ({si(ends[0])} to {si(ends[1])})" if math.isfinite(sum(ends)) else f"{si(value)} (no interval)"
