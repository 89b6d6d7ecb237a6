"""Which submissions of a class are nearly the same, but for what most of them have in common."""

from __future__ import annotations

import io
import keyword
import math
import token
import tokenize
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations

__all__ = ["alike"]

GRAM = 5  # tokens in a row
LEAST = 0.8  # of what two have, that both must have
MOST = 20  # pairs that are told


def alike(sources: Mapping[str, bytes]) -> list[tuple[float, str, str]]:
    """(how much of it they share, one, the other) of the pairs that share most, the most first.

    Rows of tokens are compared, comments among them, once with the names and once without. A row counts the
    more, the fewer submissions have it: what was handed out, and what there is but one way to write, counts
    little.
    """
    grams = {name: set(_grams(data)) for name, data in sources.items()}
    number = Counter(g for of in grams.values() for g in of)
    weight = {g: math.log((len(grams) + 1) / n) for g, n in number.items()}

    def size(of: set[tuple[str, ...]]) -> float:
        return math.fsum(weight[g] for g in sorted(of))

    sizes = {name: size(of) for name, of in grams.items()}
    found = []
    for a, b in combinations(grams, 2):
        if min(sizes[a], sizes[b]) < LEAST * max(sizes[a], sizes[b]) or not sizes[a]:
            continue
        both = size(grams[a] & grams[b])
        if (share := both / (sizes[a] + sizes[b] - both)) >= LEAST:
            found.append((share, a, b))
    return sorted(found, key=lambda row: (-row[0], *row[1:]))[:MOST]


def _grams(data: bytes) -> Iterator[tuple[str, ...]]:
    words = list(_words(data))
    for some in (words, [_nameless(w) for w in words]):
        yield from _rows(some)


def _rows(words: Sequence[str]) -> Iterator[tuple[str, ...]]:
    for i in range(len(words) - GRAM + 1):
        yield tuple(words[i : i + GRAM])


def _nameless(word: str) -> str:
    return "name" if word.isidentifier() and not keyword.iskeyword(word) else word


def _words(data: bytes) -> Iterator[str]:
    """The tokens of a file, as far as it can be read, without the spaces between them."""
    spaces = (token.NL, token.NEWLINE, token.INDENT, token.DEDENT, token.ENCODING, token.ENDMARKER)
    try:
        for t in tokenize.tokenize(io.BytesIO(data).readline):
            if t.type not in spaces:
                yield " ".join(t.string.split())
    except (tokenize.TokenError, SyntaxError, ValueError):
        return
