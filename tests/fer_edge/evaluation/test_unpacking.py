"""An archive is looked at before anything of it is unpacked."""

from __future__ import annotations

import io
import zipfile

import pytest

from fer_edge.evaluation.unpacking import require_bounded


def archive(method: int, *sizes: int) -> zipfile.ZipFile:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as made:
        for number, size in enumerate(sizes):
            made.writestr(str(number), bytes(size))
    return zipfile.ZipFile(stream)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_all_members_count_together(method: int) -> None:
    require_bounded(archive(method, 600, 400), 1000)
    with pytest.raises(ValueError, match="it unpacks to more than 1,000 bytes"):
        require_bounded(archive(method, 600, 401), 1000)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_what_cannot_be_unpacked_by_pieces_is_refused_at_any_size(method: int) -> None:
    with pytest.raises(ValueError, match="'0' is neither stored nor deflated"):
        require_bounded(archive(method, 1), 1000)
