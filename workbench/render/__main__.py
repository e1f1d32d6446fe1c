"""``python -m workbench.render``."""

import sys

from workbench.render.command import main

sys.exit(main())
