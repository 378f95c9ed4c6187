"""What `make bench` measures: every part of a training step against a plain counterpart."""

import buarl  # noqa: F401  before torch: it says how long threads wait for each other
