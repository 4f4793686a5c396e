"""The gcloud commands of launch_tpu: a slice, its hosts, and the bucket.

A slice is a queued resource, whose state is WAITING_FOR_RESOURCES, PROVISIONING, ACTIVE, SUSPENDED, …
"""

import argparse
import json
import shlex
import subprocess
from typing import Any, NamedTuple

RUNTIMES = {"v5litepod": "v2-alpha-tpuv5-lite", "v5p": "v2-alpha-tpuv5", "v6e": "v2-alpha-tpuv6e"}
RUNTIMES |= {"v4": "tpu-ubuntu2204-base"}  # cloud.google.com/tpu/docs/runtimes
CORES = {"v4": 2, "v5p": 2, "v5litepod": 1, "v6e": 1}  # that the number in a type counts for each chip
QUOTAS = {"v5litepod": "TPUV5s{}Litepod{}", "v5p": "TPUV5P{}{}", "v6e": "TPUV6E{}{}"}  # names of Cloud Quotas
SERVING = ("v5litepod-1", "v5litepod-4", "v5litepod-8")  # single hosts, which have a quota of their own


class Failed(Exception):
    """What went wrong, in a sentence."""


class Done(NamedTuple):
    code: int
    out: str
    err: str


class Cloud:
    """Runs commands, or with `dry` prints them."""

    def __init__(self, options: argparse.Namespace):
        self.options, self.dry = options, options.dry_run
        self.project = [f"--project={options.project}"] if options.project else []
        self.where = [f"--zone={options.zone}", *self.project]

    def run(self, line: list[str]) -> str:
        """What it prints; its errors go to the terminal."""
        if self.dry:
            print(shlex.join(line))
            return ""
        done = started(line, stdout=subprocess.PIPE)
        if done.code:
            raise Failed(f"{shlex.join(line)} ended with {done.code}")
        return done.out

    def look(self, line: list[str], nothing: tuple[str, ...]) -> str:
        """As `run`, and empty where its error says that there is nothing."""
        if self.dry:
            return self.run(line)
        done = started(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        if done.code and not any(word in done.err for word in nothing):
            raise Failed(f"{shlex.join(line)} ended with {done.code}: {done.err.strip()}")
        return "" if done.code else done.out

    def request(self, verb: str, *more: str) -> list[str]:
        return ["gcloud", "compute", "tpus", "queued-resources", verb, self.options.name, *self.where, *more]

    def on_hosts(self, command: str, worker: str = "all") -> list[str]:
        line = ["gcloud", "compute", "tpus", "tpu-vm", "ssh", self.options.name, *self.where]
        return [*line, f"--worker={worker}", f"--command={command}"]

    def ssh(self, command: str, worker: str = "all") -> str:
        return self.run(self.on_hosts(command, worker))

    def copy(self, file: str) -> None:
        line = ["gcloud", "compute", "tpus", "tpu-vm", "scp", file, f"{self.options.name}:", *self.where]
        self.run([*line, "--worker=all"])

    def state(self) -> str:
        """Empty where there is no such request."""
        return self.look(self.request("describe", "--format=value(state.state)"), ("NOT_FOUND", "not found"))

    def node(self) -> dict[str, Any]:
        line = ["gcloud", "compute", "tpus", "tpu-vm", "describe", self.options.name, *self.where, "--format=json"]
        return json.loads(self.look(line, ("NOT_FOUND", "not found")) or "{}")

    def listed(self, place: str) -> list[str]:
        """Objects of the bucket below `place`, by their whole names."""
        line = ["gcloud", "storage", "ls", f"gs://{self.options.bucket}/{place}", *self.project]
        return self.look(line, ("matched no objects",)).split()

    def content(self, place: str) -> str:
        line = ["gcloud", "storage", "cat", f"gs://{self.options.bucket}/{place}", *self.project]
        return self.look(line, ("matched no objects",))

    def check_offers(self) -> None:
        """Refuses a type or a runtime that the zone does not have, a quota that is too small, a missing bucket."""
        kind, zone = self.options.type, self.options.zone
        runtime = RUNTIMES[kind.split("-")[0]]
        for noun, command, field, wanted in (
            ("slice of type", ["accelerator-types"], "type", kind),
            ("runtime", ["tpu-vm", "versions"], "version", runtime),
        ):
            line = ["gcloud", "compute", "tpus", *command, "list", *self.where, f"--format=value({field})"]
            there = self.run(line).split()
            if not self.dry and wanted not in there:
                family = wanted.split("-")[0]
                near = sorted(name for name in there if name.startswith(family)) or sorted(there)
                raise Failed(f"{zone} has no {noun} {wanted}; it has {', '.join(near[:12]) or 'none at all'}")
        bucket = f"gs://{self.options.bucket}"
        line = ["gcloud", "storage", "buckets", "describe", bucket, *self.project, "--format=value(name)"]
        if not self.look(line, ("404", "not found")) and not self.dry:
            raise Failed(
                f"there is no bucket {bucket}: gcloud storage buckets create {bucket} "
                f"--location {zone.rpartition('-')[0]}"
            )
        self.check_quota()

    def check_quota(self) -> None:
        kind, zone = self.options.type, self.options.zone
        family, _, size = kind.partition("-")
        name = QUOTAS.get(family, "").format(
            "Preemptible" if self.options.spot else "", "Serving" if kind in SERVING else ""
        )
        if not name:
            print(f"the quota of {family} is not looked up: see IAM & Admin → Quotas", flush=True)
            return
        name += "PerProjectPerZoneForTPUAPI"
        project = self.options.project
        project = project or self.run(["gcloud", "config", "get-value", "project"]) or "(gcloud's own)"
        line = ["gcloud", "beta", "quotas", "info", "list", "--service=tpu.googleapis.com", f"--project={project}"]
        line += [f"--filter=quotaId:{name}", "--format=json"]
        try:
            found = json.loads(self.look(line, ()) or "[]")
        except (Failed, ValueError):  # its API is not enabled everywhere
            found = []
        allowed = [
            int(info.get("details", {}).get("value", 0))
            for quota in found
            if quota.get("quotaId") == name
            for info in quota.get("dimensionsInfos", [])
            if zone in info.get("applicableLocations", [])
        ]
        if not allowed and not self.dry:
            print(f"the quota {name} in {zone} could not be read; see IAM & Admin → Quotas", flush=True)
        if allowed and max(allowed) < int(size):
            raise Failed(
                f"the quota {name} of {project} in {zone} is {max(allowed)}, and {kind} needs {size}; "
                "ask for more (IAM & Admin → Quotas), or take a smaller slice"
            )


def started(line: list[str], **pipes: int) -> Done:
    try:
        done = subprocess.run(line, text=True, check=False, **pipes)
    except FileNotFoundError:
        raise Failed(f"there is no {line[0]} on the PATH; install the Google Cloud CLI") from None
    return Done(done.returncode, (done.stdout or "").strip(), done.stderr or "")


def chips(kind: str) -> int:
    """Of a slice: v5p-128 has 64."""
    family, _, size = kind.partition("-")
    return max(1, int(size) // CORES[family])
