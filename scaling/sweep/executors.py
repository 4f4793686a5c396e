"""Where the workers of a sweep run: on this machine, on a Ray cluster, on Slurm.  Each starts `scaling.sweep.worker`.

An executor is a context; in it `tend` brings back workers that died, as far as that is its business.
"""

import contextlib
import importlib.util
import os
import pathlib
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from scaling.sweep.queue import EXIT_FULL, Queue
from train.children import as_child
from train.errors import UserError, suggest
from train.signals import EXIT_INTERRUPTED, Interrupted

ROOT = pathlib.Path(__file__).parents[2]
RESTARTS = 20  # workers that may die before they take a job, or over many, until a sweep gives up


@runtime_checkable
class Executor(Protocol):
    def __enter__(self) -> "Executor": ...
    def __exit__(self, *_: Any) -> None: ...
    def tend(self) -> None: ...
    def stop(self) -> None: ...


def command(queue: Queue) -> list[str]:
    """A worker of this launch: another one in the same folder has its own failures."""
    return [sys.executable, "-m", "scaling.sweep.worker", queue.place, "--launch", queue.launch]


def missing(queue: Queue) -> bool:
    """Whether runs are missing when all workers have ended: they looked later than this process, so it looks again."""
    queue.refresh(now=True)
    return not queue.finished()


class Local:
    """Processes of this machine, each with its share of the cores: small networks run faster on one thread each."""

    def __init__(self, queue: Queue, workers: int, options: Mapping[str, str]):
        if options:
            raise UserError(f"--set {next(iter(options))}: the local executor takes nothing but --workers")
        self.queue, self.count, self.restarts = queue, workers, 0
        self.logs = queue.logs

    def __enter__(self) -> "Local":
        self.logs.mkdir(parents=True, exist_ok=True)
        self.workers = [self.start(i) for i in range(self.count)]
        return self

    def start(self, index: int) -> subprocess.Popen:
        with open(self.logs / f"worker_{index}.log", "ab") as log:
            return subprocess.Popen(
                command(self.queue),
                cwd=ROOT,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C comes to the sweep, which passes it on
                env=as_child(index, self.count),
            )

    def tend(self) -> None:
        codes = [worker.poll() for worker in self.workers]
        for i, worker in enumerate(self.workers):
            if codes[i] in (None, 0, EXIT_INTERRUPTED):
                continue
            if codes[i] == EXIT_FULL:
                raise UserError(self.last_line(i))
            self.queue.died(socket.gethostname(), worker.pid)
            self.restarts += 1
            if self.restarts > RESTARTS:
                raise UserError(f"{self.restarts} workers died, the last with {self.last_line(i)!r}; see {self.logs}")
            self.workers[i] = self.start(i)
        if all(code == EXIT_INTERRUPTED for code in codes):
            raise Interrupted("every worker was asked to stop, and saved; the same command goes on")
        if all(code == 0 for code in codes) and missing(self.queue):
            raise UserError(f"every worker has ended and runs are missing; see {self.logs}, and give the command again")

    def last_line(self, index: int) -> str:
        """What a worker said last."""
        path = self.logs / f"worker_{index}.log"
        lines = path.read_text(errors="replace").strip().splitlines() if path.exists() else []
        return lines[-1][:300] if lines else "nothing"

    def stop(self) -> None:
        """Asks the running jobs to save and stop."""
        for worker in self.workers:
            with contextlib.suppress(ProcessLookupError):
                worker.send_signal(signal.SIGTERM)

    def __exit__(self, kind: Any, *_: Any) -> None:
        if kind is not None:
            self.stop()
        for worker in self.workers:
            worker.wait()
        for path in self.logs.glob("*"):  # none where the folder was moved, of which the sweep says its own sentence
            self.queue.publish(path.relative_to(self.queue.workdir).as_posix())


