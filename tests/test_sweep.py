"""Designs on real integer shapes, and sweeps that lose no run: made once, gone on with, tried again, reported."""

import importlib.util
import json
import math
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from scaling import counting
from scaling.sweep import design, executors
from scaling.sweep import queue as queues
from scaling.sweep.launch import Outcome, check, status, sweep
from scaling.sweep.queue import ERRORS, LOST, Queue
from train import configs
from train.errors import UserError
from train.signals import EXIT_INTERRUPTED, Interrupted

ROOT = pathlib.Path(__file__).parents[1]
PAGE = """
from configs.classics.digits_mlp import get_config as digits


def get_config():
    config = digits()
    config.steps, config.batch_size, config.log_every, config.writers = 6, 16, 2, ()
    config.eval.every = config.schedule.warmup = 0
    config.model.update(width=8, layers=1)
    return config
"""


@pytest.fixture
def page(tmp_path):
    """A config that trains in a moment."""
    path = tmp_path / "tiny.py"
    path.write_text(PAGE)
    return str(path)


def config_of(path):
    return configs.config_of(configs.load(str(path)), [])


def mlp_parameters(width, layers):
    """64 pixels, `layers` hidden layers, 10 classes, biases."""
    return 65 * width + (layers - 1) * (width + 1) * width + (width + 1) * 10


def test_isoflop_spends_each_budget_on_the_shapes_nearest_to_the_optimum(page):
    shapes = {f"w{w}": {"model.width": w} for w in (4, 8, 16, 32, 64, 128)}
    sizes = {name: mlp_parameters(changes["model.width"], 1) for name, changes in shapes.items()}
    budgets = (1e8, 1e9)
    jobs = design.isoflop(config_of(page), budgets, shapes, points=3, tokens_per_param=20.0)
    assert len(jobs) == len({job.name for job in jobs}) == 6
    for job in jobs:
        n, examples = sizes[job.name.split("_")[0]], 16
        assert type(job.overrides["steps"]) is int
        assert job.flops == 6.0 * n * examples * job.overrides["steps"]
        assert abs(job.flops - job.budget) <= 0.5 * 6 * n * examples  # the nearest whole number of steps
    for budget in budgets:
        chosen = {job.name.split("_")[0] for job in jobs if job.budget == budget}
        expected = math.sqrt(budget / (6 * 20))
        assert chosen == set(sorted(sizes, key=lambda name: abs(math.log(sizes[name] / expected)))[:3])


def test_isoflop_of_the_demo_counts_what_the_formula_counts():
    module = configs.load(str(ROOT / "configs/scaling/scaling_demo.py"))
    config = config_of(ROOT / "configs/scaling/scaling_demo.py")
    jobs = design.jobs(module, config)
    assert len(jobs) == len(module.sweep()["budgets"]) * module.sweep()["points"]
    for job in jobs:
        changed = design.with_overrides(config, job.overrides)
        shape = {name: changed.model[name] for name in ("layers", "width", "context", "vocab", "positions")}
        tokens = changed.batch_size * changed.data.context * changed.steps
        assert job.flops == counting.c_6nd(counting.count(shape).params_total, tokens)
        assert job.flops == pytest.approx(job.budget, rel=0.01)


def test_a_budget_below_one_step_is_refused(page):
    with pytest.raises(UserError, match="less than one step of w64; raise it or lower the batch"):
        design.isoflop(config_of(page), (1e3,), {"w64": {"model.width": 64}})


def test_grid_is_every_combination(page):
    over = {"model.width": (4, 8), "optim.learning_rate": (1e-3, 1e-2, 1e-1)}
    jobs = design.grid(config_of(page), over)
    assert [job.name for job in jobs][:2] == ["w4_lr0.001", "w4_lr0.01"]
    assert {tuple(job.overrides.values()) for job in jobs} == {(w, lr) for w in (4, 8) for lr in (1e-3, 1e-2, 1e-1)}
    assert all(job.flops == 6.0 * mlp_parameters(job.overrides["model.width"], 1) * 16 * 6 for job in jobs)


