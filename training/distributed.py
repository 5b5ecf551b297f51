"""Several processes that train one network, started by PyTorch's launcher `torchrun`."""

from __future__ import annotations

import os
from typing import Any

import torch
import torch.distributed
from lightning_fabric import Fabric
from torch import Tensor, nn

from lane_sad_ros.detection.devices import find_device


def make_fabric(device: str, precision: str) -> Fabric:
    """Fabric for this process: one device, alone or as one of those that torchrun started.

    device: "auto", "cpu", "cuda" or "cuda:N"; precision: as Fabric names it. With several
    processes on a machine each takes the device of its local rank.
    Raises DeviceError for a device that is not there.
    """
    found = find_device(device)
    processes = int(os.environ.get("WORLD_SIZE", 1))
    local = int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    alone = processes == 1
    fabric = Fabric(
        accelerator=found.type,
        devices=[found.index or 0] if alone and found.type != "cpu" else local,
        num_nodes=processes // local,
        strategy="auto" if alone else "ddp",
        precision=precision,  # type: ignore[arg-type]
    )
    fabric.launch()
    return fabric


class SyncedBatchNorm2d(nn.BatchNorm2d):
    """Batch norm over the images of all processes, on any device.

    PyTorch's SyncBatchNorm, which is faster, exists for GPUs only.
    """

    def forward(self, features: Tensor) -> Tensor:
        if not self.training:
            return super().forward(features)
        features32 = features.float()
        count = features.numel() / features.shape[1] * torch.distributed.get_world_size()
        mean = _sum(features32.sum(dim=(0, 2, 3))) / count
        centred = features32 - mean.view(-1, 1, 1)
        variance = _sum(centred.square().sum(dim=(0, 2, 3))) / count
        scale = self.weight * (variance + self.eps).rsqrt()
        with torch.no_grad():
            assert self.num_batches_tracked is not None and self.momentum is not None
            self.num_batches_tracked += 1
            assert self.running_mean is not None and self.running_var is not None
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * (count / (count - 1)), self.momentum)
        result = centred * scale.view(-1, 1, 1) + self.bias.view(-1, 1, 1)
        return result.to(features.dtype)


class _Sum(torch.autograd.Function):
    """The sum over the processes; its gradient is the sum of theirs.

    PyTorch 2.13 calls its own in `torch.distributed.nn.functional` deprecated, for one in a private
    module that has no gradient in earlier versions.
    """

    @staticmethod
    def forward(_context: Any, values: Tensor) -> Tensor:
        total = values.clone()
        torch.distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(_context: Any, gradient: Tensor) -> Tensor:
        return _Sum.forward(None, gradient)


def _sum(values: Tensor) -> Tensor:
    total: Tensor = _Sum.apply(values)  # type: ignore[no-untyped-call]
    return total


def synchronise_batch_norm(network: nn.Module, device: torch.device) -> None:
    """Let the batch norms of a network take the statistics of all processes' images, in place.

    The network is as good as trained in one process then, and its state keeps its names.
    """
    if device.type == "cuda":
        nn.SyncBatchNorm.convert_sync_batchnorm(network)
        return
    for module in network.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = SyncedBatchNorm2d
