"""This process reaches its own machine alone: a name or an address elsewhere is an error.

The tests import it before they are collected. Python imports a module of this name when it starts,
so that with this folder on PYTHONPATH the processes that tests start begin with it, too. It sees
what Python asks of sockets, and not what native code does.
"""

from __future__ import annotations

import socket
import sys
from typing import Any

_HERE = {"localhost", "127.0.0.1", "::1", "", socket.gethostname()}

_ADDRESSED = {"socket.connect", "socket.sendto", "socket.sendmsg", "socket.getnameinfo"}
_NAMED = {"socket.getaddrinfo", "socket.gethostbyaddr", "socket.gethostbyname"}
"""Audit events whose last argument is an address, and whose first one is a host."""


class NetworkReached(BaseException):
    """Something reached for another machine. Not an Exception, which libraries swallow."""


def _refuse(event: str, arguments: tuple[Any, ...]) -> None:
    host = None
    if event in _NAMED:
        host = arguments[0]
    elif event in _ADDRESSED:
        address = arguments[-1]
        host = address[0] if isinstance(address, tuple) else None  # a path is a local socket
    host = host.decode() if isinstance(host, bytes) else host
    if isinstance(host, str) and host not in _HERE:
        raise NetworkReached(f"a test reached for {host} over the network")


sys.addaudithook(_refuse)

# a test's process that a test's process started has it already: one guard, one error
sys.modules.setdefault("offline.sitecustomize", sys.modules[__name__])
