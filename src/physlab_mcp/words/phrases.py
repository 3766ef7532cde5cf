"""Words compared by their stems, phrases found in a clause, and the words that carry no meaning of their own."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from physlab_mcp.words.tokens import Token

# Small words. Words that turn a meaning round (not, without, no, except, instead) are no small words.
SMALL = frozenset(
    [
        "a",
        "an",
        "the",
        "of",
        "in",
        "for",
        "to",
        "me",
        "us",
        "my",
        "our",
        "please",
        "can",
        "could",
        "would",
        "you",
        "i",
        "we",
        "is",
        "are",
        "be",
        "was",
        "were",
        "what",
        "which",
        "how",
        "that",
        "this",
        "these",
        "those",
        "with",
        "and",
        "at",
        "by",
        "on",
        "as",
        "it",
        "its",
        "from",
        "into",
        "onto",
        "using",
        "use",
        "used",
        "then",
        "there",
        "have",
        "has",
        "do",
        "does",
        "did",
        "will",
        "so",
        "also",
        "i'd",
        "i'll",
        "i'm",
        "let",
        "let's",
        "whose",
        "where",
        "when",
        "through",
        "over",
        "along",
        "via",
        "upon",
        "against",
        "between",
        ",",
        ":",
        ".",
        "?",
        "!",
        ";",
        "+",
        "here",
        "about",
        "some",
        "them",
        "they",
        "their",
        "itself",
        "within",
        "across",
        "whether",
        "both",
        "per",
        "each",
        "every",
        "such",
        "just",
        "simply",
        "kindly",
    ]
)
# Asking for something, whatever it is.
ASKING = frozenset(
    [
        "compute",
        "calculate",
        "find",
        "determine",
        "work",
        "out",
        "get",
        "give",
        "show",
        "tell",
        "present",
        "make",
        "create",
        "produce",
        "generate",
        "run",
        "perform",
        "carry",
        "take",
        "look",
        "up",
        "want",
        "need",
        "like",
        "see",
        "help",
        "mind",
        "obtain",
        "estimate",
        "provide",
        "return",
        "list",
        "print",
        "display",
        "answer",
        "know",
        "set",
        "build",
        "prepare",
        "do",
        "now",
        "happens",
        "happen",
        "first",
        "firstly",
        "finally",
        "value",
        "values",
        "result",
        "results",
        "output",
        "lie",
        "lies",
        "equal",
        "equals",
        "much",
        "many",
        "long",
    ]
)
# Asking for a picture.
PICTURING = frozenset(
    [
        "plot",
        "draw",
        "show",
        "sketch",
        "graph",
        "visualize",
        "visualise",
        "display",
        "picture",
        "image",
        "figure",
        "figures",
        "plots",
        "drawing",
        "graphs",
        "illustrate",
        "render",
        "chart",
        "diagram",
        "look",
        "view",
    ]
)
# Words that point back.
POINTING = frozenset(
    [
        "it",
        "its",
        "this",
        "that",
        "them",
        "their",
        "those",
        "these",
        "result",
        "results",
        "data",
        "output",
        "outcome",
        "same",
    ]
)

_ENDINGS = ((r"isation$", "ization"), (r"ise$", "ize"), (r"yse$", "yze"), (r"colour", "color"), (r"centre", "center"))


@lru_cache(maxsize=4096)
def stem(word: str) -> str:
    """The word without its ending, so that `levels`, `level`, `evolving` and `evolve` compare equal."""
    word = word.lower()
    if len(word) < 4 or not word.isalpha():
        return word
    for pattern, better in _ENDINGS:
        word = re.sub(pattern, better, word)
    if word.endswith("ies") and len(word) > 4:
        word = word[:-3] + "y"
    elif word.endswith(("sses", "xes", "shes", "ches")):
        word = word[:-2]
    elif word.endswith("s") and not word.endswith(("ss", "us", "is")):
        word = word[:-1]
    for ending in ("ing", "ed"):
        if word.endswith(ending) and len(word) - len(ending) >= 4:
            word = word[: -len(ending)]
            break
    return word[:-1] if word.endswith("e") and len(word) > 4 else word


SMALL_STEMS = frozenset(stem(word) for word in SMALL)
ASKING_STEMS = frozenset(stem(word) for word in ASKING)
PICTURING_STEMS = frozenset(stem(word) for word in PICTURING)


@lru_cache(maxsize=4096)
def stems_of(phrase: str) -> tuple[str, ...]:
    """A phrase as stems; hyphens and underscores part words."""
    return tuple(stem(word) for word in re.split(r"[\s_-]+", phrase.strip()) if word)


def stem_at(token: Token) -> str | None:
    """What a token compares as: words, and things like `3d` and `H-alpha` that words may name too."""
    if token.kind == "word":
        return stem(token.low)
    return token.low if token.kind in ("state", "line") else None


class Stems:
    """The stems of some tokens, and where each stands."""

    def __init__(self, tokens: Sequence[Token]) -> None:
        self.row = tuple(stem_at(token) for token in tokens)
        self.places: dict[str, list[int]] = {}
        for at, one in enumerate(self.row):
            if one is not None:
                self.places.setdefault(one, []).append(at)

    def find(self, phrase: tuple[str, ...]) -> list[tuple[int, ...]]:
        """Where the stems of a phrase stand side by side: the indices of each occurrence."""
        size = len(phrase)
        starts = self.places.get(phrase[0], ()) if phrase else ()
        return [tuple(range(at, at + size)) for at in starts if self.row[at : at + size] == phrase]
