"""Threads that soon stop waiting for each other; imported before torch is loaded.

GNU's OpenMP lets threads wait for each other in a loop of 300,000 rounds before they sleep. Where a
core is busy with another program, the others then turn in vain: beside one other process a BCP step
took 7.2 s, and takes 4.9 s with 3,000 rounds (12 + 12 slices of 256x256, two cores; alone, no
difference). Results are the same. A GOMP_SPINCOUNT that the environment names is left as it is.
"""

import os

os.environ.setdefault("GOMP_SPINCOUNT", "3000")
