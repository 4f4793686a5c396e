"""A game as text: its boards side by side, from the first move to the end.  M moves, R rows, C columns."""

import numpy as np
from jaxtyping import Num

STONES = {1: "x", -1: "o", 0: "."}  # of the first player, of the second, none
WIDEST = 100  # letters of a line


def text(game_MRC: Num[np.ndarray, "M R C"], result: float | Num[np.ndarray, ""]) -> str:
    """`result` is 1 where the first player won, -1 where the second did, 0 where nobody.

    The board is that of the last move from there on.
    """
    moves = max(1, int(np.abs(game_MRC[-1]).sum()))
    boards = [[str(i + 1), *map(line, game_MRC[i])] for i in range(moves)]
    width = max(map(len, boards[-1]))
    beside = max(1, (WIDEST + 3) // (width + 3))
    blocks = [boards[i : i + beside] for i in range(0, moves, beside)]
    rows = (
        "   ".join(f"{part:<{width}}" for part in parts).rstrip()
        for block in blocks
        for parts in zip(*block, strict=True)
    )
    end = {1: "x, who began, wins", -1: "o wins", 0: "nobody wins"}[int(result)]
    return "\n".join([*rows, f"{end} after {moves} moves"])


def line(row: np.ndarray) -> str:
    return " ".join(STONES[int(stone)] for stone in row)
