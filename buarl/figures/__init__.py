"""Figures of the paper and of the lessons: one function a figure, from arrays to a closed Figure.

| figure of the paper | function |
| --- | --- |
| 1 a, b | `plots.errors_beside_uncertainty` |
| 1 c, d | `undecided.pixels_and_places`, of the pixels that its searches find |
| 2 | `schematics.architecture` |
| 3 | `plots.predictions_side_by_side` |
| 4 | `surfaces.volume_predictions` |
| 5 | `plots.entropy_cuts` |
| 6 | `pseudo_labels.pseudo_label_errors` |

`captions` says in a sentence what each shows, with its numbers; `of_run` draws from a run's
capsule. `schematics` explains ideas without a network, `loops` are pictures that move, and the
others belong to the lessons. What all share stands in `draw`; `views` cuts the images they show.
"""
