"""Data is a function of (seed, step), whatever the hosts, workers and restarts; and every set is what it says."""

import errno
import hashlib
import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import data.source
from data import arrays, builders, cache, random, synthetic, text, tfds, tokenize
from data.permute import BLOCK, permute, shuffled
from data.pipeline import batch_at, eval_batches, train_batches
from data.source import Columns, Windows, examples

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def prepared(tmp_path_factory):
    return tmp_path_factory.mktemp("isoflop")


@pytest.fixture(autouse=True)
def data_folder(prepared, monkeypatch):
    monkeypatch.setenv("ISOFLOP_DATA", str(prepared))
    monkeypatch.delenv("TFDS_DATA_DIR", raising=False)


def numbered(n):
    return Columns(i=np.arange(n), x=np.linspace(0, 1, n, dtype=np.float32))


def noisy(batch, rng):
    return {**batch, "noise": rng.standard_normal(len(batch["i"]))}


def take(batches, count):
    return [batch for batch, _ in zip(batches, range(count), strict=False)]


def assert_same(a, b):
    assert len(a) == len(b)
    for left, right in zip(a, b, strict=True):
        assert left.keys() == right.keys()
        for name in left:
            np.testing.assert_array_equal(left[name], right[name])


# The order of records.


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 7, 64, 100, 1003, 4096, 4097, 65537])
def test_permutation_is_one(n):
    np.testing.assert_array_equal(np.sort(permute(np.arange(n), n, seed=5, epoch=2)), np.arange(n))


def test_permutation_golden():
    message = "the order of records changed: no older run can be resumed or repeated; if you meant it, say so in the PR"
    assert permute(np.arange(8), 1000, seed=0).tolist() == [802, 593, 497, 434, 124, 883, 249, 536], message
    assert permute(np.arange(8), 1000, seed=0, epoch=1).tolist() == [455, 786, 59, 211, 104, 778, 256, 703], message


def test_permutations_look_independent():
    a, b, c = (permute(np.arange(100_000), 100_000, seed, epoch) for seed, epoch in ((0, 0), (0, 1), (1, 0)))
    for left, right in ((a, np.arange(100_000)), (a, b), (a, c)):
        assert abs(np.corrcoef(left, right)[0, 1]) < 0.02
    assert np.mean(np.abs(np.diff(a)) == 1) < 1e-3


def test_every_epoch_is_a_permutation_across_blocks():
    n = 2 * BLOCK + 7
    stream = np.concatenate([shuffled(k, min(k + 5000, 3 * n), n, seed=1) for k in range(0, 3 * n, 5000)])
    epochs = stream.reshape(3, n)
    np.testing.assert_array_equal(np.sort(epochs, axis=1), np.tile(np.arange(n), (3, 1)))
    assert not np.array_equal(epochs[0], epochs[1])


# Batches.


@pytest.mark.parametrize("hosts", [2, 4])
@pytest.mark.parametrize("shuffle", [True, False])
def test_hosts_share_one_global_batch(hosts, shuffle):
    source = numbered(103)
    for step in range(30):
        whole = batch_at(source, step, batch_size=16, seed=3, shuffle=shuffle)
        parts = [
            batch_at(source, step, batch_size=16, seed=3, shuffle=shuffle, rows=rows)
            for rows in np.split(np.arange(16), hosts)
        ]
        assert_same([whole], [{k: np.concatenate([part[k] for part in parts]) for k in whole}])


def test_a_host_may_read_rows_that_are_not_neighbours():
    source, rows = numbered(103), np.array([2, 3, 10, 11])
    for step in range(30):
        whole = batch_at(source, step, batch_size=16, seed=3)
        assert_same(
            [{k: v[rows] for k, v in whole.items()}], [batch_at(source, step, batch_size=16, seed=3, rows=rows)]
        )


@pytest.mark.parametrize("prefetch", [0, 2])
def test_resume_is_the_same_stream(prefetch):
    make = lambda step: train_batches(
        numbered(1003), batch_size=16, seed=3, first_step=step, transform=noisy, prefetch=prefetch
    )
    whole = take(make(0), 100)
    assert_same(whole[71:], take(make(71), 29))
    seen = np.concatenate([batch["i"] for batch in whole])[:1003]
    np.testing.assert_array_equal(np.sort(seen), np.arange(1003))


