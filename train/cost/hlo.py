"""What a compiled program does, read off its text: FLOPs, bytes of memory and collectives, loops times their length.

XLA's own `cost_analysis` counts the body of a loop once, which for a scan over layers is a tenth of the truth.
"""

import functools
import math
import re
from collections.abc import Iterator
from typing import NamedTuple

from train.cost.flops import meeting

BYTES = {"pred": 1, "s4": 0.5, "u4": 0.5, "bf16": 2, "token": 0}
COLLECTIVES = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "ragged-all-to-all", "collective-permute")
# What moves no memory: names for what is there already, and what is counted where it is called.
FREE = {"parameter", "tuple", "get-tuple-element", "bitcast", "constant", "while", "call", "conditional", "iota"}
FREE |= {"after-all", "partition-id", "replica-id", "opt-barrier", "add-dependency"}
MULTIPLY = ("dot", "convolution", "custom-call", "fusion", "async-start")  # operations that multiply, or may hold such


class Instruction(NamedTuple):
    name: str
    shape: str
    op: str
    operands: tuple[str, ...]
    rest: str  # attributes

    def attribute(self, name: str) -> str:
        found = re.search(rf"\b{name}=([^,\s]+)", self.rest)
        return found[1] if found else ""

    def called(self, name: str) -> str:
        return self.attribute(name).lstrip("%")


Computation = list[Instruction]


class Cost(NamedTuple):
    flops: float  # of matrix products and convolutions
    bytes: float  # read and written outside the fast memory


class Collective(NamedTuple):
    """One collective of the program; bytes and seconds are of one execution on one chip."""

    kind: str
    name: str
    bytes: float  # that a chip holds of it when it is whole: the gathered, or the array to be reduced
    wire: float  # bytes that a chip sends, by ring algorithms
    group: int  # chips that take part
    times: int  # executions a step
    loop: int  # loops around it
    between: Cost  # what is computed while it is under way; nothing where it is waited for at once
    asynchronous: bool
    source: str  # the operation that it comes from


class Work(NamedTuple):
    """What one device does in one execution of a program."""

    flops: float
    bytes: float
    collectives: list[Collective]


def analyse(text: str) -> Work:
    """The work of the program whose optimised, scheduled HLO is `text`."""
    program = parse(text)
    communicates = any(kind in text for kind in COLLECTIVES)  # else thousands of instructions are not looked at for it
    flops = moved = 0.0
    collectives: list[Collective] = []
    for computation, times, loop in walk(program, program["ENTRY"]):
        index = {item.name: item for item in computation}
        work = [
            Cost(
                instruction_flops(item, index, program) if item.op.startswith(MULTIPLY) else 0.0,
                instruction_bytes(item, index, program),
            )
            for item in computation
        ]
        flops += times * sum(cost.flops for cost in work)
        moved += times * sum(cost.bytes for cost in work)
        found = find_collectives(computation, index, work, program) if communicates else ()
        collectives += [each._replace(times=times, loop=loop) for each in found]
    return Work(flops, moved, collectives)


def parse(text: str) -> dict[str, Computation]:
    """name -> instructions; the entry also under "ENTRY"."""
    program: dict[str, Computation] = {}
    current: Computation = []
    for line in re.sub(r"\n(?=[\"}][^\n])", " ", text).splitlines():  # a kernel's attributes hold line breaks
        if line and not line[0].isspace() and line.endswith("{"):
            head = line.split()
            name = head[1] if head[0] == "ENTRY" else head[0]
            current = program.setdefault(name.lstrip("%"), [])
            if head[0] == "ENTRY":
                program["ENTRY"] = current
        elif " = " in line and line.startswith("  "):
            found = instruction(line.strip())
            if found:
                current.append(found)
    return program


def instruction(line: str) -> Instruction | None:
    line = re.sub(r"/\*index=\d+\*/", "", line)  # which XLA writes before every fifth of many
    name, _, right = line.removeprefix("ROOT ").partition(" = ")
    end = closing(right, 0) + 1 if right.startswith("(") else right.find(" ")
    shape, right = right[:end], right[end:].lstrip()
    op, bracket, _ = right.partition("(")
    if not bracket:
        return None
    close = right.find(")", len(op))
    if close < 0 or "(" in right[len(op) + 1 : close]:
        close = closing(right, len(op))
    inner = right[len(op) + 1 : close]
    parts = split(inner) if "{" in inner or "[" in inner or "(" in inner else inner.split(",")
    operands = tuple(part.split()[-1].lstrip("%") for part in parts if part.strip())
    return Instruction(name.lstrip("%"), shape, op, operands, right[close + 1 :])


