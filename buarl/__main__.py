"""`python -m buarl`."""

from buarl.cli import main

raise SystemExit(main())
