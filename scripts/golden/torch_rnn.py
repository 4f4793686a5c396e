"""Torch's recurrent networks, under a Python with torch: golden numbers for tests/test_recurrence.py,

    PYTHONPATH=. /path/to/python/with/torch scripts/golden/torch_rnn.py --golden tests/golden/rnn.npz

and, with the sizes of scripts/bench/rnn.py instead, the yardstick of its times: one step of plain gradient descent on
the mean of the squared outputs, in eager mode.  For each number read from stdin it makes as many steps and prints their
seconds.

Weights, inputs and first states are `tests.support.golden.numbers`, half of them; only outputs, last states and
gradients of a scalar (the sum of sin of all outputs and last states) are kept, of each network in one row.
"""

import argparse
import json
import sys
import time

import numpy as np
import torch

from tests.support.golden import numbers

B, L, F, H = 2, 5, 3, 4
CELLS = {
    "rnn": (torch.nn.RNN, {}),
    "rnn_relu": (torch.nn.RNN, {"nonlinearity": "relu"}),
    "lstm": (torch.nn.LSTM, {}),
    "gru": (torch.nn.GRU, {}),
}


def given(*name_and_shape):
    return torch.tensor(numbers(*name_and_shape) / 2)


def run(cell, layers, both):
    make, options = CELLS[cell]
    network = make(F, H, num_layers=layers, bidirectional=both, batch_first=True, **options)
    for name, p in network.named_parameters():
        p.data = given(name, *p.shape)
    states = layers * (1 + both)
    first = [given(f"state_{part}", states, B, H) for part in range(2 if cell == "lstm" else 1)]
    y, last = network(given("x", B, L, F), tuple(first) if cell == "lstm" else first[0])
    last = torch.stack(last) if cell == "lstm" else last[None]  # [parts, states, B, H]
    (y.sin().sum() + last.sin().sum()).backward()
    values = [y, last, *(p.grad for p in network.parameters())]
    return np.concatenate([value.detach().numpy().ravel() for value in values])


def write_golden(path):
    cases = [(cell, layers, both) for cell in CELLS for layers, both in ((1, False), (2, False), (2, True))]
    names = [f"{cell} {layers} {'both' if both else 'forward'}" for cell, layers, both in cases]
    np.savez_compressed(path, **{name: run(*case) for name, case in zip(names, cases, strict=True)})


def serve(sizes):
    torch.set_num_threads(sizes.threads)
    make, options = CELLS[sizes.cell]
    network = make(sizes.width, sizes.width, batch_first=True, **options)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    print(json.dumps(f"torch {torch.__version__}"), flush=True)
    for line in sys.stdin:
        times = []
        for x in torch.randn(int(line), sizes.batch, sizes.length, sizes.width):
            start = time.perf_counter()
            loss = (network(x)[0] ** 2).mean()
            loss.backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            loss.item()
            times.append(time.perf_counter() - start)
        print(json.dumps(times), flush=True)


def main():
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--golden", metavar="FILE")
    flags.add_argument("--cell", choices=list(CELLS))
    for name in ("width", "length", "batch", "threads"):
        flags.add_argument(f"--{name}", type=int)
    options = flags.parse_args()
    if options.golden:
        return write_golden(options.golden)
    serve(options)


if __name__ == "__main__":
    main()
