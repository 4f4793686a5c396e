"""A run on Cloud TPU, from nothing to its record, with gcloud.

    python -m scripts.launch_tpu up   --name a --type v5litepod-16 --zone us-west4-a --bucket my-bucket [--spot]
    python -m scripts.launch_tpu run  --name a --zone us-west4-a -- --config configs/text/gpt_124m.py --workdir gpt
    python -m scripts.launch_tpu logs --name a --zone us-west4-a
    python -m scripts.launch_tpu keep --name a --type … --zone … --bucket … --spot -- --config … --workdir gpt
    python -m scripts.launch_tpu down --name a --zone us-west4-a

up      asks for the slice (a queued resource), waits for it, copies the committed files, installs, mounts the bucket
run     starts training on every host; the work folder is in the bucket, which all hosts see
logs    follows the first host's output
keep    up, run, and the same again whenever the slice is preempted, until the run's record is there; then down
down    deletes the slice; the bucket stays

--dry-run prints the commands and runs none.  See docs/tpu.md.
"""

import argparse
import shlex
import subprocess
import sys
import time
from collections.abc import Callable

RUNTIMES = {"v5litepod": "v2-alpha-tpuv5-lite", "v5p": "v2-alpha-tpuv5", "v6e": "v2-alpha-tpuv6e"}
RUNTIMES |= {"v4": "tpu-ubuntu2204-base"}  # cloud.google.com/tpu/docs/runtimes
ENDED = ("SUSPENDED", "SUSPENDING", "FAILED")  # states of a request that will never be, or no longer is, ACTIVE
PAUSE = 30  # seconds between two looks
CODE = "isoflop"  # folder on the hosts
DATA = "bucket"  # where they see the bucket
PACKAGES, KEY = "https://packages.cloud.google.com/apt", "/usr/share/keyrings/cloud.google.asc"  # of gcsfuse


class Cloud:
    """Runs commands, or with `dry` prints them."""

    def __init__(self, options: argparse.Namespace):
        self.options, self.dry = options, options.dry_run
        self.where = [f"--zone={options.zone}", *([f"--project={options.project}"] if options.project else [])]

    def run(self, line: list[str], check: bool = True) -> str:
        if self.dry:
            print(shlex.join(line))
            return ""
        done = subprocess.run(line, stdout=subprocess.PIPE, text=True, check=False)
        if check and done.returncode:
            sys.exit(f"error: {shlex.join(line)} ended with {done.returncode}")
        return done.stdout.strip()

    def request(self, verb: str, *more: str, check: bool = True) -> str:
        line = ["gcloud", "compute", "tpus", "queued-resources", verb, self.options.name, *self.where, *more]
        return self.run(line, check)

    def ssh(self, command: str, worker: str = "all", check: bool = True) -> str:
        line = ["gcloud", "compute", "tpus", "tpu-vm", "ssh", self.options.name, *self.where]
        return self.run([*line, f"--worker={worker}", f"--command={command}"], check)

    def copy(self, file: str) -> None:
        line = ["gcloud", "compute", "tpus", "tpu-vm", "scp", file, f"{self.options.name}:", *self.where]
        self.run([*line, "--worker=all"])

    def state(self) -> str:
        return self.request("describe", "--format=value(state.state)", check=False)


