"""A method outside the package: Mean Teacher whose labeled term counts twice."""

from __future__ import annotations

from buarl.methods import MeanTeacher


class MyMethod(MeanTeacher):
    """Mean Teacher with twice the weight on labels; all else is inherited."""

    name = "my_method"

    @classmethod
    def recipe(cls, rank):
        """Steps, batches and settings of Mean Teacher."""
        return MeanTeacher.recipe(rank)

    def labeled_loss(self, logits, label, regions=None):
        """Twice the labeled term."""
        return 2 * super().labeled_loss(logits, label, regions)
