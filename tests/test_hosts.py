"""Several processes make one run: they find each other or say who is missing, and the numbers do not change."""

import contextlib
import json
import random
import socket
import threading
import time

import pytest

from scripts.check import hosts, kill
from tests.support.processes import call
from train.devices import clusters, rollcall
from train.devices.supervise import free_port
from train.errors import UserError
from train.writer import read_log

SAME = {"config": "1", "code": "abc"}


def meet(processes, others, same=SAME, patience=2.0):
    """What process 0 and each of `others` (number, what it is) hear at the roll call: "" or an error."""
    address, heard = f"localhost:{free_port()}", {}

    def call(key, side, process, mine):
        try:
            side(clusters.Seat(address, processes, process), mine, patience)
            heard[key] = ""
        except UserError as error:
            heard[key] = str(error)

    calls = [(0, rollcall.gather, 0, same)] + [(i + 1, rollcall.answer, *other) for i, other in enumerate(others)]
    threads = [threading.Thread(target=call, args=item) for item in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [heard[key] for key in sorted(heard)]


def test_all_come():
    assert meet(3, [(1, SAME), (2, SAME)]) == ["", "", ""]


def test_the_missing_are_named_to_all(monkeypatch):
    monkeypatch.delenv("TPU_WORKER_HOSTNAMES", raising=False)
    monkeypatch.setenv("SLURM_STEP_NODELIST", "node[08-10],last")
    heard = meet(4, [(2, SAME)], patience=0.5)
    assert heard[0] == heard[1]
    assert "2 of 4 processes did not come" in heard[0]
    assert "1 (node09), 3 (last)" in heard[0]


def test_other_code_or_config_is_named():
    heard = meet(2, [(1, {**SAME, "code": "abd"})])
    assert (
        heard[0]
        == heard[1]
        == f"process 1 ({socket.gethostname()}) differs from process 0: code 'abd' there, " + ("'abc' on process 0")
    )


def test_a_process_that_comes_twice_is_named():
    assert "process 1 came twice" in "".join(meet(3, [(1, SAME), (1, SAME)]))


def test_a_missing_first_process_is_named():
    with pytest.raises(UserError, match=r"process 1 of 2 .* does not reach process 0 at localhost:\d+ within 0.3 s"):
        rollcall.answer(clusters.Seat(f"localhost:{free_port()}", 2, 1), SAME, 0.3)


def ring(port, *parts):
    """Says `parts` to the roll call, and leaves the line open."""
    while True:
        try:
            line = socket.create_connection(("localhost", port), 1)
            break
        except OSError:
            continue
    for part in parts:
        line.sendall(part)
    return line


def hello(**changes):
    said = {"process": 1, "host": "h", "same": SAME, "token": rollcall.token(SAME), **changes}
    return json.dumps(said).encode() + b"\n"


STRANGERS = {
    "another protocol": b"GET / HTTP/1.1\n",
    "no text": b"\xff\xfe\n",
    "no object": b"[1]\n",
    "nested": b"[" * 60_000 + b"\n",
    "other types": hello(process="1e999"),
    "an infinity": hello().replace(b'"process": 1', b'"process": 1e999'),
    "half a hello": hello(same=[1]),
    "without an end": b"x" * 200_000,
    "another run": hello(token="theirs"),
}


def test_strangers_on_the_port_are_ignored_and_said():
    port, heard, said = free_port(), [], []
    place = clusters.Seat(f"localhost:{port}", 2, 0)
    first = threading.Thread(target=lambda: heard.append(rollcall.gather(place, SAME, 10.0, said.append)))
    first.start()
    slow = ring(port, b'{"process"')  # never ends, and keeps nobody waiting
    silent = ring(port)
    for text in STRANGERS.values():
        with contextlib.suppress(OSError), ring(port, text) as line:
            line.settimeout(5)
            while line.recv(4096):  # until it is hung up on
                pass
    started = time.monotonic()
    rollcall.answer(place._replace(process=1), SAME, 5.0)
    assert time.monotonic() - started < 4
    first.join()
    slow.close(), silent.close()
    assert heard == [None]
    assert len(said) == len(STRANGERS)
    assert "longer than 65,536 bytes" in "".join(said)
    assert "process 1 (h) was refused: it has another config, or is of another run" in said[-1]


def test_another_config_is_refused_and_named():
    heard = meet(2, [(1, {**SAME, "config": "2"})], patience=0.5)
    assert "process 1 (" in heard[1]
    assert "was refused by process 0: it has another config" in heard[1]
    assert "(refused: process 1 (" in heard[0]


def test_the_launcher_may_give_the_token(monkeypatch):
    """Then another config is what process 0 hears of, since the caller is of this run for certain."""
    monkeypatch.setenv(rollcall.TOKEN, "secret")
    heard = meet(2, [(1, {**SAME, "config": "2"})])
    assert heard[0] == heard[1]
    assert "config '2' there, '1' on process 0" in heard[0]


def test_a_server_that_is_no_process_0_is_said():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        def talk():
            with contextlib.suppress(OSError):
                while True:
                    with server.accept()[0] as line:
                        line.sendall(b"220 mail.example.com\n")

        threading.Thread(target=talk, daemon=True).start()
        with pytest.raises(UserError, match="what answers there is no process 0"):
            rollcall.answer(clusters.Seat(f"127.0.0.1:{port}", 2, 1), SAME, 0.5)


@pytest.mark.parametrize(
    ("nodes", "names"),
    [
        ("a", ["a"]),
        ("a,b2", ["a", "b2"]),
        ("a[1-3],b", ["a1", "a2", "a3", "b"]),
        ("n[08,10-11]", ["n08", "n10", "n11"]),
    ],
)
def test_node_lists(nodes, names):
    assert list(clusters.expand(nodes)) == names


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("localhost:1", 2, None), "belong together"),
        (("localhost", 2, 0), "has no port; write HOST:PORT, such as localhost:8476"),
        (("localhost:1", 2, 2), "they are numbered 0 … 1"),
    ],
)
def test_seats_that_cannot_be(flags, said):
    with pytest.raises(UserError, match=said):
        clusters.seat(*flags)


