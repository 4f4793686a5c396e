"""Recurrent networks: Elman's, LSTM and GRU, in layers, in one direction or both.

Shapes: B batch, L length, F features of an input, H width, G gates × H, O outputs.
"""

from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float, Int

from models.parts.axes import constrain
from models.parts.dense import Dropout, Embed, at_least_one
from models.parts.recurrent import CELLS, CellName, State, product, recur

Direction = Literal["forward", "both"]
DIRECTIONS = {"forward": (False,), "both": (False, True)}
SMALLEST = {"layers": 1, "width": 16, "vocab": 256}  # at which pages are tested


def rotations(key: jax.Array, shape: tuple[int, int], dtype: Any = jnp.float32) -> Float[Array, "h g"]:
    """For each gate an orthogonal matrix, which neither shrinks nor grows what it is applied to (Saxe et al. 2013)."""
    H, G = shape
    keys = jax.random.split(key, G // H)
    return jnp.concatenate([nn.initializers.orthogonal()(k, (H, H), dtype) for k in keys], axis=1)


# Where the weights from output to gates start; "uniform" is within ± 1/√H, as torch has it: it shrinks, to about 0.6.
Start = Literal["orthogonal", "uniform"]
RECURRENT = {
    "orthogonal": rotations,
    "uniform": nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform"),
}


class Layer(nn.Module):
    """One layer in one direction, time first.  The products of all inputs with their weights are one, before the scan.

    `memory` > 0 starts gated cells so that they keep their state for 2 … `memory` steps (Tallec & Ollivier 2018,
    "chrono"); 0 starts an LSTM's forget gate with bias 1 (Gers et al. 2000; Jozefowicz et al. 2015).
    """

    cell: CellName
    width: int
    reverse: bool = False
    memory: int = 0
    recurrent: Start = "orthogonal"

    @nn.compact
    def __call__(self, x_LBF: Float[Array, "l b f"], state: State | None) -> tuple[Float[Array, "l b h"], State]:
        cell, H = CELLS[self.cell], self.width
        if self.memory and cell.keep is None:
            raise ValueError(f"memory={self.memory}: {self.cell!r} has no gate to keep its state; use 'lstm' or 'gru'")
        B, F = x_LBF.shape[1:]
        w_FG = self.param("input", nn.initializers.lecun_normal(), (F, cell.gates * H))
        w_HG = self.param("recurrent", RECURRENT[self.recurrent], (H, cell.gates * H))
        b_G = self.param("bias", self.remembering, (cell.gates * H,))
        x_LBG = product(x_LBF, w_FG)
        if cell.apart:
            x_LBG = x_LBG + self.param("input_bias", nn.initializers.zeros, (cell.gates * H,))[None, None]
        if state is None:
            state = (constrain(jnp.zeros((B, H), x_LBG.dtype), "batch", None),) * cell.parts
        return recur(cell, self.reverse, w_HG, b_G, x_LBG, state)

    def remembering(self, key: jax.Array, shape: tuple[int]) -> jax.Array:
        """Zeros, but for the gates that say how long the state is kept."""
        cell, H = CELLS[self.cell], self.width
        bias_GH = jnp.zeros((cell.gates, H))
        if cell.keep is None:
            return bias_GH.ravel()
        if not self.memory:
            return bias_GH.at[cell.keep].set(cell.keep_bias).ravel()
        kept_H = jnp.log(jax.random.uniform(key, (H,), minval=1.0, maxval=max(self.memory - 1.0, 1.0)))
        bias_GH = bias_GH.at[cell.keep].set(kept_H)
        return (bias_GH if cell.write is None else bias_GH.at[cell.write].set(-kept_H)).ravel()


class Recurrent(nn.Module):
    """`layers` layers, each on the outputs of the one before; `dropout` between them.

    `direction` is "forward", or "both": every layer also reads from the end to the start and its outputs stand beside
    the others (Schuster & Paliwal 1997).
    """

    cell: CellName
    width: int
    layers: int = 1
    direction: Direction = "forward"
    dropout: float = 0.0
    memory: int = 0
    recurrent: Start = "orthogonal"

    @nn.compact
    def __call__(
        self, x_BLF: Float[Array, "b l f"], states: list[State] | None = None, *, train: bool = False
    ) -> tuple[Float[Array, "b l h"], list[State]]:
        """The last layer's outputs, and the last state of each layer, of each direction; `states` are the first."""
        directions = DIRECTIONS[self.direction]
        given = iter(states or ())
        after: list[State] = []
        for i in range(self.layers):
            x_LBF = constrain(x_BLF.swapaxes(0, 1), None, "batch", None)
            outputs = []
            for reverse in directions:
                name = f"{'backward' if reverse else 'forward'}_{i}"
                layer = Layer(self.cell, self.width, reverse, self.memory, self.recurrent, name=name)
                h_LBH, state = layer(x_LBF, next(given, None))
                outputs.append(h_LBH)
                after.append(state)
            x_BLF = jnp.concatenate(outputs, axis=-1).swapaxes(0, 1)
            if i < self.layers - 1:
                x_BLF = Dropout(self.dropout)(x_BLF, train)
        return x_BLF, after


class SequenceModel(nn.Module):
    """A recurrent network with a linear head: a language model, a tagger, a classifier or a forecaster.

    `cell` is "rnn" (tanh), "rnn_relu", "lstm" or "gru" (models/parts/recurrent.py).  Inputs are tokens where
    `vocab` > 0, else float32 [B, L, F].  `head` says where `outputs` numbers are wanted: at "every" step, or from the
    "last" state.
    """

    cell: CellName
    width: int
    outputs: int
    vocab: int = 0
    layers: int = 1
    direction: Direction = "forward"
    head: Literal["every", "last"] = "every"
    dropout: float = 0.0
    memory: int = 0
    recurrent: Start = "orthogonal"

    @nn.compact
    def __call__(
        self, x: Int[Array, "b l"] | Float[Array, "b l f"], cache: list[State] | None = None, *, train: bool = False
    ) -> Float[Array, "b *l o"] | tuple[Float[Array, "b *l o"], list[State]]:
        """Outputs [B, L, O] or [B, O]; with a cache (the states where the text so far ended), also the cache after."""
        self.check(x, cache)
        if self.vocab:
            embed = Embed(self.vocab, self.width, nn.initializers.normal(1.0), ("vocab", "embed"), name="token_embed")
            x = Dropout(self.dropout)(constrain(embed(x), "batch", None, None), train)
        options = {name: getattr(self, name) for name in ("direction", "dropout", "memory", "recurrent")}
        stack = Recurrent(self.cell, self.width, self.layers, **options, name="recurrent")
        h, states = stack(x, cache, train=train)
        if self.head == "last":
            h = jnp.concatenate([state[0] for state in states[-len(DIRECTIONS[self.direction]) :]], axis=-1)
        y = nn.Dense(self.outputs, name="head")(Dropout(self.dropout)(h, train))
        return y if cache is None else (y, states)

    def step(self, cache: list[State], tokens_BL: jax.Array, *, train: bool = False) -> Any:
        """The outputs for these inputs, and the states after them: what models/decode.py decodes with."""
        return self(tokens_BL, cache, train=train)

    def check(self, x: jax.Array, cache: Any) -> None:
        at_least_one(self, "width", "outputs", "layers")
        if (self.vocab > 0) != jnp.issubdtype(x.dtype, jnp.integer):
            said = "tokens need vocab=, how many there are" if not self.vocab else "numbers need vocab=0"
            raise ValueError(f"the inputs are {x.dtype}{list(x.shape)} and vocab={self.vocab}; {said}")
        if cache is not None and self.direction == "both":
            raise ValueError("direction='both' reads from the end too, so no state continues a text; use 'forward'")

    def empty_cache(self, batch: int, length: int | None = None) -> list[State]:
        """The states before the first token, of a text of any length: zeros."""
        zeros = jnp.zeros((batch, self.width))
        return [(zeros,) * CELLS[self.cell].parts for _ in range(self.layers)]
