"""Tokenising beside the library `tokenizers` called alone, and windows a second of the corpus that comes out.

    uv run python -m scripts.bench.corpus TEXTS… [--files '*.py'] [--vocab 8192] [--rounds 3]

Both sides in turn, on the same documents, with all cores: the library encodes them from memory and keeps nothing, ours
reads them, writes tokens, index and digests, and counts duplicates.  Of ours the part after the vocabulary is trained.
"""

import argparse
import pathlib
import statistics
import tempfile
import time

import numpy as np

from data import corpus, documents, shards
from data.documents import Reading

CONTEXT, BATCH, BATCHES = 128, 512, 400


def main() -> None:
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("sources", nargs="+", metavar="TEXT")
    flags.add_argument("--files", default="*")
    for name, default in (("vocab", 8192), ("rounds", 3)):
        flags.add_argument(f"--{name}", type=int, default=default)
    options = flags.parse_args()
    how = Reading(pattern=options.files)
    made = documents.parts(options.sources, how)
    texts = [text for part in made for text in documents.documents(part, how)]
    with tempfile.TemporaryDirectory() as folder:
        _, state = shards.chosen(f"bpe:{options.vocab}", "", made, how)
        vocabulary = pathlib.Path(folder) / "tokenizer.json"
        vocabulary.write_text(state)
        ratios = []
        for i in range(options.rounds):
            alone, tokens = library(state, texts)
            out = f"{folder}/{i}"
            start = time.perf_counter()
            meta = shards.write(options.sources, out, str(vocabulary), how=how, valid=0.02)
            ours = time.perf_counter() - start
            ratios.append(alone / ours)
            rate = sum(meta["tokens"].values()) / ours / 1e6
            print(
                f"library {tokens / alone / 1e6:.2f} M tokens/s, ours {rate:.2f}: {alone / ours:.2f} of it", flush=True
            )
        size = sum(map(len, texts)) / 1e6
        print(f"median {statistics.median(ratios):.2f} of the library's speed, {len(texts):,} documents, {size:.0f} MB")
        source = corpus.windows(out, context=CONTEXT, offsets="random").train
        ids = np.random.default_rng(0).integers(len(source), size=(BATCHES, BATCH))
        start = time.perf_counter()
        for batch in ids:
            source.gather(batch)
        seconds = time.perf_counter() - start
        print(f"{ids.size / seconds / 1e6:.2f} M windows of {CONTEXT} tokens a second, in batches of {BATCH}")


def library(state: str, texts: list[bytes]) -> tuple[float, int]:
    """Seconds and tokens of the library alone."""
    import tokenizers

    made = tokenizers.Tokenizer.from_str(state)
    start, tokens = time.perf_counter(), 0
    for first in range(0, len(texts), 1000):
        decoded = [text.decode() for text in texts[first : first + 1000]]
        tokens += sum(len(found.ids) for found in made.encode_batch_fast(decoded, add_special_tokens=False))
    return time.perf_counter() - start, tokens


if __name__ == "__main__":
    main()
