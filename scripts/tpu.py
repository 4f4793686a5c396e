"""What is done with a slice of TPUs: asked for, made ready, set to train, looked at, deleted (launch_tpu says when)."""

import datetime
import pathlib
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

from scripts.gcloud import RUNTIMES, Cloud, Failed, chips

ENDED = ("SUSPENDED", "SUSPENDING", "FAILED", "DELETING", "")  # a request that will never be ACTIVE, or no longer is
ROOT = pathlib.Path(__file__).parents[1]
PAUSE = 30.0  # seconds between two looks
MISSED = 20  # looks one after the other that gcloud may fail
SAVING = 300  # seconds that a run has to save
CODE = "isoflop"  # folder on the hosts
DATA = "bucket"  # where they see the bucket
RUNNING = "[ -e /proc/$(cat train.pid 2> /dev/null)/exe ]"  # not of one that has ended and waits for its parent
NUMBER = "host=$(hostname); host=${host##*-}"  # of a host: its name ends in it
PACKAGES, KEY = "https://packages.cloud.google.com/apt", "/usr/share/keyrings/cloud.google.asc"  # of gcsfuse


class Refused(Failed):
    """A request that will never be granted as it is."""


def up(cloud: Cloud, hours: float) -> float:
    """The slice, ready to run; one that is there is used as it is.  The moment from which on it was active."""
    options = cloud.options
    say_uncommitted()
    state = cloud.state()
    if cloud.dry or state in ENDED:
        try:
            cloud.check_offers()
        except Failed as error:
            raise Refused(str(error)) from None
        if state:
            down(cloud)
        runtime = RUNTIMES[options.type.split("-")[0]]
        kind = [f"--accelerator-type={options.type}", f"--runtime-version={runtime}", f"--node-id={options.name}"]
        access = "--scopes=https://www.googleapis.com/auth/cloud-platform"
        cloud.run(cloud.request("create", *kind, access, *(["--spot"] if options.spot else [])))
    while not cloud.dry and (state := patiently(cloud.state)) != "ACTIVE":
        if state in ENDED:
            raise Refused(
                f"the request for {options.type} is {state or 'gone'}; gcloud's `queued-resources describe` says why, "
                "and `down` deletes it"
            )
        print(f"{options.name}: {state}", flush=True)
        pause()
    since = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        bundle = f"{folder}/isoflop.bundle"
        cloud.run(
            ["git", "-C", str(ROOT), "bundle", "create", "--quiet", bundle, "HEAD"]
        )  # with its history: records name the commit
        cloud.copy(bundle)
    cloud.ssh(  # not under a run that is going on
        f"(cd {CODE} 2> /dev/null && {RUNNING}) || "
        f"{{ mkdir -p {DATA} && (test -d {CODE} || git clone -q isoflop.bundle {CODE}) && cd {CODE} "
        "&& git fetch -q ../isoflop.bundle HEAD && git checkout -q FETCH_HEAD "
        "&& pip install -q uv && ~/.local/bin/uv sync -q --extra tpu --extra gcs; }"
    )
    cloud.ssh(
        f"which gcsfuse || (echo 'deb [signed-by={KEY}] {PACKAGES} gcsfuse-jammy main' "
        f"| sudo tee /etc/apt/sources.list.d/gcsfuse.list && curl -s {PACKAGES}/doc/apt-key.gpg "
        f"| sudo tee {KEY} > /dev/null && sudo apt-get -q update && sudo apt-get -qy install gcsfuse); "
        f"mountpoint -q {DATA} || gcsfuse --implicit-dirs {shlex.quote(options.bucket)} {DATA}"
    )
    delete = shlex.join(cloud.request("delete", "--force", "--quiet"))
    guard = f'sleep {hours * 3600:.0f}; {stop()}; sleep {SAVING}; test "$host" != 0 || {delete}'
    guard = f"nohup sh -c {shlex.quote(f'{NUMBER}; {guard}')} > guard.log 2>&1 < /dev/null & echo $! > guard.pid"
    cloud.ssh(f"cd {CODE} && {{ kill $(cat guard.pid) 2> /dev/null; {guard}; }}")
    return since


