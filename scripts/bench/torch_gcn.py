"""The yardstick of graphs.py: train steps of GCN on Cora in PyTorch eager, with sparse products.

Runs under a Python with torch and numpy.  For each number read from stdin it makes as many steps and prints their
seconds.  Inputs are a sparse matrix, whose dropout is of its numbers, or a dense one (--inputs).
"""

import argparse
import json
import sys
import time

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--path", required=True)
    parser.add_argument("--inputs", choices=["sparse", "dense"], default="sparse")
    parser.add_argument("--threads", type=int, required=True)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    a = np.load(options.path)
    n, edges = int(a["num_nodes"]), torch.from_numpy(a["edges"]).long()
    loops = torch.arange(n)[:, None].repeat(1, 2)
    edges = torch.cat([edges, edges.flip(1), loops])
    degree = torch.bincount(edges[:, 0], minlength=n).float()
    value = (degree[edges[:, 0]] * degree[edges[:, 1]]).rsqrt()
    adjacency = torch.sparse_coo_tensor(edges.T, value, (n, n)).coalesce()
    place = torch.from_numpy(np.stack([a["feat_row"], a["feat_col"]])).long()
    share = 1 / torch.bincount(place[0], minlength=n).float()[place[0]]
    x = torch.sparse_coo_tensor(place, share, (n, int(a["num_features"]))).coalesce()
    dense = x.to_dense()
    labels, train = torch.from_numpy(a["label"]).long(), torch.from_numpy(a["train"]).long()
    layers = nn.ParameterList([torch.empty(s) for s in ((x.shape[1], 16), (16, 7))])
    biases = nn.ParameterList([torch.zeros(16), torch.zeros(7)])
    for layer in layers:
        nn.init.xavier_uniform_(layer)
    optimizer = torch.optim.Adam([*layers, *biases], lr=0.01, weight_decay=5e-4)

    def first():
        if options.inputs == "dense":
            return F.dropout(dense, 0.5) @ layers[0]
        dropped = torch.sparse_coo_tensor(x.indices(), F.dropout(x.values(), 0.5), x.shape, is_coalesced=True)
        return torch.sparse.mm(dropped, layers[0])

    print(json.dumps(f"torch {torch.__version__}, {options.inputs}"), flush=True)
    for line in sys.stdin:
        times = []
        for _ in range(int(line)):
            start = time.perf_counter()
            h = F.relu(torch.sparse.mm(adjacency, first()) + biases[0])
            scores = torch.sparse.mm(adjacency, F.dropout(h, 0.5) @ layers[1]) + biases[1]
            loss = F.cross_entropy(scores[train], labels[train])
            loss.backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            loss.item()
            times.append(time.perf_counter() - start)
        print(json.dumps(times), flush=True)


if __name__ == "__main__":
    main()
