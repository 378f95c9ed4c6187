"""`python -m buarl`, and the command `buarl` of an installed package."""

from __future__ import annotations

import sys


def main() -> int:
    """Run the command line; Ctrl-C while torch is still being loaded is no traceback either."""
    try:
        from buarl.commands.main import main as run
    except KeyboardInterrupt:
        sys.stderr.write("buarl: interrupted before anything was begun\n")
        return 130
    return run()


if __name__ == "__main__":
    raise SystemExit(main())