def main(argv: list[str]) -> None:
    split = argv.index("--") if "--" in argv else len(argv)
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("action", choices=["up", "run", "logs", "keep", "down"])
    flags.add_argument("--name", required=True, help="of the slice")
    flags.add_argument("--zone", required=True, help="such as us-west4-a")
    flags.add_argument("--project", help="default: gcloud's own")
    flags.add_argument("--type", help="of the slice, such as v5litepod-16, v5p-128, v6e-8")
    flags.add_argument("--bucket", help="Cloud Storage bucket of the work folders, in the same region")
    flags.add_argument("--spot", action="store_true", help="cheaper, and may be preempted")
    flags.add_argument("--dry-run", action="store_true")
    options = flags.parse_args(argv[:split])
    training = argv[split + 1 :]
    if options.action in ("up", "keep"):
        missing = [f"--{name}" for name in ("type", "bucket") if getattr(options, name) is None]
        if missing:
            flags.error(f"{options.action} needs {' and '.join(missing)}")
        if options.type.split("-")[0] not in RUNTIMES:
            flags.error(f"--type {options.type}: known are {', '.join(f'{kind}-N' for kind in RUNTIMES)}")
    if options.action in ("run", "keep") and not any(item.startswith("--workdir") for item in training):
        flags.error(f"{options.action} needs what to train: -- --config FILE --workdir NAME")
    cloud = Cloud(options)
    actions: dict[str, Callable[[], None]] = {
        "up": lambda: up(cloud),
        "run": lambda: run(cloud, training),
        "logs": lambda: print(cloud.ssh(f"tail -n +1 -f {CODE}/train.log", worker="0")),
        "keep": lambda: keep(cloud, training),
        "down": lambda: down(cloud),
    }
    actions[options.action]()


def up(cloud: Cloud) -> None:
    options = cloud.options
    runtime = RUNTIMES[options.type.split("-")[0]]
    kind = [f"--accelerator-type={options.type}", f"--runtime-version={runtime}", f"--node-id={options.name}"]
    access = "--scopes=https://www.googleapis.com/auth/cloud-platform"
    cloud.request("create", *kind, access, *(["--spot"] if options.spot else []))
    while not cloud.dry and (state := cloud.state()) != "ACTIVE":
        if state in ENDED:
            sys.exit(f"error: the request for {options.type} is {state}; gcloud's `queued-resources describe` says why")
        print(f"{options.name}: {state or 'asked for'}", flush=True)
        time.sleep(PAUSE)
    cloud.run(["git", "bundle", "create", "/tmp/isoflop.bundle", "HEAD"])  # with its history: records name the commit
    cloud.copy("/tmp/isoflop.bundle")
    cloud.ssh(
        f"mkdir -p {DATA} && (test -d {CODE} || git clone -q isoflop.bundle {CODE}) && cd {CODE} "
        "&& git fetch -q ../isoflop.bundle HEAD && git checkout -q FETCH_HEAD "
        "&& pip install -q uv && ~/.local/bin/uv sync -q --extra tpu"
    )
    cloud.ssh(
        f"which gcsfuse || (echo 'deb [signed-by={KEY}] {PACKAGES} gcsfuse-jammy main' "
        f"| sudo tee /etc/apt/sources.list.d/gcsfuse.list && curl -s {PACKAGES}/doc/apt-key.gpg "
        f"| sudo tee {KEY} > /dev/null && sudo apt-get -q update && sudo apt-get -qy install gcsfuse); "
        f"mountpoint -q {DATA} || gcsfuse --implicit-dirs {options.bucket} {DATA}"
    )


def run(cloud: Cloud, training: list[str]) -> None:
    """One process a host; they find each other.  A second start goes on from the last checkpoint."""
    words = list(training)
    for i in range(1, len(words)):
        if words[i - 1] == "--workdir":
            words[i] = f"../{DATA}/{words[i]}"
    command = f"~/.local/bin/uv run --extra tpu python -m train {shlex.join(words)}"
    running = "kill -0 $(cat train.pid) 2> /dev/null"
    cloud.ssh(f"cd {CODE} && ({running} || (nohup {command} > train.log 2>&1 & echo $! > train.pid))")


def keep(cloud: Cloud, training: list[str]) -> None:
    workdir = training[training.index("--workdir") + 1]
    record = ["gcloud", "storage", "ls", f"gs://{cloud.options.bucket}/{workdir}/record.json"]
    up(cloud)
    run(cloud, training)
    while not cloud.dry and not cloud.run(record, check=False):
        time.sleep(PAUSE)
        if cloud.state() in ENDED:
            print(f"{cloud.options.name} was preempted; asking for another", flush=True)
            down(cloud)
            up(cloud)
            run(cloud, training)
    if cloud.dry:
        cloud.run(record)
    down(cloud)


def down(cloud: Cloud) -> None:
    cloud.request("delete", "--force", "--quiet", check=False)


if __name__ == "__main__":
    main(sys.argv[1:])