@pytest.mark.slow
def test_threads_and_workers_change_no_batch(prepared):
    path = prepared / "column.npy"
    np.save(path, np.arange(500))
    source = Columns(i=np.load(path, mmap_mode="r"))  # crosses to the workers as a path
    make = lambda **how: train_batches(source, batch_size=8, seed=1, first_step=2, transform=noisy, **how)
    plain = take(make(), 9)
    assert_same(plain, take(make(prefetch=3), 9))
    assert_same(plain, take(make(workers=2), 9))


@pytest.mark.parametrize("batch_size", [1, 8, 20, 64])
def test_eval_counts_each_record_once(batch_size):
    batches = list(eval_batches(numbered(21), batch_size=batch_size))
    assert all(batch["i"].shape == batch["mask"].shape == (batch_size,) for batch in batches)
    counted = np.concatenate([batch["i"][batch["mask"] == 1] for batch in batches])
    np.testing.assert_array_equal(counted, np.arange(21))


def test_eval_hosts_take_parts_of_the_same_batches():
    whole = list(eval_batches(numbered(21), batch_size=8))
    parts = zip(*(eval_batches(numbered(21), batch_size=8, rows=np.arange(h, h + 4)) for h in (0, 4)), strict=True)
    assert_same(whole, [{k: np.concatenate([part[k] for part in both]) for k in both[0]} for both in parts])


def test_pixels_are_floats_between_zero_and_one():
    x = Columns(x=np.array([[0, 255]], np.uint8)).gather(np.array([0]))["x"]
    assert x.dtype == np.float32
    assert x.tolist() == [[0, 1]]


# Text.


@pytest.mark.parametrize(("tokens", "context"), [(2, 1), (65, 64), (66, 64), (129, 64), (1000, 64), (1000, 7)])
def test_padded_windows_score_every_token_once(tokens, context):
    source = Windows(np.arange(tokens, dtype=np.uint16), context, context, last="pad")
    batches = list(eval_batches(source, batch_size=3))
    scored = np.concatenate([batch["y"][batch["mask"] == 1] for batch in batches])
    np.testing.assert_array_equal(scored, np.arange(1, tokens))
    for batch in batches:
        np.testing.assert_array_equal(batch["y"][batch["mask"] == 1], batch["x"][batch["mask"] == 1] + 1)


def test_training_windows_are_whole():
    blocks, random = (Windows(np.arange(1000), 64, stride) for stride in (64, 1))
    assert (len(blocks), len(random)) == (15, 936)
    for source in (blocks, random):
        last = source.gather(np.array([len(source) - 1]))
        assert last["x"].shape == last["y"].shape == (1, 64)
        assert "mask" not in last
    assert last["y"][0, -1] == 999


def test_sotu_is_the_pinned_text_split_by_years():
    made, splits = tfds.splits("isoflop_sotu", "train", "valid")
    messages = {split: {r["name"].decode(): r["text"] for r in tfds.records(s)} for split, s in splits.items()}
    assert list(messages["train"]) == sorted(messages["train"])
    whole = sorted((messages["train"] | messages["valid"]).items())
    assert len(whole) == 249
    assert hashlib.sha256(b"".join(message for _, message in whole)).hexdigest() == builders.SHA256["sotu"]
    years = {split: {int(name[:4]) for name in names} for split, names in messages.items()}
    assert years["valid"] == set(range(1790, 2027, 20))
    assert not years["train"] & years["valid"]
    assert {1945, 1973, 1980, 1981} <= years["train"]  # near-duplicates of one another
    assert made.info.full_name == "isoflop_sotu/1.0.0"


def test_sotu_windows():
    made = text.windows("isoflop_sotu", context=64)
    assert made.fingerprint == "65e041df5c83ef1f", "the decoded text changed: bump text.VERSION and say why in the PR"
    assert (made.classes, made.unit, made.per_record, made.unique, made.bytes_per_unit) == (
        256, "token", 64, 11_580_863, 1.0,
    )  # fmt: skip
    batch = batch_at(made.train, 0, batch_size=4, seed=0)
    assert batch["x"].shape == batch["y"].shape == (4, 64)
    assert batch["x"].dtype == np.int32
    assert made.tokenizer.decode(made.train.gather(np.array([0]))["x"][0]).startswith("Fellow-Citizens")


def shakespeare(folder, raw=b"First Citizen:\nBefore we proceed any further, hear me speak.\n" * 60):
    path = folder / "input.txt"
    path.write_bytes(raw)
    return str(path)


