"""JAX, loaded when a law is first evaluated: laws are named, and columns judged for them, without a second of import.

Law files import `jax`, `jnp`, `Array` and `jit` from here, and use them as usual.
"""

import functools
import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import jax
    import jax.numpy as jnp

    Array = jax.Array
else:

    class Module:
        """A module that is imported when something of it is first asked for."""

        def __init__(self, name: str):
            self._name = name

        def __getattr__(self, attribute: str) -> Any:
            value = getattr(importlib.import_module(self._name), attribute)
            setattr(self, attribute, value)
            return value

    jax, jnp, Array = Module("jax"), Module("jax.numpy"), "jax.Array"


def jit(fn: Callable, **options: Any) -> Callable:
    """`jax.jit(fn, **options)`, made at the first call."""
    made = functools.cache(lambda: jax.jit(fn, **options))
    return functools.wraps(fn)(lambda *args: made()(*args))
