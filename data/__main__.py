"""python -m data                 lists every source with its options: your own files, sets by name, generated data
python -m data MODULE:NAME     all that one of them says of itself, such as tables:table
python -m data prepare NAME    downloads and prepares the TensorFlow Datasets dataset NAME
"""

import sys
import textwrap

from data import cache, catalogue, tfds

KINDS = {
    "path": "Your own files (config.data.path, relative to where you run)",
    "arrays": "Arrays in Python, from a function of your own that a page names (config.data.name='mine.py:digits')",
    "dataset": "Sets by their names (config.data.dataset)",
    "": "Generated, without any file",
}


def main(argv: list[str]) -> int:
    match argv:
        case []:
            listing()
        case ["prepare", name]:
            made = tfds.prepare(name)
            sizes = ", ".join(f"{split} {info.num_examples:,}" for split, info in made.info.splits.items())
            print(f"{name} is prepared: {sizes} records in {made.data_path}")
        case ["-h" | "--help"]:
            print((__doc__ or "").strip())
        case [name] if ":" in name:
            print(catalogue.find(name).whole())
        case _:
            raise ValueError(f"not understood: {' '.join(argv)}\n{(__doc__ or '').strip()}")
    return 0


def listing() -> None:
    sources = catalogue.sources()
    for kind, title in KINDS.items():
        print(f"{title}:")
        for source in (each for each in sources if each.kind == kind):
            print(f"  {source.name}\n{textwrap.indent(source.brief(), '      ')}")
        print()
    print("Sets inside installed packages, prepared when first used:")
    for name, about in tfds.OFFLINE.items():
        print(f"  {name:16} {about}")
    print(f"""
Any dataset of TensorFlow Datasets goes by its name there: mnist, cifar10, lm1b, glue/sst2, ...  Once, first:
  python -m data prepare NAME                         downloads and prepares it
  uv run --extra prepare python -m data prepare NAME  the same where preparing needs TensorFlow, as for most images;
                                                      reading never does
Names, sizes and licences: https://www.tensorflow.org/datasets/catalog

A page sets `config.data.update(name="MODULE:NAME", OPTION=…)`, the command line `--config.data.OPTION=…`.
`python -m data MODULE:NAME` says what each option does; docs/data.md begins with pages for files of your own.

Prepared records: {tfds.folder()} (TFDS_DATA_DIR)
Decoded columns:  {cache.root()} (ISOFLOP_DATA)""")


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
