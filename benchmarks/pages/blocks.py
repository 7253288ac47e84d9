"""Pages whose measured parts stand between markers, so that a command can write them anew."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path

from fer_edge.errors import ConfigurationError
from fer_edge.system.files import write_bytes


def markers(name: str) -> tuple[str, str]:
    """The comments before and after the block ``name``."""
    return f"<!-- {name} -->", f"<!-- /{name} -->"


def add_write_option(parser: ArgumentParser) -> None:
    """Add ``--write``, the page that a table is written into."""
    parser.add_argument("--write", metavar="PAGE", type=Path, help="a page to write the table into")


class MeasuredBlock:
    """The block ``name`` of a page; constructed before anything is measured.

    Without a page nothing is written. Raises ConfigurationError for a page that lacks the block's
    markers or has them twice.
    """

    def __init__(self, page: Path | None, name: str) -> None:
        self._page = page
        self._open, self._close = markers(name)
        if page is None:
            return
        try:
            self._before, rest = page.read_text(encoding="utf-8").split(self._open)
            _, self._after = rest.split(self._close)
        except (OSError, ValueError) as problem:
            raise ConfigurationError(
                f"{page} should be a page with {self._open} and {self._close} in it, once each"
            ) from problem

    def write(self, text: str) -> None:
        """Replace what stands between the markers."""
        if self._page is not None:
            page = f"{self._before}{self._open}\n{text}\n{self._close}{self._after}"
            write_bytes(self._page, page.encode())
