"""`python -m buarl`."""

import os

# Threads wait for each other in a loop before they sleep, 300,000 rounds by default; a busy core
# then stops them all: beside one other process a step of BCP took 7.2 s, and takes 4.9 s with this
# (paper's size, two cores; alone no difference). Read when torch is loaded, so before that.
os.environ.setdefault("GOMP_SPINCOUNT", "3000")

from buarl.commands.main import main

raise SystemExit(main())