def test_listed_is_exactly_the_list(page):
    runs = {"long": {"steps": 12}, "wide": {"model.width": 16}}
    jobs = design.listed(config_of(page), runs)
    assert {job.name: job.overrides for job in jobs} == runs
    assert [job.flops for job in jobs] == [6.0 * mlp_parameters(8, 1) * 16 * 12, 6.0 * mlp_parameters(16, 1) * 16 * 6]


def test_a_config_without_a_sweep_is_told_what_one_is(page):
    with pytest.raises(UserError, match=r"no sweep\(\); it returns a design"):
        design.jobs(configs.load(page), config_of(page))


def made(workdir, name):
    return json.loads((workdir / "runs" / name / "record.json").read_text())


@pytest.mark.slow
def test_changes_of_the_config_reach_every_run_and_a_jobs_own_win(page, tmp_path):
    jobs = [design.Job("plain", {}, 0.0, 1.0), design.Job("own", {"steps": 2}, 0.0, 1.0)]
    outcome = sweep(page, jobs, tmp_path, workers=1, say=lambda line: None, overrides=["steps=4", "model.width=16"])
    assert [row["steps"] for row in outcome.rows] == [4, 2]
    assert [row["params_total"] for row in outcome.rows] == [mlp_parameters(16, 1)] * 2


@pytest.mark.slow
def test_two_runs_on_two_processes_and_a_second_launch_makes_only_what_is_missing(page, tmp_path):
    jobs = design.listed(config_of(page), {"one": {"seed": 1}, "two": {"model.width": 16}})
    said: list[str] = []
    outcome = sweep(page, jobs, tmp_path, workers=2, say=said.append)
    assert outcome.failed == {}
    assert [row["name"] for row in outcome.rows] == ["one", "two"]
    assert [row["params_total"] for row in outcome.rows] == [mlp_parameters(8, 1), mlp_parameters(16, 1)]
    assert [row["flops_6nd"] for row in outcome.rows] == [job.flops for job in jobs]
    table = [json.loads(line) for line in (tmp_path / "runs.jsonl").read_text().splitlines()]
    assert table == outcome.rows

    kept = made(tmp_path, "one")
    (tmp_path / "runs/two/record.json").unlink()
    said.clear()
    again = sweep(page, jobs, tmp_path, workers=2, say=said.append)
    assert said[0] == "1 of 2 runs are done already"
    assert len(said) == 2
    assert said[1].startswith("[ 2/2] two")
    assert made(tmp_path, "one") == kept
    assert again.rows[1]["loss"] == outcome.rows[1]["loss"]  # from its last checkpoint

    said.clear()
    assert sweep(page, jobs, tmp_path, workers=2, say=said.append).rows == again.rows
    assert said == ["2 of 2 runs are done already"]


@pytest.mark.slow
def test_a_failing_run_is_tried_again_and_reported(page, tmp_path):
    jobs = design.listed(config_of(page), {"good": {}, "bad": {"optim.learning_rate": 1e38}})
    said: list[str] = []
    outcome = sweep(page, jobs, tmp_path, workers=2, say=said.append)
    assert [row["name"] for row in outcome.rows] == ["good"]
    assert list(outcome.failed) == ["bad"]
    assert "gradient norm" in outcome.failed["bad"]
    told = [line for line in said if line.startswith("failed: bad")]
    assert [line.endswith("; it is tried again") for line in told] == [True, False]
    assert len((tmp_path / "runs.jsonl").read_text().splitlines()) == 1
    with pytest.raises(UserError, match=r"1 runs failed .*the same command tries them again"):
        check(outcome, tmp_path)
    check(Outcome(outcome.rows, {}), tmp_path)


