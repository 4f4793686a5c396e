"""TensorBoard's event files, without TensorFlow.  The files of a folder are one run."""

import re
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from scaling.logs.formats import Below, File, Folder, Format, Tree
from scaling.logs.table import Log, Refusal, number, pack_rows

SIDES = ("train", "training", "validation", "valid", "val", "eval", "test")  # folders that Keras splits a run into
LOSSES = re.compile(r"loss|acc|perplexity|ppl|error|bpb", re.I)
FILE_NAME = "tfevents"


class Events(NamedTuple):
    """What one file says."""

    steps: dict[int, dict[str, float]]  # step -> tag -> value
    constants: dict[str, Any]  # hyperparameters and summaries of text
    purged: int | None  # steps from here on were taken back from the files before
    first: int | None  # the first step with a value


def read(file: File) -> Iterator[Log | Refusal]:
    yield from run_of([file.path], file.path.parent, str(file.path.parent))


def read_folder(folder: Folder) -> Iterator[Log | Refusal | Below]:
    """One run from the files of the folder, its train/ and validation/, and the session folder of add_hparams."""
    files = events_of(folder.path)
    sides = [name for name in folder.folders if name.lower() in SIDES and events_of(folder.path / name)]
    sessions = [f for name in folder.folders if name not in sides for f in events_of(folder.path / name)]
    sessions = [f for f in sessions if files and f.stat().st_size < 2**22 and is_session(f)]
    taken = {*sides, *(f.parent.name for f in sessions), *(f.name for f in files)}
    parts: list[Log | Refusal] = [*run_of(files, folder.path, "")] if files else []
    if sides and not any(name.lower().startswith("train") for name in sides):
        parts = [sided(part, "train") for part in parts]
    for name in sides:
        parts += [sided(part, name) for part in run_of(events_of(folder.path / name), folder.path, "")]
    constants = {}
    for file in sessions:
        for part in run_of([file], folder.path, ""):
            if isinstance(part, Log):
                constants |= part.constants
                constants |= {tag: float(v[-1]) for tag, v in part.columns.items() if tag.startswith("hparam/")}
    for part in parts:
        both = {**constants, **part.constants} if isinstance(part, Log) else {}
        yield part._replace(run=str(folder.path), constants=both) if isinstance(part, Log) else part
    for name in (*folder.files, *folder.folders):
        if name not in taken:
            yield Below(folder.path / name)


def sided(part: Log | Refusal, side: str) -> Log | Refusal:
    """Keras calls the loss of both sides epoch_loss."""
    if isinstance(part, Refusal):
        return part
    name = lambda tag: f"{side.lower()}/{tag.removeprefix('epoch_')}" if LOSSES.search(tag) else tag
    return part._replace(columns={name(tag): v for tag, v in part.columns.items() if tag != "wall_time"})


def events_of(path: Path) -> list[Path]:
    from scaling.logs.formats import natural

    return sorted((p for p in path.iterdir() if FILE_NAME in p.name and p.is_file()), key=lambda p: natural(p.name))


def is_session(file: Path) -> bool:
    """Whether a file holds the hyperparameters of a session and nothing with a step."""
    refusals: list[Refusal] = []
    found = events(file, refusals)
    return bool(found.constants) and {*found.steps} <= {0} and not refusals


def run_of(files: Sequence[Path], folder: Path, run: str) -> Iterator[Log | Refusal]:
    """One row a step; each file goes on where the one before it broke off."""
    refusals: list[Refusal] = []
    steps: dict[int, dict[str, float]] = {}
    constants: dict[str, Any] = {}
    for path in files:
        found = events(path, refusals)
        if found.purged is not None:
            steps = {step: row for step, row in steps.items() if step < found.purged}
        elif steps and found.first is not None and disagree(steps, found.steps):
            if found.first <= min(step for step in steps if step or len(steps) == 1):
                yield Refusal(
                    str(folder),
                    f"the folder holds two runs: {path.name} begins at step {found.first} again, with other values "
                    f"than {files[0].name}; give each run a folder of its own",
                )
                return
            steps = {step: row for step, row in steps.items() if step < found.first}
        for step, row in found.steps.items():
            steps[step] = steps.get(step, {}) | row
        constants |= found.constants
    yield from refusals
    rows = [{**row, "step": float(step)} for step, row in sorted(steps.items())]
    if rows:
        columns = weighed(samples(pack_rows(rows)))
        yield Log(columns, [str(folder)] * len(columns["step"]), str(folder), run, constants)


def disagree(before: dict[int, dict[str, float]], after: dict[int, dict[str, float]]) -> bool:
    """Whether a step that both say has other values there."""
    both = before.keys() & after.keys()
    return any(
        before[step][tag] != after[step][tag] and tag != "wall_time" and before[step][tag] == before[step][tag]
        for step in both
        for tag in before[step].keys() & after[step].keys()
    )


