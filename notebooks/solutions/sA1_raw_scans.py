"""Solutions of appendix A1: a volume of mean 0 and deviation 1, and its size in milliliters."""

# %% Exercise 1
import numpy as np

from buarl.lessons.check import check


def standardized(volume: np.ndarray) -> np.ndarray:
    """A volume of any integer or floating type -> float array of mean 0 and deviation 1."""
    return (volume - volume.mean()) / volume.std()


scaled = standardized(np.arange(60, dtype=np.int16).reshape(3, 4, 5))
assert np.isclose(scaled.mean(), 0)
assert np.isclose(scaled.std(), 1)
assert check("A1.1", standardized).right

# %% Exercise 2
milliliters = 31_250 * 1.4**3 / 1000
assert check("A1.2", milliliters).right
