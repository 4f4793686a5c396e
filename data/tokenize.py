"""Text as integers.  A tokenizer is chosen by a word: "bytes", "chars", or "bpe:4096" for a trained vocabulary."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np


class Tokenizer(NamedTuple):
    vocab: int
    encode: Callable[[bytes], np.ndarray]  # UTF-8 -> int64 [tokens]
    decode: Callable[[Iterable[int]], str]  # what is not UTF-8 comes out as the replacement character
    spec: str = ""  # what `load` makes it from
    state: str = ""


def fit(spec: str, train: bytes, valid: bytes) -> str:
    """What `load` needs to know besides `spec`: symbols or merges, as a string to keep with the data.

    BPE learns from the training text alone.  Characters are those of both, so none of the held-out is unknown.
    """
    kind, size = _parse(spec)
    if kind == "bytes":
        return ""
    if kind == "chars":
        return "".join(sorted(set(_text(train)) | set(_text(valid))))
    return _train_bpe(_text(train), size)


def load(spec: str, state: str) -> Tokenizer:
    kind, _ = _parse(spec)
    made = {"bytes": _bytes, "chars": _chars, "bpe": _bpe}[kind](state)
    return made._replace(spec=spec, state=state)


def _parse(spec: str) -> tuple[str, int]:
    kind, _, size = spec.partition(":")
    if spec in ("bytes", "chars"):
        return kind, 0
    if kind == "bpe" and size.isdecimal() and int(size) >= 256:
        return kind, int(size)
    raise ValueError(f"tokenizer {spec!r} is none of 'bytes', 'chars', 'bpe:N' with N at least 256, such as 'bpe:4096'")


def _text(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"the text is not UTF-8 ({error}): convert it, or use tokenizer='bytes'") from error


def _bytes(state: str) -> Tokenizer:
    return Tokenizer(
        vocab=256,
        encode=lambda raw: np.frombuffer(raw, np.uint8).astype(np.int64),
        decode=lambda ids: bytes(int(i) for i in ids).decode(errors="replace"),
    )


def _chars(symbols: str) -> Tokenizer:
    points = _points(symbols)

    def encode(raw: bytes) -> np.ndarray:
        found = _points(_text(raw))
        ids = np.minimum(np.searchsorted(points, found), len(points) - 1)
        if (unknown := points[ids] != found).any():
            raise ValueError(f"no such character in the training text: {chr(found[unknown][0])!r}; it has {symbols!r}")
        return ids

    return Tokenizer(len(symbols), encode, lambda ids: "".join(symbols[int(i)] for i in ids))


def _points(text: str) -> np.ndarray:
    """Code points, sorted as Python sorts characters."""
    return np.frombuffer(text.encode("utf-32-le"), np.uint32)


def _train_bpe(text: str, size: int) -> str:
    import tokenizers
    from tokenizers import decoders, models, pre_tokenizers, trainers

    bpe = tokenizers.Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()  # all 256 bytes, so that nothing is ever unknown
    trainer = trainers.BpeTrainer(vocab_size=size, initial_alphabet=alphabet, show_progress=False)
    bpe.train_from_iterator(text.splitlines(keepends=True), trainer)
    return bpe.to_str()


def _bpe(state: str) -> Tokenizer:
    import tokenizers

    bpe = tokenizers.Tokenizer.from_str(state)

    def encode(raw: bytes) -> np.ndarray:
        lines = bpe.encode_batch_fast(_text(raw).splitlines(keepends=True))  # by lines, on every core
        return np.concatenate([np.array(line.ids, np.int64) for line in lines] or [np.zeros(0, np.int64)])

    return Tokenizer(bpe.get_vocab_size(), encode, lambda ids: bpe.decode([int(i) for i in ids]))
