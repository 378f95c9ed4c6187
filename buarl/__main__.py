"""`python -m buarl`."""

from buarl.commands.main import main

raise SystemExit(main())
