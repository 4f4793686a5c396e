"""PyTorch's side of parts c and d of gpu.py: the same work as gpu_steps.py, the way a user would write it to be fast.

bfloat16 by autocast, torch.compile, fused attention, fused AdamW; images channels last.  Runs under a Python with torch
(and torchvision, for the ResNet); answers each number read from stdin with seconds a step.
"""

import json
import sys
import time

import torch
from torch.nn import functional as F

from scripts.bench.torch_gpt import GPT


def gpt(shape, device):
    model = GPT(shape["vocab"], shape["context"], shape["width"], shape["heads"], shape["layers"]).to(device)
    groups = [
        {"params": [p for p in model.parameters() if p.ndim == 2], "weight_decay": 0.1},
        {"params": [p for p in model.parameters() if p.ndim != 2], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=6e-4, betas=(0.9, 0.95), fused=device == "cuda")
    window = torch.randint(0, shape["vocab"], (shape["batch"], shape["context"] + 1), device=device)
    compiled = torch.compile(model)
    return model, optimizer, lambda: compiled(window[:, :-1], window[:, 1:]), 1.0


def resnet(shape, device):
    import torchvision

    model = torchvision.models.resnet50(num_classes=1000).to(device, memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, fused=device == "cuda")
    images = torch.rand((shape["batch"], 3, shape["side"], shape["side"]), device=device)
    images = images.to(memory_format=torch.channels_last)
    labels = torch.randint(0, 1000, (shape["batch"],), device=device)
    compiled = torch.compile(model)
    return model, optimizer, lambda: F.cross_entropy(compiled(images), labels), None


def main():
    network, shape = sys.argv[1], json.loads(sys.argv[2])
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(0)
    torch.set_float32_matmul_precision("high")
    model, optimizer, loss_of, clip = {"gpt": gpt, "resnet": resnet}[network](shape, device)

    def step():
        with torch.autocast(device, torch.bfloat16):
            loss = loss_of()
        loss.backward()
        if clip is not None:
            torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss

    for line in sys.stdin:
        start = time.perf_counter()
        for _ in range(int(line)):
            loss = step()
        loss.item()
        print(json.dumps((time.perf_counter() - start) / int(line)), flush=True)


if __name__ == "__main__":
    main()