def say_uncommitted() -> None:
    found = subprocess.run(["git", "status", "--porcelain"], cwd=ROOT, capture_output=True, text=True, check=False)
    files = [line[3:] for line in found.stdout.splitlines()]
    if files:
        shown = ", ".join(files[:5]) + (f" and {len(files) - 5} more" if len(files) > 5 else "")
        print(f"not committed, so not copied: {shown}", file=sys.stderr, flush=True)


def run(cloud: Cloud, folder: str, training: list[str]) -> None:
    """One process a host; they find each other.  A second start goes on from the last checkpoint.

    At its end a host leaves in the bucket `exits/HOST.log`, and then `exits/HOST.CODE`.
    """
    exits = shlex.quote(f"../{DATA}/{folder}/exits")
    job = (
        f"trap : TERM; .venv/bin/python -m train {shlex.join(training)} > train.log 2>&1; code=$?; "
        f"cp train.log {exits}/$host.log; touch {exits}/$host.$code"
    )
    start = f"nohup sh -c {shlex.quote(f'{NUMBER}; {job}')} > /dev/null 2>&1 < /dev/null & echo $! > train.pid"
    fresh = f"{NUMBER}; mkdir -p {exits}; rm -f {exits}/$host.*"
    cloud.ssh(f"cd {CODE} && {{ {RUNNING} || {{ {fresh}; {start}; }}; }}")


def stop() -> str:
    """Asks the process that trains on a host to save and end; in the folder of the code."""
    return "pkill -TERM -P $(cat train.pid)"


def pause() -> None:
    time.sleep(PAUSE)


def patiently[T](look: Callable[[], T]) -> T:
    """What `look` finds; a network that fails for some minutes ends nothing."""
    for missed in range(1, MISSED):
        try:
            return look()
        except Failed as error:
            print(f"look {missed} of {MISSED} failed: {error}", file=sys.stderr, flush=True)
            pause()
    return look()


def status(cloud: Cloud) -> None:
    options = cloud.options
    state = cloud.state()
    print(f"{options.name}: {state or 'no such slice'}", flush=True)
    if state != "ACTIVE" and not cloud.dry:
        return
    node = cloud.node()
    if node:
        hours = (
            datetime.datetime.now(datetime.UTC) - datetime.datetime.fromisoformat(node["createTime"])
        ).total_seconds() / 3600
        spent = chips(node["acceleratorType"]) * hours
        dollars = f", ${spent * options.price:,.2f} at ${options.price:g}" if options.price is not None else ""
        print(f"{node['acceleratorType']} for {hours:.1f} h: {spent:,.0f} chip-hours{dollars}", flush=True)
    last = "$(tail -n 1 train.log)"
    print(
        cloud.ssh(
            f'cd {CODE} && {NUMBER} && if {RUNNING}; then echo "host $host trains: {last}"; '
            f'else echo "host $host does not train: {last}"; fi'
        )
    )


def logs(cloud: Cloud) -> None:
    line = cloud.on_hosts(f"tail -n +1 -f {CODE}/train.log", worker="0")
    if cloud.dry:
        cloud.run(line)
    elif code := subprocess.run(line, check=False).returncode:
        raise Failed(f"{shlex.join(line)} ended with {code}")


def down(cloud: Cloud, before: str = "") -> bool:
    """Deletes the slice, and fails where it may still be there and billed.  Whether there was one."""
    line = cloud.request("delete", "--force", "--quiet")
    try:
        if not cloud.dry and not cloud.state():
            print(f"there is no slice {cloud.options.name} in {cloud.options.zone}", flush=True)
            return False
        cloud.run(line)
        return True
    except Failed as error:
        raise Failed(
            f"{before}the slice could not be deleted ({error}): it is billed until it is; try again with "
            f"python -m scripts.launch_tpu down {shlex.join(['--name', cloud.options.name, *cloud.where])}"
        ) from None
