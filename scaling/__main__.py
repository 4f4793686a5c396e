"""Scaling laws of the runs you make, and of anybody's logs.

    python -m scaling demo                                          trains two dozen small GPTs and fits their law
    python -m scaling sweep --config configs/scaling/scaling_demo.py --workdir runs/sweep
    python -m scaling fit runs/sweep --out runs/sweep               law, intervals, held-out error, report.html
    python -m scaling fit runs.csv --n "Model Size" --flops "Training FLOP" --loss loss --out fitted
    python -m scaling predict --fit fitted to_come.csv              losses of runs that are not made yet
    python -m scaling plan --fit fitted --flops 1e21                which N and D, and the loss they should reach
    python -m scaling design --config configs/scaling/scaling_demo.py --budget 5e12
    python -m scaling selftest                                      laws with a known answer, on this machine

Every command goes on where it stopped when it is given again.
"""

import argparse
import contextlib
import gc
import json
import pathlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

from scaling import approaches
from scaling.commands import AUTO, COMMANDS, DEFAULT, add_fit
from scaling.laws import LAWS, Law
from scaling.logs.vocabulary import KEPT, MEANINGS
from train.bucket import written
from train.cli import Parser, folder, parser, run_command
from train.errors import UserError


def main(argv: list[str]) -> int | None:
    flags = parser("python -m scaling", __doc__ or "")
    commands = flags.add_subparsers(dest="command", metavar="COMMAND", parser_class=Parser, required=True)
    for name, (add, text) in COMMANDS.items():
        made = commands.add_parser(name, help=text, description=text, allow_abbrev=False)
        made.add_argument("--json", action="store_true", help="print JSON instead of text")
        add(made)
    options = flags.parse(argv)
    chosen = {
        "demo": demo, "sweep": sweep, "fit": fit, "report": report, "predict": predict, "plan": plan, "design": design,
        "selftest": selftest,
    }  # fmt: skip
    return chosen[options.command](options)


def demo(options: argparse.Namespace) -> None:
    from scaling.sweep import launch  # noqa: F401 - before there are two threads, which must not import it at once
    from scaling.warm import warming

    rest = {
        "config": "configs/scaling/scaling_demo.py",
        "dry_run": False,
        "status": False,
        "executor": "local",
        "set": [],
    }
    with warming(rows=25) as warm:  # as many runs
        sweep(argparse.Namespace(**vars(options), **rest))
        warm()
    made = Parser(prog="fit")
    add_fit(made)
    chosen = made.parse_args([options.workdir, "--out", options.workdir])
    with contextlib.nullcontext() if options.json else writing(folder("--workdir", options.workdir)) as written:
        fit(argparse.Namespace(**vars(chosen), json=options.json))
        if written:
            print(f"\n{written()}")


