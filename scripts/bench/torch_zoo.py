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

from scripts.bench.torch_gpt import GPT


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


class ViT(nn.Module):
    def __init__(self, layers, heads, width, patch, side):
        super().__init__()
        self.patches = nn.Conv2d(3, width, patch, patch)
        self.first = nn.Parameter(torch.zeros(1, 1, width))
        self.places = nn.Parameter(torch.zeros(1, (side // patch) ** 2 + 1, width))
        block = nn.TransformerEncoderLayer(width, heads, 4 * width, 0.0, "gelu", batch_first=True, norm_first=True)
        self.blocks = nn.TransformerEncoder(block, layers, nn.LayerNorm(width), enable_nested_tensor=False)
        self.head = nn.Linear(width, 10)

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.first.expand(len(x), -1, -1), x], 1) + self.places
        return self.head(self.blocks(x)[:, 0])


def vit():
    """ViT-small on 32 × 32 images, batch 32."""
    return ViT(12, 6, 384, 4, 32), (32, 3, 32, 32)


class LanguageModel(nn.Module):
    """Embedding, blocks, norm, tied head; the mean loss of the next token."""

    def __init__(self, vocab, width, blocks):
        super().__init__()
        self.token, self.blocks, self.norm = nn.Embedding(vocab, width), nn.Sequential(*blocks), nn.RMSNorm(width)
        nn.init.normal_(self.token.weight, std=0.1)

    def forward(self, tokens, targets):
        logits = self.norm(self.blocks(self.token(tokens))) @ self.token.weight.T
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


def gpt_10m():
    """6 × 384 in 6 heads, 256 tokens, batch 8."""
    return language_model(GPT(65, 256, 384, 6, 6), (8, 256))


class Mamba(nn.Module):
    """Norm and selective state space, one step of the recurrence after the other."""

    def __init__(self, width, state=16, kernel=4):
        super().__init__()
        self.inner, self.state, self.rank = 2 * width, state, -(-width // 16)
        self.norm, self.enter = nn.RMSNorm(width), nn.Linear(width, 2 * self.inner, bias=False)
        self.conv = nn.Conv1d(self.inner, self.inner, kernel, groups=self.inner, padding=kernel - 1)
        self.choose = nn.Linear(self.inner, self.rank + 2 * state, bias=False)
        self.rate, self.leave = nn.Linear(self.rank, self.inner), nn.Linear(self.inner, width, bias=False)
        self.log_decay = nn.Parameter(torch.arange(1.0, state + 1).log().repeat(self.inner, 1))
        self.skip = nn.Parameter(torch.ones(self.inner))

    def forward(self, x):
        length = x.shape[1]
        u, gate = self.enter(self.norm(x)).chunk(2, -1)
        u = F.silu(self.conv(u.transpose(1, 2))[..., :length].transpose(1, 2))
        rate, b, c = self.choose(u).split((self.rank, self.state, self.state), -1)
        rate = F.softplus(self.rate(rate))
        keep = torch.exp(rate[..., None] * -self.log_decay.exp())
        add = (rate * u)[..., None] * b[:, :, None]
        state, outputs = torch.zeros_like(add[:, 0]), []
        for t in range(length):
            state = keep[:, t] * state + add[:, t]
            outputs.append((state * c[:, t, None]).sum(-1))
        y = torch.stack(outputs, 1) + self.skip * u
        return x + self.leave(y * F.silu(gate))


def mamba():
    """4 × 128, 128 tokens, batch 8."""
    return language_model(LanguageModel(65, 128, [Mamba(128) for _ in range(4)]), (8, 128))


class Experts(nn.Module):
    """A Llama block whose MLP is the best two of eight, one expert after the other."""

    def __init__(self, width, heads, units, experts=8, top=2):
        super().__init__()
        self.heads, self.top = heads, top
        self.norm1, self.norm2 = nn.RMSNorm(width), nn.RMSNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width, bias=False)
        self.router = nn.Linear(width, experts, bias=False)
        self.ups = nn.ModuleList(nn.Linear(width, 2 * units, bias=False) for _ in range(experts))
        self.downs = nn.ModuleList(nn.Linear(units, width, bias=False) for _ in range(experts))

    def forward(self, x):
        batch, length, width = x.shape
        q, k, v = (t.view(batch, length, self.heads, -1).transpose(1, 2) for t in self.qkv(self.norm1(x)).chunk(3, -1))
        q, k = turned(q), turned(k)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(batch, length, width)
        x = x + self.out(mixed)
        h = self.norm2(x).reshape(-1, width)
        weight, chosen = self.router(h).softmax(-1).topk(self.top)
        weight, y = weight / weight.sum(-1, keepdim=True), torch.zeros_like(h)
        for i, (up, down) in enumerate(zip(self.ups, self.downs, strict=True)):
            row, place = (chosen == i).nonzero(as_tuple=True)
            gate, value = up(h[row]).chunk(2, -1)
            y.index_add_(0, row, down(F.silu(gate) * value) * weight[row, place, None])
        return x + y.view_as(x)


def turned(x):
    """Rotary positions."""
    half = x.shape[-1] // 2
    angle = torch.arange(x.shape[-2])[:, None] * 10000.0 ** (-torch.arange(half) / half)
    a, b = x[..., :half], x[..., half:]
    return torch.cat([a * angle.cos() - b * angle.sin(), b * angle.cos() + a * angle.sin()], -1)


def experts():
    """4 × 128 in 4 heads, eight experts of 256 units, 64 tokens, batch 12."""
    return language_model(LanguageModel(65, 128, [Experts(128, 4, 256) for _ in range(4)]), (12, 64))


def language_model(model, shape):
    tokens = torch.randint(0, 65, (shape[0], shape[1] + 1))
    return trained(model, lambda: model(tokens[:, :-1], tokens[:, 1:]))


def classifier(model, shape):
    x, y = torch.rand(shape), torch.randint(0, 10, shape[:1])
    return trained(model, lambda: F.cross_entropy(model(x), y))


def trained(model, loss_of):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)

    def step():
        loss = loss_of()
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
    parser.add_argument("network", choices=["resnet18", "mlp", "vae", "dcgan", "gpt_10m", "vit", "mamba", "experts"])
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