def test_file_by_characters(tmp_path):
    raw = ("naïve – " * 200).encode()
    made = text.file(shakespeare(tmp_path, raw), context=8, offsets="random")
    assert made.classes == len(set("naïve – "))
    assert made.unique == 0.9 * 1600
    assert made.bytes_per_unit == pytest.approx(11 / 8, abs=0.02)
    assert len(made.train) == made.unique - 8
    tokens = np.concatenate([made.train.tokens, made.valid.tokens])
    assert made.tokenizer.decode(tokens).encode() == raw


@pytest.mark.parametrize("spec", ["bytes", "chars"])
def test_a_byte_order_mark_is_no_text(tmp_path, spec):
    raw = ("naïve – " * 200).encode()
    plain, marked = (
        text.file(shakespeare(tmp_path, some), context=8, tokenizer=spec) for some in (raw, b"\xef\xbb\xbf" + raw)
    )
    assert marked.fingerprint == plain.fingerprint


@pytest.mark.parametrize("spec", ["bytes", "chars", "bpe:300"])
def test_tokenizers_round_trip(spec):
    raw = "Liberté, égalité – fraternité!\n\n  “Quoted”\tand 日本.\r\n".encode() * 5
    tokenizer = tokenize.load(spec, tokenize.fit(spec, raw, raw))
    ids = tokenizer.encode(raw)
    assert tokenizer.decode(ids).encode() == raw
    assert 0 <= ids.min() <= ids.max() < tokenizer.vocab <= 300


def test_bpe_meets_bytes_it_never_saw():
    tokenizer = tokenize.load("bpe:260", tokenize.fit("bpe:260", b"abc abc abc abc", b""))
    assert tokenizer.decode(tokenizer.encode("ünseen 🙂".encode())) == "ünseen 🙂"


def test_bpe_counts_bytes(tmp_path):
    made = text.file(shakespeare(tmp_path), context=8, tokenizer="bpe:300")
    assert made.classes <= 300
    held_out = made.tokenizer.decode(made.valid.tokens).encode()
    assert made.bytes_per_unit == len(held_out) / len(made.valid.tokens) > 2


# Images.


@pytest.mark.parametrize(
    ("name", "shape", "sizes", "fingerprint"),
    [
        ("isoflop_digits", (8, 8, 1), (1442, 355), "e5c09c8466408747"),
        ("isoflop_mnist5k", (28, 28, 1), (4000, 1000), "be8be478dbb58d9c"),
    ],
)
def test_images(name, shape, sizes, fingerprint):
    made = arrays.columns(name)
    assert (len(made.train), len(made.valid), made.classes, made.unique) == (*sizes, 10, sizes[0])
    batch = batch_at(made.train, 0, batch_size=200, seed=0)
    assert batch["x"].shape == (200, *shape)
    assert batch["x"].dtype == np.float32
    assert batch["y"].dtype == np.int32
    assert 0 == batch["x"].min() < batch["x"].max() == 1
    assert np.ptp(np.bincount(made.valid.columns["y"])) <= 2  # as many of each class
    assert made.fingerprint == fingerprint, "the decoded images changed: bump arrays.VERSION and say why in the PR"


class Invented(list):
    """What TFDS invents for a stock dataset; its own mock lacks reading many records at once."""

    def __getitems__(self, ids):
        return [self[i] for i in ids]


@pytest.mark.parametrize(("name", "shape"), [("mnist", (28, 28, 1)), ("cifar10", (32, 32, 3))])
def test_stock_names(name, shape, tmp_path, monkeypatch):
    from tensorflow_datasets.testing import mocking

    monkeypatch.setenv("ISOFLOP_DATA", str(tmp_path))
    invent = lambda self, split: Invented(mocking.RandomFakeGenerator(self.info.features, num_examples=6))
    with mocking.mock_data(as_data_source_fn=invent):
        made = arrays.columns(name)
    batch = batch_at(made.train, 0, batch_size=6, seed=0)
    assert batch["x"].shape == (6, *shape)
    assert batch["y"].shape == (6,)
    assert made.classes == 10


