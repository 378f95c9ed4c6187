"""Two synthetic data sets, a heart in slices and an atrium in volumes: no download, no licence."""
