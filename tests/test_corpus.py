"""Corpora: the same tokens whatever the packaging or interruption, every token predicted once, exact shares."""

import base64
import gzip
import json
import os

import jax
import jax.numpy as jnp
import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from data import corpus, documents, mixture, packing, shards, tokenize
from data.documents import Reading
from data.pipeline import batch_at
from models.api import from_linen
from models.gpt import GPT
from models.llama import Llama
from train.tasks.supervised import classify

RNG = np.random.default_rng(0)
WORDS = ["alpha", "beta", "gamma", "delta", "größe", "日本", "x=1;", "\n\n\n", " ", "  \t"]
TEXTS = ["".join(RNG.choice(WORDS, RNG.integers(3, 60))).strip() + f" {i}" for i in range(200)]


def written(folder, sources, tokenizer="bytes", valid=0.1, **named):
    shards.write([str(s) for s in sources], str(folder), tokenizer, valid=valid, processes=1, **named)
    return folder


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.glob("*.npy")}


@pytest.fixture(scope="module")
def lines(tmp_path_factory):
    path = tmp_path_factory.mktemp("texts") / "texts.jsonl"
    path.write_text("".join(json.dumps({"text": text, "n": i}) + "\n" for i, text in enumerate(TEXTS)))
    return path


@pytest.fixture(scope="module")
def whole(lines):
    return written(lines.parent / "whole", [lines])


def save(kind, path):
    table = pa.table({"text": TEXTS, "n": list(range(len(TEXTS)))})
    match kind:
        case "jsonl.gz":
            path.write_bytes(gzip.compress("\n".join(json.dumps({"text": t}) for t in TEXTS).encode()))
        case "jsonl.zst":
            with pa.CompressedOutputStream(str(path), "zstd") as file:
                file.write("\n".join(json.dumps({"text": t}) for t in TEXTS).encode())
        case "parquet":
            pa.parquet.write_table(table, path, row_group_size=64)
        case "stream.arrow":
            with pa.ipc.new_stream(str(path), table.schema) as file:
                file.write_table(table, max_chunksize=50)
        case "file.arrow":
            with pa.ipc.new_file(str(path), table.schema) as file:
                file.write_table(table)
        case "txt":
            path.write_text("<|cut|>".join(TEXTS))
        case "array_record":
            from array_record.python.array_record_module import ArrayRecordWriter

            writer = ArrayRecordWriter(str(path), "group_size:1")
            for text in TEXTS:
                writer.write(text.encode())
            writer.close()
        case "folder":
            path.mkdir()
            for i, text in enumerate(TEXTS):
                (path / f"{i:04d}.md").write_text(text)
            (path / "empty.md").touch()
            (path / "other.bin").write_bytes(b"\xff\xfe")
    return path


KINDS = ["jsonl.gz", "jsonl.zst", "parquet", "stream.arrow", "file.arrow", "txt", "array_record", "folder"]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_source_gives_the_same_tokens(kind, whole, tmp_path):
    how = Reading(separator="<|cut|>" if kind == "txt" else "", pattern="*.md" if kind == "folder" else "*")
    found = written(tmp_path / "out", [save(kind, tmp_path / f"texts.{kind}")], how=how)
    assert contents(found) == contents(whole)


def test_pieces_of_a_file_begin_no_document_twice_and_lose_none(lines, tmp_path, monkeypatch):
    path = save("txt", tmp_path / "texts.txt")
    for size in (17, 100, 1000):
        monkeypatch.setattr(documents, "PART", size)
        for source, how in ((lines, Reading()), (path, Reading(separator="<|cut|>"))):
            parts = documents.parts([str(source)], how)
            assert len(parts) > 3
            assert [text.decode() for part in parts for text in documents.documents(part, how)] == TEXTS
    # A separator that can overlap itself is ambiguous from anywhere but the start.
    assert len(documents.parts([str(path)], Reading(separator="\n\n"))) == 1


