"""python -m data                 lists every source with its options: your own files, sets by name, generated data
python -m data MODULE:NAME     all that one of them says of itself, such as tables:table
python -m data prepare NAME    downloads and prepares the TensorFlow Datasets dataset NAME
python -m data tokenize SOURCES --tokenizer bpe:32768 --out DIR
                               writes a corpus to train on (`python -m data tokenize --help`)
"""

import argparse
import sys
import textwrap

from data import cache, catalogue, tfds

KINDS = {
    "path": "Your own files (config.data.path, relative to where you run)",
    "arrays": "Arrays in Python, from a function of your own that a page names (config.data.name='mine.py:digits')",
    "dataset": "Sets by their names (config.data.dataset)",
    "": "Generated, without any file",
}

SOURCES = (
    "text files (also .gz, .zst), JSON lines, Parquet, Arrow, ArrayRecord, folders or globs of them, here or gs://…; "
    "or tfds:NAME[:SPLIT]"
)
TOKENIZERS = "bytes, chars, bpe:N (trained on a sample of the texts), or a tokenizer.json or .tiktoken file"
WHERE = "keeps rows where it holds: language=en, 'score>=0.5'; may be given several times"
SEPARATOR = "what lies between documents of a text file, such as '\\n\\n'; without it a file is one document"
VALID = "of the documents that is held out, by a hash of their text [%(default)s]"


def main(argv: list[str]) -> int:
    match argv:
        case []:
            listing()
        case ["prepare", name]:
            made = tfds.prepare(name)
            sizes = ", ".join(f"{split} {info.num_examples:,}" for split, info in made.info.splits.items())
            print(f"{name} is prepared: {sizes} records in {made.data_path}")
        case ["tokenize", *rest]:
            tokenize(rest)
        case ["-h" | "--help"]:
            print((__doc__ or "").strip())
        case [name] if ":" in name:
            print(catalogue.find(name).whole())
        case _:
            raise ValueError(f"not understood: {' '.join(argv)}\n{(__doc__ or '').strip()}")
    return 0


def tokenize(argv: list[str]) -> None:
    from data import shards
    from data.documents import Reading

    flags = argparse.ArgumentParser(prog="python -m data tokenize", description="Tokenises texts once, for many runs.")
    flags.add_argument("sources", nargs="+", metavar="SOURCE", help=SOURCES)
    flags.add_argument("--tokenizer", required=True, metavar="WORD", help=TOKENIZERS)
    flags.add_argument("--out", required=True, metavar="DIR", help="a new folder; the same command goes on there")
    flags.add_argument("--column", default="text", help="of JSON lines and tables [%(default)s]")
    flags.add_argument("--where", action="append", default=[], metavar="CONDITION", help=WHERE)
    flags.add_argument("--separator", default="", metavar="TEXT", help=SEPARATOR)
    flags.add_argument("--files", default="*", metavar="GLOB", help="of the files of a folder [all]")
    flags.add_argument("--valid", type=float, default=0.01, metavar="SHARE", help=VALID)
    flags.add_argument("--pattern", default="", metavar="REGEX", help="of the words that a .tiktoken file was made for")
    flags.add_argument("--processes", type=int, default=0, metavar="N", help="[one a core]")
    given = flags.parse_args(argv)
    separator = given.separator.replace("\\n", "\n").replace("\\t", "\t")  # as one writes them in a shell
    how = Reading(given.column, tuple(given.where), separator, given.files)
    meta = shards.write(
        given.sources, given.out, given.tokenizer, how=how, valid=given.valid, pattern=given.pattern,
        processes=given.processes,
    )  # fmt: skip
    for split in ("train", "valid"):
        print(f"{split:6}{meta['documents'][split]:>14,} documents{meta['tokens'][split]:>18,} tokens"
              f"{meta['text_bytes'][split]:>18,} bytes")  # fmt: skip
    print(f"repeated documents: {meta['repeated_documents']:,} (each copy is in the split of the first)")
    print(f"held-out documents half of which is in the training split too: {meta['valid_documents_near_train']:,}")
    print(f"train: python -m train --config corpus --config.data.path={given.out}")


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
