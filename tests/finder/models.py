"""Models and data for the tests; a process that is not forked imports them from here."""

import faulthandler
import os
import signal

import torch
from torch import nn


class Witness(nn.Module):
    """A model that keeps in its weights who trained it, and on how many threads."""

    def __init__(self, width=4):
        super().__init__()
        self.layer = nn.Linear(3, width)
        self.out = nn.Linear(width, 1)
        self.register_buffer("pid", torch.tensor(0))
        self.register_buffer("threads", torch.tensor(0))

    def forward(self, inputs):
        self.pid.fill_(os.getpid())
        self.threads.fill_(torch.get_num_threads())
        return self.out(torch.relu(self.layer(inputs)))


class Noisy(nn.Module):
    """One whose numbers depend on every random number drawn, and on the order of the samples."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 1))

    def forward(self, inputs):
        return self.layers(inputs)


class Raises(Witness):
    def forward(self, inputs):
        raise ValueError("this model is no good")


class Killed(Witness):
    def forward(self, inputs):
        os.kill(os.getpid(), signal.SIGKILL)


class Crashes(Witness):
    def forward(self, inputs):
        faulthandler.disable()
        os.kill(os.getpid(), signal.SIGSEGV)


class Marked(torch.Tensor):
    """A tensor of the user's own class."""


class Marks(Witness):
    def __init__(self):
        super().__init__()
        self.register_buffer("marked", torch.zeros(1).as_subclass(Marked))


class Endless(Witness):
    def forward(self, inputs):
        while True:
            signal.pause()


def data(count=50, seed=0):
    numbers = torch.Generator().manual_seed(seed)
    inputs = torch.randn(count, 3, generator=numbers)
    return inputs, inputs.sum(1, keepdim=True)
