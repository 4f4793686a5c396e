"""Images from folders and archives, and drawn ones.  B batch, H height, W width."""

import io
import struct
import tarfile
import zlib

import numpy as np
import pytest
from PIL import Image
from sklearn.linear_model import RidgeClassifier

from data import arrays, decode, images, shapes
from tests.support.standins import image_folder


@pytest.fixture(autouse=True)
def data_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("ISOFLOP_DATA", str(tmp_path / "cache"))


@pytest.fixture
def tree(tmp_path):
    image_folder(tmp_path / "set")
    return tmp_path / "set"


def columns(dataset):
    return {split: getattr(dataset, split).columns for split in ("train", "valid")}


def test_a_folder_holds_what_was_saved(tree):
    made = images.folder(str(tree))
    assert (len(made.train), len(made.valid), made.classes, made.unique) == (64, 32, 2, 64)
    files = sorted((tree / "train").rglob("*.png"))
    batch = made.train.gather(np.arange(64))
    for file, pixels, label in zip(files, batch["x"], batch["y"], strict=True):
        np.testing.assert_array_equal(np.round(pixels * 255), np.asarray(Image.open(file)))
        assert label == ["cat", "dog"].index(file.parent.name)
    assert batch["x"].dtype == np.float32
    assert batch["y"].dtype == np.int32


@pytest.mark.parametrize("mode", ["", "gz", "xz"])
def test_an_archive_is_its_folder(tree, tmp_path, mode):
    """In whatever order its members come, and below whatever folder."""
    archive = tmp_path / f"set.tar.{mode}"
    with tarfile.open(archive, f"w:{mode}") as file:
        for member in sorted(tree.rglob("*.png"), reverse=True):
            file.add(member, f"./some/where/{member.relative_to(tree)}")
    assert images.folder(str(archive)).fingerprint == images.folder(str(tree)).fingerprint


def test_images_are_decoded_once(tree, monkeypatch):
    first = images.folder(str(tree))
    with monkeypatch.context() as patch:
        patch.setattr(decode, "decoded", None)
        assert images.folder(str(tree)).fingerprint == first.fingerprint
    Image.new("RGB", (32, 32)).save(tree / "train" / "cat" / "00.png")
    assert images.folder(str(tree)).fingerprint != first.fingerprint


def test_sizes_and_channels(tree):
    Image.new("L", (50, 40), 200).save(tree / "train" / "dog" / "grey.jpg")
    with pytest.raises(ValueError, match=r"dog/grey.jpg has the shape \(40, 50, 3\) and others .* give data.size"):
        images.folder(str(tree))
    made = images.folder(str(tree), size=8, channels=1)
    assert made.train.columns["x"].shape == (65, 8, 8, 1)
    assert (made.train.columns["x"][-1] == 200).all()


def test_errors_are_sentences(tree, tmp_path):
    def says(message, path=tree, **options):
        with pytest.raises(ValueError, match=message):
            images.folder(str(path), **options)

    says("no folder or archive at '.*none'", tmp_path / "none")
    says("has no images val/CLASS/NAME.jpg for data.valid; it has test, train", valid="val")
    (tmp_path / "text.tar").write_text("no archive")
    says("is neither a folder nor a .tar, .tar.gz or .tar.xz", tmp_path / "text.tar")
    (tmp_path / "empty").mkdir()
    says("it has no image CLASS/NAME.jpg at all", tmp_path / "empty")
    (tree / "train" / "cat" / "broken.png").write_bytes(b"broken")
    says("train/cat/broken.png cannot be read as an image .* repair or remove it")


# Files as cameras, instruments and broken disks leave them.


def decoded(tmp_path, save, name="one.png", channels=1):
    """The pixels of one file, in both splits of a folder."""
    for split in ("train", "test"):
        place = tmp_path / "one" / split / "only"
        place.mkdir(parents=True, exist_ok=True)
        save(place / name)
    return images.folder(str(tmp_path / "one"), channels=channels).train.columns["x"][0]


def test_sixteen_bits_become_eight(tmp_path):
    """v / 257, rounded: 0 stays black, 65,535 is white and what lies between keeps its place."""
    wide = np.array([[0, 128, 129, 257], [32_768, 32_896, 65_278, 65_535]], np.uint16)
    right = np.round(wide / 257)
    assert right.tolist() == [[0, 0, 1, 1], [128, 128, 254, 255]]
    save = lambda path: Image.fromarray(wide).save(path)
    for name in ("one.png", "one.tiff"):
        np.testing.assert_array_equal(decoded(tmp_path / name, save, name)[..., 0], right)
    grey = decoded(tmp_path / "rgb", save, channels=3)
    np.testing.assert_array_equal(grey, np.repeat(right[..., None], 3, axis=-1))
    record = {"image": np.repeat(wide[..., None], 3, axis=-1)}
    np.testing.assert_array_equal(arrays._row(record, "image", "", 0)["x"][..., 0], right, err_msg="of a TFDS set")
    as_pgm = lambda path: path.write_bytes(b"P5 4 2 65535 " + wide.astype(">u2").tobytes())
    np.testing.assert_array_equal(decoded(tmp_path / "pgm", as_pgm, "one.pgm")[..., 0], right)


@pytest.mark.parametrize(("dtype", "said"), [(np.float32, "floats"), (np.int32, "integers of 32 bits")])
def test_pixels_without_a_range_are_refused(tmp_path, dtype, said):
    save = lambda path: Image.fromarray(np.ones((4, 4), dtype)).save(path)
    with pytest.raises(ValueError, match=rf"only/one.tiff holds {said}, .* save it with 8 or 16 bits"):
        decoded(tmp_path, save, "one.tiff")