def test_random_images_pose_for_sets_that_are_not_here():
    """Shape and classes from TFDS's own description; the same images each time, every class among them."""
    made = random.like("imagenet2012", size=8)
    first, again = (batch_at(made.train, 3, batch_size=64, seed=0) for _ in range(2))
    assert_same([first], [again])
    assert first["x"].shape == (64, 8, 8, 3)
    assert (made.classes, first["y"].dtype) == (1000, np.int32)
    assert random.like("cifar10").train.gather(np.arange(3))["x"].shape == (3, 32, 32, 3)


def test_images_of_different_sizes_are_cropped_and_scaled():
    image = np.zeros((40, 60, 3), np.uint8)
    image[:, 10:50] = 255
    assert (arrays.sized(image, 16) == 255).all()


# Labels.


@pytest.mark.parametrize(("value", "shape"), [(-1, ()), (-100, ()), (3, ()), (-1, (2, 2)), (255, (2, 2))])
@pytest.mark.parametrize("split", ["train", "valid"])
def test_labels_are_classes(value, shape, split, monkeypatch):
    """A label of -1 would count as the last class and -100 make the loss NaN; so would a pixel's."""
    monkeypatch.setattr(data.source, "LABELS_AT_ONCE", 4)
    y = {half: np.resize(np.arange(3, dtype=np.int32), (10, *shape)) for half in ("train", "valid")}
    halves = lambda: [Columns(x=np.zeros((10, 2), np.float32), y=y[half]) for half in ("train", "valid")]
    assert examples(*halves(), classes=3).classes == 3
    y[split][7, ..., *(1 for _ in shape[1:])] = value
    with pytest.raises(ValueError, match=rf"record 7 of the {split} split has the label {value}; labels are 0 to 2"):
        examples(*halves(), classes=3)
    assert examples(*halves()).classes == 0, "numbers, not classes"


# Synthetic.


@pytest.mark.parametrize("order", [1, 2])
def test_markov_entropy_is_what_a_knowing_model_loses(order):
    states, context = 5, 6
    made = synthetic.markov(
        states=states, order=order, context=context, train_tokens=6000, valid_tokens=600_000, seed=4
    )
    tokens = made.valid.gather(np.arange(len(made.valid)))
    rows = np.concatenate([tokens["x"], tokens["y"][:, -1:]], axis=1)
    # The best predictor by counting: the distribution of the next token given all, at most `order`, that came before.
    losses = np.zeros((len(rows), context))
    for t in range(1, context + 1):
        history = sum(rows[:, t - 1 - k] * states**k for k in range(min(order, t)))
        table = np.zeros((states**order, states))
        np.add.at(table, (history, rows[:, t]), 1)
        losses[:, t - 1] = -np.log(table[history, rows[:, t]] / table[history].sum(-1))
    error = losses.mean(1).std() / np.sqrt(len(rows))
    assert losses.mean() == pytest.approx(made.entropy, abs=4 * error + 1e-3)


def test_markov_stationary_is_the_eigenvector():
    table = np.random.default_rng(0).dirichlet(np.ones(6), size=6)
    values, vectors = np.linalg.eig(table.T)
    expected = np.real(vectors[:, np.argmax(values.real)])
    np.testing.assert_allclose(synthetic.stationary(table), expected / expected.sum(), atol=1e-12)


def test_clouds():
    ring, blobs = synthetic.ring(train=800), synthetic.blobs(classes=3, dims=5, train=30)
    np.testing.assert_allclose(np.linalg.norm(ring.train.columns["x"], axis=1), 1, atol=0.15)
    assert blobs.train.gather(np.arange(4))["x"].shape == (4, 5)
    assert np.bincount(blobs.train.columns["y"]).tolist() == [10, 10, 10]
    assert blobs.fingerprint != synthetic.blobs(classes=3, dims=5, train=30, seed=1).fingerprint


# Processes.

LOAD = """
import sys
from data import arrays, text
from data.pipeline import eval_batches, train_batches
images = [arrays.columns(name) for name in ("isoflop_digits", "isoflop_mnist5k")]
for made in (*images, text.windows("isoflop_sotu", context=9)):
    for prefetch in (0, 2):
        next(train_batches(made.train, batch_size=8, seed=0, prefetch=prefetch))
    next(eval_batches(made.valid, batch_size=8))
print(made.fingerprint, "tensorflow" in sys.modules)
"""