def test_what_was_interrupted_ends_in_the_same_bytes(lines, tmp_path, monkeypatch):
    monkeypatch.setattr(documents, "PART", 1500)
    straight = written(tmp_path / "straight", [lines])
    part, calls = shards._part, []

    def dies(job, number):
        calls.append(number)
        if len(calls) % 3 == 0:
            raise KeyboardInterrupt
        return part(job, number)

    monkeypatch.setattr(shards, "_part", dies)
    for _ in range(100):
        try:
            written(tmp_path / "broken", [lines])
            break
        except KeyboardInterrupt:
            (tmp_path / "broken" / "train.00001.npy.part").write_bytes(b"half of it")
    assert len(calls) > len(list(straight.glob("train.*.ends.npy")))
    (tmp_path / "broken" / "train.00001.npy.part").unlink()
    assert contents(tmp_path / "broken") == contents(straight)
    written(tmp_path / "broken", [lines])  # it is finished
    assert contents(tmp_path / "broken") == contents(straight)
    with pytest.raises(ValueError, match="holds a finished corpus of other"):
        written(tmp_path / "broken", [lines], valid=0.2)


def test_a_folder_that_was_begun_otherwise_is_refused(lines, tmp_path, monkeypatch):
    monkeypatch.setattr(shards, "_part", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        written(tmp_path / "out", [lines])
    with pytest.raises(ValueError, match="begun with other valid"):
        written(tmp_path / "out", [lines], valid=0.2)


def test_a_vocabulary_is_trained_on_what_is_not_held_out(lines):
    how = Reading()
    made = documents.parts([str(lines)], how)
    kept = [text for text in TEXTS if not shards.is_held_out(shards.name_of(text.encode()), 0.5)]
    assert 50 < len(kept) < 150
    assert shards.chosen("bpe:400", "", made, how, 0.5)[1] == tokenize.fit("bpe:400", "\n".join(kept).encode(), b"")


def test_tokens_are_those_of_the_documents_and_decode_to_them(lines, tmp_path):
    folder = written(tmp_path / "out", [lines], "bpe:300")
    found = corpus.windows(str(folder), context=8)
    streams = [found.tokenizer.decode(np.load(folder / f"{split}.00000.npy").tolist()) for split in ("train", "valid")]
    assert sorted(text for stream in streams for text in stream.split("\n\n") if text) == sorted(
        piece for text in TEXTS for piece in text.split("\n\n") if piece
    )
    share = len(np.load(folder / "valid.00000.ends.npy")) / len(TEXTS)
    assert 0.04 < share < 0.17  # binomial, 200 of probability 0.1


def test_windows_cover_a_stream_once(whole):
    found = corpus.windows(str(whole), context=16)
    stream = np.load(whole / "train.00000.npy").astype(int)
    batch = found.train.gather(np.arange(len(found.train)))
    np.testing.assert_array_equal(batch["x"].ravel(), stream[: batch["x"].size])
    np.testing.assert_array_equal(batch["y"].ravel(), stream[1 : batch["x"].size + 1])
    held = np.load(whole / "valid.00000.npy").astype(int)
    batch = found.valid.gather(np.arange(len(found.valid)))
    np.testing.assert_array_equal(batch["y"][batch["mask"] > 0], held[1:])
    assert found.classes == 257
    assert found.bytes_per_unit == pytest.approx(1 - len(np.load(whole / "valid.00000.ends.npy")) / held.size)


@pytest.mark.parametrize("context", [7, 64, 400])
def test_packing_predicts_every_token_but_the_first_of_its_document_once(whole, context):
    packed = corpus.packed(str(whole), context=context).train
    batch = packed.gather(np.arange(len(packed)))
    stream, ends = np.load(whole / "train.00000.npy").astype(int), np.load(whole / "train.00000.ends.npy")
    firsts = np.concatenate([[0], ends[:-1]])
    predicted = np.bincount(batch["y"][batch["mask"] > 0], minlength=257)
    np.testing.assert_array_equal(predicted, np.bincount(np.delete(stream, firsts), minlength=257))
    found = corpus.packed(str(whole), context=context)
    assert found.units(len(packed) * context) == stream.size - ends.size, "D counts what is predicted, and no padding"
    least = -(-packed.pieces[:, 2].sum() // (context + 1))
    assert len(packed) <= 11 / 9 * least + 1


@pytest.mark.slow
@pytest.mark.parametrize("network", ["gpt", "llama"])
def test_a_packed_row_trains_as_its_documents_do_alone(network, whole):
    """Loss and gradients, in float64: no document sees another, and each begins at position 0."""
    sizes = {"vocab": 257, "layers": 2, "heads": 2, "width": 16, "context": 64}
    with jax.enable_x64(True):
        made = GPT(**sizes) if network == "gpt" else Llama(**sizes, kv_heads=1, inner=24)
        task = classify(from_linen(made, "float64"), 257)
        packed = corpus.packed(str(whole), context=64).train
        rows = {k: jnp.asarray(v) for k, v in packed.gather(np.arange(len(packed))[-4:]).items()}
        params, state = jax.jit(task.init)(jax.random.key(0), rows)
        params = jax.tree.map(lambda p: p.astype(jnp.float64), params)
        scalar = lambda p, batch: task.loss(p, state, batch, jax.random.key(0), False)[0]
        loss = jax.jit(jax.value_and_grad(scalar))
        together, slope = loss(params, rows)
        alone = {"x": np.zeros((40, 64), np.int32), "y": np.zeros((40, 64), np.int32), "mask": np.zeros((40, 64))}
        count = 0
        for row in range(4):
            for number in range(1, int(rows["segments"][row].max()) + 1):
                here = np.flatnonzero(np.asarray(rows["segments"][row]) == number)
                for name in alone:
                    alone[name][count, : here.size] = np.asarray(rows[name])[row, here]
                count += 1
        assert 4 < count <= 40
        apart, slope_apart = loss(params, {k: jnp.asarray(v) for k, v in alone.items()})
    np.testing.assert_allclose(together, apart, rtol=1e-6)
    for one, other in zip(jax.tree.leaves(slope), jax.tree.leaves(slope_apart), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-6 * np.abs(other).max())


def test_a_mixture_says_the_loss_of_each_source(whole, lines, tmp_path):
    other = written(tmp_path / "other", [lines], how=Reading(where=("n>=100",)))
    found = corpus.mixture({"a": str(whole), "b": str(other)}, {"a": 3, "b": 1}, context=16)
    metas = [json.loads((folder / "meta.json").read_text()) for folder in (whole, other)]
    of = lambda kind: sum(meta[kind]["valid"] for meta in metas)
    assert found.bytes_per_unit == pytest.approx(of("text_bytes") / of("tokens"))
    each = [meta["text_bytes"]["train"] / meta["tokens"]["train"] for meta in metas]
    assert found.train_bytes_per_unit == pytest.approx(0.75 * each[0] + 0.25 * each[1], rel=1e-4)
    batch = {k: jnp.asarray(v) for k, v in batch_at(found.train, 0, batch_size=64, seed=0).items()}
    assert abs(int((batch["source"] == 1).sum()) - 16) <= 1
    model = from_linen(GPT(vocab=257, layers=1, heads=2, width=16, context=16))
    task = classify(model, 257, sources=found.sources)
    params, state = jax.jit(task.init)(jax.random.key(0), batch)
    scored = jax.jit(lambda p, batch, key: task.loss(p, state, batch, key, False))
    loss, (_, metrics) = scored(params, batch, jax.random.key(0))
    total = sum(float(metrics[f"loss_{name}"][0]) for name in "ab")
    assert total / (64 * 16) == pytest.approx(float(loss), rel=1e-5)
    assert float(metrics["loss_b"][1]) == 16 * float((batch["source"] == 1).sum())


def test_best_fit_decreasing_by_hand():
    np.testing.assert_array_equal(packing.fill_rows(np.array([3, 7, 5, 2, 6, 4]), 10), [0, 0, 2, 2, 1, 1])


class Numbers:
    def __init__(self, size):
        self.size = size

    def __len__(self):
        return self.size

    def gather(self, ids):
        return {"x": ids}


SIZES = {"a": 1000, "b": 30_000, "c": 7}
WEIGHTS = {"a": 0.5, "b": 0.3, "c": 0.2}


def test_shares_of_a_mixture_are_exact_and_each_source_is_seen_evenly():
    mixed = mixture.Mixture({n: Numbers(s) for n, s in SIZES.items()}, [(0, WEIGHTS)], repeat=True)
    source, nth = mixed.at(np.arange(1_000_000), 5)
    cycles = 1_000_000 // mixture.SLOTS * mixture.SLOTS
    counts = np.bincount(source[:cycles]) / cycles
    np.testing.assert_allclose(counts, [0.5, 0.3, 0.2], atol=1 / mixture.SLOTS)
    for i in range(3):  # counted without a gap
        np.testing.assert_array_equal(nth[source == i], np.arange((source == i).sum()))
    batches = source[: 1000 * 256].reshape(1000, 256)
    for i, share in enumerate((0.5, 0.3, 0.2)):
        assert np.abs((batches == i).sum(1) - 256 * share).max() <= 2
    ids = mixed.order(0, 20_000, 5)
    first = ids[(ids < 1000)][:1000]  # the first epoch of "a"
    assert np.unique(first).size == 1000
    assert mixed.epochs(20_000, 5)["a"] == pytest.approx(10.0, rel=0.01)


def test_a_mixture_is_a_function_of_seed_and_position():
    phases = [(0, WEIGHTS), (5000, {"a": 0, "b": 1, "c": 1})]
    mixed = mixture.Mixture({n: Numbers(s) for n, s in SIZES.items()}, phases, repeat=True)
    together = mixed.order(0, 12_000, 3)
    pieces = np.concatenate([mixed.order(at, at + 750, 3) for at in range(0, 12_000, 750)])
    np.testing.assert_array_equal(together, pieces)
    assert not (together[5000:] < 1000).any()  # no more of "a"
    for records in (0, 4999, 12_000):
        sizes, seen = np.array(list(SIZES.values())), np.searchsorted(mixed.first, together[:records], side="right") - 1
        np.testing.assert_allclose(list(mixed.epochs(records, 3).values()), np.bincount(seen, minlength=3) / sizes)
    source, nth = mixed.at(np.arange(12_000), 3)
    np.testing.assert_array_equal(nth[source == 2], np.arange((source == 2).sum()))
    step = batch_at(mixed, 7, batch_size=100, seed=3, rows=np.arange(50, 100))
    np.testing.assert_array_equal(step["x"] + mixed.first[step["source"]], together[750:800])
    once = mixture.Mixture(mixed.sources and {n: Numbers(s) for n, s in SIZES.items()}, [(0, WEIGHTS)], repeat=False)
    with pytest.raises(ValueError, match="source 'c' has 7 records"):
        once.order(0, 100, 0)


def test_near_duplicates_between_the_splits_are_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(shards, "IN_MEMORY", 50)  # nine ranges of hashes
    words = [f"w{i}" for i in range(400)]
    texts = [" ".join(RNG.choice(words, 120)) for _ in range(300)]
    texts += [text + " and one word more" for text in texts[:100]] + texts[:20]
    path = tmp_path / "near.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    shards.write([str(path)], str(tmp_path / "out"), "bytes", valid=0.3, processes=1)
    meta = json.loads((tmp_path / "out" / "meta.json").read_text())
    assert meta["repeated_documents"] == 20
    held = lambda text: (
        int.from_bytes(shards.hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") < 0.3 * 2**64
    )
    apart = sum(held(a) != held(b) for a, b in zip(texts[:100], texts[300:400], strict=True))
    copies = sum(held(a) and not held(b) for a, b in zip(texts[:20], texts[300:320], strict=True))
    assert apart <= meta["valid_documents_near_train"] <= apart + copies


def test_a_tiktoken_file_encodes_as_the_vocabulary_that_it_was_made_of(tmp_path):
    state = tokenize.fit("bpe:400", "".join(TEXTS).encode(), b"")
    vocab = json.loads(state)["model"]["vocab"]
    byte = {char: i for i, char in enumerate(tokenize._shown())}
    lines = [
        base64.b64encode(bytes(byte[c] for c in token)) + f" {i}".encode()
        for token, i in sorted(vocab.items(), key=lambda item: item[1])
    ]
    (tmp_path / "x.tiktoken").write_bytes(b"\n".join(lines))
    pattern = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
    spec, made = shards.chosen(str(tmp_path / "x.tiktoken"), pattern, [], Reading())
    ours, theirs = tokenize.load(spec, made), tokenize.load("json", state)
    for text in TEXTS[:50]:
        np.testing.assert_array_equal(ours.encode(text.encode()), theirs.encode(text.encode()))
        assert ours.decode(ours.encode(text.encode()).tolist()) == text


BAD = {
    "missing.txt": (lambda p: None, {}, "there is no file"),
    "empty.txt": (lambda p: p.write_text(""), {}, "is empty"),
    "latin.txt": (lambda p: p.write_bytes(b"caf\xe9 " * 9), {"tokenizer": "bpe:300"}, r"latin.txt is not UTF-8"),
    "one.txt": (lambda p: p.write_text("one document"), {}, "no document is in the (train|valid) split"),
    "broken.jsonl": (lambda p: p.write_text('{"text": "a"}\n{"text": '), {}, "no JSON"),
    "list.jsonl": (lambda p: p.write_text("[1, 2]\n"), {}, "no JSON object"),
    "column.jsonl": (lambda p: p.write_text('{"body": "a"}\n'), {}, "no column 'text'; it has body"),
    "number.jsonl": (lambda p: p.write_text('{"text": 3}\n'), {}, "holds int, not text"),
    "cut.parquet": (lambda p: p.write_bytes(b"PAR1 and then nothing"), {}, "no whole Parquet file"),
    "cut.arrow": (lambda p: p.write_bytes(b"ARROW1 and nothing"), {}, "no whole Arrow file"),
    "folder": (lambda p: p.mkdir(), {}, "has no file that matches"),
    "where.jsonl": (lambda p: p.write_text('{"text": "a"}\n'), {"how": Reading(where=("text",))}, "is not understood"),
    "where.txt": (lambda p: p.write_text("a"), {"how": Reading(where=("n=1",))}, "has no columns"),
    "share.txt": (lambda p: p.write_text("a"), {"valid": 2.0}, "valid=2.0 must be"),
    "word.txt": (lambda p: p.write_text("a"), {"tokenizer": "words"}, "tokenizer 'words' is none of"),
    "file.txt": (lambda p: p.write_text("a"), {"tokenizer": "gone.json"}, "no tokenizer file"),
    "none*.txt": (lambda p: None, {}, "no file matches"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_sources_are_a_sentence(name, tmp_path):
    make, named, sentence = BAD[name]
    make(tmp_path / name)
    with pytest.raises(ValueError, match=sentence):
        written(tmp_path / "out", [tmp_path / name], **named)


def test_conditions_choose_rows(lines, tmp_path):
    how = Reading(where=("n>=150", "n!=160"))
    part = documents.parts([str(lines)], how)[0]
    assert [t.decode() for t in documents.documents(part, how)] == TEXTS[150:160] + TEXTS[161:]


def test_a_damaged_or_unfinished_corpus_is_refused(whole, tmp_path):
    with pytest.raises(ValueError, match="holds no whole corpus"):
        corpus.windows(str(tmp_path), context=8)
    for name in os.listdir(whole):
        (tmp_path / name).write_bytes((whole / name).read_bytes())
    with (tmp_path / "train.00000.npy").open("r+b") as file:
        file.seek(500)
        file.write(b"\x07\x07")
    with pytest.raises(ValueError, match="is damaged"):
        corpus.windows(str(tmp_path), context=8)
    with pytest.raises(ValueError, match="more than any part of"):
        corpus.windows(str(whole), context=10**6)
