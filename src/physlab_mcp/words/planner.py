"""From a request in words to a checked graph, by rules alone: the same words always give the same graph.

A request is cut into clauses; each must be read whole by exactly one node type (or be a report, an animation, a sweep),
and the graph must pass validation. What falls short is never guessed at: the answer is then `NeedsSpec`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from physlab_mcp.dags.sweep import read_sweep as read_block
from physlab_mcp.dags.targets import targets_of
from physlab_mcp.dags.validate import DEFAULT_LIMITS, Limits, validate
from physlab_mcp.errors import RequestError
from physlab_mcp.nodes.registry import NodeType, Registry
from physlab_mcp.words.assembly import Assembly
from physlab_mcp.words.clauses import Request
from physlab_mcp.words.closings import read_animation, read_report, read_sweep
from physlab_mcp.words.draft import Clause, Draft, Unparsed
from physlab_mcp.words.lexicon import CLOSED, entry_of
from physlab_mcp.words.misgivings import SECOND_FORMULA, one_letter_formulas
from physlab_mcp.words.needs_spec import NeedsSpec, needs_spec
from physlab_mcp.words.phrases import ASKING_STEMS, PICTURING_STEMS
from physlab_mcp.words.reading import evidence, read, weight
from physlab_mcp.words.tokens import MAX_TEXT

MOST_PIECES = 60
MOST_TOKENS = 700
MOST_MERGED = 8
MOST_READINGS = 1500


class Planned(msgspec.Struct, frozen=True):
    """A request that became a graph."""

    spec: dict[str, Any]
    sweep: dict[str, Any] | None = None  # the sweep block for run_dag, names `node_id.param`
    after: list[dict[str, Any]] = []  # calls to make once it has run
    assumptions: list[str] = []
    planner: str = "grammar"


def plan(text: str, registry: Registry, *, limits: Limits = DEFAULT_LIMITS) -> Planned | NeedsSpec:
    """The graph that the words ask for, or what is missing."""
    if len(text) > MAX_TEXT:
        why = f"{len(text):,} characters; at most {MAX_TEXT:,} are read."
        return needs_spec([Unparsed(f"{text[:60]}…", why)], [], registry, {})
    request = Request(text)
    search = _Search(request, registry)
    if not request.pieces:
        return needs_spec([Unparsed(text.strip(), "the request is empty.")], [], registry, {})
    if len(request.pieces) > MOST_PIECES or len(request.tokens) > MOST_TOKENS:
        why = f"{len(request.pieces)} clauses, {len(request.tokens)} words; at most {MOST_PIECES} and {MOST_TOKENS} are read."
        return needs_spec([Unparsed(f"{text[:60]}…", why)], request.tokens, registry, {})
    found = search.whole(0, Assembly(registry))
    if found is None:
        partial, defects, nearest = search.pieces()
        spec = partial.spec(request.text) if partial.nodes else {}
        return needs_spec(defects, request.tokens, registry, spec, nearest=nearest)
    return _checked(found, request, registry, limits)


def _checked(found: Assembly, request: Request, registry: Registry, limits: Limits) -> Planned | NeedsSpec:
    spec = found.spec(request.text)
    validation = validate(spec, registry, limits=limits)
    defects = [Unparsed(request.text.strip(), f"{one.message} {one.remedy}") for one in validation.errors]
    block = {"space": found.space} if found.space else None
    defects += [
        Unparsed(request.text.strip(), f"{name} is to be used, but nothing takes it.") for name in found.unused()
    ]
    defects += [
        Unparsed(request.text.strip(), f"{name} is read, but nothing uses it, as something does another file.")
        for name in found.left_over()
    ]
    if not found.nodes:
        defects.append(Unparsed(request.text.strip(), "there is nothing to compute before the report."))
    if block is not None and validation.dag is not None:
        try:
            targets_of(list(read_block(block).space), validation.dag, registry)
        except RequestError as error:
            defects.append(Unparsed(request.text.strip(), str(error)))
    if defects or not validation.ok:
        return needs_spec(defects, request.tokens, registry, spec, nearest=[one.type for one in found.nodes])
    return Planned(spec, block, found.calls, list(dict.fromkeys(found.notes)))


def _open(draft: Draft) -> int:
    """How much a reading leaves open."""
    return sum(len(one.phrase) + 1 for one in draft.problems)


def _names(clause: Clause, node_type: NodeType) -> bool:
    """Whether words ask for the type that do not only ask for a picture or an answer."""
    words = {clause.stems.row[at] for at in evidence(clause, node_type).indices}
    return bool(words - PICTURING_STEMS - ASKING_STEMS)


class _Search:
    """The way through the pieces on which every clause is read; longer clauses are tried before shorter ones."""

    def __init__(self, request: Request, registry: Registry) -> None:
        self.request = request
        self.registry = registry
        self.types: list[NodeType] = [one for one in registry if one.name not in CLOSED]
        self.readings = 0
        self.dead: set[tuple[int, tuple[str, ...]]] = set()

    def whole(self, first: int, state: Assembly) -> Assembly | None:
        """Everything from piece `first` on, or None."""
        pieces = self.request.pieces
        if first >= len(pieces):
            return state
        key = (first, state.key)
        if key in self.dead or self.readings > MOST_READINGS:
            return None
        for last in self.ends(first):
            grown = self.step(first, last, state)
            if grown is None:
                continue
            done = self.whole(last + 1, grown)
            if done is not None:
                return done
        self.dead.add(key)
        return None

    def ends(self, first: int) -> list[int]:
        """Where a clause from `first` may end: first without crossing a firm joint, then across it."""
        pieces = self.request.pieces
        most = min(len(pieces), first + MOST_MERGED)
        firm = next((at for at in range(first + 1, most) if pieces[at].firm), most)
        return [*range(firm - 1, first - 1, -1), *range(firm, most)]

    def step(self, first: int, last: int, state: Assembly) -> Assembly | None:
        """The state with one clause more, or None if it cannot be read."""
        clause = self.request.clause(first, last)
        report = read_report(clause)
        if report is not None:
            return state.with_call(report)
        moved = read_animation(clause, state.nodes)
        if moved is not None:
            return state.with_animation(moved)
        draft = self.best(clause, state)
        if draft is not None:
            return state.with_draft(draft)
        swept = read_sweep(clause, state.nodes)
        return state.with_space(*swept) if swept is not None else self.composed(clause, state)

    def composed(self, clause: Clause, state: Assembly) -> Assembly | None:
        """`an isosurface of the hydrogen 4d orbital`: what stands behind "of" is made first."""
        for at, token in enumerate(clause.tokens):
            if token.low != "of" or not 0 < at < len(clause.tokens) - 1:
                continue
            outer, inner = Clause(clause.source, clause.tokens[:at]), Clause(clause.source, clause.tokens[at + 1 :])
            kinds = [
                one
                for one in self.types
                if evidence(outer, one).indices and any(i.needed for i in entry_of(one.name).inlets)
            ]
            source = self.best(inner, state) if kinds else None
            grown = state.with_draft(source) if source is not None else None
            follower = self.best(outer, grown) if grown is not None else None
            if grown is None or follower is None or follower.type not in kinds or not follower.linked:
                continue
            return grown.with_draft(follower)
        return None

    def drafts(self, clause: Clause, state: Assembly) -> list[Draft]:
        """Every reading of the clause, sound or not."""
        found: list[Draft] = []
        for node_type in self.types:
            inherited = state.last is not None and state.last.name == node_type.name
            draft = read(clause, node_type, state.nodes)
            if draft is None and inherited and clause.tokens:
                draft = read(clause, node_type, state.nodes, inherited=True)
            if draft is not None:
                self.readings += 1
                found.append(draft)
        return found

    def best(self, clause: Clause, state: Assembly) -> Draft | None:
        """The one sound reading; of several the most specific, and none where two are equally so."""
        sound = [one for one in self.drafts(clause, state) if not one.problems]
        if not sound:
            return None
        weights = sorted((weight(one) for one in sound), reverse=True)
        if len(weights) > 1 and weights[0] == weights[1]:
            return None
        return max(sound, key=weight)

    def pieces(self) -> tuple[Assembly, list[Unparsed], list[NodeType]]:
        """What can be read piece by piece, and the defects of the rest."""
        state = Assembly(self.registry)
        defects: list[Unparsed] = []
        nearest: dict[str, NodeType] = {}
        first = 0
        self.readings = 0
        while first < len(self.request.pieces):
            for last in self.ends(first):
                grown = self.step(first, last, state) if self.readings < MOST_READINGS else None
                if grown is not None:
                    state, first = grown, last + 1
                    break
            else:
                last, why, types = self.defects(first, state)
                defects += why
                nearest.update(types)
                first = last + 1
        if not defects:
            defects.append(Unparsed(self.request.text.strip(), "its parts can be read, but not as one whole."))
        return state, defects, list(nearest.values())

    def defects(self, first: int, state: Assembly) -> tuple[int, list[Unparsed], Mapping[str, NodeType]]:
        """The defects of the reading that leaves least open, over the clause up to the next firm joint."""
        pieces = self.request.pieces
        last = next((at - 1 for at in range(first + 1, len(pieces)) if pieces[at].firm), len(pieces) - 1)
        last = min(last, first + MOST_MERGED - 1)
        clause = self.request.clause(first, last)
        drafts = self.drafts(clause, state)
        letters = one_letter_formulas(clause.tokens)
        if letters:
            why = [Unparsed(clause.phrase((at, at + 1)), SECOND_FORMULA) for at in letters]
            return last, why, {}
        sound = [one for one in drafts if not one.problems]
        if len(sound) > 1:
            names = " or ".join(sorted(one.type.name for one in sound))
            why = [Unparsed(clause.text, f"it may be {names}; say which.")]
            return last, why, {one.type.name: one.type for one in sound}
        if not drafts:
            return last, [Unparsed(clause.text, "no node type answers to these words.")], {}
        measured = any(one.unit or one.kind in ("line", "quote") for one in clause.tokens)
        asked = [one for one in drafts if measured or one.inherited or evidence(clause, one.type).indices]
        if not asked:
            return last, [Unparsed(clause.text, "no node type answers to these words.")], {}
        asked.sort(key=lambda one: (_open(one), tuple(-n for n in weight(one)), one.type.name))
        if any(one.phrase == clause.text for one in asked[0].problems):  # it lacks something: who is called by name?
            asked.sort(key=lambda one: not _names(clause, one.type))
        drafts = asked
        best = drafts[0]
        return (
            last,
            best.problems or [Unparsed(clause.text, "not understood.")],
            {one.type.name: one.type for one in drafts[:3]},
        )
