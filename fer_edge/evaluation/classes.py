"""From what a data set calls its classes to the labels of a model."""

from __future__ import annotations

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
        if key.lower() in found:
            raise ConfigurationError(f"--classes names {key!r:.40} twice")
        found[key.lower()] = emotion_named(label) or label
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
    by_key = {key: key.strip().lower() for key in keys}
    said = _mapped(by_key, source, mapping, elsewhere)
    unsaid = {key: low for key, low in by_key.items() if key not in said}
    if labels is not None and set(labels) - set(_EMOTION_OF.values()):
        known = {label.lower(): label for label in labels}
        said |= {key: known.get(low) or emotion_named(low) or key for key, low in unsaid.items()}
    else:
        said |= {key: _EMOTION_OF[low] for key, low in unsaid.items() if low in _EMOTION_OF}
    if strangers := sorted(by_key.keys() - said.keys()):
        raise DataError(
            f"{source} has the class {', '.join(map(repr, strangers[:_SHOWN]))}, which is not a "
            f"class of FER2013; expected {', '.join(LABELS)}, or say what its classes are: "
            f'--classes "{_suggestion(by_key, said)}"'
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
            f'"{_suggestion(by_key, {**said, **left_out})}"'
        )
    places = {name: place for place, name in enumerate(labels)}
    return Classes(tuple(labels), {key: places.get(name) for key, name in said.items()})


def _mapped(
    by_key: Mapping[str, str], source: str, mapping: Mapping[str, str], elsewhere: Collection[str]
) -> dict[str, str]:
    """What ``--classes`` says of each class; if it only drops some, nothing of the others."""
    said, used = {}, {_name_in(mapping, key) for key in elsewhere}
    for key in by_key:
        name = _name_in(mapping, key)
        if name in mapping:
            said[key] = mapping[name]
            used.add(name)
        elif labels_of(mapping):
            raise DataError(
                f"{source} has the class {key!r:.60}, which --classes does not name; add "
                f"{key}=NAME, or {key}={DROP} to leave it out"
            )
    if surplus := [name for name in mapping if name not in used]:
        there = ", ".join(sorted(by_key)[:_SHOWN])
        raise DataError(
            f"--classes names {surplus[0]!r:.60}, and {source} has no such class; it has {there}"
        )
    return said


def _name_in(mapping: Mapping[str, str], key: str) -> str:
    """How ``--classes`` names a class: happy alone stands for its variant happiness too."""
    low = key.strip().lower()
    emotion = emotion_named(low) or ""
    return low if low in mapping or mapping.get(emotion) != emotion else emotion


def _suggestion(by_key: Mapping[str, str], known: Mapping[str, str]) -> str:
    """A text for ``--classes`` that has every class; NAME stands where only the user knows."""
    unknown = {key: "NAME" if key.isdecimal() else key for key in sorted(by_key)}
    return _option_text({k: known.get(k) or emotion_named(k) or v for k, v in unknown.items()})


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
