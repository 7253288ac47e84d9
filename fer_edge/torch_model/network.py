"""The torch network of a spec: timm's architecture with our stem and head.

Training, export and the torch backend build it here and nowhere else. Needs the ``torch`` extra.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import timm
import torch
from torch import nn

import fer_edge.torch_model.architectures  # noqa: F401 - adds ours to timm's registry
from fer_edge.artifacts.spec import ModelSpec, NetworkSpec
from fer_edge.errors import ConfigurationError, FerEdgeError

_HEAD_INIT_STD = 0.01
_MAX_REASON = 300

_NAME = re.compile(r"[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)?")
"""An architecture, maybe with a tag; timm would download what starts with ``hf-hub:``."""

_TEACHERS = ("fer_resnet18", "fer_vgg")
"""Networks of ``fer_train.teacher_networks``, which adds them to timm's registry."""

NOT_SETTINGS = frozenset(
    (
        # they follow from the rest of the spec
        *("in_chans", "num_classes", "drop_rate"),
        # timm would read other files
        *("pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "pretrained_strict"),
        *("pretrained_filter_fn", "pretrained_model_args", "pretrained_custom_load"),
        *("checkpoint_path", "cache_dir", "pruned"),
        # they leave no classifier
        *("features_only", "feature_cls", "feature_cfg", "out_indices"),
        # they say how timm builds a network, not which
        *("scriptable", "exportable", "no_jit", "device", "dtype", "model_cfg", "kwargs_filter"),
    )
)
"""Arguments of ``timm.create_model`` that a spec may not set."""

_MOST = 4096
"""The largest setting: beyond it even an empty network takes long to build."""

_ACTIVATIONS: dict[str, Callable[..., nn.Module]] = {
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
}


def build(
    spec: ModelSpec, *, dropout: float = 0.0, drop_path: float = 0.0, patch_dropout: float = 0.0
) -> nn.Module:
    """Build the network that ``spec`` describes, with fresh weights, and try it on a picture.

    It takes float32 ``(N, C, H, W)``, normalised, and gives logits ``(N, 7)``. In training,
    ``dropout`` falls on the classifier's input, ``drop_path`` on whole residual branches
    (stochastic depth, Huang et al., ECCV 2016) and ``patch_dropout`` on a ViT's tokens. The
    classifier starts with a standard deviation of 0.01: timm initialises MobileNetV4's for 1000
    classes, and with seven its first loss is near 4. Raises ConfigurationError for an unknown
    architecture or a setting that it lacks.
    """
    rates = {"drop_path_rate": drop_path, "patch_drop_rate": patch_dropout}
    network = construct(spec, drop_rate=dropout, **{k: v for k, v in rates.items() if v})
    check_forward(network, spec)
    return network


def construct(spec: ModelSpec, *, drop_rate: float = 0.0, **rates: float) -> nn.Module:
    """Build without trying the network; the rates have timm's names."""
    wanted = spec.network
    _check_settings(wanted)
    arguments: dict[str, Any] = {**wanted.arguments, **rates}
    if wanted.activation is not None:
        if wanted.activation not in _ACTIVATIONS:
            raise ConfigurationError(
                f"unknown activation {wanted.activation!r}; there are {', '.join(_ACTIVATIONS)}"
            )
        arguments["act_layer"] = _ACTIVATIONS[wanted.activation]
    with _as_refusal(f"{wanted.architecture} cannot be built with these settings"):
        network: nn.Module = timm.create_model(
            wanted.architecture,
            pretrained=False,
            in_chans=spec.input.channels,
            num_classes=len(spec.labels),
            drop_rate=drop_rate,
            **arguments,
        )
        if wanted.stem_stride is not None:
            _set_stem_stride(network, wanted.stem_stride)
        if wanted.batch_norm_epsilon is not None:
            for module in network.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eps = wanted.batch_norm_epsilon
        _initialise_head(network)
        _check_patches(network, spec)
    return network


@torch.no_grad()
def check_forward(network: nn.Module, spec: ModelSpec) -> None:
    """Raise ConfigurationError unless a picture of the spec's size gives logits ``(1, 7)``."""
    height, width, channels = spec.input.shape
    training = network.training
    with _as_refusal(
        f"{spec.network.architecture} fails on {width} x {height} pixels with these settings; try "
        "another size, or leave stem_stride out"
    ):
        logits = network.eval()(torch.zeros(1, channels, height, width))
        network.train(training)
        shape = tuple(logits.shape)
    if shape != (1, len(spec.labels)):
        raise ConfigurationError(
            f"{spec.network.architecture} gives {shape} instead of logits (1, {len(spec.labels)})"
        )


class Normalized(nn.Module):
    """A network behind its input normalisation: raw pixel values in, logits out."""

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, network: nn.Module, spec: ModelSpec) -> None:
        super().__init__()
        self.network = network
        shape = (1, spec.input.channels, 1, 1)
        self.register_buffer("mean", torch.tensor(spec.input.mean).reshape(shape) * 255)
        self.register_buffer("std", torch.tensor(spec.input.std).reshape(shape) * 255)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Map pixels ``(N, C, H, W)``, 0 to 255 of any dtype, to logits ``(N, 7)``."""
        normalized = (pixels.to(self.mean.dtype) - self.mean) / self.std
        return cast("torch.Tensor", self.network(normalized))


def _check_settings(wanted: NetworkSpec) -> None:
    name = wanted.architecture
    if name in _TEACHERS and not timm.is_model(name):
        raise ConfigurationError(
            f"{name} is a network of fer-train that only teaches others: it cannot be run or "
            "exported. Train a smaller model from it: fer-train --data fer2013.zip --model dense "
            "--teacher FILE --out DIR"
        )
    if not _NAME.fullmatch(name) or not timm.is_model(name):
        similar = timm.list_models(f"{re.split('[^A-Za-z0-9]', name)[0]}*")[:8]
        raise ConfigurationError(
            f"timm has no architecture {name!r:.80}; "
            + (f"similar: {', '.join(similar)}" if similar else "timm.list_models() lists them")
        )
    for argument, value in wanted.arguments.items():
        if argument in NOT_SETTINGS:
            raise ConfigurationError(f"a network's spec may not set {argument}; leave it out")
        if abs(value) > _MOST:
            raise ConfigurationError(
                f"the argument {argument!r:.80} should be {_MOST} at most, not {value!r:.80}"
            )


@contextmanager
def _as_refusal(what: str) -> Iterator[None]:
    """Turn exceptions into ConfigurationError: bad settings can raise any in timm or torch."""
    try:
        yield
    except FerEdgeError:
        raise
    except Exception as problem:
        reason = repr(problem)
        shown = reason if len(reason) <= _MAX_REASON else f"{reason[:_MAX_REASON]}..."
        raise ConfigurationError(f"{what}: {shown}") from problem


def _set_stem_stride(network: nn.Module, stride: int) -> None:
    stem = next((module for module in network.modules() if isinstance(module, nn.Conv2d)), None)
    if stem is None:
        raise ConfigurationError(f"{type(network).__name__} has no convolution to set a stride of")
    stem.stride = (stride, stride)


def _initialise_head(network: nn.Module) -> None:
    head = cast("Any", network).get_classifier()
    if not isinstance(head, nn.Linear):
        raise ConfigurationError(f"{type(network).__name__} has no linear classifier")
    nn.init.normal_(head.weight, std=_HEAD_INIT_STD)
    nn.init.zeros_(head.bias)


def _check_patches(network: nn.Module, spec: ModelSpec) -> None:
    """Refuse patches that do not divide the picture: its last rows and columns would be lost."""
    patches = getattr(getattr(network, "patch_embed", None), "patch_size", None)
    if not isinstance(patches, tuple):
        return
    height, width, _ = spec.input.shape
    if height % patches[0] or width % patches[1]:
        raise ConfigurationError(
            f"{spec.network.architecture} cuts a picture into patches of {patches[1]} x "
            f"{patches[0]} pixels, which do not divide {width} x {height}; change the input's "
            "size or patch_size"
        )


@contextmanager
def without_tf32() -> Iterator[None]:
    """Compute fp32 without TF32 on GPUs; the settings of the process are restored afterwards."""
    cudnn = torch.backends.cudnn
    if hasattr(cudnn, "conv"):  # from torch 2.9 on; the older settings raise when both are used
        parts: tuple[Any, ...] = (torch.backends.cuda.matmul, cudnn.conv, cudnn.rnn)
        precisions = [part.fp32_precision for part in parts]
        try:
            for part in parts:
                part.fp32_precision = "ieee"
            yield
        finally:
            for part, precision in zip(parts, precisions, strict=True):
                part.fp32_precision = precision
        return
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with cudnn.flags(enabled=True, allow_tf32=False):
            yield
    finally:
        torch.set_float32_matmul_precision(before)
