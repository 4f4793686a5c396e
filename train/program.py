"""The compiled programs of a run: its initial state, its train step and its evaluation."""

import functools
import json
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
from jax.sharding import Mesh

from train import score, wrap
from train.cost import budget
from train.devices import mesh
from train.errors import UserError
from train.evaluation import eval_step
from train.experiment import Experiment
from train.step import NOTHING, Batch, TrainState, init_state, train_step

# Sections of a config that no program depends on: they choose its inputs, and how often it is called.
INPUTS = ("steps", "seed", "schedule", "eval", "log_every", "checkpoint", "writers", "loader")
MOST = 8  # runs whose programs a process keeps


class Programs(NamedTuple):
    """Of a run, and what a step of it costs."""

    counted: budget.Budget
    init: Callable[..., TrainState]
    step: "Program"
    eval: "Program"
    details: Callable[[], Any]  # `score.detail`, made when it is first asked for


class Kept:
    """Programs of this process's latest runs: one that differs in its INPUTS alone traces, compiles and loads none."""

    def __init__(self) -> None:
        self.programs: dict[str, Programs] = {}

    def of(self, experiment: Experiment, devices: Mesh, say: Callable[[str], None]) -> Programs:
        rest = {name: part for name, part in experiment.config.to_dict().items() if name not in INPUTS}
        shapes = {name: [str(value.dtype), value.shape] for name, value in experiment.batch.items()}
        key = json.dumps([rest, shapes, str(devices)], sort_keys=True, default=str)
        found = self.programs.pop(key, None)
        if found is None:
            found = programs(experiment, devices, say)
        for program in (found.step, found.eval):
            program.say, program.seconds = say, 0.0
        self.programs[key] = found  # the latest is the last
        if len(self.programs) > MOST:
            del self.programs[next(iter(self.programs))]
        return found._replace(counted=found.counted._replace(steps=experiment.config.steps))


def programs(experiment: Experiment, devices: Mesh, say: Callable[[str], None]) -> Programs:
    return Programs(
        budget.count(experiment),
        init_program(experiment, devices),
        step_program(experiment, devices, say),
        eval_program(experiment, devices, say),
        functools.cache(functools.partial(score.detail, experiment, devices)),
    )


def init_program(experiment: Experiment, devices: Mesh) -> Callable[..., TrainState]:
    """(key, batch, given) -> the state before the first step, spread over the devices; of the batch the shapes count.

    Arrays that are given by their paths replace what would be drawn, which is then not computed; they are given up.
    """
    init = functools.partial(init_state, experiment.task, experiment.tx)
    where = mesh.shardings(devices, experiment.state, experiment.axes)
    options = mesh.init_options(devices)
    return jax.jit(init, out_shardings=where, donate_argnums=2, compiler_options=options)


def initial_state(
    experiment: Experiment, devices: Mesh, key: jax.Array, batch: Batch, given: Mapping[str, jax.Array] = NOTHING
) -> TrainState:
    """The state that `init_program` makes, for a caller that needs it once."""
    return init_program(experiment, devices)(key, batch, dict(given))


def check_attention(experiment: Experiment, devices: Mesh) -> None:
    """Refuses a kernel of attention that the config names, and that these devices lack or that cannot do its work."""
    config = experiment.config
    task = wrap.placed(experiment.task, devices, experiment.axes, config.parallel, config.attention)
    if config.attention in ("auto", "xla") or config.parallel == "pmap":
        return
    state, key = experiment.state, jax.eval_shape(lambda: jax.random.key(0))
    try:
        with task.within():
            jax.eval_shape(lambda s, b, k: task.loss(s.params, s.model_state, b, k, True), state, experiment.batch, key)
    except ValueError as error:
        raise UserError(f"config.{str(error).splitlines()[0]}") from None


def step_program(experiment: Experiment, devices: Mesh, say: Callable[[str], None]) -> "Program":
    """(state, batch, key, rate) -> state, metrics.  The state that goes in is given up."""
    config = experiment.config
    task = wrap.placed(experiment.task, devices, experiment.axes, config.parallel, config.attention)
    step = functools.partial(
        train_step, task=task, tx=experiment.tx, accumulate=config.accumulate, nonfinite=config.nonfinite
    )
    step = mesh.mapped(devices, step) if config.parallel == "pmap" else step
    where = mesh.shardings(devices, experiment.state, experiment.axes)
    return Program(
        "train step",
        step,
        say=say,
        donate=(0,),
        out_shardings=(where, mesh.whole(devices)),
        options=mesh.compiler_options(devices),
    )


def eval_program(experiment: Experiment, devices: Mesh, say: Callable[[str], None]) -> "Program":
    """(params, batch, model_state, key, index) -> metrics."""
    task = wrap.placed(experiment.task, devices, experiment.axes, attention=experiment.config.attention)
    score = functools.partial(eval_step, task=task)
    return Program(
        "evaluation", score, say=say, out_shardings=mesh.whole(devices), options=mesh.compiler_options(devices)
    )


class Program:
    """Calls `jax.jit(fn)`, compiled before its first call, and says what changed when it has to compile again.

    Argument number `watched` (the batch) may be the only one to change its shapes.
    """

    def __init__(
        self,
        name: str,
        fn: Callable,
        *,
        say: Callable[[str], None],
        watched: int = 1,
        donate: tuple = (),
        out_shardings: Any = None,
        options: Any = None,
    ):
        self.name, self.say, self.watched, self.options = name, say, watched, options
        self.jitted = jax.jit(fn, donate_argnums=donate, out_shardings=out_shardings)
        self.compiled: dict[tuple, Any] = {}
        self.seconds = 0.0

    def __call__(self, *args: Any) -> Any:
        signature = describe(args[self.watched])
        if signature not in self.compiled:
            self.compile(*args)
        return self.compiled[signature](*args)

    def compile(self, *args: Any) -> Any:
        """Compiles for these arguments (arrays, or their shapes) without running, where it is not compiled yet."""
        signature = describe(args[self.watched])
        if signature in self.compiled:
            return self.compiled[signature]
        start = time.perf_counter()
        program = self.jitted.lower(*args).compile(self.options)
        seconds = time.perf_counter() - start
        self.seconds += seconds
        if self.compiled:
            before = list(self.compiled)[-1]
            changed = ", ".join(f"{a} became {b}" for a, b in zip(before, signature, strict=False) if a != b)
            self.say(f"{self.name} compiled again ({seconds:.1f} s): {changed or f'{before} became {signature}'}")
        self.compiled[signature] = program
        return program


def describe(batch: dict[str, Any]) -> tuple[str, ...]:
    return tuple(f"{name} {value.dtype}{list(value.shape)}" for name, value in batch.items())
