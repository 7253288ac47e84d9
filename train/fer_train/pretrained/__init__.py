"""Weights that people have, as the start of a training: what ``fer-train --init`` takes.

- ``sources``: ``read_source``, from what a user names to tensors by timm's names
- ``reading``: a file to named tensors, whatever a training saved around them
- ``hub``, ``graph_model``: timm's pretrained weights by name, and weights that npm carries
- ``namings``: the names of Google, Hugging Face and torchvision
- ``beside``: the order of the classes, mean and std, as far as they are told
- ``initial``: ``load_initial``, which fills a network
- ``fitting``, ``stem``: tensors into the network
- ``conversion``: finished weights to a checkpoint, without training
"""

from __future__ import annotations

from fer_train.pretrained.initial import InitialWeights, load_initial
from fer_train.pretrained.sources import read_source

__all__ = ["InitialWeights", "load_initial", "read_source"]
