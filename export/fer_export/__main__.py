"""``python -m fer_export``."""

import sys

from fer_export.cli import main

sys.exit(main())
