"""The lowest expected loss of masked:masked on a Markov chain of order 1, by one who knows the chain.

    uv run python -m scripts.score.masked

Windows of the page markov_bert are hidden as the task hides them.  The posterior of each chosen token, given all that
is shown, is exact: messages from both sides (Rabiner 1989, section III.A).  B windows, L tokens, V states.
"""

import numpy as np
from jaxtyping import Float, Int

from configs.text.markov_bert import get_config
from data import synthetic

RATE, BLANK, OTHER = 0.15, 0.8, 0.1  # defaults of the task


def main() -> None:
    config = get_config().data
    rng = np.random.default_rng(config.get("seed", 0))
    table = synthetic.transitions(config.states, 1, config.get("concentration", 0.3), rng)
    start = synthetic.stationary(table)
    x_BL = synthetic.chains(table, start, 40_000, config.context, np.random.default_rng(1)).astype(int)
    chosen_BL, shown_BL = hidden(x_BL, config.states, np.random.default_rng(2))
    posterior_BLV = posterior(table, start, shown_BL)
    own = np.take_along_axis(posterior_BLV, x_BL[..., None], 2)[..., 0]
    right = posterior_BLV.argmax(-1) == x_BL
    error = np.log(own[chosen_BL]).std() / np.sqrt(chosen_BL.sum())
    print(f"loss {-np.log(own[chosen_BL]).mean():.4f} ± {error:.4f}  accuracy {right[chosen_BL].mean():.4f}")


def hidden(x_BL: Int[np.ndarray, "B L"], states: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Which tokens are chosen, and what is shown; `states` is the blank."""
    chosen, how = rng.random(x_BL.shape) < RATE, rng.random(x_BL.shape)
    other = rng.integers(states, size=x_BL.shape)
    shown = np.where(how < BLANK, states, np.where(how < BLANK + OTHER, other, x_BL))
    return chosen, np.where(chosen, shown, x_BL)


def posterior(
    table: Float[np.ndarray, "V V"],
    start: Float[np.ndarray, " V"],
    shown_BL: Int[np.ndarray, "B L"],
) -> Float[np.ndarray, "B L V"]:
    """p(token | all that is shown, and that this token is a chosen one); which others are chosen is not known."""
    V = len(table)
    kept = 1 - BLANK - OTHER
    chosen_shows = np.concatenate([kept * np.eye(V) + OTHER / V, np.full((V, 1), BLANK)], axis=1)  # p(shown | token)
    shows = (1 - RATE) * np.eye(V, V + 1) + RATE * chosen_shows
    seen_BLV = shows.T[shown_BL]
    before, after = np.empty(seen_BLV.shape), np.empty(seen_BLV.shape)
    L = shown_BL.shape[1]
    before[:, 0], after[:, -1] = start, 1
    unit = lambda m: m / m.sum(-1, keepdims=True)
    for t in range(1, L):
        before[:, t] = unit((before[:, t - 1] * seen_BLV[:, t - 1]) @ table)
        after[:, L - 1 - t] = unit((after[:, L - t] * seen_BLV[:, L - t]) @ table.T)
    return unit(before * after * chosen_shows.T[shown_BL])


if __name__ == "__main__":
    main()