def run(code, folder, *args):
    env = {"ISOFLOP_DATA": str(folder), "PATH": "/usr/bin:/bin", "JAX_PLATFORMS": "cpu", "HOME": str(folder)}
    command = [sys.executable, *(("-c", code) if code else ()), *args]
    return subprocess.Popen(command, env=env, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_two_processes_on_a_cold_cache_without_tensorflow(tmp_path):
    both = [run(LOAD, tmp_path) for _ in range(2)]
    for process in both:
        out, err = process.communicate(timeout=120)
        assert (process.returncode, out.split()) == (0, ["65e041df5c83ef1f", "False"]), err
        assert "Traceback" not in err  # Grain's threads ended quietly
    left = [path.name for path in (tmp_path / "columns").iterdir() if path.suffix != ".lock"]
    assert len(left) == 3  # no unfinished folders


def test_imports_nothing_heavy():
    code = "import sys, data.text, data.arrays, data.synthetic, data.pipeline, data.tfds; print(sorted(sys.modules))"
    out, err = run(code, "/nonexistent").communicate(timeout=60)
    for heavy in ("jax", "grain", "tensorflow_datasets", "tensorflow", "tokenizers", "PIL", "absl"):
        assert f"'{heavy}'" not in out, err


def test_command_line(tmp_path):
    out, _ = run("", tmp_path, "-m", "data").communicate(timeout=60)
    assert all(name in out for name in tfds.OFFLINE)
    out, _ = run("", tmp_path, "-m", "data", "prepare", "isoflop_digits").communicate(timeout=60)
    assert "train 1,442, valid 355" in out
    wrong = run("", tmp_path, "-m", "data", "prepare", "mnits")
    _, err = wrong.communicate(timeout=60)
    assert wrong.returncode != 0
    assert "did you mean 'mnist'" in err
    assert "Traceback" not in err


# Bad inputs get sentences.


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: arrays.columns("isoflop_digit"), "did you mean 'isoflop_digits'"),
        (lambda: arrays.columns("isoflop_digits", valid="tset"), "has no split 'tset' for valid; it has train, valid"),
        (lambda: arrays.columns("isoflop_digits", y="clas"), "have no 'clas'; they have image, label"),
        (lambda: random.like("imagenet2012"), "differ in shape: give data.size"),
        (lambda: random.like("cifar10", y="lable"), "have no 'lable'; they have id, image, label"),
        (lambda: arrays.columns("mnist"), "is not prepared .* python -m data prepare mnist"),
        (lambda: text.windows("isoflop_digits", context=8), "have no 'text'; they have image, label"),
        (lambda: text.windows("isoflop_sotu", context=10**7), "context=10000000 must be from 1 to"),
        (lambda: text.windows("isoflop_sotu", context=8, tokenizer="word"), "tokenizer 'word' is none of 'bytes'"),
        (lambda: text.file("none.txt", context=8), "no text file at 'none.txt'"),
        (lambda: synthetic.markov(states=1), "states=1"),
        (lambda: synthetic.markov(context=10, train_tokens=5), "train_tokens=5"),
        (lambda: train_batches(numbered(10), batch_size=16, seed=0), "batch_size 16 is larger than the 10 records"),
        (lambda: batch_at(numbered(10), 0, batch_size=0, seed=0), "batch_size 0 .* use 1"),
        (lambda: builders.check("sotu", b"other"), "sha256 .*, not 49bf5edcd2da"),
    ],
)
def test_errors_are_sentences(call, says):
    with pytest.raises(ValueError, match=says):
        call()


def test_file_errors(tmp_path):
    with pytest.raises(ValueError, match="0 tokens"):
        text.file(shakespeare(tmp_path, b""), context=8)
    with pytest.raises(ValueError, match=r"not UTF-8 .* tokenizer='bytes'"):
        text.file(shakespeare(tmp_path, b"\xff\xfe" * 99), context=8)
    assert text.file(shakespeare(tmp_path, b"\xff\xfe" * 99), context=8, tokenizer="bytes").unique == 178
    with pytest.raises(ValueError, match=r"valid=1\.5"):
        text.file(shakespeare(tmp_path), context=8, valid=1.5)


def test_unwritable_cache(tmp_path, monkeypatch):
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    monkeypatch.setenv("ISOFLOP_DATA", str(blocked))
    with pytest.raises(ValueError, match=r"cannot write to the data folder .* set ISOFLOP_DATA"):
        arrays.columns("isoflop_digits")


