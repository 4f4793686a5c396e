"""Memory that a train step needs, estimated from its jaxpr: before anything is compiled.

The arrays that are alive at once, in the order in which the program is written.  An elementwise operation is fused into
the operations that read it: it needs memory only where a product, a convolution or a loop reads its result.
XLA orders and fuses otherwise: `scripts/check/plan_times.py` shows how far off the estimate is.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from jax.extend.core import Literal

Size = Callable[[Any], float]  # of an abstract value, in bytes

CALLS = {"jit", "pjit", "closed_call", "core_call", "remat", "checkpoint", "remat2", "custom_jvp_call"}
CALLS |= {"custom_vjp_call", "custom_vjp_call_jaxpr", "custom_lin"}
MATERIALISED = {"dot_general", "conv_general_dilated", "scan", "while", "cond", "sort", "gather", "scatter-add"}
MATERIALISED |= {"scatter", "reduce_window_max", "select_and_scatter_add", "cumsum", "cumlogsumexp", "cummax", "top_k"}
MATERIALISED |= {"reduce_sum", "reduce_max", "reduce_min", "argmax", "concatenate", "random_bits", "eigh", "qr"}
READS_ARRAYS = MATERIALISED - {"reduce_sum", "reduce_max", "reduce_min", "argmax"}  # a reduction fuses what it reads


class Operation(NamedTuple):
    name: str
    reads: tuple[int, ...]  # variables
    writes: tuple[int, ...]
    inside: float  # bytes of temporaries, of the body of a loop


def nbytes(aval: Any) -> float:
    itemsize = getattr(aval.dtype, "itemsize", 4)
    return float(math.prod(aval.shape) * itemsize) if hasattr(aval, "shape") else 0.0


def temporaries(jaxpr: Any, size: Size = nbytes) -> float:
    """Bytes at the peak beside the inputs and the results of `jaxpr` (without constants)."""
    operations: list[Operation] = []
    sizes: dict[int, float] = {}

    def new(aval: Any) -> int:
        sizes[len(sizes)] = size(aval)
        return len(sizes) - 1

    def walk(jaxpr: Any, known: dict[Any, int]) -> list[int | None]:
        """Flattens calls; the variables of the results (None: a literal)."""
        number = lambda var: None if isinstance(var, Literal) else known.get(var)
        for equation in jaxpr.eqns:
            name, inputs = equation.primitive.name, [number(var) for var in equation.invars]
            body = called(equation) if name in CALLS else None
            if body is not None:
                inner = dict(zip(body.invars, inputs, strict=True))
                results = walk(body, {var: n for var, n in inner.items() if n is not None})
                known.update({v: n for v, n in zip(equation.outvars, results, strict=True) if n is not None})
                continue
            bodies = [b for b in map(plain, flat(equation.params.values())) if hasattr(b, "eqns")]
            inside = max((temporaries(b, size) for b in bodies), default=0.0)
            outputs = [new(var.aval) for var in equation.outvars]
            known.update(zip(equation.outvars, outputs, strict=True))
            reads = tuple(n for n in inputs if n is not None)
            operations.append(Operation(name, reads, tuple(outputs), inside))
        return [number(var) for var in jaxpr.outvars]

    given = {var: new(var.aval) for var in (*jaxpr.invars, *jaxpr.constvars)}
    held = set(given.values())
    results = {n for n in walk(jaxpr, dict(given)) if n is not None}
    return peak(operations, sizes, held, results)


def traffic(jaxpr: Any, size: Size = nbytes) -> float:
    """Bytes that products, convolutions, reductions and the like read and write; loops times their length."""
    moved = 0.0
    for equation in jaxpr.eqns:
        name = equation.primitive.name
        bodies = [body for body in map(plain, flat(equation.params.values())) if hasattr(body, "eqns")]
        if bodies:
            each = [traffic(body, size) for body in bodies]
            moved += max(each) if name == "cond" else sum(each) * (equation.params["length"] if name == "scan" else 1)
        elif name in MATERIALISED:
            moved += sum(size(v.aval) for v in (*equation.invars, *equation.outvars) if not isinstance(v, Literal))
    return moved


def peak(operations: Sequence[Operation], sizes: dict[int, float], held: set[int], results: set[int]) -> float:
    """The most bytes alive at once, of variables that are neither `held` nor `results`."""
    writer = {n: i for i, operation in enumerate(operations) for n in operation.writes}
    arrays = {n for operation in operations if operation.name in MATERIALISED for n in operation.writes}
    arrays |= {n for operation in operations if operation.name in READS_ARRAYS for n in operation.reads}
    # What a fused operation reads must live until the last operation that reads its result.
    last: dict[int, int] = {}
    for i in reversed(range(len(operations))):
        operation = operations[i]
        fused = [last[n] for n in operation.writes if n not in arrays and n in last]
        end = max([i, *fused])
        for n in operation.reads:
            last[n] = max(last.get(n, 0), end)
    counted = arrays - held - results
    freed: dict[int, float] = {}
    for n in counted:
        i = last.get(n, writer[n])
        freed[i] = freed.get(i, 0.0) + sizes[n]
    alive = most = 0.0
    for i, operation in enumerate(operations):
        alive += sum(sizes[n] for n in operation.writes if n in counted)
        most = max(most, alive + operation.inside)
        alive -= freed.get(i, 0.0)
    return most


def called(equation: Any) -> Any:
    for name in ("jaxpr", "call_jaxpr", "fun_jaxpr"):
        if name in equation.params:
            return plain(equation.params[name])
    return None


def plain(body: Any) -> Any:
    return getattr(body, "jaxpr", body)


def flat(values: Any) -> list[Any]:
    return [part for value in values for part in (value if isinstance(value, tuple | list) else (value,))]
