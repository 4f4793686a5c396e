"""Text as integers.  A tokenizer is chosen by a word: "bytes", "chars", or "bpe:4096" for a trained vocabulary.

Corpora (data/corpus.py) also take a tokenizer that was trained elsewhere: "json", whose state is its tokenizer.json.
Any of them with "+end" has one more token, which ends a document.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

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
        return "".join(sorted(set(as_text(train)) | set(as_text(valid))))
    return train_bpe(as_text(train), size)


def load(spec: str, state: str) -> Tokenizer:
    plain = spec.removesuffix("+end")
    kind, _ = _parse(plain)
    made = {"bytes": _bytes, "chars": _chars, "bpe": _bpe, "json": _json}[kind](state)
    if plain != spec:
        made = _ended(made)
    return made._replace(spec=spec, state=state)


def as_json(tokenizer: Tokenizer) -> str:
    """A tokenizer.json of the same tokens, for programs that read those; what ends a document has a name there."""
    import tokenizers
    from tokenizers import decoders, models, pre_tokenizers

    plain = tokenizer.spec.removesuffix("+end")
    kind, _ = _parse(plain)
    if kind == "bytes":
        made = tokenizers.Tokenizer(models.BPE({shown: byte for byte, shown in enumerate(_shown())}, []))
        made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        made.decoder = decoders.ByteLevel()
    elif kind == "chars":
        made = tokenizers.Tokenizer(models.WordLevel({symbol: i for i, symbol in enumerate(tokenizer.state)}))
        made.pre_tokenizer = pre_tokenizers.Split(tokenizers.Regex(r"[\s\S]"), "isolated")
        made.decoder = decoders.Fuse()
    else:
        made = tokenizers.Tokenizer.from_str(tokenizer.state)
    if plain != tokenizer.spec:
        known, name = made.get_vocab(), "<|endoftext|>"
        while name in known:
            name = f"<{name}>"
        made.add_special_tokens([name])
    return made.to_str()


def _ended(tokenizer: Tokenizer) -> Tokenizer:
    """The same with a last token that ends a document, and is shown as a blank line."""
    end, decode = tokenizer.vocab, tokenizer.decode

    def decoded(ids: Iterable[Any]) -> str:
        texts, held = [], []
        for i in ids:
            if int(i) == end:
                texts.append(decode(held))
                held = []
            else:
                held.append(i)
        return "\n\n".join([*texts, decode(held)])

    return tokenizer._replace(vocab=end + 1, decode=decoded)


def _parse(spec: str) -> tuple[str, int]:
    kind, _, size = spec.partition(":")
    if spec in ("bytes", "chars", "json"):
        return kind, 0
    if kind == "bpe" and size.isdecimal() and int(size) >= 256:
        return kind, int(size)
    raise ValueError(f"tokenizer {spec!r} is none of 'bytes', 'chars', 'bpe:N' with N at least 256, such as 'bpe:4096'")


def as_text(raw: bytes) -> str:
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
        found = _points(as_text(raw))
        ids = np.minimum(np.searchsorted(points, found), len(points) - 1)
        if (unknown := points[ids] != found).any():
            raise ValueError(f"no such character in the training text: {chr(found[unknown][0])!r}; it has {symbols!r}")
        return ids

    return Tokenizer(len(symbols), encode, lambda ids: "".join(symbols[int(i)] for i in ids))


def _points(text: str) -> np.ndarray:
    """Code points, sorted as Python sorts characters."""
    return np.frombuffer(text.encode("utf-32-le"), np.uint32)


def train_bpe(text: str, size: int, first: tuple[str, ...] = ()) -> str:
    """tokenizer.json of a vocabulary of `size`; tokens 0, 1, … are `first`, which no merge crosses."""
    import tokenizers
    from tokenizers import decoders, models, pre_tokenizers, trainers

    bpe = tokenizers.Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()  # all 256 bytes, so that nothing is ever unknown
    trainer = trainers.BpeTrainer(
        vocab_size=size, initial_alphabet=alphabet, special_tokens=list(first), show_progress=False
    )
    bpe.train_from_iterator(text.splitlines(keepends=True), trainer)
    return bpe.to_str()


def of_words(words: Sequence[str], unknown: str) -> str:
    """tokenizer.json whose tokens 0, 1, … are `words`; of them `unknown` stands for all others.

    A word is letters and digits between other signs, each of which is one too; small letters.  A new line is a sign
    where it is one of the words, and else space.
    """
    import tokenizers
    from tokenizers import models, normalizers, pre_tokenizers

    made = tokenizers.Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token=unknown))
    made.normalizer = normalizers.Lowercase()
    sign = r"[^\p{L}\p{N}_\s]" + r"|\n" * ("\n" in words)
    made.pre_tokenizer = pre_tokenizers.Split(tokenizers.Regex(rf"[\p{{L}}\p{{N}}_]+|{sign}"), "removed", invert=True)
    return made.to_str()


def _bpe(state: str) -> Tokenizer:
    import tokenizers

    bpe = tokenizers.Tokenizer.from_str(state)

    def encode(raw: bytes) -> np.ndarray:
        lines = bpe.encode_batch_fast(as_text(raw).splitlines(keepends=True))  # by lines, on every core
        return np.concatenate([np.array(line.ids, np.int64) for line in lines] or [np.zeros(0, np.int64)])

    return Tokenizer(bpe.get_vocab_size(), encode, lambda ids: bpe.decode([int(i) for i in ids]))


def _json(state: str) -> Tokenizer:
    """A tokenizer of the library `tokenizers`; texts are encoded whole, and no special tokens are added."""
    import tokenizers

    found = tokenizers.Tokenizer.from_str(state)
    found.no_truncation()
    found.no_padding()
    return Tokenizer(
        vocab=found.get_vocab_size(with_added_tokens=True),
        encode=lambda raw: np.array(found.encode_batch_fast([as_text(raw)], add_special_tokens=False)[0].ids, np.int64),
        decode=lambda ids: found.decode([int(i) for i in ids], skip_special_tokens=False),
    )


def from_tiktoken(ranks: bytes, pattern: str) -> str:
    """tokenizer.json of a tiktoken file: lines of a token in base64 and its rank; `pattern` splits text into words.

    Such a file holds no merges: those of a token are found by merging its bytes with the tokens of lower rank.
    """
    import base64

    import tokenizers
    from tokenizers import decoders, models, pre_tokenizers

    rank = {base64.b64decode(token): int(n) for token, n in (line.split() for line in ranks.splitlines() if line)}
    table = _shown()
    show = lambda token: "".join(table[b] for b in token)
    merges = []
    for token in sorted(rank, key=rank.__getitem__):
        if len(token) > 1:
            parts = _merged(token, rank)
            if len(parts) != 2:
                raise ValueError(f"the token {token!r} cannot be made of two earlier ones, so this is no BPE")
            merges.append((show(parts[0]), show(parts[1])))
    made = tokenizers.Tokenizer(
        models.BPE(vocab={show(t): n for t, n in rank.items()}, merges=merges, ignore_merges=True)
    )
    split = pre_tokenizers.Split(tokenizers.Regex(pattern), "isolated")
    made.pre_tokenizer = pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(False, use_regex=False)])
    made.decoder = decoders.ByteLevel()
    return made.to_str()


def _merged(token: bytes, rank: dict[bytes, int]) -> list[bytes]:
    """The last two parts that merging by lowest rank makes of `token` before the token itself."""
    parts = [bytes([b]) for b in token]
    while len(parts) > 2:
        best = min(range(len(parts) - 1), key=lambda i: rank.get(parts[i] + parts[i + 1], 1 << 60))
        if parts[best] + parts[best + 1] not in rank or rank[parts[best] + parts[best + 1]] >= rank[token]:
            break
        parts[best : best + 2] = [parts[best] + parts[best + 1]]
    return parts


def _shown() -> list[str]:
    """The character that stands for each byte in byte-level vocabularies (Radford et al. 2019)."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = iter(range(256, 512))
    return [chr(b) if b in plain else chr(next(others)) for b in range(256)]
