"""Says where ``python -m workbench.share`` went."""

import sys

if __name__ == "__main__":
    print("python -m workbench.share is now: workbench share", file=sys.stderr)
    raise SystemExit(2)
