"""Figures of the paper and of the lessons, one function each."""
