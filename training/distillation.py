"""Self attention distillation: a network's layers learn the attention of its own later layers.

Paper (arXiv 1908.00821), section 3.2. AT-GEN makes an attention map Ψ(A) = Φ(B(G(A))) of the
features A of a layer: G collapses the channels, B resizes bilinearly, Φ is a softmax over the
pixels. A lower layer's map is drawn towards a higher layer's, which is a fixed target:
L_distill = Σ over the paths of ‖Ψ(A_lower) − Ψ(A_higher)‖².

It fits any network: layers are named as in `network.named_modules()` and watched by forward hooks
while the network trains. It has no parameters, and nothing of it stays in the network. How to use
it on a network of one's own is in docs/distillation.md.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class Distillation:
    """What is distilled, how and from when on; mapping, power and weight are the paper's.

    paths: (lower layer, higher layer) names; null for the paper's, E2 to E3 and E3 to E4.
    mapping: how channels become one map, "sum" or "max". power: the power that features are raised
    to before. entropy: how flat attention maps are made, as a share of a flat map's entropy.
    start: first step with the loss. weight: γ, 0 for a network without distillation. ramp: steps in
    which γ grows to that, in equal parts from the start on; the paper's does not grow.
    """

    paths: tuple[tuple[str, str], ...] | None = None
    mapping: str = "sum"
    power: float = 2.0
    entropy: float = 0.8
    start: int = 0
    weight: float = 0.1
    ramp: int = 0

    def __post_init__(self) -> None:
        if self.mapping not in ("sum", "max"):
            raise ValueError(f'the mapping is "sum" or "max", not {self.mapping!r}')
        if self.power <= 0:
            raise ValueError(f"the power of the mapping must be above 0, not {self.power}")
        if not 0 < self.entropy < 1:
            raise ValueError(f"the entropy of attention maps lies in (0, 1), not {self.entropy}")
        if self.weight < 0:
            raise ValueError(f"the weight must not be negative, not {self.weight}")
        if self.ramp < 0:
            raise ValueError(f"the ramp is a number of steps, not {self.ramp}")

    def weight_at(self, step: int) -> float:
        """γ at a step, counted from 0: 0 before the start."""
        if step < self.start:
            return 0.0
        return self.weight * min(1.0, (step - self.start + 1) / max(1, self.ramp))


def collapse(features: Tensor, mapping: str = "sum", power: float = 2.0) -> Tensor:
    """G: how active each place of B×C×H×W features is, as B×H×W (section 3.2, equations of G).

    "sum" is Σ_c |A_c|^power, with power 1 the sum of absolutes; "max" is max_c |A_c|^power.
    Computed in float32 or better, as powers leave the range of half precision.
    """
    magnitude = features.to(torch.promote_types(features.dtype, torch.float32))
    # Squares need no absolutes.
    magnitude = magnitude.square() if power == 2 else magnitude.abs() ** power
    return magnitude.sum(dim=1) if mapping == "sum" else magnitude.amax(dim=1)


def resize(maps: Tensor, size: Sequence[int]) -> Tensor:
    """B: maps B×H×W resized bilinearly to (height, width)."""
    if maps.shape[1:] == tuple(size):
        return maps
    height, width = size
    return F.interpolate(maps[:, None], (height, width), mode="bilinear")[:, 0]


def spatial_softmax(maps: Tensor, entropy: float = 0.8) -> Tensor:
    """Φ: maps B×H×W as distributions over the pixels of each image, of a given entropy.

    A softmax depends on the scale of its argument, which features leave open: summed squares reach
    thousands, where it is one-hot and passes no gradient, and maps of norm 1 leave it flat. So each
    map is scaled such that its softmax has `entropy` × log(H·W): 0 is one-hot, 1 is flat. The
    gradient goes through the scale as well, so that it moves attention without sharpening it. A
    map without any contrast becomes flat.
    """
    flat = maps.flatten(1)
    flat = flat - flat.mean(dim=1, keepdim=True)
    flat = flat / flat.square().mean(dim=1, keepdim=True).add(1e-20).sqrt().detach()
    scale = _scale_for(flat, entropy * math.log(flat.shape[1]))
    return (flat * scale).softmax(dim=1).view_as(maps)


def _scale_for(flat: Tensor, wanted: float) -> Tensor:
    """The factor of each row of B×N that gives its softmax the wanted entropy (nats), B×1."""
    with torch.no_grad():
        low = torch.full_like(flat[:, :1], -7.0)  # of the factor's logarithm
        high = torch.full_like(low, 5.0)
        for _ in range(24):
            middle = (low + high) / 2
            flatter = _softmax_entropy(flat * middle.exp()) > wanted
            low = torch.where(flatter, middle, low)
            high = torch.where(flatter, high, middle)
        scale = ((low + high) / 2).exp()
        attention = (flat * scale).softmax(dim=1)
        mean = (attention * flat).sum(dim=1, keepdim=True)
        slope = -scale * (attention * (flat - mean).square()).sum(dim=1, keepdim=True)
    # A Newton step: it hardly moves the factor, but has the gradient of the exact solution.
    change = (_softmax_entropy(flat * scale) - wanted) / slope.clamp_max(-1e-6)
    return torch.where(change.abs() < 0.01 * scale, scale - change, scale)


def _softmax_entropy(logits: Tensor) -> Tensor:
    """Entropy in nats of the softmax of the rows of B×N, B×1."""
    logarithms = logits.log_softmax(dim=1)
    return -(logarithms.exp() * logarithms).sum(dim=1, keepdim=True)


def relative_entropy(maps: Tensor) -> Tensor:
    """Entropy of non-negative maps B×H×W, taken as distributions, over that of a flat map: B."""
    flat = maps.flatten(1)
    flat = flat / flat.sum(dim=1, keepdim=True).clamp_min(1e-20)
    return torch.special.entr(flat).sum(dim=1) / math.log(flat.shape[1])


def distance(lower: Tensor, higher: Tensor) -> Tensor:
    """‖lower − higher‖², summed over the pixels of B×H×W maps and averaged over the images.

    A mean over the pixels would leave nothing of it: the values of a map sum to 1.
    """
    return (lower - higher).square().sum(dim=(1, 2)).mean()


class Watch:
    """Keeps the features of some layers of a network while it runs."""

    def __init__(self, network: nn.Module, layers: Sequence[str]) -> None:
        """Watch layers by name. Raises ValueError for one that the network does not have."""
        self.layers = tuple(dict.fromkeys(layers))
        """Their names, each once."""
        self.active = True
        """Whether features are kept; off, the network runs as if it were not watched."""
        self._features: dict[str, Tensor] = {}
        modules = dict(network.named_modules(remove_duplicate=False))
        for name in self.layers:
            if name not in modules or not name:
                raise ValueError(
                    f"the network has no layer {name!r} to distil; its outermost layers are "
                    f"{', '.join(name for name, _ in network.named_children())}"
                )
        self._hooks = [
            modules[name].register_forward_hook(self._keep(name)) for name in self.layers
        ]

    def _keep(self, name: str) -> Callable[[nn.Module, Any, Any], None]:
        def keep(_module: nn.Module, _inputs: Any, features: Any) -> None:
            if self.active:
                if not isinstance(features, Tensor) or features.ndim != 4:
                    raise ValueError(f"layer {name!r} gives no B×C×H×W features to distil")
                self._features[name] = features

        return keep

    def features(self) -> dict[str, Tensor]:
        """The features B×C×H×W of each layer in the last forward pass, which are then let go.

        Raises RuntimeError where the network has not run since the last call.
        """
        if len(self._features) != len(self.layers):
            raise RuntimeError("no features to distil: the network has not run since the last loss")
        features, self._features = self._features, {}
        return features

    def remove(self) -> None:
        """Take the hooks out of the network; it is then as it was before."""
        for hook in self._hooks:
            hook.remove()
        self._features.clear()


class SelfAttentionDistillation(Watch):
    """The distillation loss between layers of a network, observed while it runs."""

    def __init__(self, network: nn.Module, settings: Distillation) -> None:
        """Watch the layers of `settings.paths` in `network`.

        Raises ValueError for a layer that the network does not have, or without a path.
        """
        if not settings.paths:
            raise ValueError("distillation needs at least one path of (lower, higher) layer")
        super().__init__(network, [name for path in settings.paths for name in path])
        self.settings = settings
        self.paths = settings.paths

    def loss(self, features: dict[str, Tensor] | None = None) -> Tensor:
        """L_distill of the last forward pass (or of given features), not yet multiplied by γ."""
        features = self.features() if features is None else features
        maps = {
            name: collapse(layer, self.settings.mapping, self.settings.power)
            for name, layer in features.items()
        }
        total = next(iter(maps.values())).new_zeros(())
        # Maps of one size in one batch: many small steps of the softmax cost as much for all.
        pairs: dict[torch.Size, list[Tensor]] = {}
        for lower, higher in self.paths:
            target = maps[higher].detach()
            lowered = resize(maps[lower], target.shape[1:])
            pairs.setdefault(target.shape, []).extend([lowered, target])
        for alike in pairs.values():
            parts = spatial_softmax(torch.cat(alike), self.settings.entropy).chunk(len(alike))
            for attention, target in zip(parts[::2], parts[1::2], strict=True):
                total = total + distance(attention, target)
        return total


def measure(
    distillation: SelfAttentionDistillation,
    network: nn.Module,
    images: Tensor,
    task_loss: Callable[[Any], Tensor],
) -> dict[str, float]:
    """What there is to log of distillation on a batch, the network being in evaluation mode.

    images: network input B×3×H×W; task_loss: of the network's output, without distillation.
    Returns, for each layer, "entropy/NAME" of its attention map and "focus/NAME" of the map before
    the softmax (relative to a flat map's), and, for the lower layer of each path, "share/NAME":
    ‖γ ∂L_distill/∂A‖ ÷ ‖∂L_task/∂A‖ of its features A, γ being the settings' weight.
    """
    training, active = network.training, distillation.active
    network.eval()
    distillation.active = True
    with torch.enable_grad():
        task = task_loss(network(images))
        features = distillation.features()
        sad = distillation.settings.weight * distillation.loss(features)
        lowers = tuple(dict.fromkeys(lower for lower, _ in distillation.paths))
        watched = [features[name] for name in lowers]
        gradients = [torch.autograd.grad(loss, watched, retain_graph=True) for loss in (task, sad)]
    distillation.active = active
    network.train(training)
    result = {}
    with torch.no_grad():
        for name, layer in features.items():
            maps = collapse(layer, distillation.settings.mapping, distillation.settings.power)
            attention = spatial_softmax(maps, distillation.settings.entropy)
            result[f"entropy/{name}"] = relative_entropy(attention).mean().item()
            result[f"focus/{name}"] = relative_entropy(maps).mean().item()
        for name, of_task, of_sad in zip(lowers, *gradients, strict=True):
            norm = of_task.float().norm().clamp_min(1e-20)
            result[f"share/{name}"] = (of_sad.float().norm() / norm).item()
    return result
