"""Says where ``python -m workbench.render`` went."""

import sys

if __name__ == "__main__":
    print("python -m workbench.render is now: workbench render", file=sys.stderr)
    raise SystemExit(2)
