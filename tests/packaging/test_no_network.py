"""Tests that reach for the network fail; the guard in tests/support/offline is real."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from offline import sitecustomize
from offline.sitecustomize import NetworkReached

ELSEWHERE = ("192.0.2.1", 9)  # an address that RFC 5737 keeps for examples
TOLD = "a test reached for example.invalid over the network"

IMPORTING = """
import importlib, pkgutil, sys
from contextlib import suppress
from fer_edge.errors import MissingDependencyError
asked = set()
sys.addaudithook(lambda event, _: asked.add(event) if event.startswith("socket.") else None)
for package in ("fer_edge", "fer_train", "fer_calib", "fer_export", "fer_bench"):
    folder = importlib.import_module(package).__path__
    for module in pkgutil.walk_packages(folder, package + "."):
        if not module.name.endswith("__main__"):
            with suppress(ImportError, MissingDependencyError):  # an engine that is not installed
                importlib.import_module(module.name)
print(*asked - {"socket.__new__", "socket.bind", "socket.gethostname"})  # these ask nobody
"""


def by_connecting() -> object:
    return socket.create_connection(ELSEWHERE, timeout=1)


def by_connecting_in_another_way() -> object:
    with socket.socket() as opened:
        return opened.connect_ex(ELSEWHERE)


def by_sending() -> object:
    with socket.socket(type=socket.SOCK_DGRAM) as opened:
        return opened.sendto(b"", ELSEWHERE)


def by_sending_a_message() -> object:
    with socket.socket(type=socket.SOCK_DGRAM) as opened:
        return opened.sendmsg([b""], [], 0, ELSEWHERE)


def by_asking_for_an_address() -> object:
    return socket.getaddrinfo(b"example.invalid", 80)


def by_asking_for_an_address_in_another_way() -> object:
    return socket.gethostbyname("example.invalid")


def by_asking_for_all_addresses() -> object:
    return socket.gethostbyname_ex("example.invalid")


def by_asking_for_a_name() -> object:
    return socket.gethostbyaddr(ELSEWHERE[0])


def by_asking_for_a_name_in_another_way() -> object:
    return socket.getnameinfo(ELSEWHERE, 0)


@pytest.mark.parametrize(
    "reach",
    [
        by_connecting,
        by_connecting_in_another_way,
        by_sending,
        by_sending_a_message,
        by_asking_for_an_address,
        by_asking_for_an_address_in_another_way,
        by_asking_for_all_addresses,
        by_asking_for_a_name,
        by_asking_for_a_name_in_another_way,
    ],
)
def test_reaching_elsewhere_fails_a_test(reach: Callable[[], object]) -> None:
    with pytest.raises(NetworkReached, match="over the network"):
        reach()


def test_reaching_elsewhere_while_tests_are_collected_is_an_error(
    root: Path, tmp_path: Path
) -> None:
    shutil.copy(root / "tests" / "conftest.py", tmp_path)
    (tmp_path / "pytest.ini").write_text(f"[pytest]\npythonpath = {root}/tests/support\n")
    (tmp_path / "test_it.py").write_text("import socket\nsocket.gethostbyname('example.invalid')\n")
    guard = str(Path(sitecustomize.__file__).parent)
    paths = [path for path in os.environ["PYTHONPATH"].split(os.pathsep) if path != guard]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", tmp_path],
        cwd=root,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},  # its own guard alone
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == pytest.ExitCode.INTERRUPTED, done.stdout + done.stderr
    assert TOLD in done.stdout


def test_a_process_that_a_test_starts_does_not_reach_elsewhere_either() -> None:
    code = "import socket; socket.gethostbyname('example.invalid')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert TOLD in done.stderr


def test_importing_every_module_of_the_five_packages_reaches_nobody() -> None:
    done = subprocess.run(
        [sys.executable, "-c", IMPORTING], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_UNIX])
def test_this_machine_may_be_reached(family: socket.AddressFamily, tmp_path: Path) -> None:
    address = ("127.0.0.1", 0) if family == socket.AF_INET else str(tmp_path / "socket")
    with socket.socket(family) as server, socket.socket(family) as opened:
        server.bind(address)
        server.listen()
        opened.connect(server.getsockname())
