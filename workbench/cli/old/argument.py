"""Says where ``python -m workbench.argument`` went."""

import sys

if __name__ == "__main__":
    print("python -m workbench.argument is now: workbench argue", file=sys.stderr)
    raise SystemExit(2)
