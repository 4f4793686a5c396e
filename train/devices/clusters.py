"""Which of how many processes this is: from flags, or as Cloud TPU, Slurm, Open MPI say it."""

import os
import re
from collections.abc import Iterator
from typing import NamedTuple

from train.errors import UserError

PATIENCE = 60.0  # seconds until a process that has not come is called missing
TOKEN = "ISOFLOP_TOKEN"  # the variable in which whoever starts all processes may give them a secret


class Seat(NamedTuple):
    """Which of how many processes this is."""

    coordinator: str  # host:port of process 0
    processes: int
    process: int
    devices: tuple[int, ...] | None = None  # of this host, where several processes share its GPUs


def seat(coordinator: str | None, processes: int | None, process: int | None) -> Seat | None:
    """The seat that flags give, or the one that Cloud TPU, Slurm, Open MPI gives, or None: alone."""
    if coordinator is None and processes is None and process is None:
        return detected()
    if coordinator is None or processes is None or process is None:
        raise UserError("--coordinator HOST:PORT, --processes N and --process I belong together; give all three")
    if not re.fullmatch(r".+:\d+", coordinator):
        raise UserError(f"--coordinator {coordinator} has no port; write HOST:PORT, such as {coordinator}:8476")
    if not 0 <= process < processes:
        raise UserError(f"--process {process} of --processes {processes}; they are numbered 0 … {processes - 1}")
    return Seat(coordinator, processes, process)


def detected() -> Seat | None:
    """As `jax.distributed.initialize()` without arguments would find it."""
    from jax._src import cloud_tpu_init, clusters  # they know all of these clusters, and have no public name

    many = lambda name: int(os.environ.get(name, "1")) > 1
    slurm = many("SLURM_NTASKS") and "SLURM_STEP_NODELIST" in os.environ  # not so in a shell of sbatch or salloc
    if not (slurm or many("OMPI_COMM_WORLD_SIZE") or cloud_tpu_init.running_in_cloud_tpu_vm):
        return None
    found = clusters.ClusterEnv.auto_detect_unset_distributed_params(None, None, None, None, None, int(PATIENCE))
    coordinator, processes, process, devices = found
    if coordinator is None or processes is None or process is None:
        raise UserError(
            "this is one of several processes, but JAX does not find the others (of Open MPI it knows version 4, and "
            "5 where mpi4py is installed); give --coordinator HOST:PORT, --processes N and --process I"
        )
    return Seat(coordinator, processes, process, tuple(devices) if devices else None) if processes > 1 else None


def hosts_of(processes: int) -> list[str] | None:
    """The host of each process, where Cloud TPU or Slurm says so."""
    listed = os.environ.get("TPU_WORKER_HOSTNAMES", "").split(",")
    if listed == [""]:
        listed = list(expand(os.environ.get("SLURM_STEP_NODELIST", "")))
    if not listed or processes % len(listed):
        return None
    return [host for host in listed for _ in range(processes // len(listed))]


def expand(nodes: str) -> Iterator[str]:
    """Slurm's "a[01-03,7],b" as a01, a02, a03, a7, b."""
    for prefix, ranges in re.findall(r"([^,\[\]]+)(?:\[([^\]]*)\])?", nodes):
        for part in ranges.split(",") if ranges else [""]:
            low, _, high = part.partition("-")
            numbers = range(int(low), int(high) + 1) if high else [part]
            yield from (f"{prefix}{i:0{len(low)}d}" if high else f"{prefix}{part}" for i in numbers)