def closing(text: str, start: int) -> int:
    """Where the bracket that opens at `start` closes."""
    depth = 0
    for i in range(start, len(text)):
        depth += (text[i] in "({[") - (text[i] in ")}]")
        if depth == 0:
            return i
    return len(text)


def split(text: str) -> Iterator[str]:
    """At the commas that stand in no bracket."""
    depth, start = 0, 0
    for i, letter in enumerate(text):
        depth += (letter in "({[") - (letter in ")}]")
        if letter == "," and depth == 0:
            yield text[start:i]
            start = i + 1
    yield text[start:]


def walk(program: dict[str, Computation], computation: Computation, times: int = 1, loop: int = 0):
    """Every computation that runs as a sequence, how often, and in how many loops."""
    yield computation, times, loop
    for item in computation:
        if item.op == "while":
            body, condition = program[item.called("body")], program[item.called("condition")]
            yield from walk(program, body, times * trips(item, condition, body), loop + 1)
        elif item.op == "call":
            yield from walk(program, program[item.called("to_apply")], times, loop)
        elif item.op == "conditional":
            names = re.findall(r"%([\w.-]+)", (re.search(r"branch_computations=\{([^}]*)\}", item.rest) or [""])[0])
            names += [item.called(key) for key in ("true_computation", "false_computation") if item.called(key)]
            longest = max((program[name] for name in names), key=len, default=[])
            yield from walk(program, longest, times, loop)


def trips(item: Instruction, condition: Computation, body: Computation) -> int:
    """How often a loop runs: as the compiler says, or from its counter's bound and step (it begins at 0); else once."""
    known = re.search(r'"known_trip_count":\{"n":"?(\d+)', item.rest)
    if known:
        return int(known[1])
    test, parts = condition[-1], {part.name: part for part in condition}
    bounds = [number(part) for part in condition if part.op == "constant" and number(part) is not None]
    if not bounds:
        return 1
    step = 1
    counter = next(
        (parts[name] for name in test.operands if name in parts and parts[name].op == "get-tuple-element"), None
    )
    if counter is not None and body[-1].op == "tuple":
        inside = {part.name: part for part in body}
        grown = inside.get(body[-1].operands[int(counter.attribute("index"))])
        if grown is not None and grown.op == "add":
            steps = [number(inside[name]) for name in grown.operands if name in inside]
            step = next((s for s in steps if s), 1)
    return math.ceil(max(b for b in bounds if b is not None) / step)


def number(item: Instruction) -> int | None:
    found = re.fullmatch(r"-?\d+", item.operands[0]) if item.op == "constant" and item.operands else None
    return int(found[0]) if found else None


@functools.cache
def arrays(shape: str) -> tuple[tuple[str, tuple[int, ...], bool], ...]:
    """(dtype, dimensions, in the fast memory) of every array of a shape."""
    found = re.findall(r"\b([a-z]\w*)\[([\d,]*)\](\{[^}]*\})?", re.sub(r"/\*.*?\*/", "", shape))
    return tuple(
        (dtype, tuple(int(n) for n in dims.split(",") if n), "S(1)" in layout) for dtype, dims, layout in found
    )


@functools.cache
def size(shape: str, *, outside: bool = False) -> float:
    """Bytes of a shape; with `outside`, of its arrays that are not in the fast memory (of a TPU: VMEM)."""
    return sum((width(dtype) * math.prod(dims) for dtype, dims, fast in arrays(shape) if not (outside and fast)), 0.0)


def width(dtype: str) -> float:
    """Bytes of one number."""
    if dtype in BYTES:
        return float(BYTES[dtype])
    bits = re.search(r"\d+", dtype)
    return int(bits[0]) / 8 if bits else 0.0


