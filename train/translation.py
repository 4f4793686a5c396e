"""What a trained encoder–decoder writes for new lines of text, or for sounds.  B lines, S length of the source."""

import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from data import speech
from data.rewriting import END, FILLER
from train.errors import UserError

if TYPE_CHECKING:
    from train.saved import Saved


def translated(
    run: "Saved", given: Sequence[str], *, tokens: int, temperature: float = 0.0, seed: int = 0
) -> list[str]:
    """One line for each of `given`: at most `tokens` tokens, without the one that ends it."""
    import jax
    import jax.numpy as jnp

    from models.decode import How, program, step_of
    from train.experiment import build_models
    from train.tasks.translate import sources

    dataset, model = run.experiment.dataset, build_models(run.config)["model"]
    is_sound = np.issubdtype(run.experiment.batch["x"].dtype, np.floating)
    x = heard(run, given) if is_sound else read(dataset.tokenizer, given)
    tokens = max(1, min(tokens, model.network.context - 1))
    carry = model.apply(run.params, run.model_state, *sources(jnp.asarray(x)), tokens, method="start")[0]
    begin = jnp.zeros((len(given), 1), jnp.int32)
    how, end = How(temperature, known=dataset.tokenizer.vocab), (int(dataset.tokenizer.encode(END.encode())[0]),)
    ids = program(step_of(model))(run.params, carry, begin, jax.random.key(seed), tokens=tokens, how=how, end=end)
    lines = (dataset.tokenizer.decode(row) for row in np.asarray(ids))
    return [line.split(END)[0].replace(FILLER, "").rstrip(" ") for line in lines]


def read(tokenizer: Any, lines: Sequence[str]) -> np.ndarray:
    """Tokens [B, S], each line with its end, and zeros behind; S is a power of two: each has a program."""
    from models.decode import bucket

    try:
        rows = [tokenizer.encode((line + END).encode()) for line in lines]
    except ValueError as error:
        raise UserError(f"{error}; write the line with the characters of the training data") from None
    longest = bucket(2 * max(map(len, rows)) - 1)
    return np.stack([np.pad(row, (0, longest - len(row))) for row in rows]).astype(np.int32)


def heard(run: "Saved", files: Sequence[str]) -> np.ndarray:
    """The sounds of files [B, M, F], as the run's data have them."""
    if not run.config.data.name.startswith("speech:"):
        raise UserError(f"{files[0]}: this run learnt from {run.config.data.name}, whose sounds are not files")
    try:
        return np.stack([speech.features(pathlib.Path(file), *run.experiment.batch["x"].shape[1:]) for file in files])
    except ValueError as error:
        raise UserError(str(error)) from None
