"""The networks of benchmarks/networks.py in PyTorch: torchvision's, and ResNet-20 for CIFAR."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional


def build(name: str, classes: int) -> nn.Module:
    """Builds a network by its name."""
    if name == "resnet20":
        return Cifar(depth=3, classes=classes)
    _declare_operators()
    import torchvision

    network: nn.Module = getattr(torchvision.models, name)(num_classes=classes)
    return network


def _declare_operators() -> None:
    """Declares what torchvision registers, where its compiled half is not that of this PyTorch."""
    for operator in ("nms", "qnms"):
        if not hasattr(torch.ops.torchvision, operator):
            torch.library.define(
                f"torchvision::{operator}",
                "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
            )


class Block(nn.Module):
    """Two 3x3 convolutions; where the shape changes the shortcut subsamples and pads."""

    def __init__(self, in_features: int, features: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_features, features, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(features)
        self.conv2 = nn.Conv2d(features, features, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(features)
        self.stride = stride
        self.padding = (features - in_features) // 2

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps [batch, in_features, height, width] to [batch, features, ...]."""
        y = functional.relu(self.bn1(self.conv1(x)), inplace=True)
        y = self.bn2(self.conv2(y))
        if self.padding:
            x = x[:, :, :: self.stride, :: self.stride]
            x = functional.pad(x, (0, 0, 0, 0, self.padding, self.padding))
        return functional.relu(y + x, inplace=True)


class Cifar(nn.Module):
    """The network of He et al. 2015, section 4.2, with 6 * depth + 2 layers; named as timm's."""

    def __init__(self, depth: int, classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = _stage(16, 16, depth)
        self.layer2 = _stage(16, 32, depth)
        self.layer3 = _stage(32, 64, depth)
        self.fc = nn.Linear(64, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps images [batch, 3, height, width] to logits [batch, classes]."""
        x = functional.relu(self.bn1(self.conv1(x)), inplace=True)
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.fc(x.mean((2, 3)))


def _stage(in_features: int, features: int, depth: int) -> nn.Sequential:
    first = Block(in_features, features, stride=features // in_features)
    return nn.Sequential(first, *(Block(features, features, stride=1) for _ in range(depth - 1)))
