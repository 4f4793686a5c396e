"""Several processes as one run: the roll call before it, and what only the first of them does.

`jax.distributed` aborts every process, and names none, when one of them does not come.  So they meet on the
coordinator's port first, where process 0 says to all who is missing, or who came with another config or other code.
"""

import contextlib
import ctypes
import json
import os
import pathlib
import re
import signal
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.experimental import multihost_utils

from train.errors import UserError

PATIENCE = 60.0  # seconds until a process that has not come is called missing
HEARTBEAT = 30  # seconds without a sign of life after which JAX ends the others
SHARE = "ISOFLOP_SHARE"  # the variable that tells a process which of how many on its host it is
LONGEST = 2000  # bytes of an error that is told to every process


class Seat(NamedTuple):
    """Which of how many processes this is."""

    coordinator: str  # host:port of process 0
    processes: int
    process: int
    devices: tuple[int, ...] | None = None  # of this host, where several processes share its GPUs


def seat(coordinator: str | None, processes: int | None, process: int | None) -> Seat | None:
    """The seat that flags give, or the one that Cloud TPU, Slurm, Open MPI gives, or None: alone."""
    if coordinator is None and processes is None and process is None:
        return detected()
    if coordinator is None or processes is None or process is None:
        raise UserError("--coordinator HOST:PORT, --processes N and --process I belong together; give all three")
    if not re.fullmatch(r".+:\d+", coordinator):
        raise UserError(f"--coordinator {coordinator} has no port; write HOST:PORT, such as {coordinator}:8476")
    if not 0 <= process < processes:
        raise UserError(f"--process {process} of --processes {processes}; they are numbered 0 … {processes - 1}")
    return Seat(coordinator, processes, process)


def detected() -> Seat | None:
    """As `jax.distributed.initialize()` without arguments would find it."""
    from jax._src import cloud_tpu_init, clusters  # they know all of these clusters, and have no public name

    many = lambda name: int(os.environ.get(name, "1")) > 1
    slurm = many("SLURM_NTASKS") and "SLURM_STEP_NODELIST" in os.environ  # not so in a shell of sbatch or salloc
    if not (slurm or many("OMPI_COMM_WORLD_SIZE") or cloud_tpu_init.running_in_cloud_tpu_vm):
        return None
    found = clusters.ClusterEnv.auto_detect_unset_distributed_params(None, None, None, None, None, int(PATIENCE))
    coordinator, processes, process, devices = found
    if coordinator is None or processes is None or process is None:
        raise UserError(
            "this is one of several processes, but JAX does not find the others (of Open MPI it knows version 4, and "
            "5 where mpi4py is installed); give --coordinator HOST:PORT, --processes N and --process I"
        )
    return Seat(coordinator, processes, process, tuple(devices) if devices else None) if processes > 1 else None


def join(place: Seat | None, same: Mapping[str, str]) -> None:
    """Makes this process one of several, before JAX is first used; alone it does nothing.

    `same` is what all must agree in, by name: their config, their code.
    """
    if place is None:
        return
    (gather if place.process == 0 else answer)(place, same)
    jax.distributed.initialize(
        place.coordinator,
        place.processes,
        place.process,
        local_device_ids=place.devices,
        cluster_detection_method="deactivate",
        initialization_timeout=int(PATIENCE),
        heartbeat_timeout_seconds=HEARTBEAT,
    )
    here, there = (address(name) for name in (socket.gethostname(), place.coordinator.rsplit(":", 1)[0]))
    if jax.default_backend() == "cpu" and here.startswith("127.") and not there.startswith("127."):
        raise UserError(
            f"this host's name, {socket.gethostname()}, stands for {here}, where no other host reaches it, and CPUs "
            "exchange by name; give the name its address in the network in /etc/hosts"
        )


def address(host: str) -> str:
    try:
        return socket.gethostbyname(host.strip("[]"))
    except OSError:
        return ""