def test_images_stand_as_exif_says(tmp_path):
    """Each of the eight orientations, of one picture with four different corners."""
    upright = np.array([[10, 20, 30], [40, 50, 60]], np.uint8)
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.T,
        6: upright.T[::-1],
        7: upright.T[::-1, ::-1],
        8: upright.T[:, ::-1],
    }
    for orientation, pixels in stored.items():
        exif = Image.Exif()
        exif[274] = orientation
        save = lambda path, pixels=pixels, exif=exif: Image.fromarray(pixels).save(path, exif=exif)
        np.testing.assert_array_equal(decoded(tmp_path / str(orientation), save)[..., 0], upright)


def damaged(kind):
    file = io.BytesIO()
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(file, "png")
    raw = file.getvalue()
    if kind == "cut":
        return raw[: len(raw) // 2]
    if kind == "broken":  # the length of the second chunk: Pillow raises SyntaxError
        return raw[:33] + b"\x00\x00\x00\x07" + raw[37:]
    header = b"IHDR" + struct.pack(">IIBBBBB", 20_000, 10_000, 8, 2, 0, 0, 0)
    return raw[:12] + header + struct.pack(">I", zlib.crc32(header)) + raw[33:]


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("cut", r"cannot be read as an image \(.*\): repair or remove it"),
        ("broken", r"cannot be read as an image \(.*\): repair or remove it"),
        ("bomb", r"has more than 178,956,970 pixels: scale it down or remove it"),
    ],
)
def test_a_damaged_image_is_named(tmp_path, kind, said):
    with pytest.raises(ValueError, match=rf"(train|test)/only/one.png {said}"):
        decoded(tmp_path, lambda path: path.write_bytes(damaged(kind)))


@pytest.mark.parametrize("mode", ["", "gz", "xz"])
def test_a_cut_archive_is_named(tree, tmp_path, mode):
    archive = tmp_path / f"set.tar.{mode}"
    with tarfile.open(archive, f"w:{mode}") as file:
        file.add(tree, "set")
    archive.write_bytes(archive.read_bytes()[: archive.stat().st_size // 2])
    with pytest.raises(ValueError, match=r"set.tar.*cannot be read to its end \(.*\): copy or pack it again"):
        images.folder(str(archive))


# Drawn shapes.


def test_shapes_are_a_function_of_the_seed():
    made, other = (shapes.classify(train=40, valid=20, seed=seed) for seed in (0, 1))
    rng = np.random.default_rng((0, 0))
    y = rng.permutation(np.arange(40) % 10)
    np.testing.assert_array_equal(made.train.columns["y"], y)
    np.testing.assert_array_equal(made.train.columns["x"], shapes.draw(y, 32, 0.08, rng))
    assert other.fingerprint != made.fingerprint
    assert (made.classes, made.train.gather(np.arange(5))["x"].shape) == (10, (5, 32, 32, 3))
    assert (np.bincount(made.train.columns["y"]) == 4).all()
    assert not (made.train.columns["x"][:20] == made.valid.columns["x"]).all((1, 2, 3)).any()


def test_shapes_have_their_areas():
    """Of the plane from -1 to 1, which has the area 4: πr² of the disc, the rings' and frames' differences, …"""
    line = np.linspace(-1.1, 1.1, 1101)
    u, v = np.meshgrid(line, line)
    area = {name: shape(u[None], v[None]).mean() * 2.2**2 for name, shape in shapes.SHAPES.items()}
    expected = {
        "disc": np.pi * 0.9**2,
        "ring": np.pi * (0.95**2 - 0.6**2),
        "square": 1.5**2,
        "frame": 1.6**2 - 1,
        "triangle": 3**1.5 / 4,
        "star": 5 * 0.4 * np.sin(np.pi / 5),  # ten triangles with sides 1 and 0.4 around the middle
        "plus": 2 * 1.9 * 0.6 - 0.6**2,
        "bar": 2 * 0.6,
        "corner": 1.5**2 - 0.95**2,
    }
    for name, value in expected.items():
        assert area[name] == pytest.approx(value, rel=0.01), name
    assert 0.5 < area["crescent"] < area["disc"]


def test_no_pixel_tells_the_shape():
    """A linear classifier, and the mean colour, are little better than chance, which is 10 %."""
    made = columns(shapes.classify(train=1000, valid=500))
    flat = lambda split, pool: made[split]["x"].reshape(-1, 32 // pool, pool, 32 // pool, pool, 3).mean((2, 4)) / 255
    for pool in (4, 32):
        x, held_out = (flat(split, pool).reshape(len(made[split]["y"]), -1) for split in ("train", "valid"))
        linear = RidgeClassifier().fit(x, made["train"]["y"])
        assert linear.score(held_out, made["valid"]["y"]) < 0.2


def test_shapes_that_cannot_be_drawn_are_refused():
    with pytest.raises(ValueError, match="train=0, valid=2000, size=32"):
        shapes.classify(train=0)


@pytest.mark.parametrize("soon", [0.0, 1.0])  # by threads, and without
def test_many_are_made_in_order_and_an_error_comes_where_its_item_is(soon, monkeypatch):
    monkeypatch.setattr(decode, "SOON", soon)
    taken = []
    with pytest.raises(ZeroDivisionError):  # noqa: PT012 - what came before is kept
        for value in decode.on_all_cores(lambda i: 1 // (i - 50), iter(range(1000)), threads=3):
            taken.append(value)
    assert taken == [1 // (i - 50) for i in range(len(taken))]
    assert 50 - decode.AT_ONCE < len(taken) <= 50
