"""The yardstick of zoo.py: train steps in PyTorch eager, the way a user would write them.

Runs under a Python with torch.  For each number read from stdin it makes as many steps and prints their seconds.
"""

import argparse
import itertools
import json
import sys
import time

import torch
from torch import nn
from torch.nn import functional as F


class Block(nn.Module):
    def __init__(self, inputs, width, stride):
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(inputs, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.norm2 = nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width)
        project = [nn.Conv2d(inputs, width, 1, stride, bias=False), nn.BatchNorm2d(width)]
        self.shortcut = nn.Identity() if (inputs, stride) == (width, 1) else nn.Sequential(*project)

    def forward(self, x):
        y = self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x)))))
        return F.relu(y + self.shortcut(x))


def resnet18():
    """For 32 × 32 images, batch 32."""
    layers, inputs = [nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU()], 64
    for stage in range(4):
        for i in range(2):
            layers.append(Block(inputs, 64 * 2**stage, 2 if stage and i == 0 else 1))
            inputs = 64 * 2**stage
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 10)), (32, 3, 32, 32)


def mlp():
    """784-512-512-10, batch 128."""
    widths = (784, 512, 512)
    hidden = [layer for i, o in itertools.pairwise(widths) for layer in (nn.Linear(i, o), nn.ReLU())]
    return nn.Sequential(nn.Flatten(), *hidden, nn.Linear(512, 10)), (128, 1, 28, 28)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("network", choices=["resnet18", "mlp"])
    parser.add_argument("--threads", type=int, required=True)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    model, shape = globals()[options.network]()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    x, y = torch.rand(shape), torch.randint(0, 10, shape[:1])
    print(json.dumps(f"torch {torch.__version__}"), flush=True)
    for line in sys.stdin:
        times = []
        for _ in range(int(line)):
            start = time.perf_counter()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            loss.item()
            times.append(time.perf_counter() - start)
        print(json.dumps(times), flush=True)


if __name__ == "__main__":
    main()
