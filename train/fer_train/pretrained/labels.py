"""The order of the classes in a head that was trained elsewhere.

FER2013 numbers its classes as we do. torchvision's ImageFolder, which reads a folder per class,
numbers them in alphabetical order. The two agree up to ``happy`` and no further.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fer_edge.emotion import LABELS
from fer_edge.evaluation.classes import emotion_named

FACTS = ("id2label", "class_to_idx", "classes", "class_names", "labels")
"""Names under which files keep their labels."""

_PLACEHOLDER = "label_"


def labels_in(facts: Mapping[str, object]) -> tuple[str, ...] | None:
    """Find the labels, in the order of the head's rows; None where nothing tells them.

    Takes a list of names, names by index (``id2label``) or indices by name (``class_to_idx``).
    """
    for key in FACTS:
        names = _in_order(facts.get(key))
        if names and not all(name.lower().startswith(_PLACEHOLDER) for name in names):
            return names
    return None


def rows_of(labels: Sequence[str], ours: Sequence[str] = LABELS) -> tuple[int, ...] | None:
    """Give the index of each of our labels; None where the classes are others.

    The usual variants of an emotion's name are known: ``Anger`` is ``angry``.
    """
    theirs, wanted = (
        [emotion_named(name) or name.strip().lower() for name in names] for names in (labels, ours)
    )
    if len(set(theirs)) != len(theirs) or set(theirs) != set(wanted):
        return None
    return tuple(theirs.index(name) for name in wanted)


def _in_order(told: object) -> tuple[str, ...] | None:
    if isinstance(told, Mapping):
        pairs = [(v, k) if isinstance(v, int) else (k, v) for k, v in told.items()]
        try:
            numbered = {int(index): name for index, name in pairs}
        except (TypeError, ValueError, OverflowError):  # a file may hold anything
            return None
        if sorted(numbered) != list(range(len(pairs))):
            return None
        told = [numbered[index] for index in range(len(pairs))]
    if not isinstance(told, (list, tuple)) or not all(isinstance(name, str) for name in told):
        return None
    return tuple(told)
