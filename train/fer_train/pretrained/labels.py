"""In which order the classes of a foreign head stand.

FER2013 numbers its classes as we do; a folder per class, read by torchvision's ImageFolder, gives
them in the order of the alphabet. The two agree up to ``happy`` and no further.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fer_edge.emotion import LABELS

__all__ = ["FACTS", "labels_in", "meaning_of", "rows_of"]

FACTS = ("id2label", "class_to_idx", "classes", "class_names", "labels")
"""Under these names files tell their labels."""

_STEMS = {
    "ang": "angry",
    "disg": "disgust",
    "fear": "fear",
    "happ": "happy",
    "sad": "sad",
    "surp": "surprise",
    "neut": "neutral",
    "contempt": "contempt",
}
_PLACEHOLDER = "label_"
_MANY = 10**9


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
    """Tell for each of our labels at which index it stands; None for other classes.

    Variants of an emotion's name count: ``Anger`` is ``angry``.
    """
    theirs = [meaning_of(label) for label in labels]
    wanted = [meaning_of(label) for label in ours]
    if len(set(theirs)) != len(theirs) or set(theirs) != set(wanted):
        return None
    return tuple(theirs.index(name) for name in wanted)


def meaning_of(label: str) -> str:
    """The emotion that a name begins like; another name in lower case."""
    low = label.strip().lower()
    return next((emotion for stem, emotion in _STEMS.items() if low.startswith(stem)), low)


def _in_order(told: object) -> tuple[str, ...] | None:
    if isinstance(told, Mapping):
        pairs = [(v, k) if isinstance(v, int) else (k, v) for k, v in told.items()]
        numbered = {int(i): name for i, name in pairs if _is_index(i)}
        if sorted(numbered) != list(range(len(pairs))):
            return None
        told = [numbered[i] for i in range(len(numbered))]
    if not isinstance(told, (list, tuple)) or not all(isinstance(name, str) for name in told):
        return None
    return tuple(told)


def _is_index(told: object) -> bool:
    """A file may tell anything, and a number of thousands of digits is none to Python."""
    if isinstance(told, int):
        return 0 <= told < _MANY
    return isinstance(told, str) and told.isdecimal() and len(told) < len(str(_MANY))
