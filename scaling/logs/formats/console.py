"""What training scripts print: nanoGPT, nanochat, and any lines of `step …` with `name: value` or `name=value`."""

import re
from collections.abc import Iterator
from typing import Any

from scaling.logs.formats import File, Format, contents
from scaling.logs.table import Log, Refusal, Unreadable, pack_rows

NUMBER = r"[+-]?(?:\d[\d,_]*\.?\d*(?:e[+-]?\d+)?|nan|inf)"
LINE = re.compile(r"^.{0,80}?(?<![a-z])(?:step|iter|iteration|global_step)s?[ :=\[]+0*(\d+)(?:\s*/\s*\d+)?(.*)$", re.I)
PAIR = re.compile(rf"([a-z][a-z0-9_/.\- ]{{0,30}}?)\s*[:= ]\s*({NUMBER})\s*(ms|%|[kmbgt](?![a-z]))?", re.I)
ONCE = {  # what is printed once, and the name of its column
    r"number of parameters\s*[:=]\s*([\d.,]+\s*[kmbt]?)": "n_params",
    r"tokens per (?:iteration|step)(?: will be)?\s*[:=]\s*([\d.,]+)": "tokens_per_step",
    r"total batch size\s*[:=]?\s*([\d.,]+)": "tokens_per_step",
    r"scaling:\s*([\d.,]+)": "params_scaling",
}
UNITS = {"ms": 1e-3, "%": 1e-2, "": 1.0}


def fits(file: File) -> bool:
    """Several lines of steps that say a loss."""
    lines = file.head.decode("utf-8", "replace").splitlines()
    steps = [line for line in lines if LINE.match(line) and re.search(r"loss|bpb|ppl|perplexity", line, re.I)]
    return len(steps) >= 2 and not file.head.lstrip().startswith((b"{", b"[")) and len(steps) > 0.2 * len(lines)


def read(file: File) -> Iterator[Log | Refusal]:
    from scaling.logs.numbers import spelled

    path, before = str(file.path), -1
    rows: dict[int, dict[str, Any]] = {}
    places: dict[int, str] = {}
    once: dict[str, float] = {}
    for number, raw in enumerate(contents(file).splitlines(), 1):
        line = raw[:2000].decode("utf-8", "replace")
        for pattern, name in ONCE.items():
            if found := re.search(pattern, line, re.I):
                once[name] = float(spelled([found[1].strip().rstrip(".,")]).values[0])
        found = LINE.match(line)
        if not found or len(found[1]) > 15:
            continue
        step = int(found[1])
        if step < before:  # goes on from an earlier step: what came after that was taken back
            for later in [s for s in rows if s >= step]:
                del rows[later]
        before = step
        row = rows.setdefault(step, {"step": step})
        places.setdefault(step, f"{path}:{number}")
        for name, value, unit in PAIR.findall(found[2]):
            if name.strip() and unit.lower() in UNITS and column(name) != "step":  # a line's first step is its step
                row[column(name)] = float(spelled([value]).values[0]) * UNITS[unit.lower()]
    if not rows:
        raise Unreadable("a console log without a line that says a step and a loss")
    said = [f"{file.path.name} is a console log of one run"]
    if tokens := once.pop("tokens_per_step", None):
        for row in rows.values():
            row["tokens"] = row["step"] * tokens
        said.append(f"{file.path.name}: tokens are steps times {tokens:g}")
    else:
        said.append(
            f"{file.path.name}, a console log, does not say the tokens of a step: a table with columns `run` "
            f"({file.path.name}) and `tokens`, given beside it, would"
        )
    if "n_params" not in once:
        said.append(
            f"{file.path.name}, a console log, does not say the number of parameters; a table given beside it would"
        )
    steps = sorted(rows)
    yield Log(pack_rows([rows[s] for s in steps]), [places[s] for s in steps], path, path, once, said)


def column(name: str) -> str:
    """`loss` is what a step trained on; "val loss" and "Validation bpb" say themselves."""
    name = re.sub(r"^(?:and|to|the) ", "", name.strip(" -.").lower())
    return "train loss" if name == "loss" else name


FORMAT = Format("console logs", fits, read)
