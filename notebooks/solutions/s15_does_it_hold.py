"""Solutions of lesson 15: the rule, and what stands after the plus-minus."""

# %% Exercise 1
import statistics

from buarl.lessons.check import check


def verdict(low: float, high: float, gain: float) -> str:
    """Ends of the interval and the printed gain, in points -> one of three words."""
    return "holds" if low > 0 else "refuted" if high < gain / 2 else "undecided"


assert check("15.1", verdict).right

# %% Exercise 2
seeds = (77.0, 77.6, 78.2)
deviation = statistics.stdev(seeds)  # n - 1
standard_error = deviation / len(seeds) ** 0.5
print(f"standard deviation {deviation:.2f}, standard error {standard_error:.2f}")
assert check("15.2", (deviation, standard_error)).right
