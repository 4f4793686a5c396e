"""What a chip can do at most, from its maker's pages: the ceilings of a roofline (Williams et al. 2009)."""

from typing import NamedTuple


class Chip(NamedTuple):
    """Peaks of one chip."""

    name: str
    flops: float  # a second, bfloat16
    memory: float  # bytes of HBM
    bandwidth: float  # bytes of HBM a second
    links: float  # bytes a second that it sends to other chips, over all its links together


GiB = 2**30
# Cloud TPU documentation, cloud.google.com/tpu/docs/{v4,v5e,v5p,v6e,tpu7x} ("bidirectional ICI bandwidth" halved; of v4
# and v5p the page gives Gbit/s each way), read on 2026-11-23.
CHIPS = {
    "TPU v4": Chip("TPU v4", 275e12, 32 * GiB, 1228e9, 300e9),
    "TPU v5 lite": Chip("TPU v5e", 197e12, 16 * GiB, 819e9, 200e9),
    "TPU v5": Chip("TPU v5p", 459e12, 95 * GiB, 2765e9, 600e9),
    "TPU v6 lite": Chip("TPU v6e", 918e12, 32 * GiB, 1638e9, 400e9),
    "TPU7x": Chip("TPU7x", 2307e12, 192 * GiB, 7380e9, 600e9),
}
