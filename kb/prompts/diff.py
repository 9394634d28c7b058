"""What changed between two texts, in words, so that a person can read it.

The texts are compared as lists of words, spaces and punctuation marks with the edit distance of
rapidfuzz, and neighbouring changes are joined to whole phrases: reading the pieces of one colour
gives sentences, not confetti.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from rapidfuzz.distance import Levenshtein

MOST_CELLS = 100_000_000
"""Product of the two lengths, in tokens, compared at once: some 25 MB and 10 ms.

Two texts of 10,000 tokens (about 45,000 characters) that differ from end to end still fit.
"""
LONGEST_BRIDGE_WORDS = 2
"""An unchanged stretch of so few words between two longer changes is read as part of them."""
CONTEXT_WORDS = 12
"""Unchanged words kept on each side of a change: about one line."""
FEWEST_HIDDEN_WORDS = 8
"""Folding away less than this hides more than it clears."""

# Chinese and Japanese are written without spaces: there each sign is a word. Combining accents
# belong to their letter.
_TOKEN = re.compile(
    "[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]"
    "|(?:(?![\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff])\\w[\u0300-\u036f]*)+"
    r"|\n|[^\S\n]+|[^\w\s]"
)
_LINE = re.compile(r"[^\n]*\n|[^\n]+")


@dataclass(frozen=True)
class Piece:
    """A stretch of text that both versions have, only the new one, or only the old one."""

    op: Literal["same", "insert", "delete"]
    text: str


@dataclass(frozen=True)
class Folded:
    """A long unchanged stretch left out of the view; `text` is what it hides."""

    words_hidden: int
    text: str


@dataclass(frozen=True)
class Diff:
    """`pieces` in reading order, a deletion before the insertion that takes its place.

    `same` and `delete` joined are the old text, `same` and `insert` the new one. `coarse` tells
    that the texts were too long and too different to compare every word: some changes then show
    whole lines.
    """

    pieces: tuple[Piece, ...]
    coarse: bool = False


class _Block(NamedTuple):
    """A run of tokens, equal on both sides when `is_same`."""

    is_same: bool
    old: list[str]
    new: list[str]


def word_diff(old: str, new: str) -> Diff:
    """The difference of two texts, in time bounded by their lengths (see MOST_CELLS)."""
    before, after = _TOKEN.findall(old), _TOKEN.findall(new)
    head = _common_length(before, after)
    tail = _common_length(before[head:][::-1], after[head:][::-1])
    middle_before = before[head : len(before) - tail]
    middle_after = after[head : len(after) - tail]
    if _cells(middle_before, middle_after) <= MOST_CELLS:
        middle, coarse = _compare(middle_before, middle_after), False
    else:
        middle, coarse = _compare_lines("".join(middle_before), "".join(middle_after))
    ends = before[len(before) - tail :]
    blocks = [_Block(True, before[:head], before[:head]), *middle, _Block(True, ends, ends)]
    return Diff(tuple(_pieces(_phrases(_merged(blocks)))), coarse)


def summary(pieces: Iterable[Piece]) -> tuple[int, int]:
    """How many words the insertions and the deletions hold: (added, removed)."""
    counts = {"same": 0, "insert": 0, "delete": 0}
    for piece in pieces:
        counts[piece.op] += _count_words(_TOKEN.findall(piece.text))
    return counts["insert"], counts["delete"]


def fold(pieces: Sequence[Piece], context_words: int = CONTEXT_WORDS) -> list[Piece | Folded]:
    """The pieces with long unchanged stretches replaced by Folded.

    Around each change at least `context_words` words stay, and the rest of their line when it is
    not much longer.
    """
    folded: list[Piece | Folded] = []
    for index, piece in enumerate(pieces):
        if piece.op != "same":
            folded.append(piece)
            continue
        start = _end_of_context(piece.text, context_words) if index > 0 else 0
        end = len(piece.text)
        if index < len(pieces) - 1:
            end -= _end_of_context(piece.text[::-1], context_words)
        hidden = piece.text[start:end] if start < end else ""
        count = _count_words(_TOKEN.findall(hidden))
        if count < FEWEST_HIDDEN_WORDS:
            folded.append(piece)
            continue
        parts = (
            Piece("same", piece.text[:start]),
            Folded(count, hidden),
            Piece("same", piece.text[end:]),
        )
        folded += [part for part in parts if part.text]
    return folded


def _end_of_context(text: str, words: int) -> int:
    """Where the first `words` words end, or their line when that comes within as many again.

    Called on the reversed text for the context in front of a change.
    """
    end = 0
    for count, token in enumerate((t for t in _TOKEN.finditer(text) if _is_word(t[0])), start=1):
        if count > 2 * words:
            return end
        newline = text.find("\n", end, token.start()) if count > words else -1
        if newline >= 0:
            return newline
        if count <= words:
            end = token.end()
    newline = text.find("\n", end)
    return newline if newline >= 0 else len(text)


def _common_length(left: Sequence[str], right: Sequence[str]) -> int:
    length = 0
    for one, other in zip(left, right, strict=False):
        if one != other:
            break
        length += 1
    return length


def _cells(old: Sequence[str], new: Sequence[str]) -> int:
    return len(old) * len(new)


def _compare(old: list[str], new: list[str]) -> list[_Block]:
    """The blocks two token lists share and differ in."""
    # Numbers, not words: rapidfuzz compares hashes, and two words may share one.
    numbers: dict[str, int] = {}
    coded = [[numbers.setdefault(token, len(numbers)) for token in tokens] for tokens in (old, new)]
    return [
        _Block(
            code.tag == "equal",
            old[code.src_start : code.src_end],
            new[code.dest_start : code.dest_end],
        )
        for code in Levenshtein.opcodes(*coded)
    ]


def _compare_lines(old: str, new: str) -> tuple[list[_Block], bool]:
    """Compare whole lines, then the words of changed lines while they are few enough.

    The second value tells whether some lines were too many for that.
    """
    before, after = _LINE.findall(old), _LINE.findall(new)
    if _cells(before, after) > MOST_CELLS:
        return [_Block(False, [old], [new])], True
    blocks: list[_Block] = []
    coarse = False
    left = MOST_CELLS
    for block in _merged(_compare(before, after)):
        if block.is_same:
            blocks.append(block)
            continue
        words = [_TOKEN.findall("".join(lines)) for lines in (block.old, block.new)]
        left -= _cells(*words)
        if left >= 0:
            blocks += _compare(*words)
        else:
            left += _cells(*words)
            blocks.append(block)
            coarse = True
    return blocks, coarse


def _merged(blocks: Iterable[_Block]) -> list[_Block]:
    """Neighbouring blocks of one kind joined, so that kinds alternate."""
    merged: list[_Block] = []
    for block in blocks:
        if not block.old and not block.new:
            continue
        if merged and merged[-1].is_same == block.is_same:
            last = merged.pop()
            block = _Block(block.is_same, last.old + block.old, last.new + block.new)  # noqa: PLW2901
        merged.append(block)
    return merged


def _phrases(blocks: Sequence[_Block]) -> list[_Block]:
    """Alternating blocks with short unchanged ones taken into the changes around them."""
    phrases: list[_Block] = []
    for index, block in enumerate(blocks):
        is_bridge = (
            block.is_same
            and 0 < index < len(blocks) - 1
            and _is_bridge(block.old, phrases[-1], blocks[index + 1])
        )
        if phrases and (is_bridge or not (block.is_same or phrases[-1].is_same)):
            last = phrases.pop()
            phrases.append(_Block(False, last.old + block.old, last.new + block.new))
        else:
            phrases.append(block)
    return phrases


def _is_bridge(tokens: Sequence[str], before: _Block, after: _Block) -> bool:
    """Whether unchanged `tokens` only hold two changes apart.

    Spaces and punctuation always do; a few words do when both changes are longer. A line break
    never does: changed lines are read one by one.
    """
    if "\n" in tokens:
        return False
    words = _count_words(tokens)
    length = sum(map(len, tokens))
    is_outweighed = min(_length(before), _length(after)) >= length
    return words == 0 or (words <= LONGEST_BRIDGE_WORDS and is_outweighed)


def _length(block: _Block) -> int:
    return max(sum(map(len, block.old)), sum(map(len, block.new)))


def _pieces(blocks: Iterable[_Block]) -> Iterable[Piece]:
    for block in blocks:
        if block.is_same:
            yield Piece("same", "".join(block.old))
            continue
        if block.old:
            yield Piece("delete", "".join(block.old))
        if block.new:
            yield Piece("insert", "".join(block.new))


def _count_words(tokens: Iterable[str]) -> int:
    return sum(_is_word(token) for token in tokens)


def _is_word(token: str) -> bool:
    return token[0].isalnum() or token[0] == "_"
