"""The loop: data → step → metrics, evaluation and checkpoints, in the order one reads it.

Steps are dispatched first and their metrics read one step later, so the device never waits for the host.
"""

import contextlib
import errno
import math
import pathlib
import time
from collections.abc import Generator, Iterator, Mapping
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict

from data.pipeline import train_batches
from train import bucket, evaluation, found, init, live, record, saved, score, trace
from train.bucket_owner import owner_of
from train.checkpoint import Checkpoints, all_finite
from train.cost import budget, machine
from train.devices import hosts, mesh
from train.display import Display
from train.errors import NonFiniteError, UserError
from train.experiment import Experiment, build_experiment
from train.files import write_json
from train.metrics import Metrics, Sums, added, compute, since_best
from train.optim.chain import evaluation_params, learning_rates, peak_rate
from train.owner import Owner
from train.program import Kept, check_attention
from train.signals import Interrupt, Interrupted
from train.step import TrainState
from train.writer import Silent, Writer, check_copies

SKIP = ", or with --config.nonfinite=skip"  # which helps where the gradient is not finite
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)


def train(
    config: ConfigDict,
    workdir: pathlib.Path,
    display: Display | None = None,
    profile: int = -1,
    kept: Kept | None = None,
) -> dict[str, Any]:
    """Trains, or goes on where `workdir` stopped, and returns the run's record.

    `profile` is a step from which a profiler trace of ten steps is taken; `kept` are programs of this process's runs
    before, which several that differ in steps or seed alone share.  Raises `UserError` for what a user can
    mend, `Interrupted` after a SIGTERM or Ctrl-C, with everything saved.
    """
    display = display or Display(quiet=not hosts.first())
    asked, experiment = config, build_experiment(config)
    config = experiment.config
    devices = mesh.make_mesh(config.mesh.to_dict(), config.cpu_devices)
    mesh.check_batch(devices.shape, config.batch_size, "batch_size", config.accumulate)
    mesh.check_batch(devices.shape, config.eval.batch_size, "eval.batch_size")
    mesh.check_parallel(devices, config.parallel)
    check_attention(experiment, devices)
    check_copies(config.writers)
    trace.check(profile, config.steps)
    weights = init.plan(experiment, workdir) if config.init and not bucket.steps_saved(workdir) else None
    # Only now: what is refused above leaves no folder that holds its config.
    owner = owner_of(workdir)
    try:
        own = lambda: owner.take(workdir, display.say)

        def opened() -> dict[str, Any] | None:
            found = record.open_folder(workdir, config, display.say, own)
            if not found:
                saved.keep(workdir, experiment)
            owner.flush()
            return found

        finished = hosts.on_first(opened)
        if not hosts.first():
            owner.follow()
        hosts.check_shared(workdir / "config.json")
        if finished:
            display.say(f"{workdir} is complete: {record.one_line(finished)}")
            return finished
        if wrong := hosts.all_told(saved.differs(workdir, experiment.dataset)):
            raise UserError(wrong)
        display.say(found.table(experiment, asked))
        with (
            Interrupt(hosts.stop_together()) as interrupt,
            contextlib.closing(Run(experiment, devices, workdir, display, owner, weights, kept or Kept())) as run,
        ):
            row = run.train(interrupt, profile)
    except Exception as error:
        owner.check()  # its new owner removes what the former one was writing, which then fails in many ways
        if not isinstance(error, OSError) or error.errno not in NO_ROOM:
            raise
        raise UserError(
            f"cannot write to {workdir} ({error.strerror}); make room there, and the same command goes on from the "
            "last whole checkpoint"
        ) from error
    finally:
        owner.release()
    if interrupt.requested:  # after the last step; a caller with more to train must hear of it
        raise Interrupted(f"asked to stop while {workdir} was finishing; it is complete")
    return row


