"""fer-bench peers."""

from __future__ import annotations

from argparse import Namespace

from fer_bench.peers import Peer, choose_peers, install, load_peers
from fer_edge.command import Commands, add_command, say, write_result
from fer_edge.errors import ConfigurationError, FerEdgeError, GateError

SCHEMA = "fer-bench-peers/1"


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands, "peers", "list the peers, or install them, each in an environment", _peers
    )
    parser.add_argument("action", nargs="?", choices=("list", "install"), default="list")
    parser.add_argument("names", nargs="*", metavar="NAME", help="to install; default: all")


def _peers(options: Namespace) -> int:
    table, code = load_peers(), 0
    if options.action == "install":
        for peer in choose_peers(options.names or ["all"]):
            try:
                install(peer)
            except FerEdgeError as problem:
                say(f"{peer.name}: {problem}")
                code = GateError.exit_code
    elif options.names:
        raise ConfigurationError("a list takes no names; to install them: fer-bench peers install")
    listed = [_entry(peer) for peer in table.values()]
    for entry in listed:
        print(f"{entry['name']:<30} {entry['title']}\n{'':<30} {entry['state']}")
    write_result(options, {"schema": SCHEMA, "peers": listed})
    return code


def _entry(peer: Peer) -> dict[str, object]:
    python = peer.python
    state = f"runs in {python}" if python else f"not installed: fer-bench peers install {peer.name}"
    return {
        "name": peer.name,
        "title": peer.title,
        "python": str(python) if python else None,
        "needs": list(peer.needs),
        "install": [" ".join(arguments) for arguments in peer.install],
        "state": state,
    }
