"""Tests that reach for the network fail; the guard of tests/conftest.py is real."""

from __future__ import annotations

import socket
from collections.abc import Callable

import pytest

ELSEWHERE = ("192.0.2.1", 9)  # an address that RFC 5737 keeps for examples


def by_connecting() -> object:
    return socket.create_connection(ELSEWHERE, timeout=1)


def by_connecting_in_another_way() -> object:
    with socket.socket() as opened:
        return opened.connect_ex(ELSEWHERE)


def by_sending() -> object:
    with socket.socket(type=socket.SOCK_DGRAM) as opened:
        return opened.sendto(b"", ELSEWHERE)


def by_asking_for_a_name() -> object:
    return socket.getaddrinfo("example.invalid", 80)


@pytest.mark.parametrize(
    "reach", [by_connecting, by_connecting_in_another_way, by_sending, by_asking_for_a_name]
)
def test_reaching_elsewhere_fails_a_test(reach: Callable[[], object]) -> None:
    with pytest.raises(pytest.fail.Exception, match="over the network"):
        reach()


def test_this_machine_may_be_reached() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname(), timeout=5).close()
