"""What the terminal and the page both say of a fit, in the same words."""

import math
import re

import markupsafe

from scaling.analyse import Analysis
from scaling.fit.estimate import Fit
from scaling.laws.api import Law
from scaling.report.fitfile import elasticities, gaps
from train.numbers import digits, interval

GREEK = {
    "alpha": "α", "beta": "β", "gamma": "γ", "eta": "η", "epsilon": "ε", "alpha_N": "α_N", "alpha_D": "α_D",
    "alpha_C": "α_C", "alpha_S": "α_S", "alpha_B": "α_B", "e_inf": "ε_∞", "L_inf": "L_∞",
}  # fmt: skip
DERIVED = {"a": "best N grows as C^a", "b": "best D grows as C^b", "G": "best N = G (C/6)^a"}
UNITS = {"c": "FLOPs", "n": "parameters", "d": "tokens"}  # of the amount that runs are ordered by
FAR = 10.0  # a minimum whose objective is this many times higher competes with nothing


def constants(analysis: Analysis) -> dict[str, float]:
    """The law's parameters and what follows from them."""
    return {**analysis.fit.params, **analysis.fit.derived}


def unit(law: Law) -> str:
    """What the range of the runs is counted in."""
    return "FLOPs" if law.trades else UNITS.get(law.inputs[0], law.inputs[0].upper())


def meanings(fitted: Fit) -> dict[str, str]:
    """constant -> what it means."""
    derived = {name: text for name, text in DERIVED.items() if name in fitted.derived}
    return derived | {p.name: p.meaning for p in fitted.law.params}


def certificate(fitted: Fit) -> str:
    """Whether the optimum is one: another question than how far noise moves it."""
    shown = fitted.certificate
    above = min((other["above"] for other in shown.other_minima), default=None)
    if above is None:
        other = ""
    elif above < FAR:
        height = f"{above:.0%} higher" if above < 1 else f"{digits(1 + above, 2)} times as high"
        other = f"; next minimum {height}"
    else:
        other = f"; every other minimum over {FAR:g} times as high"
    wrong = "" if shown.converged else f"not converged: {shown.reason}; "
    return (
        f"{wrong}optimum: {shown.starts_at_optimum:.0%} of {shown.starts} starts end in it{other}; "
        f"gradient {shown.gradient_norm:.0e}, Hessian condition {shown.hessian_condition:.0e}"
    )


def gap_sentence(analysis: Analysis) -> str:
    """Validation minus training loss."""
    gap = gaps(analysis)
    if gap is None:
        return "valid − train loss: not recorded; runs with config.eval.train_records > 0 record it"
    return f"valid − train loss: {gap['mean']:+.4f} on average, {gap['worst']:+.4f} at most ({gap['runs']} runs)"


def formula(text: str) -> markupsafe.Markup:
    """x^α, x^(-α) and x_N as HTML."""
    text = re.sub(r"_([\w∞])", r"<sub>\1</sub>", str(markupsafe.escape(text)))
    text = re.sub(r"\^\(([^()]*)\)", r"<sup>\1</sup>", text)
    return markupsafe.Markup(re.sub(r"\^(\w+)(<sub>\w</sub>)?", r"<sup>\1\2</sup>", text))


def substitution(analysis: "Analysis") -> list[str]:
    """How easily parameters replace tokens: read off the profiles, without a law, beside what the law implies."""
    law = f"; the law implies {digits(analysis.elasticity)}" if math.isfinite(analysis.elasticity) else ""
    return [
        f"elasticity of substitution between N and D, by the profiles: {digits(found.value)} "
        f"{interval(*found.interval)}{law}"
        for found in elasticities(analysis)
        if math.isfinite(found.value)
    ]
