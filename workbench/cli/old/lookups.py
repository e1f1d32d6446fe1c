"""Says where ``python -m workbench.lookups`` went."""

import sys

if __name__ == "__main__":
    print("python -m workbench.lookups is now: workbench measure", file=sys.stderr)
    raise SystemExit(2)
