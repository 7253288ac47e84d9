"""What a machine is called in results."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest

from fer_edge.system.machine import cpu_name


@pytest.mark.parametrize(
    ("files", "name"),
    [
        ({"cpuinfo": "vendor_id : x\nmodel name\t: AMD EPYC 9R14\n"}, "AMD EPYC 9R14"),
        ({"cpuinfo": "CPU part: 0xd0b\nModel : Raspberry Pi 5\n"}, "Raspberry Pi 5"),
        (
            {"cpuinfo": "model name: ARMv8 rev 1\n", "device-tree/model": "Jetson Orin Nano\0"},
            "Jetson Orin Nano",
        ),
        ({"cpuinfo": "model name: AMD EPYC\nflags : fpu avx2\n"}, "AMD EPYC (AVX2)"),
        (
            {"cpuinfo": "model name: AMD EPYC\nflags : avx2 avx512_vnni\n"},
            "AMD EPYC (AVX2, AVX512-VNNI)",
        ),
        ({"cpuinfo": "model name:\n"}, platform.processor() or platform.machine()),
        ({}, platform.processor() or platform.machine()),
    ],
)
def test_two_kinds_of_processor_have_two_names(
    tmp_path: Path, files: dict[str, str], name: str
) -> None:
    for file, text in files.items():
        path = tmp_path / "proc" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert cpu_name(tmp_path) == name
