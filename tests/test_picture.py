"""A picture in a lesson has words and fits a screen."""

import pytest
from matplotlib.figure import Figure

from buarl.lessons.picture import picture

WORDS = "An empty picture, to see how it is shown."


def test_words_go_with_the_picture_and_stand_alone():
    data, metadata = picture(Figure(figsize=(4, 3)), WORDS)._repr_mimebundle_()
    assert data["text/plain"] == WORDS == metadata["image/png"]["alt"]
    assert metadata["image/png"]["width"] == 4 * 96


def test_a_wide_picture_is_shown_as_wide_as_a_notebook():
    assert picture(Figure(figsize=(12, 6)), WORDS)._repr_mimebundle_()[1]["image/png"]["width"] == (
        9 * 96
    )


@pytest.mark.parametrize("size", [(9, 6.6), (4, 7), (12, 9)])
def test_one_higher_than_a_screen_is_refused(size):
    with pytest.raises(ValueError, match=r"6\.5 inches high, this one has"):
        picture(Figure(figsize=size), WORDS)


def test_too_few_words_are_refused():
    with pytest.raises(ValueError, match="alt must say"):
        picture(Figure(figsize=(4, 3)), "a figure")
