"""The roll call of several processes that make one run, before JAX is first used.

`jax.distributed` aborts every process, and names none, when one of them does not come.  So they meet on the
coordinator's port first, where process 0 says to all who is missing, or who came with another config or other code.

Anyone may reach that port.  A caller counts only when it says hello in one line of JSON, with the token of this run; of
all others process 0 says that they called, and goes on waiting.
"""

import contextlib
import hashlib
import json
import os
import selectors
import socket
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax

from train.devices.clusters import PATIENCE, TOKEN, Seat, hosts_of
from train.errors import UserError
from train.files import Damaged, parsed

HEARTBEAT = 30  # seconds without a sign of life after which JAX ends the others
LONGEST = 1 << 16  # bytes of a hello or a verdict
MOST = 1000  # callers at a time who have not said hello yet; the oldest gives way
HELLO = {"process": int, "host": str, "same": dict, "token": str}
VERDICT = {"wrong": str}
OTHER_RUN = (
    "it has another config, or is of another run; start all processes of a run with the same command, "
    "and each run on a port of its own"
)

Say = Callable[[str], None]


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


def token(same: Mapping[str, str]) -> str:
    """What a process of this run knows: the launcher's secret, or else what its config says."""
    return os.environ.get(TOKEN) or hashlib.sha256(f"roll call {same.get('config', '')}".encode()).hexdigest()


class Caller(NamedTuple):
    line: socket.socket
    where: str
    heard: bytearray


def aloud(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def gather(place: Seat, same: Mapping[str, str], patience: float = PATIENCE, say: Say = aloud) -> None:
    """Process 0: waits for all others and tells them to begin, or why not."""
    deadline = time.monotonic() + patience
    came: dict[int, tuple[str, socket.socket]] = {}
    refused: list[str] = []
    wrong = ""
    with contextlib.ExitStack() as lines:
        server = lines.enter_context(listen(place.coordinator, deadline))
        choice = lines.enter_context(selectors.DefaultSelector())
        choice.register(server, selectors.EVENT_READ)
        while len(came) < place.processes - 1 and not wrong and (left := deadline - time.monotonic()) > 0:
            for key, _ in choice.select(left):
                if key.fileobj is server:
                    accept(server, choice, lines)
                    continue
                hello = hear(key.data, choice, same, refused, say)
                if hello is None:
                    continue
                caller = key.data
                wrong = differs(place, hello["process"], hello["host"], hello["same"], same, came)
                known = came.setdefault(hello["process"], (hello["host"], caller.line))[1]
                if wrong:
                    tell([caller.line] if known is not caller.line else [], wrong)
                    break
        missing = [i for i in range(1, place.processes) if i not in came]
        if missing and not wrong:
            wrong = absent(place, missing, patience) + (f" (refused: {', '.join(refused[:3])})" if refused else "")
        tell([line for _, line in came.values()], wrong)
    if wrong:
        raise UserError(wrong)


def hear(
    caller: Caller, choice: selectors.BaseSelector, same: Mapping[str, str], refused: list[str], say: Say
) -> dict[str, Any] | None:
    """The hello of a process of this run, once it is whole; whoever cannot be one is said, and hung up on."""
    try:
        if not whole_line(caller):
            return None
        hello = parsed(bytes(caller.heard), HELLO, "its hello", "")
        choice.unregister(caller.line)
    except (OSError, ValueError) as error:
        say(f"a caller from {caller.where} was ignored: {str(error).rstrip('; ')}")
        choice.unregister(caller.line)
        caller.line.close()
        return None
    if hello["token"] == token(same):
        return hello
    who = f"process {hello['process']} ({hello['host']})"[:200]
    refused.append(who)
    say(f"{who} was refused: {OTHER_RUN}")
    tell([caller.line], f"{who} was refused by process 0: {OTHER_RUN}")
    caller.line.close()
    return None


def accept(server: socket.socket, choice: selectors.BaseSelector, lines: contextlib.ExitStack) -> None:
    with contextlib.suppress(OSError):  # it hung up at once, or this process has no more files
        line, where = server.accept()
        line.setblocking(False)
        lines.callback(line.close)
        waiting = [key.data for key in choice.get_map().values() if key.data]
        if len(waiting) >= MOST:
            choice.unregister(waiting[0].line)
            waiting[0].line.close()
        choice.register(line, selectors.EVENT_READ, Caller(line, str(where[0]), bytearray()))


def whole_line(caller: Caller) -> bool:
    """Takes what has arrived; whether it is a line now.  Raises where it cannot become one."""
    try:
        part = caller.line.recv(LONGEST)
    except BlockingIOError:
        return False
    if not part:
        raise ConnectionError("it hung up")
    end = part.find(b"\n")
    caller.heard.extend(part if end < 0 else part[:end])
    if len(caller.heard) > LONGEST:
        raise ValueError(f"its hello is longer than {LONGEST:,} bytes")
    return end >= 0


def answer(place: Seat, same: Mapping[str, str], patience: float = PATIENCE) -> None:
    """The others: come, and wait until all have."""
    deadline = time.monotonic() + patience
    host, port = place.coordinator.rsplit(":", 1)
    hello = {"process": place.process, "host": socket.gethostname(), "same": dict(same), "token": token(same)}
    reason = ""
    while time.monotonic() < deadline:
        try:
            with socket.create_connection((host.strip("[]"), int(port)), timeout=5) as line:
                line.sendall(json.dumps(hello).encode() + b"\n")
                verdict = receive(line, max(time.monotonic() + 1.0, deadline + 5))  # 5: the first began later
        except Damaged as error:  # some other server
            reason = str(error)
        except OSError as error:  # not there yet, or still one of an earlier start
            reason = str(error) or type(error).__name__
        else:
            if verdict["wrong"]:
                raise UserError(verdict["wrong"])
            return
        time.sleep(0.2)
    raise UserError(
        f"process {place.process} of {place.processes} ({socket.gethostname()}) does not reach process 0 at "
        f"{place.coordinator} within {patience:g} s ({reason}); is it running, and is that port open?"
    )


def listen(coordinator: str, deadline: float) -> socket.socket:
    """A server on every interface, or for this host alone; an earlier start may hold the port for a moment."""
    host, port = coordinator.rsplit(":", 1)
    alone = host in ("localhost", "127.0.0.1")
    both = socket.has_dualstack_ipv6() and not alone
    while True:
        try:
            family = socket.AF_INET6 if both else socket.AF_INET
            return socket.create_server(
                ("127.0.0.1" if alone else "", int(port)), family=family, dualstack_ipv6=both, backlog=128
            )
        except OSError as error:
            if time.monotonic() > deadline:
                raise UserError(f"port {port} of this host is taken ({error.strerror}); choose another") from None
            time.sleep(0.2)


def tell(lines: list[socket.socket], wrong: str) -> None:
    for line in lines:
        with contextlib.suppress(OSError):
            line.settimeout(5)
            line.sendall(json.dumps({"wrong": wrong}).encode() + b"\n")


def receive(line: socket.socket, deadline: float) -> dict[str, Any]:
    """The verdict of process 0; raises `Damaged` where it is none."""
    heard = bytearray()
    while b"\n" not in heard:
        line.settimeout(max(0.01, deadline - time.monotonic()))
        part = line.recv(LONGEST)
        if not part:
            raise ConnectionError("it hung up")
        heard.extend(part)
        if len(heard) > LONGEST:
            raise Damaged("what answers there is no process 0: it says too much")
    return parsed(bytes(heard.partition(b"\n")[0]), VERDICT, "what answers there is no process 0: its verdict", "")


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