@pytest.mark.slow
def test_a_process_that_dies_costs_no_run(page, tmp_path, monkeypatch):
    """The first worker takes a job and is gone without a word, as when the kernel runs out of memory."""
    dies = f"import os, pathlib; from scaling.sweep.queue import Queue; Queue(pathlib.Path({str(tmp_path)!r})).take(); "
    started, start = [], executors.Local.start

    def first_dies(self, index):
        started.append(index)
        if len(started) > 1:
            return start(self, index)
        return subprocess.Popen([sys.executable, "-c", dies + "os._exit(9)"], cwd=ROOT)

    monkeypatch.setattr(executors.Local, "start", first_dies)
    jobs = design.listed(config_of(page), {"one": {"seed": 1}, "two": {"seed": 2}})
    said: list[str] = []
    outcome = sweep(page, jobs, tmp_path, workers=1, say=said.append)
    assert len(started) == 2
    assert outcome.failed == {}
    assert [row["name"] for row in outcome.rows] == ["one", "two"]
    assert any(line.endswith("its process died; it is tried again") for line in said)


def queue_of(tmp_path, count=4):
    jobs = [design.Job(f"job{i}", {}, 0.0, float(i)) for i in range(count)]
    return Queue.open(tmp_path, "page.py", [], jobs)


def finish(claim):
    row = {"name": claim.job.name, "steps": 1, "tokens_seen": 1, "params_total": 1, "loss": 1.0, "metrics": {}}
    row |= {"wall_seconds": 1.0, "git_commit": "", "config_hash": ""}
    (claim.folder / "record.json").write_text(json.dumps(row))
    claim.release()


def test_many_workers_make_every_job_once(tmp_path):
    queue, made = queue_of(tmp_path, 30), []

    def work():
        mine = Queue(tmp_path)
        while not mine.finished():
            if claim := mine.take():
                made.append(claim.job.name)
                finish(claim)

    workers = [threading.Thread(target=work) for _ in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert sorted(made) == sorted(job.name for job in queue.jobs)
    assert not list(tmp_path.glob("runs/*/claim*"))


def test_the_longest_job_is_taken_first_and_a_failed_one_last(tmp_path):
    queue = queue_of(tmp_path, 3)
    first = queue.take()
    assert first.job.name == "job2"
    queue.fail(first.job, "because")
    first.release()
    assert [queue.take().job.name for _ in range(3)] == ["job1", "job0", "job2"]
    assert queue.take() is None


def test_a_silent_worker_loses_its_job_to_one_other(tmp_path, monkeypatch):
    monkeypatch.setattr(queues, "SURE", 0.1)
    queue = queue_of(tmp_path, 1)
    silent = queue.take()
    assert queue.take() is None
    long_ago = time.time() - LOST - 5
    os.utime(silent.path, (long_ago, long_ago))
    assert queue.states()[0].what == "waiting"
    takers = [Queue(tmp_path) for _ in range(4)]
    assert not any(taker.take() for taker in takers), "by a clock alone nobody is given up"
    time.sleep(0.15)
    taken = [claim for taker in takers if (claim := taker.take())]
    assert len(taken) == 1
    assert not silent.mine()
    assert taken[0].mine()
    assert "no sign of life of" in queue.states()[0].reason
    silent.release()
    assert taken[0].mine(), "what it releases late is no longer its own"


def test_a_job_is_given_up_after_two_errors_and_tried_again_by_the_next_launch(tmp_path):
    queue = queue_of(tmp_path, 1)
    for _ in range(ERRORS):
        claim = queue.take()
        queue.fail(claim.job, "broken")
        claim.release()
    assert queue.take() is None
    assert queue.finished()
    assert status(tmp_path) == "1 failed\n  job0             failed   step        0   broken"
    assert queue_of(tmp_path, 1).take().job.name == "job0"


def test_what_a_dead_process_held_is_free_at_once(tmp_path):
    queue = queue_of(tmp_path, 2)
    queue.take()
    queue.died(socket.gethostname(), os.getpid())
    assert [state.what for state in queue.states()] == ["waiting", "waiting"]
    assert queue.failures(queue.jobs[1]) == (0, 1)


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("kubernetes", {}, "--executor kubernetes"),
        ("local", {"TPU": "4"}, "takes nothing but --workers"),
        ("ray", {"TPU": "four"}, "--set TPU=four: a resource is counted in numbers"),
    ],
)
def test_executors_that_cannot_be(tmp_path, monkeypatch, name, options, said):
    monkeypatch.setattr(executors, "needs", lambda *_: None)
    with pytest.raises(UserError, match=said):
        executors.executor(name, queue_of(tmp_path), 2, options)


