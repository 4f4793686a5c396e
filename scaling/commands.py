"""What each command of `python -m scaling` takes: its flags and their help, a function a command."""

import argparse
import os
from collections.abc import Callable

from scaling.approaches import ALL, APPROACHES
from scaling.approaches import LAW as ALONE
from scaling.fit.question import METHODS, SPACES
from scaling.laws import LAWS
from scaling.logs.vocabulary import CONVENTIONS, KEPT, MEANINGS

DEFAULT = next(iter(LAWS))
AUTO = "auto"  # chinchilla, or the law of the same inputs that is clearly the better one to forecast with


def add_demo(flags: argparse.ArgumentParser) -> None:
    flags.add_argument("--workdir", metavar="DIR", default="runs/demo", help="default: runs/demo")
    flags.add_argument(
        "--workers", metavar="N", type=int, default=os.cpu_count(), help="processes; default: one a core"
    )


def add_sweep(flags: argparse.ArgumentParser) -> None:
    flags.add_argument("--config", metavar="FILE", required=True, help="a config with a sweep()")
    flags.add_argument("--workdir", metavar="DIR", required=True, help="one folder a run goes below it")
    flags.add_argument(
        "--workers", metavar="N", type=int, default=os.cpu_count(), help="processes; default: one a core"
    )
    flags.add_argument("--dry-run", action="store_true", help="only list the runs and their cost")
    flags.add_argument("--status", action="store_true", help="only say how far the sweep in --workdir is")
    flags.add_argument("--executor", metavar="NAME", default="local", help="local, ray or slurm; default: local")
    flags.add_argument(
        "--set",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="for ray a resource, as TPU=4; for slurm a parameter",
    )


def add_fit(flags: argparse.ArgumentParser) -> None:
    flags.add_argument(
        "runs",
        metavar="RUNS",
        nargs="+",
        help="work folders of runs or sweeps; CSV, JSON, Parquet, W&B, TensorBoard and other logs: docs/logs.md",
    )
    flags.add_argument("--out", metavar="DIR", required=True, help="where report.html, fit.json and plots go")
    flags.add_argument(
        "--law",
        choices=(*LAWS, AUTO),
        metavar="LAW",
        help=f"default: {DEFAULT}; {', '.join(LAWS)}; {AUTO}: {DEFAULT}, or the law that clearly forecasts better",
    )
    flags.add_argument("--formula", metavar="TEXT", help='a law of your own, as "L = E + A / N^alpha + B / D^beta"')
    flags.add_argument("--law-file", metavar="FILE", help="a Python file with a Law of your own; it is executed")
    flags.add_argument(
        "--count",
        choices=tuple(CONVENTIONS),
        metavar="COUNT",
        help=f"which parameters N counts: {', '.join(CONVENTIONS)}; default: total where it was recorded",
    )
    add_columns(flags, "columns (guessed from their names, and said, where no flag names one)")
    rows = flags.add_argument_group("rows")
    rows.add_argument("--filter", metavar="COND", action="append", default=[], help="COL=VALUE, !=, <, <=, >, >=")
    rows.add_argument(
        "--best",
        action="store_true",
        help="of rows of the same inputs keep that of least loss; seeds are averaged first",
    )
    rows.add_argument("--last", action="store_true", help="keep the last row of each run")
    rows.add_argument(
        "--drop-outliers", metavar="N", default="none", help="leave out the N rows of largest loss; default: none"
    )
    rows.add_argument(
        "--keep",
        metavar="ROWS",
        choices=tuple(KEPT),
        action="append",
        default=[],
        help=f"rows that are left out otherwise: {'; '.join(f'{name}, {text}' for name, text in KEPT.items())}",
    )
    how = flags.add_argument_group("fit")
    how.add_argument(
        "--delta",
        metavar="X",
        type=float,
        help="where the Huber loss on log loss turns linear; inf for least squares; default: 1e-3, inf for step laws",
    )
    how.add_argument(
        "--space",
        choices=SPACES,
        default=SPACES[0],
        metavar="SPACE",
        help="of residuals: log (the default), or loss, the loss itself; --delta is then in nats",
    )
    how.add_argument("--pin", metavar="NAME=X", action="append", default=[], help="hold a parameter, as E=1.69")
    how.add_argument("--tie", metavar="A=B", action="append", default=[], help="hold two exponents equal")
    how.add_argument("--method", choices=METHODS, metavar="METHOD", help=f"of the bootstrap: {', '.join(METHODS)}")
    how.add_argument("--draws", metavar="N", type=int, default=1000, help="resamples; default: 1000")
    how.add_argument("--level", metavar="P", type=float, default=0.9, help="of intervals; default: 0.9")
    add_approaches(how)
    how.add_argument("--heldout", metavar="FLOPS", default="largest", help="budget to forecast; default: the largest")
    how.add_argument(
        "--train-below", metavar="X", help="forecast every run from X FLOPs on by those below; or n=X, d=X"
    )


