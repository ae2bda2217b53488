"""The networks of `pytorch_side.py`, as PyTorch's users write them."""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional


def perceptron(num_classes: int, hidden: tuple[int, ...]) -> nn.Sequential:
    """What `jaxdigits.models.mlp` is; without hidden layers, `jaxdigits.models.linear`."""
    layers: list[nn.Module] = [nn.Flatten()]
    for inputs, outputs in pairwise((784, *hidden, num_classes)):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


class LettersNetwork(nn.Sequential):
    """What `jaxdigits.models.convnet` is with `pool_activation="none"`."""

    def __init__(self, num_classes: int) -> None:
        """Start as PyTorch does."""
        layers: list[nn.Module] = []
        for inputs, outputs in ((1, 32), (32, 64), (64, 128)):
            layers += [nn.Conv2d(inputs, outputs, 3), nn.MaxPool2d(2, ceil_mode=True)]
        layers += [nn.Flatten(), nn.Linear(512, 64), nn.GELU(), nn.Linear(64, 128), nn.GELU()]
        super().__init__(*layers, nn.Linear(128, num_classes))


class Stem(nn.Conv2d):
    """A convolution of three channels; a grey image, three equal ones, meets their sum."""

    def forward(self, images: Tensor) -> Tensor:
        """Of images of three channels, or of one."""
        if images.shape[1] == 3:
            return super().forward(images)
        kernel = self.weight.sum(1, keepdim=True)
        return functional.conv2d(images, kernel, stride=self.stride, padding=self.padding)


class Block(nn.Module):
    """torchvision's BasicBlock."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        """Two convolutions, and one on the other way if the stride is above 1."""
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.shortcut = nn.Sequential()
        if stride > 1:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, values: Tensor) -> Tensor:
        """The sum of both ways."""
        found = self.relu(self.bn1(self.conv1(values)))
        found = self.bn2(self.conv2(found))
        found += self.shortcut(values)
        return self.relu(found)


class ConcatPool(nn.Module):
    """fastai's AdaptiveConcatPool2d, flat."""

    def forward(self, values: Tensor) -> Tensor:
        """The maximum and the mean of each channel."""
        pools = (functional.adaptive_max_pool2d, functional.adaptive_avg_pool2d)
        return torch.cat([pool(values, 1).flatten(1) for pool in pools], dim=1)


class ResNet18(nn.Sequential):
    """What `jaxdigits.models.resnet` is: torchvision's layers and fastai's head."""

    def __init__(self, num_classes: int, stem: str, dropout: float) -> None:
        """Start as PyTorch does."""
        layers: list[nn.Module] = []
        if stem == "7x7":
            layers += [Stem(3, 64, 7, stride=2, padding=3, bias=False)]
        else:
            layers += [Stem(3, 64, 3, padding=1, bias=False)]
        layers += [nn.BatchNorm2d(64), nn.ReLU(inplace=True)]
        if stem == "7x7":
            layers += [nn.MaxPool2d(3, stride=2, padding=1)]
        for inputs, outputs in ((64, 64), (64, 128), (128, 256), (256, 512)):
            layers += [Block(inputs, outputs, 1 if inputs == outputs else 2)]
            layers += [Block(outputs, outputs, 1)]
        layers += [ConcatPool(), nn.BatchNorm1d(1024), nn.Dropout(dropout / 2)]
        layers += [nn.Linear(1024, 512, bias=False), nn.ReLU(inplace=True)]
        layers += [nn.BatchNorm1d(512), nn.Dropout(dropout)]
        super().__init__(*layers, nn.Linear(512, num_classes, bias=False))
