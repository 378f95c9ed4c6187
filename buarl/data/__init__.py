"""Data: sources, the phantom, augmentation and batches."""
