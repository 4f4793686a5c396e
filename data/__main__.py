"""python -m data                 lists the datasets that need no download, and says how to name others
python -m data prepare NAME    downloads and prepares the TensorFlow Datasets dataset NAME
"""

import sys

from data import cache, tfds


def main(argv: list[str]) -> int:
    match argv:
        case []:
            listing()
        case ["prepare", name]:
            made = tfds.prepare(name)
            sizes = ", ".join(f"{split} {info.num_examples:,}" for split, info in made.info.splits.items())
            print(f"{name} is prepared: {sizes} records in {made.data_path}")
        case ["-h" | "--help"]:
            print(__doc__.strip())
        case _:
            raise ValueError(f"not understood: {' '.join(argv)}\n{__doc__.strip()}")
    return 0


def listing() -> None:
    print("Datasets inside installed packages, prepared when first used:")
    for name, about in tfds.OFFLINE.items():
        print(f"  {name:16} {about}")
    print(f"""
Any dataset of TensorFlow Datasets goes by its name there: mnist, cifar10, lm1b, glue/sst2, ...  Once, first:
  python -m data prepare NAME                         downloads and prepares it
  uv run --extra prepare python -m data prepare NAME  the same where preparing needs TensorFlow, as for most images;
                                                      reading never does
Names, sizes and licences: https://www.tensorflow.org/datasets/catalog

Prepared records: {tfds.folder()} (TFDS_DATA_DIR)
Decoded columns:  {cache.root()} (ISOFLOP_DATA)""")


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
