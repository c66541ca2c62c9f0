"""What the heads that changed most do, before and after fine-tuning.

    found = roles(tuned, inputs, before, after)            # a PeftModel: its base is the same with the adapter off
    for role in found:
        print(role.sentence({-4: "the second operand"}))

A head's change is the score mass that moved on its edges: the sum of |after - before| over the edges that leave it
or enter one of its inputs, of maps scaled to unit mass (scores grow in fine-tuning, so raw ones would say that
everything changed). How attention and contributions are measured is in `circuits.heads`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from circuitune.circuits.graph import Graph, require_same_graph
from circuitune.circuits.heads import Observed, observe
from circuitune.circuits.memory import BUDGET
from circuitune.circuits.scores import EdgeScores
from circuitune.core.errors import InputError
from circuitune.core.mechanism_records import HeadRoleRow
from circuitune.dynamics.layers import unit
from circuitune.models.anatomy import anatomy_of
from circuitune.models.encoding import EncodedPairs
from circuitune.models.versions import before_and_after

HEADS = 10
"""How many heads are described."""

SMALL_ATTENTION = 0.05
"""Changes of attention below it are not spoken of."""

SMALL_LOGIT = 0.05
"""Contributions below it, in logits, are not spoken of."""


@dataclass(frozen=True, eq=False)
class HeadView:
    """A head in one of the two models, means over the pairs.

    Attributes:
        attention: float64 [positions], of the prompt's last token; the last entry is that token itself.
        answer, wrong: direct contribution to the logits of the answer and of the wrong one (None without any), in
            logits above the mean of the vocabulary.
    """

    attention: Float[Tensor, " positions"]
    answer: float
    wrong: float | None

    @property
    def direct(self) -> float:
        """Contribution to answer less wrong (without wrong answers: to the answer)."""
        return self.answer - (self.wrong or 0.0)


@dataclass(frozen=True, eq=False)
class HeadRole:
    """One changed head.

    Attributes:
        place: 1 for the most changed.
        head: its name; layer: its layer.
        change, mass_before, mass_after: score mass moved on its edges, and lying on them (of 1 in all).
        before, after: what it does.
        tokens: per position the token id that all pairs have there, or None; the last entry is the last token.
    """

    place: int
    head: str
    layer: int
    change: float
    mass_before: float
    mass_after: float
    before: HeadView
    after: HeadView
    tokens: tuple[int | None, ...]

    @property
    def position(self) -> int:
        """Where its attention changed most, counted from the end: -1 is the last token."""
        moved = (self.after.attention - self.before.attention).abs()
        return int(moved.argmax()) - len(moved)

    def sentence(self, names: Mapping[int, str] | None = None) -> str:
        """What it does now and did before; `names` says what stands at a position (counted from the end)."""
        return f"{self.head} {self._looks(names or {})} and {self._adds()}."

    def _looks(self, names: Mapping[int, str]) -> str:
        place = self.position
        old, new = (float(view.attention[place]) for view in (self.before, self.after))
        if abs(new - old) < SMALL_ATTENTION:
            return "attends as before"
        default = "the last token" if place == -1 else f"the token {-1 - place} before the last"
        direction = "more" if new > old else "less"
        return f"attends to {names.get(place, default)} {direction} than before ({old:.2f} -> {new:.2f})"

    def _adds(self) -> str:
        old, new = self.before.direct, self.after.direct
        if max(abs(old), abs(new)) < SMALL_LOGIT:
            return "adds nothing to the answer directly, then or now"
        verb = "raises" if new > 0 else "lowers"
        over = "the answer" if self.after.wrong is None else "the answer over the wrong one"
        return f"now {verb} {over} by {abs(new):.2f} logits (before: {round(old, 2) + 0.0:+.2f})"

    def row(self, names: Mapping[int, str] | None = None) -> HeadRoleRow:
        """Row of roles.csv."""
        return HeadRoleRow(
            place=self.place,
            head=self.head,
            layer=self.layer,
            change=self.change,
            mass_before=self.mass_before,
            mass_after=self.mass_after,
            position=self.position,
            attention_before=float(self.before.attention[self.position]),
            attention_after=float(self.after.attention[self.position]),
            direct_before=self.before.direct,
            direct_after=self.after.direct,
            answer_before=self.before.answer,
            answer_after=self.after.answer,
            wrong_before=self.before.wrong,
            wrong_after=self.after.wrong,
            sentence=self.sentence(names),
        )


def roles(
    tuned: nn.Module,
    inputs: EncodedPairs,
    before: EdgeScores,
    after: EdgeScores,
    *,
    base: nn.Module | None = None,
    count: int = HEADS,
    batch_size: int | None = None,
    memory: int = BUDGET,
) -> tuple[HeadRole, ...]:
    """The `count` heads whose scores changed most, most changed first, and what they do in both models.

    Args:
        tuned: the fine-tuned model; left as it was.
        inputs: the encoded pairs; only their clean prompts are run.
        before, after: scores of the base and of the tuned model.
        base: the base model; by default the tuned one with its adapter off.
        count: how many heads (all, if there are fewer).
        batch_size, memory: as in `evaluate`.

    Raises:
        InputError: scores of another model shape; no base model to be had; `count` below 1.
    """
    if count < 1:
        raise InputError(f"At least one head must be asked for; got {count}.")
    graph = Graph.of(anatomy_of(tuned))
    for scores in (before, after):
        require_same_graph(graph.collapse() if scores.graph.collapsed else graph, scores.graph)
    moved, mass_before, mass_after = (at_heads(values, before.graph) for values in _maps(before, after))
    chosen = [int(index) for index in moved.argsort(descending=True, stable=True)[:count]]
    heads = [divmod(index, graph.heads) for index in chosen]
    old, new = (
        observe(version, inputs, heads, batch_size=batch_size, memory=memory)
        for version in before_and_after(tuned, base)
    )
    tokens = tokens_from_the_end(inputs)
    return tuple(
        HeadRole(
            place=place + 1,
            head=f"a{layer}.h{head}",
            layer=layer,
            change=float(moved[index]),
            mass_before=float(mass_before[index]),
            mass_after=float(mass_after[index]),
            before=_view(old, place),
            after=_view(new, place),
            tokens=tokens,
        )
        for place, (index, (layer, head)) in enumerate(zip(chosen, heads, strict=True))
    )


def at_heads(values: Float[Tensor, "S R"], graph: Graph) -> Float[Tensor, " heads"]:
    """Sum of `values` over the edges that leave a head or enter one of its inputs, for all heads in layer order.

    An edge into a key/value head counts at every head of its group.
    """
    at_sources = values.sum(1) + values.sum(0) @ graph.feeds.to(values.dtype)
    return at_sources[torch.tensor([kind == "head" for kind in graph.source_kind])]


def tokens_from_the_end(inputs: EncodedPairs) -> tuple[int | None, ...]:
    """Per position of the longest prompt, the clean token id that all pairs with this position have, or None."""
    inputs = inputs.cpu()
    width = int(inputs.lengths().max())
    seen: list[set[int]] = [set() for _ in range(width)]
    for row in range(len(inputs)):
        real = inputs.clean[row] if inputs.mask is None else inputs.clean[row][inputs.mask[row]]
        for place, token in enumerate(real, start=width - len(real)):
            seen[place].add(int(token))
    return tuple(next(iter(ids)) if len(ids) == 1 else None for ids in seen)


def _maps(before: EdgeScores, after: EdgeScores) -> Sequence[Float[Tensor, "S R"]]:
    old, new = unit(before).double(), unit(after).double()
    return (new - old).abs(), old.abs(), new.abs()


def _view(observed: Observed, place: int) -> HeadView:
    wrong = None if observed.wrong is None else float(observed.wrong[:, place].double().mean())
    return HeadView(observed.attention[place], float(observed.answer[:, place].double().mean()), wrong)