def test_a_sweep_whose_workers_are_all_stopped_ends(tmp_path, monkeypatch):
    """Where something else than the sweep stops them, as a host that shuts down."""
    stopped = [sys.executable, "-c", f"raise SystemExit({EXIT_INTERRUPTED})"]
    monkeypatch.setattr(executors.Local, "start", lambda self, index: subprocess.Popen(stopped))
    with executors.Local(queue_of(tmp_path), 2, {}) as local:
        for worker in local.workers:
            worker.wait()
        with pytest.raises(Interrupted, match="every worker was asked to stop"):
            local.tend()


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ({"CPU": 1.0, "TPU": 4.0}, ""),
        (
            {"CPU": 1.0, "TPUs": 4.0},
            "no host of the Ray cluster has 1 CPU and 4 TPUs (they have 2 CPU; 8 CPU and 4 TPU)",
        ),
        ({"CPU": 4.0, "TPU": 8.0}, "no host of the Ray cluster has 4 CPU and 8 TPU"),
    ],
)
def test_what_no_host_of_a_cluster_has_is_said(wanted, said):
    nodes = [
        {"Alive": True, "Resources": {"CPU": 2.0, "memory": 1e10, "node:10.0.0.1": 1.0}},
        {"Alive": True, "Resources": {"CPU": 8.0, "TPU": 4.0, "object_store_memory": 1e9}},
        {"Alive": False, "Resources": {"CPU": 8.0, "TPU": 8.0}},
    ]
    found = executors.lacking(nodes, wanted)
    assert found.startswith(said)
    assert bool(found) == bool(said)


def test_an_engine_that_is_not_installed_is_named():
    with pytest.raises(UserError, match=r"--executor ray needs no_such_engine, .* run `uv sync --extra ray`"):
        executors.needs("no_such_engine", "ray")


