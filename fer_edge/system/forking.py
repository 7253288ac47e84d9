"""What to do after a fork, in one place.

A child of ``fork`` has only the thread that forked. The threads of an engine stay behind in the
parent, and a lock that another thread held stays locked for ever. So whatever owns an engine, a
lock or threads is a ``ProcessBound``: in a child its use is an error instead of a hang.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn
from weakref import WeakSet

from fer_edge.errors import ConfigurationError, EngineError

if TYPE_CHECKING:
    from typing_extensions import Self  # typing has it from Python 3.11 on


class ProcessBound:
    """Base of what works only in the process that made it.

    Public methods call ``require_own_process`` first. An object that was inherited by a child is
    never closed there: closing an engine, or dropping it, could wait for ever for its threads. What
    the object holds is therefore kept alive until the child ends. It cannot be pickled or copied.
    """

    inherited = False
    """Whether this process is a child of the one that made the object."""

    def __new__(cls, *_arguments: Any, **_keywords: Any) -> Self:
        """Make an object, and remember it for the child of a fork."""
        made = super().__new__(cls)
        _made.add(made)
        return made

    def require_own_process(self) -> None:
        """Raise EngineError in a child of the process that made the object."""
        if self.inherited:
            name = type(self).__name__
            raise EngineError(
                f"this {name} was made before the process forked, and its threads stayed behind in "
                "the parent; make a new one in each process, and start processes that use a GPU by "
                "spawn"
            )

    def __reduce__(self) -> NoReturn:
        name = type(self).__name__
        raise ConfigurationError(
            f"{name} cannot be pickled or copied; make one in each process, for example in the "
            "initializer of a pool"
        )


def in_each_child(renew: Callable[[], None]) -> None:
    """Call ``renew`` in every child of a fork: for the state of a module, which starts anew."""
    _renewals.append(renew)


_made: WeakSet[ProcessBound] = WeakSet()
_kept_alive: list[tuple[ProcessBound, dict[str, Any]]] = []
_renewals: list[Callable[[], None]] = []


def _after_fork() -> None:
    for one in _made:
        one.inherited = True
        _kept_alive.append((one, dict(vars(one))))  # a copy: close() may drop what it holds
    for renew in _renewals:
        renew()


if hasattr(os, "register_at_fork"):  # Windows cannot fork
    os.register_at_fork(after_in_child=_after_fork)