def samples(columns: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Megatron writes each loss twice, the second time at the number of samples instead of the step."""
    doubled = [tag for tag in columns if re.search(r"[ _]vs[ _]samples$", tag) and tag[:-11] in columns]
    if not doubled:
        return columns
    loss, at = columns[doubled[0][:-11]], columns[doubled[0]]
    own, other = np.flatnonzero(np.isfinite(loss)), np.flatnonzero(np.isfinite(at))
    rest = np.isfinite(np.stack([v for tag, v in columns.items() if tag not in (*doubled, "wall_time", "step")])).any(0)
    out = {tag: v[rest] for tag, v in columns.items() if tag not in doubled}
    if own.size == other.size and np.array_equal(loss[own], at[other]):
        consumed = np.full(len(loss), np.nan)
        consumed[own] = columns["step"][other]
        out["samples"] = consumed[rest]
    return out


def weighed(columns: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """MaxText writes the tokens of a step, here summed over steps; one that was not written counts as the next."""
    tag = "learning/total_weights"
    if tag not in columns or "tokens" in columns:
        return columns
    known = np.flatnonzero(np.isfinite(columns[tag]))
    step = columns["step"][known]
    apart = np.diff(step, prepend=0.0)
    apart[:1] = step[:1] if step.size and step[0] else 1.0
    tokens = np.full(len(columns[tag]), np.nan)
    tokens[known] = np.cumsum(columns[tag][known] * apart)
    return {**columns, "tokens": tokens}


def events(path: Path, refusals: list[Refusal]) -> Events:
    """What a file says; appends why some of it is lost."""
    from tensorboardX.proto.event_pb2 import Event, SessionLog
    from tensorboardX.proto.plugin_hparams_pb2 import HParamsPluginData

    steps: dict[int, dict[str, float]] = {}
    constants: dict[str, Any] = {}
    purged = None
    latest: dict[str, int] = {}  # tag -> the step that it said last
    for payload in payloads(path, refusals):
        if (event := decoded(Event, payload)) is None:
            refusals.append(Refusal(str(path), "a record that is no event"))
            continue
        if event.session_log.status == SessionLog.START and event.step:  # steps from here on were taken back
            steps = {step: row for step, row in steps.items() if step < event.step}
            purged = event.step if purged is None else min(purged, event.step)
        for value in event.summary.value:
            if value.metadata.plugin_data.plugin_name == "hparams":
                given = decoded(HParamsPluginData, value.metadata.plugin_data.content) or HParamsPluginData()
                constants |= {f"hparam.{name}": setting(v) for name, v in given.session_start_info.hparams.items()}
            elif value.tag.endswith("/text_summary") or value.metadata.plugin_data.plugin_name == "text":
                constants |= written(value)
            elif (measured := scalar(value)) is not None:
                if event.step < latest.get(value.tag, event.step):  # goes on from there
                    for step in [s for s in steps if s >= event.step]:
                        steps[step].pop(value.tag, None)
                latest[value.tag] = event.step
                steps.setdefault(event.step, {}).update({value.tag: measured, "wall_time": event.wall_time})
    steps = {step: row for step, row in steps.items() if row.keys() > {"wall_time"}}
    return Events(steps, constants, purged, min(steps, default=None))


def payloads(path: Path, refusals: list[Refusal]) -> Iterator[bytes]:
    """The records of a TFRecord file: length (8 bytes), its checksum (4), data, its checksum (4); little endian."""
    from tensorboardX.crc32c import crc32c

    def intact(part: bytes, checksum: int) -> bool:
        crc = crc32c(part)
        return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF == checksum

    data, at = path.read_bytes(), 0
    while at + 12 <= len(data):
        length, checksum = struct.unpack_from("<QI", data, at)
        if not intact(data[at : at + 8], checksum):
            refusals.append(Refusal(str(path), f"damaged from byte {at} on: {len(data) - at} bytes are not read"))
            return
        end = at + 12 + length
        if end + 4 > len(data):
            break
        payload = data[at + 12 : end]
        if intact(payload, struct.unpack_from("<I", data, end)[0]):
            yield payload
        else:
            refusals.append(Refusal(str(path), f"damaged record at byte {at}"))
        at = end + 4
    if at < len(data):
        refusals.append(Refusal(str(path), f"half-written: ends inside the record at byte {at}"))


def decoded(kind: Any, payload: bytes) -> Any:
    """The message, or None where the bytes are not one."""
    try:
        return kind.FromString(payload)
    except Exception:  # protobuf's own, which belongs to whoever wrote the message class
        return None


def setting(value: Any) -> Any:
    """A protobuf Value's number, text or truth value."""
    kind = value.WhichOneof("kind")
    return getattr(value, kind) if kind in ("number_value", "string_value", "bool_value") else None


def written(value: Any) -> dict[str, float]:
    """A number that was written as text, as MaxText writes its configuration."""
    texts = [text.decode("utf-8", "replace") for text in value.tensor.string_val]
    found = number(texts[0]) if len(texts) == 1 and texts[0].strip() else None
    return {} if found is None else {value.tag.removesuffix("/text_summary"): found}


def scalar(value: Any) -> float | None:
    """What a summary holds, if it is one number."""
    if value.HasField("simple_value"):
        return float(value.simple_value)
    tensor = value.tensor  # of dtype 0 where there is none
    width = {1: np.float32, 2: np.float64, 19: np.float16, 3: np.int32, 9: np.int64}.get(tensor.dtype)
    if width is None:
        return None
    if content := tensor.tensor_content:
        values = np.frombuffer(content, width) if len(content) == np.dtype(width).itemsize else []
    elif width is np.float16:
        values = np.array([half & 0xFFFF for half in tensor.half_val], np.uint16).view(np.float16)
    else:
        values = [*tensor.float_val, *tensor.double_val, *tensor.int_val, *tensor.int64_val]
    return float(values[0]) if len(values) == 1 else None


def is_events(file: File) -> bool:
    return FILE_NAME in file.path.name or b"brain.Event:" in file.head[:100]


FORMAT = Format("TensorBoard's events.out.tfevents.*", is_events, read)


def fits(folder: Folder) -> bool:
    """A run that Keras split has nothing but its sides."""
    sides = [name for name in folder.folders if name.lower() in SIDES and events_of(folder.path / name)]
    return bool(events_of(folder.path)) or (len(sides) > 1 and len(sides) == len(folder.folders))


TREE = Tree("", fits, read_folder)
