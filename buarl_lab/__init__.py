"""What the lessons, figures and the demo stand on: pictures, widgets, short trainings, the ledger.

The library, `buarl`, needs none of it.
"""
