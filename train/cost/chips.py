"""What a chip can do at most, from its maker's pages: the ceilings of a roofline (Williams et al. 2009)."""

from typing import NamedTuple


class Chip(NamedTuple):
    """Peaks of one chip."""

    name: str
    flops: float  # a second, bfloat16
    memory: float  # bytes of HBM
    bandwidth: float  # bytes of HBM a second
    links: float  # bytes a second that it sends to other chips, over all its links together
    parts: int = 1  # devices that JAX sees in one


GiB, GB = 2**30, 1e9
# Cloud TPU documentation, cloud.google.com/tpu/docs/{v4,v5e,v5p,v6e,tpu7x} ("bidirectional ICI bandwidth" halved; of v4
# and v5p the page gives Gbit/s each way), read on 2026-11-23.
CHIPS = {
    "TPU v4": Chip("TPU v4", 275e12, 32 * GiB, 1228e9, 300e9),
    "TPU v5 lite": Chip("TPU v5e", 197e12, 16 * GiB, 819e9, 200e9),
    "TPU v5": Chip("TPU v5p", 459e12, 95 * GiB, 2765e9, 600e9),
    "TPU v6 lite": Chip("TPU v6e", 918e12, 32 * GiB, 1638e9, 400e9),
    "TPU7x": Chip("TPU7x", 2307e12, 192 * GiB, 7380e9, 600e9, parts=2),
}
# NVIDIA's data sheets (A100, H100, H200, DGX B200; of the RTX 4090 the paper on its architecture): dense products with
# sums in float32, half of what a sheet gives "with sparsity"; NVLink, of the last two PCIe, one way.
CHIPS |= {
    "NVIDIA A100-SXM4-40GB": Chip("A100", 312e12, 40 * GB, 1555e9, 300e9),
    "NVIDIA A100-SXM4-80GB": Chip("A100", 312e12, 80 * GB, 2039e9, 300e9),
    "NVIDIA H100 80GB HBM3": Chip("H100", 989.4e12, 80 * GB, 3350e9, 450e9),
    "NVIDIA H200": Chip("H200", 989.4e12, 141 * GB, 4800e9, 450e9),
    "NVIDIA B200": Chip("B200", 2250e12, 180 * GB, 8000e9, 900e9),
    "NVIDIA H100 PCIe": Chip("H100 PCIe", 756e12, 80 * GB, 2000e9, 32e9),
    "NVIDIA GeForce RTX 4090": Chip("RTX 4090", 165.2e12, 24 * GB, 1008e9, 32e9),
}
