"""`python -m buarl`, and the command `buarl` of an installed package."""

from buarl.commands.main import main

if __name__ == "__main__":
    raise SystemExit(main())
