"""What a page costs in lines: its own, those of its network, task and data, and edits to files that were there before.

    uv run python -m scripts.check.lines configs/g*/*.py configs/classics/digits_dbn.py

Lines are those of the files today, blank ones left out.  Edits are those of the commit that brought the page, to files
of models/, data/ and train/ that were there, its own network, task and data left out: lines added and removed.  A
commit that brought several pages is counted in full beside each.
"""

import pathlib
import subprocess
import sys

from train import configs

ROOMS = ("models/", "data/", "train/")


def main() -> None:
    print("| page | lines | network | task | data | edits elsewhere | commit |\n|---|--:|---|---|---|---|---|")
    for name in sys.argv[1:]:
        config = configs.load(name).get_config()
        spec = config.model.to_dict()
        networks = [spec] if "name" in spec else list(spec.values())
        files = {
            "network": {file("models", each["name"]) for each in networks},
            "task": {file("train/tasks", config.task.name)} if config.task.name else set(),
            "data": {file("data", config.data.name)},
        }
        commit, edits = brought(name, set.union(*files.values()))
        cells = (pathlib.Path(name).stem, count(name), *(" ".join(map(told, sorted(s))) for s in files.values()))
        print(f"| {' | '.join(map(str, cells))} | {edits or 'none'} | {commit} |")


def file(room: str, name: str) -> str:
    return f"{room}/{name.split(':')[0]}.py"


def told(path: str) -> str:
    return f"{pathlib.Path(path).stem} {count(path)}"


def count(path: str) -> int:
    return sum(1 for line in pathlib.Path(path).read_text(encoding="utf-8").splitlines() if line.strip())


def brought(page: str, own: set[str]) -> tuple[str, str]:
    """The commit that added the page, and what it changed in files that were there."""
    commit = git("log", "--follow", "--diff-filter=A", "--format=%h", "--", page).split()[-1]
    changed = [
        line.split("\t") for line in git("show", "--numstat", "--format=", "--diff-filter=M", commit).splitlines()
    ]
    edits = [(path, f"+{more} −{less}") for more, less, path in changed if path.startswith(ROOMS) and path not in own]
    return commit, ", ".join(f"{path} {lines}" for path, lines in edits)


def git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], capture_output=True, text=True, check=True).stdout


if __name__ == "__main__":
    main()