def instruction_flops(item: Instruction, index: dict[str, Instruction], program: dict[str, Computation]) -> float:
    """Two a multiply-add, of products and convolutions, inside fusions too."""
    if item.op == "fusion" or item.op.startswith("async-start"):
        inner = program.get(item.called("calls"), [])
        names = {part.name: part for part in inner}
        return sum((instruction_flops(part, names, program) for part in inner if part.op.startswith(MULTIPLY)), 0.0)
    if item.op == "convolution":
        return convolution_flops(item, index)
    if item.op == "dot":
        dims = arrays(index[item.operands[0]].shape)[0][1]
        contracted = re.search(r"lhs_contracting_dims=\{([\d,]*)\}", item.rest)
        axes = [int(i) for i in (contracted[1] if contracted else "").split(",") if i]
        return 2.0 * math.prod(arrays(item.shape)[0][1]) * math.prod(dims[i] for i in axes)
    kernel = attention(item, index)
    return kernel.flops if kernel else 0.0


def attention(item: Instruction, index: dict[str, Instruction]) -> Cost | None:
    """What a kernel of attention does, which the program shows as one call: by its name, its arrays [B, N, L, H] and
    the blocks that it visits (models/parts/kernels.py); bytes are those it reads more than once.

    Products of a block: q k and p v forward; backward the scores again, then those of the gradients of p, v and k, and
    in the same kernel or in one of its own that of q.
    """
    said = re.search(r"visits_(\d+)_of_(\d+)x(\d+)_blocks", item.rest)
    if item.op != "custom-call" or not said:
        return None
    visited, rows, columns = map(int, said.groups())
    given = [(width(dtype), dims) for name in item.operands for dtype, dims, _ in arrays(index[name].shape)]
    (each, queries), (_, keys) = [(size, dims) for size, dims in given if len(dims) > 2 and size > 1][:2]
    (*B, N, L, H), (*_, K, T, _) = queries, keys  # one text has no axis of texts
    B, backward = math.prod(B), "_dkv" in item.name
    with_q = len(arrays(item.shape)[0][1]) > len(queries)  # its parts, one for each block of keys
    products = (5 if with_q else 4) if backward else 3 if "_dq" in item.name else 2
    # Two arrays pass by block after block: keys and values forward, queries and the gradient of the output backward.
    passed, once = (N * visited * L / rows, N * L) if backward else (N * visited * T / columns, K * T)
    flops = 2.0 * products * B * N * L * T * H * visited / (rows * columns)
    return Cost(flops, 2 * B * H * each * max(0.0, passed - once))


def convolution_flops(item: Instruction, index: dict[str, Instruction]) -> float:
    """Only what meets the input counts: XLA:TPU writes batched products as convolutions that are mostly padding."""
    left, right, out = re.split("_|->", item.attribute("dim_labels"))
    lhs, rhs, result = (
        dict(zip(labels, arrays(shape)[0][1], strict=True))
        for labels, shape in (
            (left, index[item.operands[0]].shape),
            (right, index[item.operands[1]].shape),
            (out, item.shape),
        )
    )
    window = dict(part.split("=") for part in (re.search(r"window=\{([^}]*)\}", item.rest) or ["", ""])[1].split())
    spatial = [label for label in out if label.isdigit()]

    def along(name: str, axis: int, default: int) -> int:
        return int(window[name].split("x")[axis]) if name in window else default

    pairs = 1
    for axis, label in enumerate(spatial):
        low = int(window["pad"].split("x")[axis].split("_")[0]) if "pad" in window else 0
        pairs *= meeting(
            result[label], along("size", axis, 1), lhs[label], low,
            along("stride", axis, 1), along("lhs_dilate", axis, 1), along("rhs_dilate", axis, 1),
        )  # fmt: skip
    return 2.0 * result["b"] * result["f"] * rhs["i"] * pairs


def instruction_bytes(item: Instruction, index: dict[str, Instruction], program: dict[str, Computation]) -> float:
    """Read and written outside the fast memory."""
    if item.op in FREE or item.op.endswith("-done") or kind_of(item.op):
        return 0.0
    if item.op in ("copy-start", "slice-start"):
        return transfer(item)
    if item.op == "async-start":
        return size(item.shape.split("),")[0], outside=True)
    again = attention(item, index) if item.op == "custom-call" else None
    if item.op == "dynamic-slice":
        return 2 * size(item.shape, outside=True)
    if item.op == "dynamic-update-slice":
        return 2 * size(index[item.operands[1]].shape, outside=True)
    read = [size(index[name].shape, outside=True) for name in item.operands if name in index]
    written = size(item.shape, outside=True)
    if item.op == "fusion":
        inner = program.get(item.called("calls"), [])
        parameters = {int(part.operands[0]): part.name for part in inner if part.op == "parameter"}
        for i in range(len(read)):
            users = [part for part in inner if parameters.get(i) in part.operands]
            if users and all(part.op in ("dynamic-slice", "gather") for part in users):
                read[i] = min(read[i], sum(size(part.shape) for part in users))
            if users and all(part.op == "dynamic-update-slice" and part.operands[0] == parameters[i] for part in users):
                written -= read[i]  # updated in place
                names = {part.name: part for part in inner}
                read[i] = sum(size(names[part.operands[1]].shape) for part in users)
    return sum(read) + max(written, 0.0) + (again.bytes if again else 0.0)


