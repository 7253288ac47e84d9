"""``python -m fer_train``."""

import sys

from fer_train.cli import main

sys.exit(main())
