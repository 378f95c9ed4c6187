"""Region explorer: which rule weighs which voxels of a batch, and what becomes of the loss."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from buarl.dice import DICE_SSL4MIS, Dice
from buarl.figures.draw import UNCERTAIN
from buarl.losses import Reduction
from buarl.regions import PERCENTILE_RULES, PercentileRule, Rule, crl, url
from buarl.widgets.explorers import live
from buarl.widgets.explorers.controls import Choice, Slider
from buarl.widgets.explorers.region_terms import Term, TermReading, as_term, make_rule, read_term
from buarl.widgets.still import Panel

if TYPE_CHECKING:
    from buarl.widgets.explorers.box import Explorer

KINDS = ("labeled", "unlabeled")
REDUCTIONS = ("voxel", "region")
STOPS = (0, 50, 60, 70, 80, 85, 90, 92, 94, 95, 96, 97, 98, 99, 99.5, 100)  # percentiles


class RegionView(live.LiveView):
    """Image with target and image with regions of both terms, and what the loss is made of.

    Args:
        labeled, unlabeled: The terms; the second may be None.
    """

    def __init__(self, labeled: Term, unlabeled: Term | None) -> None:
        self.terms = [as_term(term) for term in (labeled, unlabeled) if term is not None]

    def show(
        self,
        rules: list[Rule],
        reductions: list[Reduction],
        image: int = 0,
        index: int = 0,
        weight: float = 1.0,
        dice: Dice = DICE_SSL4MIS,
    ) -> list[TermReading]:
        """Show other values.

        Args:
            rules, reductions: Per term. image: Which of the batch. index: Plane of a volume.
            weight: Of the unlabeled term in the total. dice: Which Dice.
        """
        readings = [
            read_term(*given, dice) for given in zip(self.terms, rules, reductions, strict=False)
        ]
        self.panels, self.legend, left_out = [], {"uncertain region": UNCERTAIN}, False
        for kind, term, reading in zip(KINDS, self.terms, readings, strict=False):
            picked = min(image, len(term.image) - 1)
            pixels, target, *masks = (
                live.plane(values[picked].numpy(), index)
                for values in (term.image, term.target, *(r.mask for r in reading.regions))
            )
            pixels = live.grey(pixels)
            title = f"{kind}: {'label' if kind == 'labeled' else 'pseudo-label'}"
            self.panels.append(Panel(title, live.class_overlay(pixels, target)))
            marked = live.overlay(pixels, masks[0] & (len(masks) == 2), [UNCERTAIN])
            for mask, region in zip(masks, reading.regions, strict=True):
                if region.weight == 0:
                    marked = live.overlay(marked, live.stripes(mask), ["#000000"], 0.9)
                    left_out = True
            self.panels.append(Panel(f"{kind}: regions", marked))
        self.tables = [
            reading.table(kind, rule, reduction)
            for kind, reading, rule, reduction in zip(
                KINDS, readings, rules, reductions, strict=False
            )
        ]
        self.lines = [_total([reading.loss for reading in readings], weight)]
        if left_out:
            self.lines.append("Black stripes: weight 0, so these voxels are left out of the loss.")
        return readings


def draw_regions(
    labeled: Term,
    unlabeled: Term | None,
    rules: tuple[Rule, Rule] = (url(95), crl(99)),
    reductions: tuple[Reduction, Reduction] = ("voxel", "voxel"),
    **shown: object,
) -> Figure:
    """The static picture: what the rules mark on a batch and what the loss is made of.

    Args:
        labeled, unlabeled: The terms; the second may be None. rules, reductions: Per term.
        shown: image, index, weight, dice of `RegionView.show`.
    """
    view = RegionView(labeled, unlabeled)
    view.show(list(rules), list(reductions), **shown)
    return view.figure()


def region_explorer(
    labeled: Term,
    unlabeled: Term | None = None,
    rules: tuple[Rule, Rule] = (url(95), crl(99)),
    reductions: tuple[Reduction, Reduction] = ("voxel", "voxel"),
    dice: Dice = DICE_SSL4MIS,
) -> Explorer:
    """Rules, percentiles, alphas and normalizers of both terms, on the current batch.

    Args:
        labeled, unlabeled: The terms, e.g. from `method_terms`; the second may be None.
        rules, reductions: What the controls show first. dice: Which Dice.
    Returns:
        A box; bad input becomes a message in it.
    """
    from buarl.widgets.explorers import box

    def build() -> Explorer:
        view = RegionView(labeled, unlabeled)
        kinds = KINDS[: len(view.terms)]
        controls, columns = {}, {}
        for kind, rule, reduction in zip(kinds, rules, reductions, strict=False):
            own = _controls(kind, rule, reduction)
            controls |= own
            columns[f"{kind.capitalize()} term"] = tuple(own)
        if len(kinds) == 2:
            controls["weight"] = Slider("its weight", 0, 2, 1, 0.05)
            columns["Unlabeled term"] += ("weight",)
        count = max(len(term.image) for term in view.terms)
        controls["image"] = Slider("image", 1, count, 1)
        shown = ("image",)
        if view.terms[0].image.ndim == 4:
            depth = min(term.image.shape[-1] for term in view.terms)
            controls["index"] = Slider("slice", 0, depth - 1, depth // 2)
            shown += ("index",)
        columns["Shown"] = shown

        def update(image: int, index: int = 0, weight: float = 1.0, **values: object) -> str:
            chosen = [make_rule(*(values[f"{k} {part}"] for part in PARTS)) for k in kinds]
            for kind, rule in zip(kinds, chosen, strict=True):  # grey out what has no effect
                controls[f"{kind} percentile"].disabled = rule.percentile is None
                controls[f"{kind} alpha"].disabled = rule.name in ("whole", "drop")
            ways = [values[f"{kind} reduction"] for kind in kinds]
            readings = view.show(chosen, ways, image - 1, index, weight, dice)
            return remarks(view.terms, readings, kinds)

        return box.Explorer(view, controls, update, columns)

    return box.guarded(build)


PARTS = ("rule", "percentile", "alpha")


def remarks(terms: list[Term], readings: list[TermReading], kinds: tuple[str, ...]) -> str:
    """What a reader should know about a batch that is not as usual."""
    notes = []
    for kind, term, reading in zip(kinds, terms, readings, strict=True):
        if reading.parts[0].voxels == 0:
            notes.append(
                f"{kind}: no entropy exceeds the percentile (constant or tied entropies), "
                "so the uncertain region is empty and adds nothing to the loss."
            )
        if len(term.target.unique()) == 1:
            notes.append(f"{kind}: the whole target is class {int(term.target.flatten()[0])}.")
    return "\n".join(notes)


def _controls(kind: str, rule: Rule, reduction: Reduction) -> dict:
    if not isinstance(rule, PercentileRule):
        raise ValueError(f"the explorer begins with one of {PERCENTILE_RULES}, got {rule}")
    percentile = 95 if rule.percentile is None else rule.percentile
    stops = sorted({*STOPS, percentile})
    alpha = {"url": rule.certain_weight, "crl": rule.uncertain_weight}.get(rule.name, 0.5)
    return {
        f"{kind} rule": Choice("rule", list(PERCENTILE_RULES), rule.name),
        f"{kind} percentile": Choice("percentile", stops, percentile, "slider"),
        f"{kind} alpha": Slider("alpha", 0, 1, alpha, 0.05),
        f"{kind} reduction": Choice("mean over", REDUCTIONS, reduction),
    }


def _total(losses: list[float], weight: float) -> str:
    if len(losses) == 1:
        return f"LOSS = {losses[0]:.4f}"
    total = losses[0] + weight * losses[1]
    return f"LOSS = {losses[0]:.4f} + {weight:g} x {losses[1]:.4f} = {total:.4f}"
