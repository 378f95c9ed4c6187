"""What DTC and SASSNet share: distance maps of a label, and a network that predicts them."""
