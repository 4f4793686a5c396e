"""Runs one experiment in several processes, and starts all of them again when one dies.

    python -m train supervise --processes 2 -- --config configs/text/text_gpt.py --workdir runs/x
    python -m train supervise --processes 4 --nodes 2 --node 0 --coordinator host0:8476 -- …     on every node

What follows -- goes to `python -m train`.  Processes cannot outlive one of them that is killed, so they start again
together, from the last checkpoint, as often as that gets them further.  The screen shows process 0; all are logged in
WORKDIR/logs.
"""

import contextlib
import os
import pathlib
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time

from train.children import as_child
from train.cli import folder, moved, parser
from train.devices.clusters import TOKEN
from train.errors import UserError
from train.extend import last_checkpoint
from train.signals import EXIT_INTERRUPTED, Interrupt, Interrupted

RETRIES = 3  # starts without a new checkpoint between them
GRACE = 60  # seconds for the others to save, or to come to the same end, after one has ended
USER_ERROR = 2


def main(argv: list[str]) -> None:
    os.environ.setdefault("PYTHONUNBUFFERED", "1")  # of the processes that it starts
    split = argv.index("--") if "--" in argv else len(argv)
    flags = parser("python -m train supervise", __doc__ or "")
    flags.add_argument("--processes", type=int, default=1, metavar="N", help="on this node")
    flags.add_argument("--nodes", type=int, default=1, metavar="N", help="hosts that run this command")
    flags.add_argument("--node", type=int, default=0, metavar="I", help="which of them this is")
    flags.add_argument("--coordinator", metavar="HOST:PORT", help="an address of node 0; needed with several nodes")
    flags.add_argument("--retries", type=int, default=RETRIES, metavar="N", help="starts without a new checkpoint")
    options = flags.parse(argv[:split])
    command = argv[split + 1 :]
    if not command:
        flags.error("what to train is missing: -- --config FILE --workdir DIR")
    if options.processes < 1 or not 0 <= options.node < options.nodes:
        flags.error(f"--processes {options.processes} --node {options.node} of --nodes {options.nodes} cannot be")
    if options.nodes > 1 and options.coordinator is None:
        flags.error("several nodes need --coordinator HOST:PORT, an address of node 0 that all reach")
    named = after("--workdir", command)
    if named is None:
        flags.error("-- needs a --workdir DIR that all nodes share")
    workdir = folder("--workdir", named)

    left, reached = options.retries, last_checkpoint(workdir)
    with Interrupt() as interrupt:
        while True:
            died = Group(options, command, workdir / "logs").run(interrupt)
            if not died:
                return
            now = last_checkpoint(workdir)
            left, reached = (options.retries, now) if now > reached else (left - 1, reached)
            if left < 0:
                raise UserError(
                    f"{died}, and {options.retries + 1} starts brought no checkpoint after step {reached}; "
                    f"see {workdir / 'logs'}"
                )
            print(f"{died}; all start again from step {now} ({left} more starts without progress)", flush=True)


class Group:
    """The processes of this node, once."""

    def __init__(self, options, command: list[str], logs: pathlib.Path):
        logs.mkdir(parents=True, exist_ok=True)
        coordinator = options.coordinator or f"localhost:{free_port()}"
        self.ranks = range(options.node * options.processes, (options.node + 1) * options.processes)
        self.logs = {rank: logs / f"process_{rank}.log" for rank in self.ranks}
        self.started = {rank: path.stat().st_size if path.exists() else 0 for rank, path in self.logs.items()}
        whole = ["--coordinator", coordinator, "--processes", str(options.processes * options.nodes)]
        # All of them on this node: a secret. On several nodes each has a supervisor: what their environment gives.
        secret = {TOKEN: secrets.token_hex(16)} if options.nodes == 1 else {}
        self.processes = {}
        for i, rank in enumerate(self.ranks):
            with open(self.logs[rank], "ab") as log:
                self.processes[rank] = subprocess.Popen(
                    [sys.executable, "-m", "train", *command, *whole, "--process", str(rank)],
                    stdout=log,
                    stderr=log,
                    start_new_session=True,  # Ctrl-C comes to this process only, which passes it on
                    env={**as_child(i, options.processes), **secret},
                )

    def run(self, interrupt: Interrupt) -> str:
        """Waits for the end: "" when all are done, or who died.  Raises what no new start would mend."""
        first, told = self.ranks[0], False
        done = threading.Event()
        screen = threading.Thread(target=show, args=(self.logs[first], self.started[first], done))
        screen.start()
        try:
            while all(code is None for code in self.codes()):
                time.sleep(0.05)
                if interrupt.requested and not told:
                    told = True
                    self.send(signal.SIGTERM)
            # One failed: the others wait for it in vain.  All ended well: they end within moments of each other.
            alone = any(code not in (None, 0, EXIT_INTERRUPTED) for code in self.codes())
            deadline = time.monotonic() + (1 if alone else GRACE)
            while any(code is None for code in self.codes()) and time.monotonic() < deadline:
                time.sleep(0.05)
            return self.verdict()
        finally:
            self.send(signal.SIGKILL)
            for process in self.processes.values():
                process.wait()
            done.set()
            screen.join()

    def verdict(self) -> str:
        codes = dict(zip(self.ranks, self.codes(), strict=True))
        if not any(codes.values()) and None not in codes.values():
            return ""
        killed = [rank for rank, code in codes.items() if (code or 0) < 0]
        refused = [rank for rank, code in codes.items() if code == USER_ERROR]
        if refused and not killed:  # beside a killed process, an error is what the others made of its end
            raise UserError(f"process {refused[0]}: {last_line(self.logs[refused[0]])}")
        if EXIT_INTERRUPTED in codes.values() and set(codes.values()) <= {0, EXIT_INTERRUPTED}:
            raise Interrupted("stopped, with everything saved; the same command goes on")
        # SIGKILL comes from outside; SIGABRT is how JAX ends the others.
        rank, code = min(codes.items(), key=lambda item: (item[1] != -signal.SIGKILL, not item[1]))
        how = "did not end" if code is None else signal.Signals(-code).name if code < 0 else f"exit code {code}"
        return f"process {rank} died ({how})"

    def codes(self) -> list[int | None]:
        return [process.poll() for process in self.processes.values()]

    def send(self, number: int) -> None:
        for process in self.processes.values():
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(number)


def show(log: pathlib.Path, start: int, done: threading.Event) -> None:
    """Copies what is added to `log` to the screen until `done`, and then the rest."""
    with open(log, errors="replace") as file:
        file.seek(start)
        while True:
            last = done.is_set()
            for line in file:
                if not line.startswith("error: "):  # `verdict` says it, of whichever process
                    print(line, end="", flush=True)
            if last:
                return
            time.sleep(0.1)


def after(flag: str, command: list[str]) -> str | None:
    """The value of `flag`, given as `--flag VALUE` or `--flag=VALUE`."""
    for item, following in zip(command, [*command[1:], None], strict=True):
        if item == flag:
            return following
        if item.startswith(f"{flag}="):
            return item.split("=", 1)[1]
    return None


def last_line(log: pathlib.Path) -> str:
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.startswith("error:")]
    return lines[-1].removeprefix("error: ") if lines else f"see {log}"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return probe.getsockname()[1]


if __name__ == "__main__":
    moved("python -m train.devices.supervise", "python -m train supervise")