class Run:
    """One run's open files, compiled programs and state.  `train` is the loop."""

    def __init__(
        self,
        experiment: Experiment,
        devices: Mesh,
        workdir: pathlib.Path,
        display: Display,
        owner: Owner,
        weights: init.Plan | None,
        kept: Kept,
    ):
        self.started, self.owner, self.weights, self.kept = time.monotonic(), owner, weights, kept
        self.experiment, self.workdir, self.display = experiment, workdir, display
        self.config = config = experiment.config
        self.mesh = devices
        self.surroundings = record.environment(mesh.hardware())
        if hosts.first():
            write_json(workdir / "environment.json", self.surroundings)
        self.share = mesh.share(devices, config.batch_size)
        self.eval_share = mesh.share(devices, config.eval.batch_size)
        self.init_key, self.loop_key, self.eval_key = jax.random.split(jax.random.key(config.seed), 3)
        keep = config.checkpoint
        self.checkpoints = Checkpoints(
            bucket.checkpoints(workdir), keep_last=keep.keep, best=keep.best, say=display.say
        )
        self.pending: list[tuple[int, Metrics]] = []
        self.sums: Sums = {}  # of the steps since the last log
        self.writer: Writer | Silent = Silent()
        self.losses: list[float | None] = []  # held out, of every evaluation since step 0
        self.data: Generator | None = None
        # A display is quiet on other hosts, and in a sweep, whose runs `compare` draws together.
        self.page = live.Page(workdir, display.say, draws=not display.quiet)
        self.trace: trace.Trace | None = None

    def train(self, interrupt: Interrupt, profile: int) -> dict[str, Any]:
        config, experiment = self.config, self.experiment
        state, first = self.start()
        self.data = batches = self.batches(first, config.loader.to_dict())
        stopped = early_stop(self.losses, config.eval.patience)
        self.clock = Clock(first)
        every = max(1, config.steps // 10) if config.eval.every < 0 else config.eval.every
        traced = self.trace = trace.Trace(profile, self.workdir / "profile", self.display.say)
        if 0 <= profile < first:
            self.display.say(f"--profile {profile} is before step {first}, from which the run goes on: nothing traced")
        for step in range(first, config.steps):
            if stopped:
                break
            batch = self.clock.waiting_for(batches)
            traced.before(step)
            rate = np.float32(experiment.schedule(step))
            state, metrics = self.step(state, self.share.place(batch), self.loop_key, rate)
            done = step + 1
            if step % config.log_every == 0:
                self.flush()  # the steps before this one, while the device works on it
            self.pending.append((done, metrics))
            traced.after(state)
            held_out, last = None, done == config.steps  # the last step is scored and saved by `finish`
            if every and done % every == 0 and not last:
                held_out = self.evaluate(state, done)
                stopped = early_stop(self.losses, config.eval.patience)
            due = done % config.checkpoint.every == 0 or (held_out and config.checkpoint.best)
            stop = interrupt.at(done)
            if (due and not last) or stop:
                self.save(done, state, held_out)
            if (held_out or due) and not (stop or last) and self.page.refresh():
                self.clock.restart(done)  # drawing is no training
            if stop:
                self.checkpoints.wait()
                self.page.write()
                traced.close(state)
                raise interrupt.interrupted(done, config.steps, self.workdir)
        traced.close(state)
        return self.finish(state)

    def start(self) -> tuple[TrainState, int]:
        """The table of what the run will cost, then the state to go on from and compiled programs."""
        config, experiment = self.config, self.experiment
        programs = self.kept.of(experiment, self.mesh, self.display.say)
        counted = programs.counted
        self.display.say(budget.table(counted, experiment.dataset.unit))
        first_batch = next(self.batches(0, {}))
        self.step, self.eval, self.details = programs.step, programs.eval, programs.details
        state = self.checkpoints.restore(mesh.state_shapes(self.mesh, experiment.state, experiment.axes))
        if state is None:
            state = programs.init(self.init_key, self.share.place(first_batch), self.weights_given())
        first = int(state.step)
        self.sums = self.checkpoints.sums(first) if first else {}
        self.losses = hosts.on_first(lambda: self.open_logs(first))
        compiled = self.step.compile(state, self.share.place(first_batch), self.loop_key, np.float32(0))
        self.budget = budget.measure(counted, compiled, self.mesh.devices.size)
        begins = f"{'resuming at' if first else 'from'} step {first}"
        self.peak = machine.peak(self.mesh.devices)
        self.display.say(f"  compiled in {self.step.seconds:.1f} s: {budget.compiled_line(self.budget)}; {begins}")
        self.display.start(first, config.steps)
        return state, first

    def weights_given(self) -> dict[str, jax.Array]:
        """What `config.init` asks for, if anything; its table is printed."""
        if not self.config.init:
            return {}
        planned = self.weights or init.plan(self.experiment, self.workdir)  # anew after a damaged checkpoint
        if planned is None:
            return {}
        arrays, table = init.given(planned, self.experiment, self.mesh, self.workdir)
        self.display.say(table)
        return arrays

    def open_logs(self, first: int) -> list[float | None]:
        """Opens the logs where step `first` left them; the held-out losses that they hold."""
        mark = self.checkpoints.mark(first) if first else None
        writer = self.writer = Writer(self.workdir, self.config.writers, first, record.resolved(self.config), mark)
        return [row.get("loss") for row in writer.rows if row["split"] == "valid"]

    def batches(self, first_step: int, loader: Mapping[str, int]) -> Generator[dict[str, np.ndarray]]:
        return train_batches(
            self.experiment.dataset.train,
            batch_size=self.config.batch_size,
            seed=self.config.seed,
            first_step=first_step,
            rows=self.share.rows,
            **loader,
        )

    def flush(self) -> None:
        """Reads the pending metrics and checks every one of them; where a log is due, writes means since the last."""
        skips = self.config.nonfinite == "skip"
        parts = jax.device_get([metrics for _, metrics in self.pending])
        for (step, _), part in zip(self.pending, parts, strict=True):
            values = compute(part)
            if self.config.nonfinite == "stop" and not all(map(math.isfinite, (values["loss"], values["grad_norm"]))):
                self.pending.clear()
                loss, norm = values["loss"], values["grad_norm"]
                raise self.nonfinite(f"step {step}: loss {loss:g}, gradient norm {norm:g}", SKIP)
            self.sums = added(self.sums, part, finite_only=skips)
            if step % self.config.log_every == 0 or step == self.config.steps:
                self.log(step, compute(self.sums))
                self.sums = {}
        self.pending.clear()

    def log(self, step: int, values: dict[str, float]) -> None:
        experiment, work = self.experiment, self.budget
        learning_rate = peak_rate(self.config.optim.to_dict()) * experiment.schedule(step - 1)
        values = {
            **values,
            "lr": learning_rate,
            f"{experiment.dataset.unit}s": experiment.dataset.units(step * work.units_per_step),
        }
        speed = self.clock.lap(step, work)
        if self.peak:
            speed["mfu"] = speed["flops_per_second"] / self.peak
        if memory := machine.used_memory(self.mesh.local_devices[0]):
            speed["memory_bytes"] = memory
        self.owner.check()
        self.writer.write(step, "train", values)
        self.writer.write_timing(step, speed)
        self.display.progress(step, self.config.steps, values, speed, experiment.dataset.unit)

    def nonfinite(self, what: str, or_else: str = "") -> NonFiniteError:
        self.checkpoints.wait()
        self.page.write()  # which shows how it came to this
        last = self.checkpoints.latest()
        good = (
            f"the last good checkpoint is step {last} in {self.workdir / 'checkpoints'}" if last else "none was saved"
        )
        half = {key: rate / 2 for key, rate in learning_rates(self.config.optim.to_dict()).items()}
        retry = " ".join(f"--config.optim.{key}={rate:g}" for key, rate in half.items())
        return NonFiniteError(f"{what}; {good}. Retry in a new --workdir with {retry}{or_else}")

    def evaluate(self, state: TrainState, step: int, split: str = "valid") -> dict[str, float]:
        """Exact means over the whole split, or over as many of its records as the config says."""
        self.flush()
        dataset = self.experiment.dataset
        params = evaluation_params(state.params, state.opt_state)
        source, count = dataset.valid, self.config.eval.records or len(dataset.valid)
        if split == "train_split":
            source, count = dataset.train, self.config.eval.train_records
        source = evaluation.Spread(source, count)
        size = self.config.eval.batch_size
        values = evaluation.means(self.eval, params, state.model_state, source, size, self.eval_share, self.eval_key)
        if dataset.bytes_per_unit:
            values["bits_per_byte"] = values["loss"] / dataset.bytes_per_unit / math.log(2)
        self.owner.check()
        self.writer.write(step, split, values)
        if split == "valid":
            self.losses.append(values["loss"])
            shown = "  ".join(f"{k} {v:.4f}" for k, v in values.items())
            self.display.say(f"step {step}  held out: {shown}")
        self.clock.restart(step)
        return values

    def save(self, step: int, state: TrainState, held_out: dict[str, float] | None) -> None:
        """Starts to save `state`.  Parameters that are not finite are no state to go on from."""
        self.flush()
        if self.config.nonfinite == "stop" and not all_finite(state.params):
            raise self.nonfinite(f"step {step}: the update made parameters that are not finite")
        self.owner.check()
        about = {"log": self.writer.mark(), "sums": self.sums}
        self.owner.flush()  # the checkpoint trusts the log
        self.checkpoints.save(step, state, held_out["loss"] if held_out else None, about)

    def finish(self, state: TrainState) -> dict[str, Any]:
        self.flush()
        step = int(state.step)
        values = self.evaluate(state, step)
        gap = self.evaluate(state, step, "train_split") if self.config.eval.train_records else {}
        self.save(step, state, values)
        scores = score.at_the_end(self.experiment, self.details, state, self.eval_share, self.workdir, self.display.say)
        self.checkpoints.wait()
        row = record.finished(
            self.workdir.name,
            self.config,
            self.experiment.dataset,
            self.budget,
            self.surroundings,
            step=step,
            held_out=values,
            gap=gap,
            scores=scores,
            seconds=time.monotonic() - self.started,
            compile_seconds=self.step.seconds + self.eval.seconds,
        )
        self.owner.check()
        self.close()
        if hosts.first():
            record.write(self.workdir, row)
        self.page.write()
        self.owner.flush()
        self.display.say(f"done: {record.one_line(row)}  in {self.workdir}")
        return row

    def close(self) -> None:
        """Safe to call twice: at the end, and after any error."""
        self.display.close()
        if self.owner.mine():
            self.writer.close()
        else:
            self.writer.abandon()
        self.writer = Silent()
        if self.trace:
            self.trace.close()  # after an error
        if self.data:
            self.data.close()  # ends the loader's thread and processes
        self.checkpoints.close()


class Clock:
    """Wall time between two logged steps, and the part of it that was spent waiting for data."""

    def __init__(self, step: int):
        self.restart(step)

    def restart(self, step: int) -> None:
        self.step, self.since, self.waited = step, time.perf_counter(), 0.0

    def waiting_for(self, batches: Iterator[Any]) -> Any:
        start = time.perf_counter()
        batch = next(batches)
        self.waited += time.perf_counter() - start
        return batch

    def lap(self, step: int, work: budget.Budget) -> dict[str, float]:
        elapsed, steps = time.perf_counter() - self.since, max(1, step - self.step)
        speed = {
            "seconds_per_step": elapsed / steps,
            "units_per_second": work.units_per_step * steps / elapsed,
            "flops_per_second": work.flops_per_step * steps / elapsed,
            "data_wait": self.waited / elapsed,
        }
        self.restart(step)
        return speed


def early_stop(losses: list[float | None], patience: int) -> bool:
    """True when the last `patience` evaluations brought no better loss; a `patience` of 0 is never."""
    return 0 < patience <= since_best(losses)
