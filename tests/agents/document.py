"""The script of DAHPS's document: its import lines changed, its config repaired, its gaps filled in, without a card.

Run by torchrun. Each rank appends to LOG what it was given.
"""

from __future__ import annotations

import argparse
import json
import os

import torch
from torch.nn.parallel import DistributedDataParallel

from parallel_train.search import DistributedAsynchronousRandomSearch as DARS  # noqa: N817  its document calls it so
from parallel_train.search import sync_parameters
from tests.support.dahps import config as document

config = document(comma=False, value=False, activations=("relu",))


def training_process(args, rank, world_size):
    torch.manual_seed(0)
    model = torch.nn.Linear(4, 1)
    if torch.distributed.is_initialized():
        model = DistributedDataParallel(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=args.learning_rate)
    batch = torch.full((args.batch_size // world_size, 4), float(rank))
    for _ in range(2):
        optimizer.zero_grad()
        loss = (model(batch) - 1).square().mean()
        loss.backward()
        optimizer.step()
    return {"model": model.state_dict(), "learning_rate": args.learning_rate}, -loss.detach()


def create_parser():
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--path", type=str, default="./hp_test")
    parser.add_argument("--written", type=str)
    parser.add_argument("--no-group", action="store_true")
    return parser


def main(args, rank, world_size):
    log, path = args.written, args.path

    agent = DARS.from_config(path, config)

    agent = sync_parameters(rank, agent)

    args = agent.to_namespace(agent.combination)

    states, metric = training_process(args, rank, world_size)

    if rank == 0:
        agent.save_checkpoint(states)
        agent.finish_combination(metric)

    line = json.dumps({"rank": rank, "parent": os.getppid(), "index": agent.index, **vars(args)})
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, f"{line}\n".encode())


if __name__ == "__main__":
    parser = create_parser()
    args = parser.parse_args()

    world_size = int(os.environ["WORLD_SIZE"])
    rank = int(os.environ["RANK"])
    torch.multiprocessing.set_start_method("spawn")

    if not args.no_group:
        torch.distributed.init_process_group("gloo")
    for _ in range(2):  # it may loop
        main(args, rank, world_size)
    if not args.no_group:
        torch.distributed.destroy_process_group()