def add_approaches(flags: argparse._ArgumentGroup) -> None:
    texts = sorted([(number, one.text) for number, one in APPROACHES.items()] + [(ALONE, "the law alone")])
    flags.add_argument(
        "--approach",
        choices=(*(number for number, _ in texts), ALL),
        default=ALL,
        metavar="N",
        help=f"{', '.join(f'{number} ({text})' for number, text in texts)}; default: all that the runs allow",
    )
    for one in APPROACHES.values():
        for name, option in one.options.items():
            flags.add_argument(f"--{name}", **option._asdict())


def add_columns(flags: argparse.ArgumentParser, title: str) -> None:
    columns = flags.add_argument_group(title)
    for role, text in MEANINGS.items():
        columns.add_argument("--flops" if role == "c" else f"--{role}", dest=f"role_{role}", metavar="COL", help=text)


def add_predict(flags: argparse.ArgumentParser) -> None:
    flags.add_argument("--fit", metavar="FILE", required=True, help="a fit.json, or the folder it is in")
    flags.add_argument("--then", metavar="FILE", help="a second fit.json, of a law that reads what the first forecasts")
    flags.add_argument("--law-file", metavar="FILE", help="the file of a law of your own, where the fit is of one")
    flags.add_argument("runs", metavar="ROWS", nargs="+", help="tables of the law's inputs, as `fit` reads them")
    add_columns(flags, "columns (guessed from their names where no flag names one)")


def add_plan(flags: argparse.ArgumentParser) -> None:
    flags.add_argument("--fit", metavar="FILE", required=True, help="a fit.json, or the folder it is in")
    flags.add_argument("--law-file", metavar="FILE", help="the file of a law of your own, where the fit is of one")
    flags.add_argument("--group", metavar="LABEL", help="which optimizer, where the fit compares several")
    for name, text in (
        ("flops", "a budget, 6 N D"),
        ("loss", "a loss to reach"),
        ("tokens", "the tokens there are"),
        ("params", "the size there is to be"),
        ("batch", "tokens of a batch, to say how many steps"),
    ):
        flags.add_argument(f"--{name}", metavar="X", type=float, help=text)


def add_design(flags: argparse.ArgumentParser) -> None:
    flags.add_argument("--config", metavar="FILE", help="a config whose sweep() names shapes")
    flags.add_argument("--n", metavar="SIZES", help="instead, for runs made elsewhere: 1e7:1e9, or 1e7,3e7,1e8")
    flags.add_argument("--d", metavar="TOKENS", help="beside --n, in the same way")
    flags.add_argument("--budget", metavar="FLOPS", type=float, required=True, help="of all runs together, 6 N D")
    flags.add_argument("--points", metavar="N", type=int, default=25, help="runs; default: 25")
    flags.add_argument("--fit", metavar="FILE", help="a fit.json to start from; default: Hoffmann et al. 2022")
    flags.add_argument("--target", metavar="FLOPS", type=float, help="where the optimum is wanted; default: 10x budget")


def add_selftest(flags: argparse.ArgumentParser) -> None:
    pass


COMMANDS: dict[str, tuple[Callable[[argparse.ArgumentParser], None], str]] = {  # name -> its flags, its help
    "demo": (add_demo, "sweep, fit and report in one go, on text that comes with the packages"),
    "sweep": (add_sweep, "make the runs of a config's sweep()"),
    "fit": (add_fit, "fit a law to runs: the terminal's summary, fit.json, and the report"),
    "report": (add_fit, "the same, for the page: prints where it is"),
    "predict": (add_predict, "what runs that are not made yet will measure, by a fitted law"),
    "plan": (add_plan, "the best run for a budget, a loss, a token count or a size"),
    "design": (add_design, "which runs tell most about the optimum, for a total budget"),
    "selftest": (add_selftest, "fit laws whose answer is known, in under two minutes"),
}
