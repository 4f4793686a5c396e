"""Does `--law auto` forecast better than the default?  Against each law and an oracle, on public runs and worlds.

    python -m scripts.check.selection --data DIR [--every]      DIR: the folder of published runs
    python -m scripts.check.selection                           the generated worlds alone

At each cutoff a law is chosen by what the runs up to it show, and forecasts every larger run.  Root mean square log
errors over all forecasts of a set, an error beyond 3 counted as 3; the oracle takes the best law at every cutoff.
"""

import argparse
import pathlib

import numpy as np

from scaling import budgets
from scaling.counting import c_6nd
from scaling.fit.backtest import Window, backtest
from scaling.fit.estimate import Fit, fit
from scaling.fit.question import Question
from scaling.fit.select import MOST, candidates, choose, score, thinned
from scaling.fit.solver import huber_numpy
from scaling.laws import chinchilla
from scripts.check.forecasts import Columns, sets
from train.devices import runtime

CAP = 3.0  # log error beyond which a forecast is as bad as any


def below(whole: Fit, window: Window, kept: np.ndarray) -> Fit:
    """The fit that made `window`, of the rows `kept` [rows]."""
    found = whole._replace(columns={name: v[kept] for name, v in whole.columns.items()}, theta=window.theta)
    return found._replace(objective=float(huber_numpy(found.residuals, whole.question.delta).sum()))


def errors(window: Window) -> np.ndarray:
    return np.clip(np.nan_to_num(window.missed, nan=CAP), -CAP, CAP)


def rms(several: list[np.ndarray]) -> float:
    return float(np.sqrt(np.mean(np.concatenate(several) ** 2)))


def judged(columns: Columns, questions: dict[str, Question]) -> tuple[dict[str, float], list[str]]:
    """name -> error, of every law, of auto and of the oracle; and the laws chosen."""
    budget = budgets.group(c_6nd(columns["n"], columns["d"]))
    columns = {**columns, "budget": budget}
    whole, windows = {}, {}
    for name, asked in questions.items():
        try:
            whole[name] = fit(thinned(asked), columns, certify=False)
            windows[name] = {w.cutoff: w for w in backtest(thinned(asked), columns, draws=0)}
        except ValueError:
            continue
    first, chosen = next(iter(questions)), []
    auto, oracle = [], []
    for cutoff in windows[first]:
        known = budget <= cutoff
        at = {name: below(whole[name], found[cutoff], known) for name, found in windows.items() if cutoff in found}
        earlier = {name: {c: w for c, w in windows[name].items() if c < cutoff} for name in at}
        scores = [score(name, at[name], earlier[name], at[first], earlier[first], known, budget) for name in at]
        scores = sorted((s for s in scores if s.law != first), key=lambda s: np.nan_to_num(s.ratio, nan=np.inf))
        chosen.append(choose(scores, first).chosen)
        auto.append(errors(windows[chosen[-1]][cutoff]))
        oracle.append(min((errors(windows[name][cutoff]) for name in at), key=lambda e: float(np.mean(e**2))))
    shared = {name: [errors(w) for c, w in of.items() if c in windows[first]] for name, of in windows.items()}
    found = {name: rms(several) for name, several in shared.items() if several}
    return {**found, "auto": rms(auto), "oracle": rms(oracle)}, chosen


def main() -> None:
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--data", metavar="DIR", type=pathlib.Path)
    flags.add_argument("--seeds", type=int, default=2)
    flags.add_argument("--every", action="store_true", help="laws of more constants too, which takes long")
    options = flags.parse_args()
    runtime.set_up()
    questions = candidates(Question(chinchilla), None if options.every else MOST)
    names, ratios = [*questions, "auto", "oracle"], []
    print(f"{'rms error, %':<20}" + "".join(f"{name[-15:]:>17}" for name in names) + "  auto / default, chosen")
    for name, several in sets(options.data, options.seeds).items():
        for columns in several:
            found, chosen = judged(columns, questions)
            ratios.append(found["auto"] / found["chinchilla"])
            cells = "".join(f"{100 * found[n]:>17.2f}" if n in found else f"{'–':>17}" for n in names)
            short = " ".join(text[:2] for text in chosen)
            print(f"{name:<20}{cells}  {ratios[-1]:.2f}  {short}", flush=True)
    print(f"auto over default: worst {max(ratios):.3f}, mean {np.mean(ratios):.3f}")


if __name__ == "__main__":
    main()
