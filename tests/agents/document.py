"""The script of DAHPS's document: its import lines changed, its config repaired, its gaps filled in, without a card.

Run by torchrun. Each rank appends to LOG what it was given.
"""

from __future__ import annotations

import argparse
import json
import os

import torch

from parallel_train.search import DistributedAsynchronousRandomSearch as DARS  # noqa: N817  its document calls it so
from parallel_train.search import sync_parameters
from tests.support.dahps import config as document

config = document(comma=False, value=False, activations=("relu",))


def training_process(args, rank, world_size):
    """By hand: torch's optimizers and its DistributedDataParallel take seconds to import.

    Whoever does use that one imports torch.distributed.nn.functional before init_process_group: imported later, it
    keeps the group and its threads to the very end, where they now and then abort the process.
    """
    weights = torch.zeros(4, requires_grad=True)
    batch = torch.full((args.batch_size // world_size, 4), float(rank))
    for _ in range(2):
        loss = (batch @ weights - 1).square().mean()
        [slope] = torch.autograd.grad(loss, weights)
        if torch.distributed.is_initialized():
            torch.distributed.all_reduce(slope)
        with torch.no_grad():
            weights -= args.learning_rate * slope
    return {"weights": weights.detach(), "learning_rate": args.learning_rate}, -loss.detach()


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
