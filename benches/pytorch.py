"""The networks' speed beside PyTorch's, in one run: python benches/pytorch.py [REPEATS]

Needs torch and numpy, and `cargo`. Both sides do the same work on spectra of the same kind, in f32, on the same number of
threads (THREADS, 2), and take turns, so that a busy machine slows both: they take the rows of a batch in random order, make
the two planes of the input and the targets, go forward, compute the whole loss, go backward and take a step of Adam; in
prediction they make the planes, go forward and decode what is told into components. Told are spectra a second, the
medians of all turns, and the median of the turns' ratios.

What differs: PyTorch runs eagerly, as most networks are trained, not compiled; its Gaussians of the reconstruction and its
targets of the heat reach over all channels, since windows of their own are no work for tensors; and of the detector's
candidates it doesn't look for those that are the same. Ours checks the examples and judges one validation row an epoch,
and gives the same bits for any number of threads, which PyTorch doesn't. Where other programs want the processor, too,
PyTorch's threads lose much more time waiting for each other than ours: measure on a quiet machine, or with THREADS=1.

At the end stands what one thread reaches in PyTorch's product of large matrices, a yardstick for the layers of
`cargo bench -p pipe-stages --bench networks -- layers`.
"""

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

REPEATS = int(sys.argv[1]) if len(sys.argv) > 1 else 3
THREADS = int(os.environ.get("THREADS", "2"))
CHANNELS, SLOTS, ROWS = 140, 2, int(os.environ.get("ROWS", "4096"))
LINE = torch.arange(CHANNELS, dtype=torch.float32)
torch.set_num_threads(THREADS)
torch.manual_seed(0)


