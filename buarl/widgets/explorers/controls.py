"""The controls of an explorer as Python sees them: values to set, to observe, and their bounds."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import traitlets


class Control(traitlets.HasTraits):
    """Base of the controls.

    Args:
        label: What stands beside it. value: Where it begins.
    """

    kind = ""
    value = traitlets.Any()
    disabled = traitlets.Bool(False)

    def __init__(self, label: str, value: object, **more: object) -> None:
        self.label = label
        super().__init__(**more)
        self.value = value

    def spec(self) -> dict:
        """What the browser needs to draw it."""
        return {
            "kind": self.kind,
            "label": self.label,
            "disabled": self.disabled,
            "value": self.value,
        }

    def move(self, value: object) -> None:
        """Take a value from the browser."""
        self.value = value


class Check(Control):
    """A box to tick."""

    kind = "check"

    def move(self, value: object) -> None:
        """Ticked or not."""
        self.value = bool(value)


class Button(Control):
    """Calls whoever observes `value`: the number of presses so far."""

    kind = "button"

    def __init__(self, label: str) -> None:
        super().__init__(label, 0)

    def click(self) -> None:
        """Press it."""
        self.value += 1

    def move(self, value: object) -> None:
        """Pressed in the browser."""
        self.click()


class Slider(Control):
    """A number between two others; setting a bound moves the value inside.

    Args:
        low, high: Bounds. step: Between stops; 1 for whole numbers.

    >>> slider = Slider("row", 0, 10, 4)
    >>> slider.value = 99
    >>> slider.value
    10
    """

    kind = "slider"
    min, max = traitlets.Float(), traitlets.Float()

    def __init__(self, label: str, low: float, high: float, value: float, step: float = 1) -> None:
        self.step = step
        super().__init__(label, value, min=low, max=max(low, high))

    def _number(self, value: float) -> float:
        return round(value) if self.step == 1 else value

    @traitlets.validate("value")
    def _inside(self, proposal: dict) -> float:
        return self._number(min(max(float(proposal["value"]), self.min), self.max))

    @traitlets.observe("min", "max")
    def _bounded(self, _: dict) -> None:
        if self.value is not None:
            self.value = self._number(min(max(float(self.value), self.min), self.max))

    def spec(self) -> dict:
        """With its bounds, and how many digits to show."""
        digits = 0 if self.step == 1 else 2
        bounds = {"min": self.min, "max": self.max, "step": self.step, "digits": digits}
        return super().spec() | bounds

    def move(self, value: object) -> None:
        """A number from the browser."""
        self.value = float(value)


class Choice(Control):
    """One of several options.

    Args:
        options: Values, or pairs (text, value). value: Where it begins. kind: "choice" for a
            drop-down, "list" for an open list, "slider" for stops along a slider.
    """

    options = traitlets.Any()

    def __init__(self, label: str, options: Sequence, value: object, kind: str = "choice") -> None:
        self.kind = kind
        super().__init__(label, value, options=list(options))

    def _pairs(self) -> list[tuple[str, object]]:
        return [
            option if isinstance(option, tuple) else (str(option), option)
            for option in self.options
        ]

    def _index(self) -> int:
        return [value for _, value in self._pairs()].index(self.value)

    @traitlets.validate("value")
    def _known(self, proposal: dict) -> object:
        known = [value for _, value in self._pairs()]
        if proposal["value"] not in known:
            raise ValueError(f"{self.label} must be one of {known}, got {proposal['value']!r}")
        return proposal["value"]

    def spec(self) -> dict:
        """With the texts of its options; the value is the place of the chosen one."""
        texts = [text for text, _ in self._pairs()]
        found = super().spec() | {"options": texts, "value": self._index()}
        if self.kind == "slider":
            found |= {"min": 0, "max": len(texts) - 1, "step": 1, "digits": 0}
        return found

    def move(self, value: object) -> None:
        """The place of an option, from the browser."""
        self.value = self._pairs()[int(value)][1]


Update = Callable[..., str]
"""From the values of all controls by name to a note for the reader, often ""."""
