"""From what a data set calls its classes to the labels of a model."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from fer_edge.artifacts.spec import MAX_LABELS, MIN_LABELS, ModelSpec
from fer_edge.emotion import LABELS, Emotion
from fer_edge.errors import ConfigurationError, DataError

DROP = "drop"
"""In place of a name: pictures of this class are left out."""

_VARIANTS = {
    Emotion.ANGRY: ("angry", "anger"),
    Emotion.DISGUST: ("disgust", "disgusted"),
    Emotion.FEAR: ("fear", "fearful", "afraid"),
    Emotion.HAPPY: ("happy", "happiness"),
    Emotion.SAD: ("sad", "sadness"),
    Emotion.SURPRISE: ("surprise", "surprised"),
    Emotion.NEUTRAL: ("neutral",),
    Emotion.CONTEMPT: ("contempt", "contemptuous"),
}
_EMOTION_OF = {name: emotion.value for emotion, names in _VARIANTS.items() for name in names}
_NUMBER = re.compile(r"0*(\d+)(\.0*)?")
_LETTERS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+")
_CONTEMPT = Emotion.CONTEMPT.value
_SHOWN = 12


@dataclass(frozen=True)
class Classes:
    """The labels, and for each name in the data set the label's index, or None if it is dropped."""

    labels: tuple[str, ...]
    index: Mapping[str, int | None]

    def without(self, names: Collection[str]) -> str | None:
        """Write a text for ``--classes`` that leaves out ``names``; None if too few are left."""
        said = {key: DROP if at is None else self.labels[at] for key, at in self.index.items()}
        kept = [label for label in self.labels if label not in names]
        if len(kept) < MIN_LABELS:
            return None
        rest = {key: name for label in kept for key, name in said.items() if name == label}
        return _option_text({**rest, **{key: DROP for key in said if key not in rest}})


def emotion_named(name: str) -> str | None:
    """The emotion that a name stands for, in the usual variants; None where it is none."""
    return _EMOTION_OF.get(name.strip().lower())


def plain(key: str) -> str:
    """A class's name as it is compared: in lower case, and 03 or 3.0, as pandas writes it, as 3."""
    low = key.strip().lower()
    number = _NUMBER.fullmatch(low)
    return number[1] if number else low


def parse_classes(text: str) -> dict[str, str]:
    """Read ``--classes``: ``1=surprise,2=fear,8=drop``, or names alone: ``bored,alert``.

    One that only drops classes leaves the others to their names. Returns the label, or ``drop``, by
    the data set's name. Raises ConfigurationError.
    """
    found: dict[str, str] = {}
    for item in text.split(","):
        key, separator, name = (part.strip() for part in item.partition("="))
        label = name if separator else key
        if not key or not label:
            raise ConfigurationError(
                f"--classes should be like 1=surprise,2=fear,8=drop, and {item!r:.40} is not"
            )
        if plain(key) in found:
            raise ConfigurationError(f"--classes names {key!r:.40} twice")
        found[plain(key)] = emotion_named(label) or label
    if set(found.values()) != {DROP}:
        _check_labels(labels_of(found))
    return found


def labels_of(mapping: Mapping[str, str]) -> tuple[str, ...]:
    """The labels of a mapping: emotions in FER2013's order, any others in the order given."""
    names = [name for name in dict.fromkeys(mapping.values()) if name != DROP]
    emotions = [emotion.value for emotion in Emotion]
    return tuple(sorted(names, key=emotions.index)) if set(names) <= set(emotions) else tuple(names)