def gather(place: Seat, same: Mapping[str, str], patience: float = PATIENCE) -> None:
    """Process 0: waits for all others and tells them to begin, or why not."""
    deadline = time.monotonic() + patience
    came: dict[int, tuple[str, socket.socket]] = {}
    wrong = ""
    with contextlib.ExitStack() as lines:
        server = lines.enter_context(listen(int(place.coordinator.rsplit(":", 1)[1]), deadline))
        while len(came) < place.processes - 1 and not wrong and time.monotonic() < deadline:
            server.settimeout(max(0.01, deadline - time.monotonic()))
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):  # a time-out, or a stranger
                line = lines.enter_context(server.accept()[0])
                hello = receive(line, 5.0)
                process, host = int(hello["process"]), str(hello["host"])
                wrong = differs(place, process, host, hello["same"], same, came)
                tell([line] if wrong else [], wrong)
                came.setdefault(process, (host, line))
        missing = [i for i in range(1, place.processes) if i not in came]
        if missing and not wrong:
            wrong = absent(place, missing, patience)
        tell([line for _, line in came.values()], wrong)
    if wrong:
        raise UserError(wrong)


def answer(place: Seat, same: Mapping[str, str], patience: float = PATIENCE) -> None:
    """The others: come, and wait until all have."""
    deadline = time.monotonic() + patience
    host, port = place.coordinator.rsplit(":", 1)
    hello = {"process": place.process, "host": socket.gethostname(), "same": dict(same)}
    reason = ""
    while time.monotonic() < deadline:
        try:
            with socket.create_connection((host.strip("[]"), int(port)), timeout=5) as line:
                line.sendall(json.dumps(hello).encode() + b"\n")
                verdict = receive(line, max(1.0, deadline - time.monotonic() + 5))  # 5: the first began later
            if verdict["wrong"]:
                raise UserError(verdict["wrong"])
            return
        except UserError:
            raise
        except (OSError, ValueError, KeyError) as error:  # not there yet, or still one of an earlier start
            reason = str(error) or type(error).__name__
            time.sleep(0.2)
    raise UserError(
        f"process {place.process} of {place.processes} ({socket.gethostname()}) does not reach process 0 at "
        f"{place.coordinator} within {patience:g} s ({reason}); is it running, and is that port open?"
    )


def listen(port: int, deadline: float) -> socket.socket:
    """A server on every interface; the port may be held for a moment by the start before this one."""
    both = socket.has_dualstack_ipv6()
    while True:
        try:
            family = socket.AF_INET6 if both else socket.AF_INET
            return socket.create_server(("", port), family=family, dualstack_ipv6=both)
        except OSError as error:
            if time.monotonic() > deadline:
                raise UserError(f"port {port} of this host is taken ({error.strerror}); choose another") from None
            time.sleep(0.2)


def tell(lines: list[socket.socket], wrong: str) -> None:
    for line in lines:
        with contextlib.suppress(OSError):
            line.sendall(json.dumps({"wrong": wrong}).encode() + b"\n")


def receive(line: socket.socket, seconds: float) -> dict[str, Any]:
    line.settimeout(seconds)
    text = line.makefile().readline()
    if not text:
        raise ConnectionError("it hung up")
    return json.loads(text)


def differs(place: Seat, process: int, host: str, theirs: Mapping, ours: Mapping, came: dict) -> str:
    """What keeps this process from taking part; empty where nothing does."""
    if not 0 < process < place.processes:
        return f"a process {process} of {host} came, but there are {place.processes}, numbered from 0"
    if process in came and not alive(came[process][1]):
        del came[process]  # it was started again meanwhile
    if process in came:
        return f"process {process} came twice: from {came[process][0]} and from {host}; number each differently"
    other = [
        f"{name} {theirs.get(name)!r} there, {ours[name]!r} on process 0"
        for name in ours
        if theirs.get(name) != ours[name]
    ]
    return f"process {process} ({host}) differs from process 0: {'; '.join(other)}" if other else ""


def alive(line: socket.socket) -> bool:
    line.setblocking(False)
    try:
        return line.recv(1) != b""
    except BlockingIOError:
        return True
    except OSError:
        return False


