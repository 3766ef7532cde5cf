"""One clause read against one node type: what was understood so far, and what was not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from physlab_mcp.nodes.registry import NodeType
from physlab_mcp.words.entries import Entry
from physlab_mcp.words.fields import Slot, slots_of, told
from physlab_mcp.words.lexicon import entry_of
from physlab_mcp.words.phrases import Stems
from physlab_mcp.words.quantities import converted, fits
from physlab_mcp.words.tokens import Token

_MARKS = frozenset((",", ".", ":", ";", "?", "!", "(", ")", "\n", '"', "-", "..."))


class Unparsed(NamedTuple):
    """A phrase that was not understood, and why."""

    phrase: str
    reason: str


class Made(NamedTuple):
    """A node that an earlier clause made."""

    id: str
    type: NodeType
    params: Mapping[str, Any]
    used: bool = False  # "use the … to": something later must take it


class Clause:
    """Some tokens in a row, with the text that they were cut from."""

    def __init__(self, text: str, tokens: Sequence[Token]) -> None:
        self.source = text
        self.tokens = tuple(tokens)
        self.stems = Stems(self.tokens)

    def phrase(self, indices: Iterable[int]) -> str:
        """The text from the first to the last of these tokens."""
        some = sorted(indices)
        if not some:
            return self.text
        return self.source[self.tokens[some[0]].start : self.tokens[some[-1]].end]

    @property
    def text(self) -> str:
        """The whole clause as written."""
        return self.source[self.tokens[0].start : self.tokens[-1].end] if self.tokens else ""


class Draft:
    """What a clause says to a node type; slots are filled once, and tokens are taken up as they are understood."""

    def __init__(self, clause: Clause, node_type: NodeType, earlier: Sequence[Made]) -> None:
        self.clause = clause
        self.tokens = clause.tokens
        self.type = node_type
        self.entry: Entry = entry_of(node_type.name)
        self.slots: Mapping[str, Slot] = slots_of(node_type)
        self.earlier = tuple(earlier)
        self.params: dict[str, Any] = {}
        self.space: dict[str, Any] = {}  # sweep, by parameter
        self.notes: list[str] = []
        self.problems: list[Unparsed] = []
        self.before: list[tuple[str, dict[str, Any]]] = []  # nodes that must be made first: type and parameters
        self.after: list[tuple[str, dict[str, Any]]] = []  # nodes that follow: type and parameters
        self.animated = False
        self.more: list[dict[str, Any]] = []  # what differs in further nodes of the same type
        self.linked = False
        self.inherited = False  # the verb stood in the clause before
        self.visuals: dict[str, bool] = {}
        self._taken: set[int] = set()
        self._from: dict[str, str] = {}  # which words gave each parameter

    def take(self, *indices: int) -> None:
        """Tick these tokens off."""
        self._taken.update(indices)

    def free(self, *kinds: str) -> list[int]:
        """The indices of tokens of these kinds that nothing has taken up."""
        return [i for i, token in enumerate(self.tokens) if i not in self._taken and token.kind in kinds]

    def is_free(self, index: int) -> bool:
        """Whether a token has not been taken up."""
        return index not in self._taken

    def left(self) -> list[int]:
        """All tokens that nothing has taken up."""
        return [i for i in range(len(self.tokens)) if i not in self._taken]

    def left_words(self) -> list[int]:
        """The same without commas and the like."""
        return [at for at in self.left() if self.tokens[at].low not in _MARKS]

    def doubt(self, indices: Iterable[int], reason: str) -> None:
        """Record a phrase that cannot be meant as it stands; its tokens count as seen."""
        some = tuple(indices)
        self.take(*some)
        self.problems.append(Unparsed(self.clause.phrase(some), reason))

    def problem(self, phrase: str, reason: str) -> None:
        """Record a phrase that cannot be meant as it stands."""
        self.problems.append(Unparsed(phrase, reason))

    def give(self, name: str, value: Any, indices: Iterable[int]) -> bool:
        """Fill a slot; False, with a doubt, if other words filled it with something else."""
        some = tuple(indices)
        if name in self.params and self.params[name] != value:
            self.doubt(
                some,
                f"{name} is said twice: {self._from.get(name, '')!r} and {self.clause.phrase(some)!r}.",
            )
            return False
        self.take(*some)
        self.params[name] = value
        self._from[name] = self.clause.phrase(some)
        return True

    def said(self, name: str) -> str:
        """The words that filled a slot, or ""."""
        return self._from.get(name, "")

    def stated(self, name: str) -> bool:
        """Whether words have filled this slot."""
        return name in self.params

    def told_default(self, name: str) -> str:
        """How the notes tell the default of a slot."""
        return f"{self.type.name}: {told(self.type, self.slots[name])}" if name in self.slots else ""

    def number(self, slot: Slot, token: Token, *, named: bool = False) -> int | float | str:
        """A token's number in the slot's unit, or why it does not fit (a text).

        `named` says that the parameter was called by its very name, unit included.
        """
        value: int | float = token.value
        if abs(value) == float("inf"):
            return f"{slot.name} is finite."
        if token.unit and not slot.unit:
            if slot.kind == "float" and token.unit == "percent":
                return value / 100
            return f"{slot.name} takes a plain number, not {token.unit}."
        if slot.unit and not token.unit and not named:
            return f"{token.text} has no unit; {slot.name} is in {slot.unit}."
        if slot.unit and token.unit:
            if not fits(token.unit, slot.unit):
                return f"{token.unit} is not a unit for {slot.name}, which is in {slot.unit}."
            value = converted(value, token.unit, slot.unit)
        if slot.kind == "int":
            if value != int(value):
                return f"{slot.name} is a whole number, not {value:g}."
            return int(value)
        return value
