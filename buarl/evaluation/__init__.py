"""From a trained network to numbers: predictions, metrics, scores of a run."""
