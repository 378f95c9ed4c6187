"""The interactive explorers; they live in `buarl_lab` and need `pip install "buarl[notebooks]"`."""

from buarl_lab.threshold import PERCENTILES, ThresholdView, read_threshold, threshold_slider

__all__ = ["PERCENTILES", "ThresholdView", "read_threshold", "threshold_slider"]