@pytest.mark.slow
def test_slurm_through_its_local_executor(page, tmp_path):
    jobs = design.listed(config_of(page), {"one": {"seed": 1}, "two": {"seed": 2}})
    how = {"where": "slurm", "options": {"cluster": "local", "timeout_min": "10"}}
    outcome = sweep(page, jobs, tmp_path, workers=2, say=lambda line: None, **how)
    assert [row["name"] for row in outcome.rows] == ["one", "two"]


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs ray, the extra ray")
@pytest.mark.parametrize("python", [[sys.executable], ["uv", "run", "--no-sync", "python"]], ids=["python", "uv run"])
def test_ray_on_a_local_cluster(page, tmp_path, python):
    """However it was started, a worker runs in the environment that is here."""
    if shutil.which(python[0]) is None:
        pytest.skip("uv is not installed")
    work = tmp_path / "work"
    path = pathlib.Path(page)
    path.write_text(PAGE + "\n\ndef sweep():\n    return {'name': 'grid', 'over': {'seed': (1, 2)}}\n")
    command = [*python, "-m", "scaling", "sweep", "--config", page, "--workdir", str(work), "--executor", "ray"]
    environment = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0"}
    done = subprocess.run(command, cwd=ROOT, env=environment, check=False, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len((work / "runs.jsonl").read_text().splitlines()) == 2


@pytest.mark.slow
def test_an_interrupted_sweep_goes_on(page, tmp_path):
    """SIGTERM to the front door: runs save and stop, exit code 75; the same command finishes them."""
    path = pathlib.Path(page)
    sweep_of = "\n\ndef sweep():\n    return {'name': 'listed', 'runs': {'one': {'seed': 1}, 'two': {'seed': 2}}}\n"
    started = tmp_path / "started"
    started.mkdir()
    together = (  # no run is through before the other has begun
        f"import os, pathlib, sys, time\n    started = pathlib.Path({str(started)!r})\n"
        "    if 'scaling.sweep.worker' in sys.orig_argv:\n"
        "        (started / str(os.getpid())).touch()\n"
        "        while len(list(started.iterdir())) < 2:\n            time.sleep(0.01)\n"
    )
    text = PAGE.replace("= 6, 16, 2, ()", "= 3000, 16, 20, ()")
    path.write_text(text.replace("config = digits()", f"{together}    config = digits()") + sweep_of)
    work = tmp_path / "work"
    command = [sys.executable, "-m", "scaling", "sweep", "--config", page, "--workdir", str(work), "--workers", "2"]
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    metrics = [work / "runs" / name / "metrics.jsonl" for name in ("one", "two")]
    while not all(m.exists() and m.stat().st_size for m in metrics):
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline, "no run has started"
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 75, said
    assert "the same command goes on" in said
    assert not list(work.glob("runs/*/record.json"))
    steps_saved = lambda name: [
        int(p.name) for p in (work / "runs" / name / "checkpoints").iterdir() if p.name.isdigit()
    ]
    saved = [max(steps_saved(name)) for name in ("one", "two")]
    assert all(0 < step < 3000 for step in saved)

    subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True, timeout=300)
    rows = [json.loads(line) for line in (work / "runs.jsonl").read_text().splitlines()]
    assert [row["steps"] for row in rows] == [3000, 3000]
    for name, step in zip(("one", "two"), saved, strict=True):
        steps = [json.loads(line)["step"] for line in (work / "runs" / name / "metrics.jsonl").read_text().splitlines()]
        assert min(s for s in steps if s > step) <= step + 20  # it went on from there


@pytest.mark.parametrize("content", [b"", b'{"id": "x"', b"[1]", b"\xff", b'{"id": 3}'])
def test_a_claim_that_cannot_be_read_is_given_up_in_time(tmp_path, content, monkeypatch):
    monkeypatch.setattr(queues, "SURE", 0.0)
    queue = queue_of(tmp_path, 1)
    claim = queue.runs / "job0" / "claim"
    claim.parent.mkdir()
    claim.write_bytes(content)
    assert queue.take() is None
    os.utime(claim, (0, 0))
    assert queue.take().job.name == "job0"
    assert "no sign of life of the holder of a claim that cannot be read" in queue.tries(queue.jobs[0])[0]["reason"]


@pytest.mark.parametrize(
    "content", ["", "[1]", '{"jobs": 3}', '{"config": "a", "overrides": [], "launch": "b", "jobs": [3]}']
)
def test_a_plan_that_cannot_be_is_a_sentence(tmp_path, content):
    (tmp_path / "plan.json").write_text(content)
    with pytest.raises(UserError, match=f"{tmp_path}/plan.json.*the command of the sweep writes it again"):
        Queue(tmp_path)


def test_tries_that_cannot_be_are_a_sentence(tmp_path):
    queue = queue_of(tmp_path, 1)
    queue.fail(queue.jobs[0], "because")
    with open(queue.runs / "job0" / "tries.jsonl", "a") as file:
        file.write('{"launch": 3}\n')
    with pytest.raises(UserError, match=r"tries.jsonl, line 2 has launch=3, which is not a text; remove it"):
        queue.states()