@pytest.fixture
def cached(tmp_path, monkeypatch):
    """Opens a cached set of two columns as a new process would: the arrays, and how often they were built so far."""
    monkeypatch.setenv("ISOFLOP_DATA", str(tmp_path))
    built = []

    def build(folder):
        built.append(folder)
        np.save(folder / "train.x.npy", np.arange(24, dtype=np.uint8))
        np.save(folder / "train.y.npy", np.arange(24, dtype=np.int32) % 3)
        return {"classes": 3}

    def opened():
        cache._checked.clear()
        meta, arrays = cache.columns({"name": "three"}, build)
        assert meta["classes"] == 3
        np.testing.assert_array_equal(arrays["train.x"], np.arange(24))
        np.testing.assert_array_equal(arrays["train.y"], np.arange(24) % 3)
        return len(built)

    assert (opened(), opened()) == (1, 1)
    (opened.folder,) = (path for path in (tmp_path / "columns").iterdir() if path.is_dir())
    return opened


@pytest.mark.parametrize("name", ["meta.json", "train.x.npy", "train.y.npy"])
def test_a_damaged_cache_is_made_anew(cached, name, capsys):
    """Absent, cut, emptied, or one bit of it another: the numbers are never others, and it is said."""
    file = cached.folder / name
    whole = file.read_bytes()
    rng = np.random.default_rng(0)
    flips = [(at, bit) for at in rng.choice(len(whole), 30, replace=False) for bit in (0, 7)]
    damages = [None, b"", whole[:-1], whole + b"1", *(flipped(whole, at, bit) for at, bit in flips)]
    for damage in damages:
        before = cached()
        capsys.readouterr()
        file.unlink() if damage is None else file.write_bytes(damage)
        is_new = cached() > before
        assert is_new == ("is damaged" in capsys.readouterr().err)
        assert is_new or damage[-24:] == whole[-24:], "but for blanks in numpy's header"
        assert len(list(cached.folder.parent.iterdir())) == 2, "the folder and its lock"


def flipped(raw, at, bit):
    return raw[:at] + bytes([raw[at] ^ 1 << bit]) + raw[at + 1 :]


def test_large_columns_are_compared_once_a_boot(cached, monkeypatch):
    """And whenever a file has another time, were it set back as it was."""
    compared = []
    real = cache.fingerprint
    monkeypatch.setattr(cache, "fingerprint", lambda arrays: compared.append(1) or real(arrays))
    monkeypatch.setattr(cache, "LARGE", 1)
    cached()
    assert not compared
    monkeypatch.setattr(cache, "_boot", lambda: "another")
    cached()
    cached()
    assert len(compared) == 1
    file = cached.folder / "train.x.npy"
    stat = file.stat()
    file.write_bytes(flipped(file.read_bytes(), stat.st_size - 1, 3))
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert cached() == 2
    monkeypatch.setattr(cache, "LARGE", 1 << 28)
    compared.clear()
    cached()
    assert len(compared) == 1, "small ones by every process"


def test_a_full_disk_names_the_data_folder(tmp_path, monkeypatch):
    """numpy says of a write that was cut how much was written, and gives no error number."""
    monkeypatch.setenv("ISOFLOP_DATA", str(tmp_path))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    try:
        with pytest.raises(ValueError, match=r"cannot write to the data folder .* set ISOFLOP_DATA"):
            cache.columns({"name": "big"}, lambda folder: np.save(folder / "x.npy", np.zeros(10_000)) or {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.parametrize(
    "error", [RuntimeError("write() failed: No space left on device; writing x"), RuntimeError("Failed to finalize")]
)
def test_a_full_disk_in_a_librarys_own_words_names_the_data_folder(tmp_path, error):
    """Writers in C++ put the system's words into a RuntimeError; or an error of the system is its cause."""
    cause = None if "space" in str(error) else OSError(errno.ENOSPC, "No space left on device")
    said = rf"cannot write to the data folder {tmp_path} \(No space left on device\)"
    with pytest.raises(ValueError, match=said), cache.writable(tmp_path):
        raise error from cause
    with pytest.raises(RuntimeError, match="another fault"), cache.writable(tmp_path):
        raise RuntimeError("another fault")


def test_an_interrupted_build_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("ISOFLOP_DATA", str(tmp_path))

    def build(folder):
        np.save(folder / "half.npy", np.arange(3))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache.columns({"name": "broken"}, build)
    assert [path.suffix for path in (tmp_path / "columns").iterdir()] == [".lock"]
