"""The yardstick of decode.py: GPT-2 small of the library transformers, greedy, with its cache.

Arguments: the folder, the tokens of the prompt, those to come.  With --make it writes the folder: random weights and a
prompt.  Else, for each number read from stdin, it decodes as often and prints the seconds.  Runs under a Python with
torch and transformers.
"""

import json
import os
import pathlib
import sys
import time

import torch
import transformers


def main():
    folder, length, tokens = pathlib.Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    torch.manual_seed(0)
    torch.set_num_threads(os.cpu_count())
    if "--make" in sys.argv:
        config = transformers.GPT2Config(initializer_range=0.1)
        transformers.GPT2LMHeadModel(config).save_pretrained(folder)
        (folder / "prompt.json").write_text(json.dumps(torch.randint(0, config.vocab_size, (length,)).tolist()))
        return
    model = transformers.GPT2LMHeadModel.from_pretrained(folder).eval()
    prompt = torch.tensor([json.loads((folder / "prompt.json").read_text())])
    options = {"max_new_tokens": tokens, "min_new_tokens": tokens, "do_sample": False, "pad_token_id": 0}
    print(json.dumps(f"transformers {transformers.__version__}"), flush=True)
    for line in sys.stdin:
        times = []
        for _ in range(int(line)):
            start = time.perf_counter()
            with torch.inference_mode():
                made = model.generate(prompt, **options)
            times.append(time.perf_counter() - start)
        print(json.dumps(times), flush=True)
    (folder / "torch.json").write_text(json.dumps(made[0, length:].tolist()))


if __name__ == "__main__":
    main()
