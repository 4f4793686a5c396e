"""BLEU (Papineni et al. 2002) of what a run translates, by sacrebleu, beside that of the source as it is.

    uv run --with sacrebleu python -m scripts.score.bleu --workdir runs/multi30k --split test_2016_flickr

Every line of the split is translated, whatever its length, each token the likeliest (no beam).
"""

import argparse
import pathlib
import time

from sacrebleu.metrics.bleu import BLEU

from data import translation
from train import saved
from train.devices import runtime
from train.translation import translated

TOKENS = 100  # of a line, at most
AT_ONCE = 250  # lines


def main() -> None:
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--workdir", required=True, type=pathlib.Path)
    flags.add_argument("--split", default="test_2016_flickr", help="default: test_2016_flickr")
    flags.add_argument("--data", help="the folder of the texts; default: that of the run's config")
    options = flags.parse_args()
    runtime.set_up(1)
    run = saved.load(options.workdir)
    config = run.config.data
    source, target = translation.read(options.data or config.path, options.split, config.source, config.target)
    start = time.process_time()
    some = [source[i : i + AT_ONCE] for i in range(0, len(source), AT_ONCE)]
    made = [line for lines in some for line in translated(run, lines, tokens=TOKENS)]
    spent = time.process_time() - start
    bleu = BLEU()
    print(f"{options.split}: {len(source):,} lines, {spent:.0f} s of CPU")
    for name, lines in (("translated", made), ("not translated", source)):
        print(f"{name:<14}  {bleu.corpus_score(lines, [target])}")
    print(bleu.get_signature())
    for i in range(0, len(source), max(1, len(source) // 5)):
        print(f"\n{source[i]}\n{made[i]}\n{target[i]}")


if __name__ == "__main__":
    main()
