"""Figures of the paper and of the lessons: one function a figure, from arrays to a closed Figure.

`plots` has the figures of the paper, `pseudo_labels` its Fig. 6 and pictures of copy-paste; the
others belong to the lessons. What they share stands in `draw`; `views` cuts the images they show.
"""
