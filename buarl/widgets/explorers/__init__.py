"""Explorers on ipywidgets, for what Python must compute; `buarl.widgets` is their door.

Each has a pure function for the static picture, a view whose artists are moved and never drawn
anew, and a box of controls around it. Drawing needs no ipywidgets; the boxes do.
"""
