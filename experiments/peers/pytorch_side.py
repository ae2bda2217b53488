"""PyTorch: the usual loop, its images in memory as floats, scaled beforehand.

| variant | |
|---|---|
| `last` | channels last in memory, fused optimizer |
| `first` | channels first, fused optimizer |
| `default` | `last`, but the optimizer as it is by default |
| `compiled` | `last`, the network through `torch.compile` |
| `graphs` | on a GPU: the same with CUDA graphs (`mode="reduce-overhead"`) |
| `RGB` | ResNet: `last`, but the grey image repeated to three channels, as fastai has it |

The others take ResNet's grey image as one channel, with the sum of the first kernel's three: the
same result with less work. For networks without convolutions, `last` and `first` are the same.
"""

import torch
from pytorch_networks import LettersNetwork, ResNet18, perceptron
from sides import BATCH_SIZE, DROPOUT, LEARNING_RATE, WEIGHT_DECAY, Task, read_task, serve

from jaxdigits.environment import usable_cores

VARIANTS = ("last", "first", "default", "compiled", "graphs", "RGB")


def suits(variant: str, workload: str) -> bool:
    """Whether a variant is one of a workload, on this machine."""
    flat = workload in ("linear", "mlp")
    if variant == "RGB":
        return workload.startswith("resnet")
    if variant == "graphs":
        return torch.cuda.is_available()
    return not (flat and variant == "first")


def network(name: str, num_classes: int) -> torch.nn.Module:
    """By the name of its workload."""
    if name in ("linear", "mlp"):
        return perceptron(num_classes, () if name == "linear" else (30,))
    if name == "letters":
        return LettersNetwork(num_classes)
    return ResNet18(num_classes, "3x3" if name.endswith("3x3") else "7x7", DROPOUT)


def main(task: Task) -> None:
    """Prepares, and waits for its turns."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.set_num_threads(usable_cores())
    torch.set_float32_matmul_precision("high")  # TF32 on a GPU, as JAX has it
    flat = task.name in ("linear", "mlp")
    layout = torch.contiguous_format if task.variant == "first" or flat else torch.channels_last
    net = network(task.name, task.workload.num_classes)
    net = net.to(device, memory_format=layout).train()
    weights = [p for p in net.parameters() if p.ndim > 1]
    others = [p for p in net.parameters() if p.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [
            {"params": weights, "weight_decay": WEIGHT_DECAY},
            {"params": others, "weight_decay": 0.0},
        ],
        lr=LEARNING_RATE,
        fused=None if task.variant == "default" else True,
    )
    inputs, targets = torch.tensor(task.pixels), torch.tensor(task.labels).long()
    # Made so that the strides tell the layout even of one channel: PyTorch goes by them.
    channels = 3 if task.variant == "RGB" else 1
    if layout == torch.channels_last:
        inputs = inputs[..., None].repeat(1, 1, 1, channels).permute(0, 3, 1, 2)
    elif not flat:
        inputs = inputs[:, None]
    inputs, targets = inputs.to(device), targets.to(device)
    loss_function = torch.nn.CrossEntropyLoss()
    forward = net
    if task.variant in ("compiled", "graphs"):
        mode = "reduce-overhead" if task.variant == "graphs" else "default"
        forward = torch.compile(net, mode=mode)

    def run() -> float:
        order = torch.randperm(task.count, device=device)
        for start in range(0, task.count, BATCH_SIZE):
            batch = order[start : start + BATCH_SIZE]
            optimizer.zero_grad(set_to_none=True)
            loss = loss_function(forward(inputs[batch]), targets[batch])
            loss.backward()
            optimizer.step()
        return loss.item()

    serve(sum(p.numel() for p in net.parameters()), run)


if __name__ == "__main__":
    main(read_task())
