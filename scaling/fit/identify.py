"""What runs can identify: refusals before a fit."""

from collections.abc import Mapping

import numpy as np

from scaling.fit.question import Question
from train.errors import UserError


def check(question: Question, columns: Mapping[str, np.ndarray]) -> None:
    """Refuses rows from which the free parameters of the law cannot be identified.  Columns are float64 [runs]."""
    law = question.law
    read = (*law.inputs, law.output)
    missing = [name for name in read if name not in columns]
    if missing:
        raise UserError(
            f"{law.name} reads {' and '.join(read)}, and there is no {' and no '.join(missing)}; "
            f"these columns are known: {', '.join(columns)}"
        )
    for name in read:
        positive = name in law.inputs or law.in_logs.space == "log"
        bad = np.flatnonzero(~(np.isfinite(columns[name]) & ((columns[name] > 0) | (not positive))))
        if bad.size:
            raise UserError(
                f"{name} of row {bad[0]} is {columns[name][bad[0]]}; every {name} must be finite"
                f"{' and positive' if positive else ''} ({bad.size} such rows): drop them"
            )
    rows = columns[law.output].size
    if rows < question.free + 1:
        raise UserError(
            f"{rows} rows cannot fit the {question.free} parameters of {law.name}; it needs at least "
            f"{question.free + 1}"
        )
    for name in law.inputs:
        distinct, need = np.unique(columns[name]).size, law.levels.get(name, 3)
        if distinct < need:
            raise UserError(
                f"{name} takes {distinct} value{'s' * (distinct > 1)}, so {law.name}'s exponent of {name} cannot be "
                f"identified; add runs until {name} takes at least {need}, a factor of two apart or more"
            )
    together = [name for name in law.inputs if law.levels.get(name, 3) > 1]
    logs = np.stack([np.log(columns[name]) for name in together])
    logs -= logs.mean(1, keepdims=True)
    if np.linalg.matrix_rank(logs, tol=1e-6 * np.linalg.norm(logs)) < len(together):
        raise UserError(
            f"{' and '.join(together)} move together in every row (for n and d: the same power law ties tokens to "
            f"parameters), so their exponents cannot be told apart; add runs of one model size at several numbers of "
            f"tokens"
        )