@contextlib.contextmanager
def writing(
    workdir: pathlib.Path, begins: str = "Fellow-citizens of the Congress:", tokens: int = 192
) -> Iterator[Callable[[], str]]:
    """Has some lines of text written by the run of least loss, in a process beside this one; gives what they are.

    They begin with half a context of the demo's, so that every window has one shape and one program.
    """
    from train import history

    records = {path.parent: history.finished(path.parent) or {} for path in sorted(workdir.glob("runs/*/record.json"))}
    best = min(records, key=lambda run: records[run]["loss"] or float("inf"))
    command = f"python -m train sample --workdir {best}"
    args = ["--workdir", str(best), "--prompt", begins, "--tokens", str(tokens), "--temperature", "0.8", "--seed", "0"]
    process = subprocess.Popen(
        [sys.executable, "-m", "train", "sample", *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )

    def written() -> str:
        said, wrong = process.communicate()
        return f"{best.name}, the best of them, writes ({command}):\n{(said or wrong).rstrip()}"

    try:
        yield written
    finally:
        process.terminate()
        process.wait()


def sweep(options: argparse.Namespace) -> None:
    from scaling.sweep import design
    from scaling.sweep.launch import check, status
    from scaling.sweep.launch import sweep as run
    from train import configs

    if options.status:
        print(status(folder("--workdir", options.workdir)))
        return
    module = configs.load(options.config)
    config = configs.config_of(module, options.overrides)
    jobs = design.jobs(module, config)
    total = sum(job.flops for job in jobs)
    say = (lambda text: print(text, file=sys.stderr, flush=True)) if options.json else print
    say(f"{len(jobs)} runs, {total:.2e} FLOP (6 N D) on {options.workers} processes, in {options.workdir}")
    if options.dry_run:
        if options.json:
            print(json.dumps([job._asdict() for job in jobs], indent=1))
        else:
            width = max([16, *(len(job.name) for job in jobs)])
            print("\n".join(f"  {job.name:<{width}} {job.flops:.2e} FLOP  {job.overrides}" for job in jobs))
        return
    outcome = run(
        module.__file__,  # a page by its name too
        jobs,
        folder("--workdir", options.workdir),
        workers=options.workers,
        say=say,
        overrides=options.overrides,
        where=options.executor,
        options=dict(pair(item) for item in options.set),
        live=sys.stdout.isatty() and not options.json,
    )
    if options.json:
        print(json.dumps({"done": outcome.rows, "failed": outcome.failed}, indent=1))
    check(outcome, folder("--workdir", options.workdir))


def pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals:
        raise UserError(f"--set {text} has no value; write --set {text}=VALUE")
    return key, value


def fit(options: argparse.Namespace) -> None:
    analysis = _analysis(options)  # judges columns before the figures' libraries load

    from scaling.logs import training
    from scaling.report import fitfile, page, terminal

    with written(options.out) as out:
        page.write(out, analysis, training.curves(options.runs, analysis.runs.by_step))
    print(_json(fitfile.as_json(analysis)) if options.json else terminal.summary(analysis, options.out))


def report(options: argparse.Namespace) -> None:
    analysis = _analysis(options)

    from scaling.logs import training
    from scaling.report import page

    with written(options.out) as out:
        page.write(out, analysis, training.curves(options.runs, analysis.runs.by_step))
    path = f"{options.out.rstrip('/')}/report.html"
    print(_json({"report": path}) if options.json else path)


def _analysis(options: argparse.Namespace) -> Any:
    if not 0 < options.level < 1:
        raise UserError(f"--level is {options.level:g}; it is a probability such as 0.9")
    if options.draws < 20:
        raise UserError(f"--draws is {options.draws}; an interval needs 20 resamples at the very least, 1000 usually")
    most = options.drop_outliers
    if most != "none" and not most.isdigit():
        raise UserError(f"--drop-outliers is {most!r}; it takes a number of rows, or none")
    pin = {name: _number("--pin", value) for name, value in map(_pair, options.pin)}
    auto = options.law == AUTO
    if auto and (options.pin or options.tie or options.formula or options.law_file):
        raise UserError(f"--law {AUTO} chooses among laws; name one of them to hold its parameters or to give your own")
    if options.train_below and options.heldout != "largest":
        raise UserError("--train-below and --heldout each say what is forecast; leave one of them out")

    from scaling.fit.question import Question
    from scaling.logs import readers, records

    budget = _heldout(options)
    law, given = _law(options), _given(options)
    delta = law.delta if options.delta is None else options.delta
    asked = Question(law, delta, pin, dict(map(_pair, options.tie)), options.space)
    runs = records.assign(  # before anything that loads JAX: a wrong column is said at once
        readers.read(options.runs), inputs=law.inputs, output=law.output, count=options.count, given=given,
        filters=options.filter, last=options.last, best=options.best, drop_outliers=0 if most == "none" else int(most),
        keep=options.keep,
    )  # fmt: skip

    judge = [records.judge(law.inputs, law.output)] if options.best else []
    records.unread(runs, given, options.count, [*law.inputs, law.output, *judge])

    from scaling.analyse import analyse
    from train.devices import runtime

    runtime.set_up()
    return analyse(
        runs,
        asked,
        heldout_budget=budget,
        auto=auto,
        draws=options.draws,
        method=options.method,
        level=options.level,
        choice=approaches.Choice(options.approach, vars(options)),
    )


def _given(options: argparse.Namespace) -> dict[str, str]:
    """role -> column, of the flags that name columns."""
    return {role: v for role in MEANINGS if (v := getattr(options, f"role_{role}")) is not None}


def _heldout(options: argparse.Namespace) -> Any:
    """What is forecast: a budget, or every run that training does not stop below."""
    if options.train_below is None:
        return options.heldout if options.heldout == "largest" else _number("--heldout", options.heldout)

    from scaling.fit.question import Below

    role, _, value = options.train_below.rpartition("=")
    return Below(role or "c", _number("--train-below", value))


def _law(options: argparse.Namespace) -> Law:
    """The law that is asked for: of the reader's own formula or file, or by its name."""
    from scaling.laws import own

    named = [flag for flag in ("law", "formula", "law_file") if getattr(options, flag)]
    if len(named) > 1:
        flags = " and ".join("--" + flag.replace("_", "-") for flag in named)
        raise UserError(f"{flags} each give a law; leave {'one' if len(named) == 2 else 'two'} of them out")
    if options.formula:
        return own.from_formula(options.formula)
    if options.law_file:
        return own.from_file(options.law_file)
    return LAWS[DEFAULT if options.law in (None, AUTO) else options.law]


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise UserError(f"{text!r} is not NAME=VALUE")
    return name, value


def _number(flag: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise UserError(f"{flag} takes a number, not {text!r}") from None


def predict(options: argparse.Namespace) -> None:
    from scaling import predict as forecast
    from scaling.logs import readers, records
    from scaling.report import fitfile

    fitted = fitfile.load(options.fit, options.law_file)
    law = fitted.law
    runs = records.assign(  # the runs have measured nothing yet: an input stands for the output
        readers.read(options.runs),
        inputs=law.inputs,
        output=law.inputs[0],
        given=_given(options),
        keep=tuple(KEPT),
    )
    runs = records.numbered(runs, law.groups) if law.groups else runs
    second = fitfile.load(options.then) if options.then else None
    found = forecast.chained(fitted, second, runs.columns) if second else forecast.predict(fitted, runs.columns)
    if options.json:
        print(_json([one._asdict() for one in found]))
        return
    equations = [law.equation, *([second.law.equation] if second else [])]
    print("\n".join([*equations, *forecast.table(found, fitted, second.law.output if second else None)]))
    for sentence in [f"left out {entry['row']}: {entry['reason']}" for entry in runs.dropped]:
        print(f"! {sentence}")


def plan(options: argparse.Namespace) -> None:
    from scaling import plan as planner
    from scaling.report import fitfile

    fitted = fitfile.load(options.fit, options.law_file)
    made = planner.plan(
        fitted, flops=options.flops, loss=options.loss, tokens=options.tokens, params=options.params,
        batch=options.batch, group=options.group,
    )  # fmt: skip
    print(_json(made._asdict()) if options.json else planner.text(made, fitted))


def design(options: argparse.Namespace) -> None:
    from scaling.report import fitfile
    from scaling.sweep import informative
    from train import configs

    if not (bool(options.config) ^ bool(options.n or options.d)) or bool(options.n) ^ bool(options.d):
        raise UserError("a design is of a --config, or of sizes and tokens: --n 1e7:1e9 --d 1e9:1e11")
    params = fitfile.load(options.fit).params if options.fit else None
    how = (options.budget, options.points, params, options.target)
    if options.config:
        module = configs.load(options.config)
        made = informative.informative(module, configs.config_of(module, options.overrides), *how)
    else:
        n, d = (informative.values(getattr(options, name), f"--{name}") for name in ("n", "d"))
        made = informative.elsewhere(n, d, *how)
    print(_json(made._asdict()) if options.json else informative.text(made))


def selftest(options: argparse.Namespace) -> int:
    from scaling.selftest import checks
    from train.devices import runtime

    runtime.set_up()
    if not options.json:
        return int(not checks.run())
    made = {name: check() for name, check in checks.CHECKS.items()}
    print(_json({name: {**found._asdict(), "ok": found.ok} for name, found in made.items()}))
    return int(not all(found.ok for found in made.values()))


def _json(tree: Any) -> str:
    return json.dumps(tree, indent=1, default=lambda v: v.tolist() if hasattr(v, "tolist") else str(v))


if __name__ == "__main__":
    gc.set_threshold(200_000)  # a command of seconds makes little garbage: looking for it takes half a second of nine
    run_command(main, sys.argv[1:])