class Ray:
    """Tasks of a Ray cluster (RAY_ADDRESS, or one that is started here), over as many hosts as it has.

    Options: `cpus` of a worker (1), and any resource of the cluster by its name, as TPU=4 for a host of a v5e slice.
    A worker that dies is started again by Ray; a job of a host that is gone is taken over by another worker.
    """

    def __init__(self, queue: Queue, workers: int, options: Mapping[str, str]):
        needs("ray", "ray")
        self.queue, self.count = queue, workers
        amounts = {name: number(name, value) for name, value in options.items()}
        self.cpus, self.resources = amounts.pop("cpus", 1.0), amounts

    def __enter__(self) -> "Ray":
        # Started with `uv run`, Ray would run each worker by the same command in a copy of this folder, where there is
        # no environment; so each runs the Python that Ray was started with on its host.
        os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
        import ray

        environment = {"env_vars": {"PYTHONPATH": str(ROOT)}}
        ray.init(log_to_driver=False, logging_level="ERROR", ignore_reinit_error=True, runtime_env=environment)
        if problem := lacking(ray.nodes(), {"CPU": self.cpus, **self.resources}):
            print(problem, file=sys.stderr)  # no error: clusters grow
        run = ray.remote(num_cpus=self.cpus, resources=self.resources, max_retries=-1)(work_in_a_process)
        self.tasks = [run.remote(command(self.queue)) for _ in range(self.count)]
        return self

    def tend(self) -> None:
        pass

    def stop(self) -> None:
        import ray

        for task in self.tasks:
            ray.cancel(task, force=False)

    def __exit__(self, kind: Any, *_: Any) -> None:
        import ray

        if kind is not None:
            self.stop()
        ray.shutdown()


def lacking(nodes: Sequence[Mapping[str, Any]], wanted: Mapping[str, float]) -> str:
    """A sentence where no host of a Ray cluster, as `ray.nodes` lists them, has what a worker needs, else nothing."""
    hosts = [node["Resources"] for node in nodes if node["Alive"]]
    if any(all(host.get(name, 0) >= amount for name, amount in wanted.items()) for host in hosts):
        return ""
    countable = lambda name: "memory" not in name and ":" not in name  # Ray lists bytes and the hosts' own names too
    shown = lambda host: " and ".join(f"{n:g} {name}" for name, n in host.items() if countable(name))
    have = "; ".join(sorted({shown(host) for host in hosts}))
    return f"no host of the Ray cluster has {shown(wanted)} (they have {have}); the sweep waits for one that has"


def work_in_a_process(command: list[str]) -> int:
    """In a Ray task: the worker as a process of its own, whose SIGTERM saves."""
    worker = subprocess.Popen(command, cwd=ROOT, env=as_child(0, 1))
    try:
        return worker.wait()
    finally:
        worker.terminate()


class Slurm:
    """Jobs of Slurm through submitit; options are its parameters, as timeout_min=600, slurm_partition=long."""

    def __init__(self, queue: Queue, workers: int, options: Mapping[str, str]):
        needs("submitit", "slurm")
        self.queue, self.count, self.options = queue, workers, dict(options)

    def __enter__(self) -> "Slurm":
        import submitit

        cluster = self.options.pop("cluster", None)
        engine = submitit.AutoExecutor(folder=self.queue.workdir / "slurm", cluster=cluster)
        engine.update_parameters(**{name: plain(value) for name, value in self.options.items()})
        run = submitit.helpers.CommandFunction(command(self.queue), cwd=str(ROOT), verbose=False)
        with engine.batch():
            self.jobs = [engine.submit(run) for _ in range(self.count)]
        return self

    def tend(self) -> None:
        if all(job.done() for job in self.jobs) and missing(self.queue):
            raise UserError(f"Slurm ended every worker; its logs are in {self.queue.workdir / 'slurm'}")

    def stop(self) -> None:
        for job in self.jobs:
            job.cancel(check=False)

    def __exit__(self, kind: Any, *_: Any) -> None:
        if kind is not None:
            self.stop()
        for job in self.jobs:
            job.wait()


EXECUTORS: dict[str, Callable[[Queue, int, Mapping[str, str]], Executor]] = {"local": Local, "ray": Ray, "slurm": Slurm}


def executor(name: str, queue: Queue, workers: int, options: Mapping[str, str]) -> Executor:
    if name not in EXECUTORS:
        raise UserError(f"--executor {name}{suggest(name, EXECUTORS)}")
    return EXECUTORS[name](queue, workers, options)


def needs(package: str, extra: str) -> None:
    if importlib.util.find_spec(package) is None:
        raise UserError(f"--executor {extra} needs {package}, which is not installed; run `uv sync --extra {extra}`")


def number(name: str, value: str) -> float:
    try:
        return float(value)
    except ValueError:
        raise UserError(f"--set {name}={value}: a resource is counted in numbers") from None


def plain(value: str) -> int | str:
    return int(value) if value.isdigit() else value
