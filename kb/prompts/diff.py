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
        words = [token.span() for token in _TOKEN.finditer(piece.text) if _is_word(token[0])]
        start = _end_of_head(piece.text, words, context_words) if index > 0 else 0
        is_last = index == len(pieces) - 1
        end = len(piece.text) if is_last else _start_of_tail(piece.text, words, context_words)
        hidden = sum(start <= first and last <= end for first, last in words)
        if hidden < FEWEST_HIDDEN_WORDS:
            folded.append(piece)
            continue
        head, tail = Piece("same", piece.text[:start]), Piece("same", piece.text[end:])
        middle = Folded(hidden, piece.text[start:end])
        folded += [part for part in (head, middle, tail) if part.text]
    return folded


def _end_of_head(text: str, words: Sequence[tuple[int, int]], count: int) -> int:
    """Where the first `count` words end, or their line when that is at most as many words away."""
    if len(words) <= count:
        return len(text)
    end = words[count - 1][1] if count else 0
    farthest = words[2 * count][0] if 2 * count < len(words) else len(text)
    newline = text.find("\n", end, farthest)
    return newline if newline >= 0 else end


def _start_of_tail(text: str, words: Sequence[tuple[int, int]], count: int) -> int:
    """Where the last `count` words begin, or their line when that is at most as many words away."""
    if len(words) <= count:
        return 0
    start = words[-count][0] if count else len(text)
    farthest = words[-2 * count - 1][1] if 2 * count < len(words) else 0
    newline = text.rfind("\n", farthest, start)
    return newline + 1 if newline >= 0 else start


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
        return [_Block(False, _TOKEN.findall(old), _TOKEN.findall(new))], True
    blocks: list[_Block] = []
    coarse = False
    left = MOST_CELLS
    for lines in _merged(_compare(before, after)):
        words = _Block(
            lines.is_same, _TOKEN.findall("".join(lines.old)), _TOKEN.findall("".join(lines.new))
        )
        cost = _cells(words.old, words.new)
        if words.is_same:
            blocks.append(words)
        elif cost <= left:
            blocks += _compare(words.old, words.new)
            left -= cost
        else:
            blocks.append(words)
            coarse = True
    return blocks, coarse


def _merged(blocks: Iterable[_Block]) -> list[_Block]:
    """Neighbouring blocks of one kind joined, so that kinds alternate."""
    merged: list[_Block] = []
    for block in blocks:
        if block.old or block.new:
            _append(merged, block, joined=bool(merged) and merged[-1].is_same == block.is_same)
    return merged


def _phrases(blocks: Sequence[_Block]) -> list[_Block]:
    """Alternating blocks with short unchanged ones taken into the changes around them."""
    phrases: list[_Block] = []
    for index, block in enumerate(blocks):
        if not phrases or phrases[-1].is_same:
            is_joined = False
        elif block.is_same:
            is_joined = index < len(blocks) - 1 and _is_bridge(
                block.old, phrases[-1], blocks[index + 1]
            )
        else:
            is_joined = True
        _append(phrases, block, joined=is_joined)
    return phrases


def _append(blocks: list[_Block], block: _Block, *, joined: bool) -> None:
    """Add a copy of `block`, to the last one when `joined`."""
    if joined:
        # In place: a copy for each of thousands of small changes would take quadratic time.
        blocks[-1].old.extend(block.old)
        blocks[-1].new.extend(block.new)
    else:
        blocks.append(_Block(block.is_same, [*block.old], [*block.new]))


def _is_bridge(tokens: Sequence[str], before: _Block, after: _Block) -> bool:
    """Whether unchanged `tokens` only hold two changes apart.

    Spaces and punctuation always do; a few words do when both changes are longer. A line break
    never does: changed lines are read one by one.
    """
    words = _count_words(tokens)
    if words > LONGEST_BRIDGE_WORDS or "\n" in tokens:
        return False
    length = sum(map(len, tokens))
    return words == 0 or (_is_as_long(before, length) and _is_as_long(after, length))


def _is_as_long(block: _Block, length: int) -> bool:
    """Whether one side of `block` has `length` characters; no token is empty."""
    return max(sum(map(len, side[:length])) for side in (block.old, block.new)) >= length


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
