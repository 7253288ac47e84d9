"""What can go wrong, as one tree that a caller can catch.

    FerEdgeError                    exit code of a command
    ├── InputError                  2   a picture or array cannot be used
    ├── DataError                   2   a data set cannot be used
    │   └── EmptySplitError         2   it can be read, and has no picture of that split
    ├── DivergedError               2   the loss of a training is no longer a number
    ├── ArtifactError               2   a model file is damaged, unknown or does not fit
    ├── ConfigurationError          2   an option that cannot be satisfied
    ├── ClosedError                 2   used after close
    ├── MissingDependencyError      3   a package has to be installed first
    ├── DownloadError               3   a file could not be fetched
    ├── EngineError                 3   the engine or its hardware is missing or failed
    └── GateError                   1   a check that was asked for failed

Every message says what was expected, what came, and what to do.
"""

from __future__ import annotations


class FerEdgeError(Exception):
    """Base of every error that fer_edge raises on purpose."""

    exit_code = 2


class InputError(FerEdgeError):
    """A picture or array cannot be used.

    ``index`` is its position in the batch, or None for a single crop.
    """

    def __init__(self, message: str, *, index: int | None = None) -> None:
        super().__init__(message if index is None else f"crop {index} of the batch: {message}")
        self.index = index


class DataError(FerEdgeError):
    """A data set is missing, incomplete or in an unknown form."""


class EmptySplitError(DataError):
    """The data set has no picture of the split that was asked for."""


class DivergedError(FerEdgeError):
    """The loss of a training is no longer a number; the last good state is on disk."""


class ArtifactError(FerEdgeError):
    """A model file is damaged, of an unknown kind, or does not fit what was asked."""


class ConfigurationError(FerEdgeError):
    """An option, or a combination of options, that cannot be satisfied."""


class ClosedError(FerEdgeError):
    """A closed object was used."""


class MissingDependencyError(FerEdgeError):
    """A package that this call needs is not installed.

    ``extra`` is the extra that installs it; it is empty for a package that fer-edge always needs.
    ``advice`` says how to get what pip cannot install.
    """

    exit_code = 3

    def __init__(
        self, package: str, extra: str, reason: str | None = None, advice: str | None = None
    ) -> None:
        detail = f" ({reason})" if reason else ""
        requirement = f"'fer-edge[{extra}]'" if extra else "fer-edge"
        advice = advice or f"Install it with: pip install {requirement}"
        super().__init__(f"{package} is not installed{detail}. {advice}")
        self.package = package
        self.extra = extra
        self.reason = reason
        self.advice = advice

    def __reduce__(self) -> tuple[type[MissingDependencyError], tuple[str | None, ...]]:
        # a process pool pickles errors, by default with the message as the only argument
        return type(self), (self.package, self.extra, self.reason, self.advice)


class DownloadError(FerEdgeError):
    """A file could not be fetched, or another file came; nothing was replaced.

    The message says how to put the file in place by hand.
    """

    exit_code = 3


class EngineError(FerEdgeError):
    """An inference engine, its provider or its hardware is missing or failed."""

    exit_code = 3


class GateError(FerEdgeError):
    """A check that was asked for failed; nothing was replaced."""

    exit_code = 1
