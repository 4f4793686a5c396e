"""Files of tensors in the safetensors format, read and written one tensor at a time.  Never pickle, which runs code.

A file is the length of its header (8 bytes, little-endian), the header (JSON: name → dtype, shape, place), the numbers.
"""

import json
import pathlib
from collections.abc import Callable, Iterable
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

DTYPES = {
    "F64": np.dtype(np.float64), "F32": np.dtype(np.float32), "F16": np.dtype(np.float16),
    "BF16": np.dtype(jnp.bfloat16), "I64": np.dtype(np.int64), "I32": np.dtype(np.int32), "I16": np.dtype(np.int16),
    "I8": np.dtype(np.int8), "U8": np.dtype(np.uint8), "BOOL": np.dtype(np.bool_),
}  # fmt: skip
NAMES = {dtype: name for name, dtype in DTYPES.items()}
WHOLE, INDEX = "model.safetensors", "model.safetensors.index.json"
PICKLES = ("*.bin", "*.pt", "*.pth", "*.pkl", "*.ckpt")


class CheckpointError(ValueError):
    """What is wrong with a folder of weights, as a sentence with the remedy."""


class Entry(NamedTuple):
    """One tensor of a file."""

    file: pathlib.Path
    dtype: np.dtype
    shape: tuple[int, ...]
    start: int  # bytes from the start of the file


def read(entry: Entry) -> np.ndarray:
    count = int(np.prod(entry.shape, dtype=np.int64))
    return np.fromfile(entry.file, entry.dtype, count, offset=entry.start).reshape(entry.shape)


def entries(folder: pathlib.Path) -> dict[str, Entry]:
    """Every tensor of a folder, by name; their files may be several.  Reads headers only."""
    if (folder / INDEX).is_file():
        return sharded(folder)
    if (folder / WHOLE).is_file():
        return header(folder / WHOLE)
    pickles = sorted(file.name for pattern in PICKLES for file in folder.glob(pattern))
    if pickles:
        raise CheckpointError(
            f"{folder} holds {pickles[0]}, a pickle, which can run any code when it is read; "
            f"save the model again as {WHOLE} (save_pretrained with safe serialization, the default)"
        )
    raise CheckpointError(f"{folder} has neither {WHOLE} nor {INDEX}; point to a folder that holds the weights")


def sharded(folder: pathlib.Path) -> dict[str, Entry]:
    places = json_of(folder / INDEX).get("weight_map")
    if not isinstance(places, dict) or not places:
        raise CheckpointError(f"{folder / INDEX} has no weight_map; get the file again")
    found: dict[str, Entry] = {}
    for name in sorted(set(places.values())):
        if not (folder / name).is_file() or pathlib.Path(name).name != name:
            missing = sorted(tensor for tensor, file in places.items() if file == name)
            raise CheckpointError(f"{folder} lacks {name}, which holds {listed(missing)}; get the file")
        found |= header(folder / name)
    lost = sorted(set(places) - set(found))
    if lost:
        raise CheckpointError(f"{folder / INDEX} names {listed(lost)}, which no file holds; get the files again")
    return found


def header(file: pathlib.Path) -> dict[str, Entry]:
    """What a file holds, if it holds all that it says it does."""
    size = file.stat().st_size
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if size < 8 or length > size - 8:
            raise CheckpointError(f"{file} is cut off within its header ({size:,} bytes); get the file again")
        text = stream.read(length)
    try:
        listing = json.loads(text)
        listing.pop("__metadata__", None)
        told = {name: (one["dtype"], tuple(one["shape"]), *one["data_offsets"]) for name, one in listing.items()}
    except (ValueError, TypeError, KeyError, AttributeError):
        raise CheckpointError(f"{file} is no safetensors file: its header cannot be read; get the file again") from None
    found = {}
    for name, (dtype, shape, start, end) in told.items():
        if dtype not in DTYPES:
            raise CheckpointError(f"{file}: {name} is {dtype}; read are {', '.join(DTYPES)}: save it as one of those")
        if end - start != int(np.prod(shape, dtype=np.int64)) * DTYPES[dtype].itemsize or start < 0:
            raise CheckpointError(
                f"{file}: {name} has {end - start} bytes for {dtype}{list(shape)}; get the file again"
            )
        if 8 + length + end > size:
            raise CheckpointError(
                f"{file} is cut off: {name} ends at byte {8 + length + end:,} of {size:,}; get the file again"
            )
        found[name] = Entry(file, DTYPES[dtype], shape, 8 + length + start)
    return found


class Saved(NamedTuple):
    """A tensor that is to be written; `make` is called when its turn comes."""

    name: str
    dtype: np.dtype
    shape: tuple[int, ...]
    make: Callable[[], np.ndarray]

    @property
    def bytes(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize


def write(folder: pathlib.Path, tensors: Iterable[Saved], shard_bytes: int) -> None:
    """One file, or several of at most `shard_bytes` each (a larger tensor has its own) and their index."""
    shards: list[list[Saved]] = [[]]
    for tensor in sorted(tensors, key=lambda t: (-t.dtype.itemsize, t.name)):
        if shards[-1] and sum(t.bytes for t in shards[-1]) + tensor.bytes > shard_bytes:
            shards.append([])
        shards[-1].append(tensor)
    if len(shards) == 1:
        return write_file(folder / WHOLE, shards[0])
    places = {}
    for i, shard in enumerate(shards, 1):
        name = f"model-{i:05}-of-{len(shards):05}.safetensors"
        write_file(folder / name, shard)
        places |= {tensor.name: name for tensor in shard}
    total = sum(tensor.bytes for shard in shards for tensor in shard)
    index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(places.items()))}
    (folder / INDEX).write_text(json.dumps(index, indent=2) + "\n")


def write_file(file: pathlib.Path, tensors: list[Saved]) -> None:
    """Whole or not at all: written beside its place, then moved there."""
    listing: dict[str, object] = {"__metadata__": {"format": "pt"}}
    start = 0
    for tensor in tensors:
        end = start + tensor.bytes
        place = {"dtype": NAMES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [start, end]}
        listing[tensor.name], start = place, end
    text = json.dumps(listing, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    beside = file.with_name(file.name + ".part")
    with beside.open("wb") as stream:
        stream.write(len(text).to_bytes(8, "little") + text)
        for tensor in tensors:
            array = np.asarray(tensor.make(), tensor.dtype, order="C")
            if array.shape != tensor.shape:
                raise ValueError(f"{tensor.name} is {array.shape} and was to be {tensor.shape}")
            stream.write(array.tobytes())
    beside.replace(file)


def json_of(file: pathlib.Path) -> dict:
    if not file.is_file():
        raise CheckpointError(f"{file.parent} has no {file.name}; point to a folder as save_pretrained writes it")
    try:
        found = json.loads(file.read_text())
    except ValueError as error:
        raise CheckpointError(f"{file} is no JSON ({error}); get the file again") from None
    if not isinstance(found, dict):
        raise CheckpointError(f"{file} is no JSON object; get the file again")
    return found


def listed(names: list[str], most: int = 4) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
