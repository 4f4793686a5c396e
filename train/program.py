"""A jitted function, compiled before its first call, that says what changed when it has to compile again."""

import time
from collections.abc import Callable
from typing import Any

import jax


class Program:
    """Calls `jax.jit(fn)`, whose argument number `watched` (the batch) may be the only one to change its shapes."""

    def __init__(
        self,
        name: str,
        fn: Callable,
        *,
        say: Callable[[str], None],
        watched: int = 1,
        donate: tuple = (),
        options: Any = None,
    ):
        self.name, self.say, self.watched, self.options = name, say, watched, options
        self.jitted = jax.jit(fn, donate_argnums=donate)
        self.compiled: dict[tuple, Any] = {}
        self.seconds = 0.0

    def __call__(self, *args: Any) -> Any:
        signature = describe(args[self.watched])
        if signature not in self.compiled:
            self.compile(*args)
        return self.compiled[signature](*args)

    def compile(self, *args: Any) -> Any:
        """Compiles for these arguments (arrays, or their shapes) without running."""
        signature = describe(args[self.watched])
        start = time.perf_counter()
        program = self.jitted.lower(*args).compile(self.options)
        seconds = time.perf_counter() - start
        self.seconds += seconds
        if self.compiled:
            before = list(self.compiled)[-1]
            changed = ", ".join(f"{a} became {b}" for a, b in zip(before, signature, strict=False) if a != b)
            self.say(f"{self.name} compiled again ({seconds:.1f} s): {changed or f'{before} became {signature}'}")
        self.compiled[signature] = program
        return program


def describe(batch: dict[str, Any]) -> tuple[str, ...]:
    return tuple(f"{name} {value.dtype}{list(value.shape)}" for name, value in batch.items())
