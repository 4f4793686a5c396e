"""Does a sweep on Ray finish when a host of it dies?  Two network namespaces, one killed (needs root, extra ray).

    uv run --extra ray python -m scripts.check.sweep_hosts [--runs 12]

The second host is killed, all its processes at once, when it has a run under way.  Every run must be in the table,
once, and the run that the dead host had must have been taken over.  Exits with 1 where that is not so.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

from scaling.sweep.queue import Queue
from scripts.check.hosts import ADDRESS, NODES, two_hosts
from tests.support.processes import ROOT

PAGE = """
from configs.classics.digits_mlp import get_config as digits


def get_config():
    config = digits()
    config.steps, config.log_every, config.checkpoint.every, config.writers = 15_000, 500, 1000, ()
    return config


def sweep():
    return {"name": "listed", "runs": {f"seed{i}": {"seed": i} for i in range(RUNS)}}
"""


def main(argv: list[str]) -> int:
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--runs", type=int, default=12)
    options = flags.parse_args(argv)
    with tempfile.TemporaryDirectory() as name, two_hosts() as inside:
        folder = pathlib.Path(name)
        page, workdir = folder / "page.py", folder / "sweep"
        page.write_text(PAGE.replace("RUNS", str(options.runs)))
        environment = {**os.environ, "HOME": name, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
        environment |= {"RAY_TMPDIR": name, "RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}
        ray = str(pathlib.Path(sys.executable).with_name("ray"))
        run = lambda line, **more: subprocess.Popen(line, env=environment, cwd=ROOT, text=True, **more)
        head = ["--head", "--port=6379", "--include-dashboard=false"]
        nodes = [head, [f"--address={ADDRESS}1:6379"]]
        for i, more in enumerate(nodes):
            line = [*inside[i], ray, "start", *more, f"--node-ip-address={ADDRESS}{i + 1}", "--num-cpus=1"]
            run(line, stdout=subprocess.DEVNULL).wait()
        environment["RAY_ADDRESS"] = f"{ADDRESS}1:6379"
        line = [*inside[0], sys.executable, "-m", "scaling", "sweep", "--config", str(page), "--workdir", str(workdir)]
        made = run([*line, "--executor", "ray", "--workers", "2"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        victim = kill_second_host(workdir, made)
        output, _ = made.communicate(timeout=900)
        kill(NODES[0])
        print(output)
        if made.returncode:
            return 1
        rows = [json.loads(line)["name"] for line in (workdir / "runs.jsonl").read_text().splitlines()]
        queue = Queue(workdir)
        deaths = {job.name: row["reason"] for job in queue.jobs for row in queue.tries(job)}
        print(f"{len(rows)} of {options.runs} runs recorded, {len(set(rows))} different; taken over: {deaths}")
        return int(len(rows) != options.runs or len(set(rows)) != options.runs or victim not in deaths)


def kill_second_host(workdir: pathlib.Path, made: subprocess.Popen) -> str:
    """Waits until a process of the second host works on a run, kills that host, and says which run it was."""
    while made.poll() is None:
        time.sleep(0.2)
        if not (workdir / "plan.json").exists():
            continue
        there = pids(NODES[1])
        for state in Queue(workdir).states():
            if state.what == "running" and state.step > 2000 and int(state.where.rpartition(":")[2]) in there:
                kill(NODES[1])
                return state.job.name
    return ""


def pids(namespace: str) -> list[int]:
    listed = subprocess.run(["ip", "netns", "pids", namespace], capture_output=True, text=True, check=True)
    return [int(pid) for pid in listed.stdout.split()]


def kill(namespace: str) -> None:
    for pid in pids(namespace):
        subprocess.run(["kill", "-9", str(pid)], check=False, stderr=subprocess.DEVNULL)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
