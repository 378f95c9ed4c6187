"""Broken files and wrong calls by the thousand: does each end in one clear sentence?

`make fuzz`, or `python -m tools.fuzz --seconds 60 --seed 7`. See `tools.fuzz.judge` for what is
asked of every input, and SECURITY.md for what follows from it.
"""