def absent(place: Seat, missing: list[int], patience: float) -> str:
    hosts = hosts_of(place.processes)
    names = ", ".join(f"{i} ({hosts[i]})" if hosts else str(i) for i in missing)
    return (
        f"{len(missing)} of {place.processes} processes did not come to {place.coordinator} within {patience:g} s: "
        f"{names}; look whether they run, and whether they reach that address"
    )


def hosts_of(processes: int) -> list[str] | None:
    """The host of each process, where Cloud TPU or Slurm says so."""
    listed = os.environ.get("TPU_WORKER_HOSTNAMES", "").split(",")
    if listed == [""]:
        listed = list(expand(os.environ.get("SLURM_STEP_NODELIST", "")))
    if not listed or processes % len(listed):
        return None
    return [host for host in listed for _ in range(processes // len(listed))]


def expand(nodes: str) -> Iterator[str]:
    """Slurm's "a[01-03,7],b" as a01, a02, a03, a7, b."""
    for prefix, ranges in re.findall(r"([^,\[\]]+)(?:\[([^\]]*)\])?", nodes):
        for part in ranges.split(",") if ranges else [""]:
            low, _, high = part.partition("-")
            numbers = range(int(low), int(high) + 1) if high else [part]
            yield from (f"{prefix}{i:0{len(low)}d}" if high else f"{prefix}{part}" for i in numbers)


def first() -> bool:
    """Whether this is the process that writes."""
    return jax.process_index() == 0


def on_first(make: Callable[[], Any]) -> Any:
    """What `make` returns on process 0 (as JSON), on every process; its `UserError` too."""
    if jax.process_count() == 1:
        return make()
    said: dict[str, Any] = {}
    if first():
        try:
            said = {"value": make()}
        except UserError as error:
            said = {"wrong": str(error)}
    text = json.dumps(said).encode()
    length = int(multihost_utils.broadcast_one_to_all(np.int32(len(text))))
    shared = np.frombuffer(text.ljust(length)[:length], np.uint8)
    said = json.loads(np.asarray(multihost_utils.broadcast_one_to_all(shared)).tobytes())
    if "wrong" in said:
        raise UserError(said["wrong"])
    return said["value"]


def all_told(wrong: str) -> str:
    """The first process's error that is not empty, on every process, so that all take the same way."""
    if jax.process_count() == 1:
        return wrong
    mine = np.frombuffer(wrong.encode()[:LONGEST].ljust(LONGEST), np.uint8)
    every = np.asarray(multihost_utils.process_allgather(mine)).reshape(-1, LONGEST)
    told = [row.tobytes().decode(errors="replace").strip() for row in every]
    return next((text for text in told if text), "")


def check_shared(path: pathlib.Path) -> None:
    """Raises where a process does not see the file that process 0 wrote."""
    here = f"process {jax.process_index()} ({socket.gethostname()})"
    wrong = f"{here} does not see {path} of process 0; --workdir must be a folder that all hosts share"
    told = all_told("" if path.exists() else wrong)
    if told:
        raise UserError(told)


def stop_together() -> Callable[[int], bool] | None:
    """(step) -> whether any process was told to stop, the same on all; None alone."""
    return multihost_utils.reached_preemption_sync_point if jax.process_count() > 1 else None


def own_cores(index: int, count: int) -> None:
    """Gives this process, number `index` of `count` on the host, its share of the cores."""
    available = sorted(os.sched_getaffinity(0))
    share = max(1, len(available) // count)
    os.sched_setaffinity(0, {available[(index * share + i) % len(available)] for i in range(share)})


def as_child(index: int, count: int) -> dict[str, str]:
    """The environment of a new process, number `index` of `count` on this host, that calls `settle`."""
    return {**os.environ, SHARE: f"{index}/{count}"}


def settle() -> None:
    """In a process that was started with `as_child`: its share of the cores; and SIGTERM, so that it saves, should the
    one that started it be killed.  Elsewhere nothing.

    The process does so itself, since what Python runs between fork and exec may deadlock where JAX has threads.
    """
    told = os.environ.pop(SHARE, None)
    if told is None:
        return
    index, count = map(int, told.split("/"))
    own_cores(index, count)
    PR_SET_PDEATHSIG = 1
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