class Slots(nn.Module):
    """The slot network with its default shape."""

    def __init__(self, truth, there):
        super().__init__()
        self.blocks, inputs, length = nn.ModuleList(), 2, CHANNELS
        for _ in range(4):
            kernels = [nn.Conv1d(inputs, 16, k, padding=k // 2, bias=False) for k in (3, 7, 15)]
            self.blocks.append(nn.ModuleList([nn.ModuleList(kernels), nn.BatchNorm1d(48)]))
            inputs, length = 48, length // 2
        dense, width = [], inputs * length
        for units in (256, 128):
            dense += [nn.Linear(width, units, bias=False), nn.BatchNorm1d(units), nn.ReLU()]
            width = units
        self.dense = nn.Sequential(*dense, nn.Linear(width, 4 * SLOTS + 1))
        # Amplitude over rms, mean and sigma as fractions of the axis, each brought to mean 0 and variance 1.
        natural = self.natural(truth)[there]
        self.offset, self.scale = natural.mean(0), natural.std(0)
        self.least = torch.tensor([0.0, -100.0, 0.1 / (CHANNELS - 1)])

    @staticmethod
    def natural(truth):
        return truth / torch.tensor([1.0, CHANNELS - 1, CHANNELS - 1])

    def forward(self, spectra):
        x = torch.stack([spectra / 8, torch.asinh(spectra) / 2], 1)
        for kernels, norm in self.blocks:
            x = functional.max_pool1d(functional.relu(norm(torch.cat([k(x) for k in kernels], 1))), 2)
        return self.dense(x.flatten(1))

    def components(self, said):
        heads = said[:, : 3 * SLOTS].view(-1, SLOTS, 3)
        return heads, torch.maximum(self.offset + self.scale * heads, self.least)

    def loss(self, said, spectra, truth, there, count):
        heads, found = self.components(said)
        wanted = (self.natural(truth) - self.offset) / self.scale
        share = 1 / (SLOTS * len(said))
        parameter = ((heads - wanted).square() * there[:, :, None]).sum() * share / 3
        sparsity = ((found[:, :, 0] / self.offset[0]) * ~there).sum() * share
        amplitude, mean, sigma = (found[:, :, i, None] for i in range(3))
        model = (amplitude * torch.exp(-0.5 * ((LINE / (CHANNELS - 1) - mean) / sigma).square())).sum(1)
        reconstruction = (torch.sqrt(1 + (model - spectra).square()) - 1).mean()
        told = functional.cross_entropy(said[:, 3 * SLOTS :], count)
        return parameter + 0.01 * sparsity + 0.01 * reconstruction + 0.5 * told

    def decode(self, said):
        return self.components(said)[1], torch.softmax(said[:, 3 * SLOTS :], 1)


class Detector(nn.Module):
    """The detector with its default width."""

    def __init__(self, truth, there, c=8):
        super().__init__()

        def layer(i, o, k=5):
            return nn.Sequential(nn.Conv1d(i, o, k, padding=k // 2, bias=False), nn.BatchNorm1d(o), nn.ReLU())

        self.at_full = nn.Sequential(layer(2, c, 7), layer(c, c))
        self.at_half = nn.Sequential(layer(c, 2 * c), layer(2 * c, 2 * c))
        self.at_quarter = nn.Sequential(layer(2 * c, 2 * c), layer(2 * c, 2 * c))
        self.half_up, self.full_up = layer(4 * c, 2 * c), layer(3 * c, 2 * c)
        self.head = nn.Conv1d(2 * c, 12, 1)
        nn.init.constant_(self.head.bias[::4].data, -4.0)
        self.count = nn.Sequential(nn.Linear(8 * c, 64), nn.ReLU(), nn.Linear(64, SLOTS + 1))
        ends = torch.quantile(truth[there][:, 2].log(), torch.tensor([0.05, 0.95]))
        self.edges = torch.exp(ends[0] + (ends[1] - ends[0]) * torch.tensor([1 / 3, 2 / 3]))
        self.typical = there.sum() / len(there)

    def forward(self, spectra):
        def twice(z):
            return functional.interpolate(z, scale_factor=2, mode="nearest")

        full = self.at_full(torch.stack([spectra / 20, torch.asinh(spectra) / 2], 1))
        half = self.at_half(functional.max_pool1d(full, 2))
        quarter = self.at_quarter(functional.max_pool1d(half, 2))
        top = self.full_up(torch.cat([twice(self.half_up(torch.cat([twice(quarter), half], 1))), full], 1))
        pools = torch.cat([quarter.amax(2), quarter.mean(2), top.amax(2), top.mean(2)], 1)
        # Of each class at each channel: heat, ln amplitude, offset, ln sigma.
        return self.head(top).view(len(spectra), 3, 4, -1), self.count(pools)

    def loss(self, said, spectra, truth, there, count):
        told, logits = said
        row, slot = there.nonzero(as_tuple=True)
        amplitude, mean, sigma = truth[row, slot].unbind(1)
        kind = torch.bucketize(sigma.contiguous(), self.edges)
        channel = mean.round().long()
        near = torch.exp(-0.5 * (LINE - truth[:, :, 1, None]).square())
        classes = functional.one_hot(torch.bucketize(truth[:, :, 2].contiguous(), self.edges), 3) * there[:, :, None]
        t = (near[:, :, None] * classes[:, :, :, None]).amax(1)
        away = (1 - t).square().square()
        away[row, kind, channel] = 0.0
        heat = told[:, :, 0]
        p = torch.sigmoid(heat)
        cold = -(away * p.square() * functional.logsigmoid(-heat)).sum()
        at = told[row, kind, :, channel]
        hot = -((1 - torch.sigmoid(at[:, 0])).square() * functional.logsigmoid(at[:, 0])).sum()
        wanted = torch.stack([amplitude.log(), mean - channel, sigma.log()], 1)
        parameter = functional.smooth_l1_loss(at[:, 1:], wanted, reduction="sum")
        by_component = 1 / (self.typical * len(count))
        told_count = functional.cross_entropy(logits, count)
        return (0.5 * (cold + hot) + parameter) * by_component + 0.5 * told_count

    def decode(self, said):
        told, logits = said
        heat = told[:, :, 0]
        left = functional.pad(heat[:, :, :-1], (1, 0), value=-torch.inf)
        right = functional.pad(heat[:, :, 1:], (0, 1), value=-torch.inf)
        peaks = torch.where((heat > left) & (heat >= right) & (heat > -6.9), heat, -torch.inf)
        best, at = peaks.flatten(1).topk(SLOTS + 2)
        kind, channel = at // CHANNELS, at % CHANNELS
        row = torch.arange(len(heat))[:, None]
        _, amplitude, offset, sigma = told[row, kind, :, channel].unbind(2)
        found = torch.stack([amplitude.exp(), channel + offset, sigma.exp()], 2)
        return found, torch.sigmoid(best), torch.softmax(logits, 1)


def examples():
    """As in the bench of ours: one or two components in each spectrum, noise from -1 to 1."""
    truth = torch.rand(ROWS, SLOTS, 3) * torch.tensor([60.0, 120.0, 5.0]) + torch.tensor([3.0, 10.0, 1.0])
    truth = truth.gather(1, truth[:, :, 1].argsort(1)[:, :, None].expand(-1, -1, 3))
    count = 1 + torch.arange(ROWS) % SLOTS
    there = torch.arange(SLOTS) < count[:, None]
    amplitude, mean, sigma = (truth[:, :, i, None] for i in range(3))
    lines = amplitude * torch.exp(-0.5 * ((LINE - mean) / sigma).square()) * there[:, :, None]
    return lines.sum(1) + 2 * torch.rand(ROWS, CHANNELS) - 1, truth, there, count


def torch_rates(name):
    """Spectra a second for each (work, batch)."""
    spectra, truth, there, count = examples()
    network = {"slots": Slots, "detector": Detector}[name](truth, there)
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-3, fused=True)
    rates = {}
    for batch in (32, 256):
        for _ in range(2):  # The first epoch finds memory and caches cold.
            began = time.perf_counter()
            for rows in torch.randperm(ROWS).split(batch):
                optimiser.zero_grad()
                seen = spectra[rows]
                loss = network.loss(network(seen), seen, truth[rows], there[rows], count[rows])
                loss.backward()
                optimiser.step()
            rates["train", batch] = ROWS / (time.perf_counter() - began)
    network.eval()
    with torch.inference_mode():
        for _ in range(2):
            began = time.perf_counter()
            for seen in spectra.split(512):
                network.decode(network(seen))
            rates["predict", ROWS] = ROWS / (time.perf_counter() - began)
    return rates


def own_rates(name):
    command = ["cargo", "bench", "-q", "--locked", "-p", "pipe-stages", "--bench", "networks", "--", name]
    environment = {**os.environ, "RAYON_NUM_THREADS": str(THREADS), "ROWS": str(ROWS)}
    root = Path(__file__).resolve().parent.parent
    printed = subprocess.run(command, cwd=root, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout
    lines = [line.split() for line in printed.splitlines() if line.startswith(name + " ")]
    return {(work, int(batch)): float(rate) for _, work, batch, rate in lines}


def sgemm():
    """Operations a second of one thread in a product of two matrices: the best of several."""
    torch.set_num_threads(1)
    a, b = torch.rand(768, 768), torch.rand(768, 768)
    seconds = []
    for _ in range(15):
        began = time.perf_counter()
        a @ b
        seconds.append(time.perf_counter() - began)
    return 2 * 768**3 / min(seconds)


def main():
    print("| network | work | batch | pipe, spectra/s | PyTorch, spectra/s | ratio |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name in ("slots", "detector"):
        turns = [(own_rates(name), torch_rates(name)) for _ in range(REPEATS)]
        for work, batch in turns[0][0]:
            own, other = (statistics.median(turn[side][work, batch] for turn in turns) for side in (0, 1))
            ratio = statistics.median(turn[0][work, batch] / turn[1][work, batch] for turn in turns)
            print(f"| {name} | {work} | {batch} | {own:,.0f} | {other:,.0f} | {ratio:.2f} |", flush=True)
    print(f"\nPyTorch's sgemm on one thread: {1e-9 * sgemm():.0f} Gflop/s")


if __name__ == "__main__":
    main()