def test_alone_without_a_cluster(monkeypatch):
    for name in ("SLURM_NTASKS", "OMPI_COMM_WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    assert clusters.seat(None, None, None) is None


def test_slurm_is_detected(monkeypatch):
    step = {"JOB_ID": "7", "STEP_NODELIST": "node[1-2]", "NTASKS": "2", "PROCID": "1", "LOCALID": "0"}
    for name, value in step.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    assert clusters.seat(None, None, None) == clusters.Seat(f"node1:{65535 - 2**12 + 1 + 7}", 2, 1, (0,))


@pytest.mark.slow
def test_a_killed_process_costs_nothing(tmp_path):
    """Two processes, one killed at a random step: the numbers of the undisturbed run, bit for bit, written once."""
    steps, same = kill.check("rbm", tmp_path, 1, 60, random.Random(), 2)
    assert (len(steps), same) == (1, True)
    rows = [(row["step"], row["split"]) for row in read_log(tmp_path / "whole")]
    assert [step for step, split in rows if split == "train"] == list(range(1, 61))
    assert [step for step, split in rows if split == "valid"] == [45, 60]
    assert "loss" not in (tmp_path / "whole" / "logs" / "process_1.log").read_text()


@pytest.mark.slow
def test_a_run_goes_on_in_another_layout():
    """Preempted on two processes of two devices, it goes on on one of four, split over other axes."""
    assert hosts.main(["digits_mlp", "--first", "2 × 2", "--layouts", "1 × 4"]) == 0


@pytest.mark.slow
def test_what_no_restart_would_mend_is_said_once(tmp_path):
    page = ["--config", "configs/classics/digits_mlp.py", "--config.batch_size=7", "--workdir", str(tmp_path / "run")]
    code, said = call("train", "supervise", "--processes", "2", "--", *page)
    assert code == 2
    assert said.count("config.batch_size=7 is not divisible by 2 devices") == 1
    assert "start again" not in said


@pytest.mark.slow
def test_a_supervisor_gives_up(tmp_path):
    """A process that dies at every start is not started for ever."""
    broken = tmp_path / "broken.py"
    broken.write_text("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n")
    page = ["--config", str(broken), "--workdir", str(tmp_path / "run")]
    code, said = call("train", "supervise", "--retries", "1", "--", *page)
    assert code == 2
    assert "process 0 died (SIGKILL), and 2 starts brought no checkpoint after step 0" in said
