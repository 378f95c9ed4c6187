"""Schematics drawn by code, for lessons and lectures: one function a picture.

    from buarl.figures import schematics
    schematics.architecture()

All of them take `theme` ("light" or "dark") and `transparent`, are 12 inches wide and need no
trained network: see `buarl.figures.schematics.scene` for what they show instead.
"""

from buarl.figures.schematics.percentile import percentile_cut as percentile_cut
from buarl.figures.schematics.plugged_in import two_lines as two_lines
from buarl.figures.schematics.student_teacher import mean_teacher as mean_teacher
from buarl.figures.schematics.two_stages import bcp_stages as bcp_stages
from buarl.figures.schematics.two_streams import architecture as architecture
from buarl.figures.schematics.weights import weight_maps as weight_maps
