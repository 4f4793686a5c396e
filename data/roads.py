"""Traffic on a simulated net of roads: sensors, each of which sees later what was upstream before.

N sensors, E roads, T steps, L lookback, H horizon, B batch.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Float64, Int32, Int64

from data import cache
from data.source import Batch, Dataset, HeldOut

SMALLEST = {"sensors": 12, "steps": 1000, "lookback": 4}  # at which pages are tested
DAY = 288  # steps of five minutes


class Net(NamedTuple):
    """u(t+1) = A u(t) + s(t) + σ ε: so the best forecast is known."""

    roads: Int32[np.ndarray, "E 2"]
    flow: Float64[np.ndarray, "N N"]  # A
    source: Float64[np.ndarray, "D N"]  # s, by the step of the day
    noise: float  # σ


def traffic(
    *,
    sensors: int = 50,
    roads: int = 2,
    lookback: int = 12,
    horizon: int = 6,
    steps: int = 12_000,
    noise: float = 0.3,
    train: float = 0.7,
    valid: float = 0.2,
    seed: int = 0,
) -> Dataset:
    """One-way roads from the `roads` nearest sensors on the west of each; most of what a sensor counts comes by them.

    x float32 [N, L + 2]: what each sensor counted in `lookback` steps, and the time of day as sine and cosine.
    y [N, H]: the next `horizon` counts; `naive` the last count, again and again.  All are standardised by the training
    steps.  The first share `train` of the steps is trained on, the last share `valid` is held out.
    """
    if sensors < 3 or min(roads, lookback, horizon) < 1 or steps < 4 * DAY // 2 or not 0 < train + valid <= 1:
        raise ValueError(
            f"{sensors=}, {roads=}, {lookback=}, {horizon=}, {steps=}: 3 sensors and {2 * DAY} steps at least"
        )
    made = net(sensors, roads, noise, seed)
    u_TN = simulated(made, steps, seed)
    cut = int(train * steps)
    mean, deviation = u_TN[:cut].mean(), u_TN[:cut].std()
    u_TN = ((u_TN - mean) / deviation).astype(np.float32)
    first = int((1 - valid) * steps)
    halves = [Windows(u_TN[a:b], made.roads, a, lookback, horizon) for a, b in ((0, cut), (first, steps))]
    if min(map(len, halves)) < 1:
        raise ValueError(f"{lookback=} and {horizon=} do not fit into {train=}, {valid=} of {steps} steps")
    return Dataset(
        *halves,
        classes=0,
        unit="example",
        per_record=1,
        unique=len(halves[0]),
        fingerprint=cache.fingerprint({"u": u_TN, "roads": made.roads, "cuts": np.array([cut, first])}),
        held_out=HeldOut(f"the last {valid:g} of the steps"),
    )


def net(sensors: int, roads: int, noise: float, seed: int) -> Net:
    """Sensors on a square; a quarter of a count stays, 0.7 comes by the roads, or of the sensor itself without one."""
    rng = np.random.default_rng((seed, 0))
    place = rng.random((sensors, 2))
    place = place[np.argsort(place[:, 0])]
    edges = []
    for i in range(1, sensors):
        distance = ((place[:i] - place[i]) ** 2).sum(1)
        edges += [(int(j), i) for j in np.argsort(distance)[:roads]]
    pairs = np.array(edges, np.int32)
    flow = 0.25 * np.eye(sensors)
    count = np.bincount(pairs[:, 1], minlength=sensors)
    flow[pairs[:, 1], pairs[:, 0]] += 0.7 / count[pairs[:, 1]]
    flow[count == 0, count == 0] += 0.7
    hour = 2 * np.pi * np.arange(DAY)[:, None] / DAY
    rush = np.exp(3 * (np.cos(hour - rng.uniform(0, 2 * np.pi, sensors)) - 1))
    return Net(pairs, flow, 0.1 * rng.random(sensors) * rush, noise)


def simulated(made: Net, steps: int, seed: int) -> Float64[np.ndarray, "T N"]:
    """From an empty net, after a day that is not kept."""
    rng = np.random.default_rng((seed, 1))
    u, kept = np.zeros(len(made.flow)), []
    for t in range(steps + DAY):
        kept.append(u)
        u = made.flow @ u + made.source[t % DAY] + made.noise * rng.standard_normal(len(u))
    return np.stack(kept[DAY:])


def floor(made: Net, horizon: int) -> float:
    """The lowest expected squared error, before standardising: of who knows A, s and all counts of the last step."""
    power, errors, so_far = np.eye(len(made.flow)), [], 0.0
    for _ in range(horizon):
        so_far += made.noise**2 * (power**2).sum(1).mean()
        errors.append(so_far)
        power = made.flow @ power
    return float(np.mean(errors))


class Windows:
    """One record a step; the roads are those of all."""

    def __init__(self, u_TN: Float32[np.ndarray, "T N"], roads: Int32[np.ndarray, "E 2"], first: int, L: int, H: int):
        self.u_TN, self.roads, self.first, self.lookback, self.horizon = u_TN, roads, first, L, H

    def __len__(self) -> int:
        return len(self.u_TN) - self.lookback - self.horizon + 1

    def gather(self, ids: Int64[np.ndarray, " B"]) -> Batch:
        L, H, N, B = self.lookback, self.horizon, self.u_TN.shape[1], len(ids)
        u_BNT = self.u_TN[ids[:, None] + np.arange(L + H)].transpose(0, 2, 1)
        now = 2 * np.pi * ((self.first + ids + L) % DAY) / DAY
        clock = np.broadcast_to(np.stack([np.sin(now), np.cos(now)], 1)[:, None], (B, N, 2)).astype(np.float32)
        return {
            "x": np.concatenate([u_BNT[..., :L], clock], -1),
            "y": np.ascontiguousarray(u_BNT[..., L:]),
            "naive": np.repeat(u_BNT[..., L - 1 : L], H, -1),
            "edges": np.tile(self.roads, (B, 1, 1)),
            "nodes": np.ones((B, N), np.float32),
        }
