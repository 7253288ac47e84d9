"""``python -m fer_calib``."""

import sys

from fer_calib.cli import main

sys.exit(main())
