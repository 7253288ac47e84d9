"""Which pictures a command is given: the path, and what cannot be read off it."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

from fer_edge.errors import ConfigurationError
from fer_edge.evaluation.classes import parse_classes


@dataclass(frozen=True)
class DataSource:
    """A data set with the choices of its user.

    ``classes`` is ``--classes``, such as ``1=surprise,2=fear,8=drop``. The half to select on is
    ``validation``, another path, or ``validation_share`` of the training pictures, drawn with
    ``seed`` and, where ``subject`` is a regular expression that finds the person in a picture's
    name, by person; without either it is the data set's own. ``limit`` is the most pictures that
    are read of a split. ``partner`` is set by ``for_validation`` alone. Raises ConfigurationError
    for values that cannot be used.
    """

    path: Path
    classes: str | None = None
    validation: Path | None = None
    validation_share: float = 0.0
    seed: int = 0
    subject: str | None = None
    limit: int | None = None
    partner: Path | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.validation_share < 1:
            raise ConfigurationError(
                f"--validation-share should be from 0 to below 1, not {self.validation_share:g}"
            )
        if self.validation is not None and self.validation_share:
            raise ConfigurationError(
                "--validation and --validation-share are two ways to the same half; give one"
            )
        if self.subject is not None and not self.validation_share:
            raise ConfigurationError("--subject is of use with --validation-share alone")
        if self.seed < 0:
            raise ConfigurationError(f"--seed should be 0 or more, not {self.seed}")
        if self.limit is not None and self.limit < 1:
            raise ConfigurationError(f"--limit should be 1 or more, not {self.limit}")
        try:
            re.compile(self.subject or "")
        except re.error as problem:
            raise ConfigurationError(
                f"--subject {self.subject!r:.60} is no regular expression: {problem}"
            ) from problem

    @classmethod
    def of(cls, data: str | Path | DataSource) -> DataSource:
        """A path as a source without further choices; a source as it is."""
        return data if isinstance(data, DataSource) else cls(Path(data))

    @property
    def mapping(self) -> dict[str, str]:
        """What ``classes`` says; empty without it. Raises ConfigurationError."""
        return {} if self.classes is None else parse_classes(self.classes)

    @property
    def flags(self) -> list[str]:
        """The options of a command that name this source, for a message."""
        given = {"--data": self.path} | {
            f"--{name.replace('_', '-')}": value
            for name, value in vars(self).items()
            if name not in ("path", "partner") and value
        }
        return [word for flag, value in given.items() for word in (flag, str(value))]

    @property
    def whole(self) -> DataSource:
        """Without a limit, to compare with: a copy may be anywhere in it."""
        return replace(self, limit=None)

    @property
    def for_validation(self) -> DataSource:
        """The other path, whose pictures are all to select on; this one is its ``partner``."""
        if self.validation is None:
            return self
        return replace(self, path=self.validation, validation=None, partner=self.path)

    def __str__(self) -> str:
        return str(self.path)
