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


def classifier(model, shape):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    x, y = torch.rand(shape), torch.randint(0, 10, shape[:1])

    def step():
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss

    return step


def vae():
    """784-256-8-256-784, batch 64."""
    encoder = nn.Sequential(nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 16))
    decoder = nn.Sequential(nn.Linear(8, 256), nn.ReLU(), nn.Linear(256, 784))
    optimizer = torch.optim.SGD([*encoder.parameters(), *decoder.parameters()], lr=0.01, momentum=0.9)
    x = torch.rand(64, 784)

    def step():
        mean, log_variance = encoder(x).chunk(2, dim=1)
        logits = decoder(mean + (0.5 * log_variance).exp() * torch.randn_like(mean))
        rate = 0.5 * (log_variance.exp() + mean**2 - 1 - log_variance).sum()
        loss = (F.binary_cross_entropy_with_logits(logits, x, reduction="sum") + rate) / len(x)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss

    return step


def dcgan():
    """64 × 64 × 3, 512 maps to 64, batch 64."""
    maps = (512, 256, 128, 64)
    layers = [nn.ConvTranspose2d(100, 512, 4, 1, 0, bias=False), nn.BatchNorm2d(512), nn.ReLU()]
    for inputs, outputs in itertools.pairwise(maps):
        layers += [nn.ConvTranspose2d(inputs, outputs, 4, 2, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
    generator = nn.Sequential(*layers, nn.ConvTranspose2d(64, 3, 4, 2, 1), nn.Tanh())
    layers = [nn.Conv2d(3, 64, 4, 2, 1), nn.LeakyReLU(0.2)]
    for inputs, outputs in itertools.pairwise(maps[::-1]):
        layers += [nn.Conv2d(inputs, outputs, 4, 2, 1, bias=False), nn.BatchNorm2d(outputs), nn.LeakyReLU(0.2)]
    critic = nn.Sequential(*layers, nn.Conv2d(512, 1, 4), nn.Flatten(0))
    players = [torch.optim.SGD(m.parameters(), lr=0.01, momentum=0.9) for m in (critic, generator)]
    real = 2 * torch.rand(64, 3, 64, 64) - 1

    def step():
        fake = generator(torch.randn(64, 100, 1, 1))
        loss = F.softplus(-critic(real)).mean() + F.softplus(critic(fake.detach())).mean()
        players[0].zero_grad(set_to_none=True)
        loss.backward()
        players[0].step()
        fooled = F.softplus(-critic(fake)).mean()
        players[1].zero_grad(set_to_none=True)
        fooled.backward()
        players[1].step()
        return fooled

    return step


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("network", choices=["resnet18", "mlp", "vae", "dcgan"])
    parser.add_argument("--threads", type=int, required=True)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    made = globals()[options.network]()
    step = classifier(*made) if isinstance(made, tuple) else made
    print(json.dumps(f"torch {torch.__version__}"), flush=True)
    for line in sys.stdin:
        times = []
        for _ in range(int(line)):
            start = time.perf_counter()
            step().item()
            times.append(time.perf_counter() - start)
        print(json.dumps(times), flush=True)


if __name__ == "__main__":
    main()
