"""Tokenising that is killed, and memory: `python -m scripts.check.tokenize kills` and `… memory --gigabytes 3`.

kills   a corpus whose tokenising is killed ten times at random moments has the bytes of one that was not
memory  anonymous memory (RssAnon) of tokenising a large file, and of reading random windows of what it wrote
"""

import argparse
import hashlib
import os
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).parents[2]


def main() -> None:
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("part", choices=["kills", "memory"])
    flags.add_argument("--kills", type=int, default=10)
    flags.add_argument("--megabytes", type=int, default=40, help="of text whose tokenising is killed")
    flags.add_argument("--gigabytes", type=float, default=3.0, help="of text, for memory")
    flags.add_argument("--tokenizer", default="bpe:2048")
    options = flags.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        sys.exit((kills if options.part == "kills" else memory)(options, pathlib.Path(folder)))


def texts(path: pathlib.Path, size: int) -> None:
    """Text in lines, no two alike: sentences of this project's pages in random order, each line with a number."""
    words = [word for page in sorted((ROOT / "docs").glob("*.md")) for word in page.read_text().split()]
    rng, done = random.Random(0), 0
    with path.open("w") as file:
        while done < size:
            starts = [rng.randrange(len(words) - 20) for _ in range(400)]
            lines = [f'{{"text": "{done + i} {plain(words[at : at + 20])}"}}\n' for i, at in enumerate(starts)]
            block = "".join(lines) * (1 if size < 1 << 28 else 8)  # large ones repeat, so that they are written fast
            done += file.write(block)


def plain(words: list[str]) -> str:
    return " ".join(words).replace("\\", "").replace('"', "")


def command(source: pathlib.Path, out: pathlib.Path, tokenizer: str) -> list[str]:
    line = [sys.executable, "-m", "data", "tokenize", str(source), "--tokenizer", tokenizer]
    return [*line, "--out", str(out), "--processes", "2"]


def kills(options: argparse.Namespace, folder: pathlib.Path) -> int:
    source = folder / "texts.jsonl"
    texts(source, options.megabytes << 20)
    straight, broken = folder / "straight", folder / "broken"
    started = time.monotonic()
    subprocess.run(
        command(source, straight, options.tokenizer), check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    took, moments, hit = time.monotonic() - started, random.Random(1), 0
    for kill in range(options.kills):
        parts, lock = len(list(broken.glob("parts/*.json"))), modified(broken / "lock")
        process = subprocess.Popen(
            command(source, broken, options.tokenizer),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        # In turn: at its beginning, and while the parts after the next one are made.
        begun = lambda lock=lock, kill=kill, parts=parts: (
            modified(broken / "lock") != lock and (kill % 2 == 0 or len(list(broken.glob("parts/*.json"))) > parts)
        )
        while process.poll() is None and not begun():
            time.sleep(0.005)
        time.sleep(moments.uniform(0.0, 0.3))
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            hit += 1
        process.wait()
        if (broken / "meta.json").exists():
            break
    if not (broken / "meta.json").exists():
        subprocess.run(
            command(source, broken, options.tokenizer), check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
    same = digests(straight) == digests(broken)
    print(f"{hit} kills of a tokenising that takes {took:.1f} s: {'equal bytes' if same else 'OTHER BYTES'}")
    return not same


def modified(path: pathlib.Path) -> float:
    return path.stat().st_mtime if path.exists() else 0.0


def digests(folder: pathlib.Path) -> dict[str, str]:
    """Of all files of a corpus but what this machine noted of it."""
    files = (
        path for path in folder.rglob("*") if path.is_file() and path.name != "lock" and "checked" not in path.name
    )
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def memory(options: argparse.Namespace, folder: pathlib.Path) -> int:
    source = folder / "texts.jsonl"
    texts(source, int(options.gigabytes * 1e9))
    print(f"{source.stat().st_size / 1e9:.2f} GB of text", flush=True)
    process = subprocess.Popen(
        command(source, folder / "out", options.tokenizer), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    most: dict[int, tuple[float, float]] = {}  # process → first and largest RssAnon [MB]
    while process.poll() is None:
        for pid in family(process.pid):
            now = anonymous(pid)
            first, largest = most.get(pid, (now, now))
            most[pid] = first, max(largest, now)
        time.sleep(0.2)
    for pid, (first, largest) in most.items():
        print(f"process {pid}: RssAnon {first:.0f} MB when first seen, {largest:.0f} MB at most", flush=True)
    return process.returncode or read(folder / "out")


def read(out: pathlib.Path) -> int:
    import numpy as np

    from data import corpus

    before = anonymous(os.getpid())
    found = corpus.windows(str(out), context=128)
    stop, most = threading.Event(), [before]

    def watch() -> None:
        while not stop.wait(0.05):
            most[0] = max(most[0], anonymous(os.getpid()))

    threading.Thread(target=watch, daemon=True).start()
    rng = np.random.default_rng(0)
    for _ in range(2000):
        found.train.gather(rng.integers(0, len(found.train), 256))
    stop.set()
    grown = most[0] - before
    print(f"reading {len(found.train):,} windows: RssAnon grew by {grown:.0f} MB at most")
    return grown > 300


def family(pid: int) -> list[int]:
    """A process and all below it."""
    try:
        below = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [pid, *(each for child in below for each in family(int(child)))]


def anonymous(pid: int) -> float:
    """RssAnon of a process [MB]; 0 where it is gone."""
    try:
        lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("RssAnon")), 0.0)


if __name__ == "__main__":
    main()