def transfer(item: Instruction) -> float:
    """Between fast and slow memory: (to, from, …) of a copy, ((from), to, …) of a slice; what arrives, once a side."""
    parts = arrays(item.shape)
    to, other = parts[:2] if item.op == "copy-start" else parts[1::-1]
    dtype, dims, fast = to
    return width(dtype) * math.prod(dims) * ((not fast) + (not other[2]))


def kind_of(op: str) -> str:
    return next((kind for kind in COLLECTIVES if op in (kind, f"{kind}-start")), "")


def find_collectives(
    computation: Computation, index: dict[str, Instruction], work: list[Cost], program: dict[str, Computation]
) -> Iterator[Collective]:
    """Each once: XLA:TPU spreads one over several fusions that compute meanwhile, which share its channel."""
    seen: dict[str, list[tuple[int, str, Instruction, dict[str, Instruction]]]] = {}
    for place, item in enumerate(computation):
        for kind, core, names in inside(item, index, program):
            seen.setdefault(core.attribute("channel_id") or core.name, []).append((place, kind, core, names))
    for found in seen.values():
        first, kind, core, names = found[0]
        opener, last = computation[first], found[-1][0]
        waits = (i for i, item in enumerate(computation) if item.op.endswith("-done") and opener.name in item.operands)
        last = max(last, next(waits, first))
        asynchronous = opener.op.endswith("-start") or (opener.op == "fusion" and kind != "reduce-scatter")
        under_way = Cost(*map(sum, zip(*work[first : last + 1], strict=True))) if asynchronous else Cost(0.0, 0.0)
        yield collective(kind, core, names, under_way, asynchronous)


def inside(
    item: Instruction, index: dict[str, Instruction], program: dict[str, Computation]
) -> Iterator[tuple[str, Instruction, dict[str, Instruction]]]:
    """Collectives that `item` is, or that its fusion holds, each with the instructions around it."""
    if kind_of(item.op):
        yield kind_of(item.op), item, index
    elif item.op in ("fusion", "async-start"):
        body = program.get(item.called("calls"), [])
        names = {part.name: part for part in body}
        summed = [part for part in body if part.op == "all-reduce"]
        if summed and item.called("calls").startswith("all-reduce-scatter"):  # XLA:TPU's reduce-scatter
            yield "reduce-scatter", summed[0], names
            return
        for part in body:
            yield from inside(part, names, program)


def collective(
    kind: str, item: Instruction, index: dict[str, Instruction], between: Cost, asynchronous: bool
) -> Collective:
    given = sum(size(index[name].shape) for name in item.operands if name in index)
    n = group(item.rest)
    whole = given * n if kind == "all-gather" else given
    ring = (n - 1) / n
    sent = {"all-reduce": 2 * ring, "collective-permute": 1.0}.get(kind, ring) * whole
    source = re.search(r'op_name="([^"]*)"', item.rest)
    return Collective(kind, item.name, whole, sent, n, 1, 0, between, asynchronous, source[1] if source else "")


def group(rest: str) -> int:
    """How many chips exchange: of `mesh['data'=2,'fsdp'=4] {'fsdp'}`, `[2,4]<=[8]` or `{{0,1},{2,3}}`."""
    named = re.search(r"replica_groups=mesh\[([^\]]*)\] \{([^}]*)\}", rest)
    if named:
        sizes = dict(re.findall(r"'([^']+)'=(\d+)", named[1]))
        parts = re.findall(r"'([^']+)'(?::\(\d+\)(\d+))?", named[2])
        return math.prod(int(part or sizes[axis]) for axis, part in parts)
    iota = re.search(r"replica_groups=\[(\d+),(\d+)\]", rest)
    if iota:
        return int(iota[2])
    listed = re.search(r"(?:replica_groups|source_target_pairs)=\{\{([\d,]*)\}", rest)
    return len(listed[1].split(",")) if listed else 1