def resolve(
    keys: Collection[str],
    source: str,
    mapping: Mapping[str, str],
    labels: Sequence[str] | None = None,
    elsewhere: Collection[str] = (),
) -> Classes:
    """Find the label of each of ``keys``, which are the names that occur in ``source``.

    ``mapping`` is ``--classes``, which may also name those ``elsewhere``, in another source.
    ``labels`` are those of a model, in its order, where the data set has to fit one. Without
    either, the names have to be emotions: FER2013's seven, with contempt as an eighth where it
    occurs. Raises DataError, which names what does not fit.
    """
    by_key = {key: plain(key) for key in keys}
    said = _mapped(by_key, source, mapping, elsewhere)
    unsaid = {key: low for key, low in by_key.items() if key not in said}
    if labels is not None and set(labels) - set(_EMOTION_OF.values()):
        known = {label.lower(): label for label in labels}
        said |= {key: known.get(low) or emotion_named(low) or key for key, low in unsaid.items()}
    else:
        said |= {key: _EMOTION_OF[low] for key, low in unsaid.items() if low in _EMOTION_OF}
    if strangers := sorted(by_key.keys() - said.keys()):
        guessed = {key: said.get(key) or _emotion_within(key) or key for key in sorted(by_key)}
        guessed = {k: "NAME" if name.isdecimal() else name for k, name in guessed.items()}
        advice = f'or say what its classes are: --classes "{_option_text(guessed)}"'
        if len(guessed) < MIN_LABELS:
            advice = "each in a folder of its own, or give a list file with the columns path,label"
        raise DataError(
            f"{source} has the class {', '.join(map(repr, strangers[:_SHOWN]))}, which is not a "
            f"class of FER2013; expected {', '.join(LABELS)}, {advice}"
        )
    if labels is None:
        has_contempt = _CONTEMPT in said.values()
        labels = labels_of(mapping) or ((*LABELS, _CONTEMPT) if has_contempt else LABELS)
        _check_labels(labels)
    elif strangers := sorted({name for name in said.values() if name not in (*labels, DROP)}):
        left_out = {key: DROP for key, name in said.items() if name in strangers}
        raise DataError(
            f"{source} has the class {', '.join(strangers)}, and the model's classes are "
            f"{', '.join(labels)}; leave such pictures out with --classes "
            f'"{_option_text(dict(sorted({**said, **left_out}.items())))}"'
        )
    places = {name: place for place, name in enumerate(labels)}
    return Classes(tuple(labels), {key: places.get(name) for key, name in said.items()})


def _mapped(
    by_key: Mapping[str, str], source: str, mapping: Mapping[str, str], elsewhere: Collection[str]
) -> dict[str, str]:
    """What ``--classes`` says of each class; if it only drops some, nothing of the others.

    An emotion that is among its labels needs no word of its own.
    """
    labels = labels_of(mapping)
    said, used, unnamed = {}, {_name_in(mapping, key) for key in elsewhere}, []
    for key in sorted(by_key):
        name, emotion = _name_in(mapping, key), emotion_named(key)
        if name in mapping:
            said[key] = mapping[name]
            used.add(name)
        elif emotion is not None and emotion in labels:
            said[key] = emotion
        elif labels:
            unnamed.append(key)
    if unnamed:
        raise DataError(
            f"{source} has the class {', '.join(map(repr, unnamed[:_SHOWN]))}, which --classes "
            f"does not name; add {','.join(f'{key}=NAME' for key in unnamed[:_SHOWN])}, or "
            f"{unnamed[0]}={DROP} to leave it out"
        )
    if surplus := [name for name in mapping if name not in used]:
        there = ", ".join(sorted(by_key)[:_SHOWN])
        raise DataError(
            f"--classes names {surplus[0]!r:.60}, and {source} has no such class; it has {there}"
        )
    return said


def _name_in(mapping: Mapping[str, str], key: str) -> str:
    """How ``--classes`` names a class: happy alone stands for its variant happiness too."""
    low, emotion = plain(key), emotion_named(key) or ""
    return low if low in mapping or mapping.get(emotion) != emotion else emotion


def _emotion_within(key: str) -> str | None:
    """The one emotion that is a word of a name, such as 0_angry or ImagesHappy."""
    found = {emotion for word in _LETTERS.findall(key) if (emotion := emotion_named(word))}
    return found.pop() if len(found) == 1 else None


def _option_text(said: Mapping[str, str]) -> str:
    """A text for ``--classes`` that gives each key of a data set its name, in this order."""
    return ",".join(key if name == key else f"{key}={name}" for key, name in said.items())


def _check_labels(labels: Sequence[str]) -> None:
    if not MIN_LABELS <= len(labels) <= MAX_LABELS:
        raise ConfigurationError(
            f"a model has {MIN_LABELS} to {MAX_LABELS} classes, and --classes names {len(labels)}"
        )
    try:
        ModelSpec.check_labels(tuple(labels))
    except ValueError as problem:
        raise ConfigurationError(f"--classes: {problem}") from problem
