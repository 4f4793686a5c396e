"""Every law by its name.  A new one is a `Law` in a file of this folder, and nothing else: every fit takes it.

L loss in nats per token, N parameters, D tokens, C FLOPs.  Which parameters N counts is the caller's choice and changes
the exponents (Porian et al. 2024, Pearce & Song 2024), so every report states it.
"""

import importlib
import pkgutil

from scaling.laws.api import Law, Param, Params
from scaling.laws.hoffmann import G, a, b, chinchilla, compute_for_loss, d_opt, l_opt, n_opt


def found() -> dict[str, Law]:
    """name -> every law in a file of this folder, in the order of files; Chinchilla's, the default, first."""
    modules = [importlib.import_module(f"{__name__}.{module.name}") for module in pkgutil.iter_modules(__path__)]
    values = [value for module in modules for value in vars(module).values() if isinstance(value, Law)]
    return {law.name: law for law in (chinchilla, *values)}


LAWS: dict[str, Law] = found()

# N_opt ~ C^a and D_opt ~ C^b as published: Kaplan et al. 2020 (section 6.1), Hoffmann et al. 2022 (approaches 1 to 3).
PUBLISHED = {
    "Kaplan et al. 2020": {"a": 0.73, "b": 0.27},
    "Hoffmann et al. 2022, approaches 1 and 2": {"a": 0.50, "b": 0.50},
    "Hoffmann et al. 2022, approach 3": {"a": 0.46, "b": 0.54},
}

__all__ = [
    "LAWS", "PUBLISHED", "G", "Law", "Param", "Params", "a", "b", "chinchilla", "compute_for_loss", "d_opt", "l_opt",
    "n_opt",
]  # fmt: skip
