"""How many of the molecules that a run writes are ones, are new, and are written once.

    uv run python -m scripts.score.smiles --workdir runs/smiles_gru --known molecules.smi [--count 2000]
    … --rdkit PYTHON        also by RDKit: a Python that can import it, which this project does not need

valid     share of the lines that the parser accepts (tests/support/smiles.py), an empty line none
unique    share of these that are different
new       share of the different ones that are no line of the file that the run learnt from
agree     share of the lines of which RDKit says the same
"""

import argparse
import pathlib
import subprocess

import jax

from models.decode import How, continue_texts, step_of
from tests.support.smiles import problem
from train.experiment import build_models
from train.saved import load

LONGEST = 120  # letters of a molecule
JUDGE = """
import sys
from rdkit import Chem, RDLogger
RDLogger.DisableLog("rdApp.*")
for line in sys.stdin.read().split("\\n"):
    print(int(bool(line) and Chem.MolFromSmiles(line) is not None))
"""


def main() -> None:
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--workdir", type=pathlib.Path, required=True)
    flags.add_argument("--known", type=pathlib.Path, required=True, help="the file that the run learnt from")
    flags.add_argument("--count", type=int, default=2000)
    flags.add_argument("--temperature", type=float, default=1.0)
    flags.add_argument("--rdkit", metavar="PYTHON")
    options = flags.parse_args()
    lines = written(options.workdir, options.count, options.temperature)
    known = set(options.known.read_text().split("\n"))
    own = [bool(line) and not problem(line) for line in lines]
    show("plain", numbers(lines, own, known))
    if options.rdkit:
        command = [options.rdkit, "-c", JUDGE]
        said = subprocess.run(command, input="\n".join(lines), capture_output=True, text=True, check=True).stdout
        theirs = [line == "1" for line in said.split()]
        agree = sum(a == b for a, b in zip(own, theirs, strict=True)) / len(lines)
        show("rdkit", numbers(lines, theirs, known) | {"agree": agree})
    print("\n".join(f"  {line}" for line in lines[:10]))


def written(workdir: pathlib.Path, count: int, temperature: float) -> list[str]:
    """So many lines, each begun after a new line."""
    run = load(workdir)
    tokenizer = run.experiment.dataset.tokenizer
    (newline,) = (int(i) for i in tokenizer.encode(b"\n"))
    model = build_models(run.experiment.config)["model"]
    ids = continue_texts(
        step_of(model),
        run.params,
        model.network.empty_cache(count, LONGEST),
        [[newline]] * count,
        jax.random.key(0),
        tokens=LONGEST,
        how=How(temperature),
        end=(newline,),
    )
    return [tokenizer.decode(row).removesuffix("\n") for row in ids]


def numbers(lines: list[str], valid: list[bool], known: set[str]) -> dict[str, float]:
    good = [line for line, is_good in zip(lines, valid, strict=True) if is_good]
    different = set(good)
    return {
        "valid": len(good) / len(lines),
        "unique": len(different) / max(1, len(good)),
        "new": len(different - known) / max(1, len(different)),
    }


def show(by: str, found: dict[str, float]) -> None:
    print(f"{by:<7}" + "  ".join(f"{name} {value:.4f}" for name, value in found.items()))


if __name__ == "__main__":
    main()
