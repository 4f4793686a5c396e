"""TensorBoard's event files, without TensorFlow."""

import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from scaling.logs.table import Found, pack_rows


def events(files: Sequence[Path], found: Found) -> None:
    """Adds one row a step; the files of one folder are one run, each going on where the one before it broke off."""
    if not files:
        return
    from tensorboardX.proto.event_pb2 import Event, SessionLog
    from tensorboardX.proto.plugin_hparams_pb2 import HParamsPluginData

    run, steps, settings = found.shown(str(files[0].parent)), {}, {}
    for path in files:
        for payload in payloads(path, found):
            if (event := decoded(Event, payload)) is None:
                found.drop(str(path), "a record that is no event")
                continue
            if event.session_log.status == SessionLog.START and event.step:  # steps from here on were taken back
                steps = {step: row for step, row in steps.items() if step < event.step}
            for value in event.summary.value:
                if value.metadata.plugin_data.plugin_name == "hparams":
                    given = decoded(HParamsPluginData, value.metadata.plugin_data.content) or HParamsPluginData()
                    settings |= {f"hparam.{name}": setting(v) for name, v in given.session_start_info.hparams.items()}
                elif (measured := scalar(value)) is not None:
                    steps.setdefault(event.step, {}).update({value.tag: measured, "wall_time": event.wall_time})
    rows = [{**settings, **row, "run": run, "step": float(step)} for step, row in sorted(steps.items())]
    found.add(pack_rows(rows), [run] * len(rows))


def payloads(path: Path, found: Found) -> Iterator[bytes]:
    """The records of a TFRecord file: length (8 bytes), its checksum (4), data, its checksum (4); little endian."""
    from tensorboardX.crc32c import crc32c

    def intact(part: bytes, checksum: int) -> bool:
        crc = crc32c(part)
        return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF == checksum

    data, at = path.read_bytes(), 0
    while at + 12 <= len(data):
        length, checksum = struct.unpack_from("<QI", data, at)
        if not intact(data[at : at + 8], checksum):
            return found.drop(str(path), f"damaged from byte {at} on: {len(data) - at} bytes are not read")
        end = at + 12 + length
        if end + 4 > len(data):
            break
        payload = data[at + 12 : end]
        if intact(payload, struct.unpack_from("<I", data, end)[0]):
            yield payload
        else:
            found.drop(str(path), f"damaged record at byte {at}")
        at = end + 4
    if at < len(data):
        found.drop(str(path), f"half-written: ends inside the record at byte {at}")


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
        values = np.array(tensor.half_val, np.uint16).view(np.float16)
    else:
        values = [*tensor.float_val, *tensor.double_val, *tensor.int_val, *tensor.int64_val]
    return float(values[0]) if len(values) == 1 else None
