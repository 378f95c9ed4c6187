"""Places for widgets that take a while: a bar and words until they are there.

The page is served at once; what is slow runs in a thread of the kernel, so that all that does not
wait for it can be used meanwhile.
"""

from __future__ import annotations

import asyncio
import html
import time
from collections.abc import Callable, Mapping

import ipywidgets

from buarl.widgets.explorers.box import EXPECTED

Tell = Callable[[float, str], None]
"""Called with the share that is done, 0-1, and words."""
EVERY = 0.5  # seconds between two words


class Later(ipywidgets.VBox):
    """A place on the page, at first with a bar.

    Args:
        words: What is being waited for.
    """

    def __init__(self, words: str = "Starting ...") -> None:
        self._bar = ipywidgets.HTML()
        super().__init__([self._bar], layout={"width": "100%"})
        self.tell(0, words)

    def tell(self, share: float, words: str) -> None:
        """Move the bar.

        Args:
            share: How much is done, 0-1. words: What is being done.
        """
        said = html.escape(words)
        self._bar.value = (
            f'<div class="buarl-later" role="status"><p>{said}</p>'
            f'<progress max="1" value="{share:.3f}" aria-label="done"></progress></div>'
        )

    def show(self, widget: ipywidgets.Widget) -> None:
        """Put the widget in the place of the bar."""
        self.children = [widget]

    def fail(self, error: Exception) -> None:
        """Say why there will be nothing."""
        self.children = [ipywidgets.HTML(f'<p role="alert">{html.escape(str(error))}</p>')]


def fill_later(
    places: Mapping[str, Later],
    prepare: Callable[[Tell], object],
    builders: Mapping[str, Callable[[object], ipywidgets.Widget]],
) -> asyncio.Task:
    """Fill places once something slow is done; returns at once.

    Args:
        places: By name. prepare: The slow part, run in a thread; it may tell how far it is.
        builders: By the same names, from what `prepare` returned to the widget.
    Returns:
        The task; a notebook's event loop runs it between cells.
    """
    loop = asyncio.get_running_loop()
    last = 0.0

    def tell(share: float, words: str) -> None:
        nonlocal last
        if time.monotonic() - last > EVERY:
            last = time.monotonic()
            for place in places.values():
                loop.call_soon_threadsafe(place.tell, share, words)

    async def fill() -> None:
        try:
            found = await asyncio.to_thread(prepare, tell)
        except EXPECTED as error:
            for place in places.values():
                place.fail(error)
            return
        for name, place in places.items():
            place.show(builders[name](found))
            await asyncio.sleep(0)  # let the page see it before the next is built

    return loop.create_task(fill())
