"""A gcloud for tests: a slice of one host, which is the folder FAKE/home, and buckets, which are folders of FAKE.

FAKE/states   what the request is at each look, one a line; the last one stays; after `delete` there is none
FAKE/next     what the slices will be that are asked for, one a line, as the words of `states`
FAKE/fails    words of commands that fail
FAKE/calls    every command, one a line
"""

import json
import os
import pathlib
import shlex
import subprocess
import sys
import time

FAKE = pathlib.Path(os.environ.get("FAKE", ""))
VERBS = ("create", "delete", "describe", "ssh", "scp", "list", "ls", "cat")
TYPES, VERSIONS = "v5litepod-16\nv6e-8\nv4-8", "v2-alpha-tpuv5-lite\ntpu-ubuntu2204-base"


def fail(text: str) -> None:
    print(f"ERROR: {text}", file=sys.stderr)
    sys.exit(1)


def state() -> str:
    lines = (FAKE / "states").read_text().split()
    if not lines:
        fail("NOT_FOUND: there is no such resource")
    (FAKE / "states").write_text("\n".join(lines[1:] or lines))
    return lines[0]


def wait_for_processes() -> None:
    """The next slice is the same folder here: what ran on the one before must have ended, as with its machine."""
    for file in (FAKE / "home").rglob("train.pid"):
        end = time.monotonic() + 5
        while pathlib.Path("/proc", file.read_text().strip(), "exe").exists() and time.monotonic() < end:
            time.sleep(0.01)


def main(words: list[str]) -> None:
    with open(FAKE / "calls", "a") as file:
        print(shlex.join(words), file=file)
    said = " ".join(words)
    for word in (FAKE / "fails").read_text().splitlines():
        if word in said:
            fail(f"no network for {word}")
    verb = next((word for word in words if word in VERBS), "")
    if "buckets" in words:
        if not (FAKE / words[3].removeprefix("gs://")).is_dir():
            fail(f"{words[3]} not found: 404.")
        print(words[3])
    elif "quotas" in words:
        print((FAKE / "quota").read_text())
    elif "queued-resources" in words and verb == "describe":
        print(state())
    elif "queued-resources" in words and verb == "create":
        first, *rest = (FAKE / "next").read_text().splitlines()
        (FAKE / "states").write_text(first.replace(" ", "\n"))
        (FAKE / "next").write_text("\n".join(rest or [first]))
    elif "queued-resources" in words and verb == "delete":
        wait_for_processes()
        (FAKE / "states").write_text("")
    elif verb == "describe":
        print(json.dumps({"createTime": "2026-01-01T00:00:00.000000Z", "acceleratorType": "v5p-128"}))
    elif verb == "list":
        print(VERSIONS if "versions" in words else TYPES)
    elif verb == "ssh":
        command = next(word for word in words if word.startswith("--command=")).removeprefix("--command=")
        if "train.pid" in command and "git clone" not in command and "guard.pid" not in command:
            sys.exit(subprocess.run(["bash", "-c", command], cwd=FAKE / "home", check=False).returncode)
    elif verb in ("ls", "cat"):
        bucket, _, name = words[2].removeprefix("gs://").partition("/")
        found = sorted(path for path in (FAKE / bucket).glob(name.replace("**", "**/*")) if path.is_file())
        if not found:
            fail("One or more URLs matched no objects.")
        for path in found:
            print(path.read_text() if verb == "cat" else f"gs://{path.relative_to(FAKE)}")


if __name__ == "__main__":
    main(sys.argv[1:])
