"""What DTC and SASSNet share: distance maps of a label, and a student that predicts them."""
