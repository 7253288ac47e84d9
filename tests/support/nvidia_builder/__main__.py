"""Set the real builder up and run a command under it; say why where it cannot be had."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from nvidia_builder import UnavailableError, environment, set_up


def main() -> int:
    folder, command = Path(sys.argv[1]).resolve(), sys.argv[2:]
    try:
        set_up(folder)
    except UnavailableError as problem:
        print(f"skipped, because NVIDIA's builder cannot be had here: {problem}")
        return 0
    return subprocess.run(command, env=environment(folder), check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
