"""Super-resolution: what is lost and what is counted."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from data.enlarged import enlarged
from models.api import Model
from train.tasks.reconstruct import restore


def test_what_a_small_picture_cannot_hold_is_lost():
    even = np.full((2, 8, 8, 1), 100, np.uint8)
    np.testing.assert_array_equal(enlarged(even, 2), even)
    board = (255 * (np.indices((8, 8)).sum(0) % 2)).astype(np.uint8)[None, :, :, None]
    assert np.abs(enlarged(board, 2).astype(int) - 127)[:, 2:-2, 2:-2].max() <= 3
    with pytest.raises(
        ValueError, match=r"data.factor=3 of pictures of 8 × 8 pixels and 1 colours; it takes 2 or more"
    ):
        enlarged(even, 3)


@pytest.mark.parametrize(("made", "psnr"), [(0.0, 20.0), (0.09, 40.0)])
def test_the_network_adds_to_the_picture(made, psnr):
    """An error of 0.1 everywhere is 20 dB, one of 0.01 is 40 dB."""
    adds = Model(lambda key, x: ({"w": jnp.asarray(made)}, {}), lambda p, s, x, **_: (jnp.full_like(x, p["w"]), s))
    batch = {"x": jnp.full((3, 4, 4, 1), 0.5), "y": jnp.full((3, 4, 4, 1), 0.6)}
    task = restore(adds)
    scalar, (_, metrics) = task.loss(*task.init(jax.random.key(0), batch), batch, jax.random.key(1), True)
    assert float(scalar) == pytest.approx((0.1 - made) ** 2, rel=1e-4)
    mean = {name: float(total / weight) for name, (total, weight) in metrics.items()}
    assert mean["psnr"] == pytest.approx(psnr, abs=1e-3)
    assert mean["psnr_identity"] == pytest.approx(20.0, abs=1e-3)
