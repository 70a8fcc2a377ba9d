"""Questions in plain words, taken apart: what is asked for, its colours and sizes, and where it is.

    question = [opening] phrase
    phrase   = [article] {colour | size} noun {relation}
    relation = ["and"] WORDS phrase            such as "near the window", "on the desk"
             | "between" phrase "and" phrase

The noun is all that is left, and goes to the text encoders as it is: "mug", "coffee mug" and "something
to sit on" alike. A relation belongs to the noun right before it. Words that change a meaning in ways that
nobody here follows (negations, numbers, comparisons) are taken out and named in ``not_understood``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

MOST_CHARACTERS = 300


class QuestionError(ValueError):
    """A question without anything to look for. The message says what to do."""


@dataclass(frozen=True)
class Relation:
    """Where something is.

    Attributes:
        kind: one of the values of ``RELATIONS``, or ``between``.
        words: as they stand in the sentence.
        landmarks: one phrase; two for ``between``.
    """

    kind: str
    words: str
    landmarks: tuple[Phrase, ...]


@dataclass(frozen=True)
class Phrase:
    """A thing in words.

    Attributes:
        noun: what it is or is for, for a text encoder.
        colors: of ``COLORS``, as the table spells them.
        sizes: of ``SIZES``, as the table spells them.
        relations: all of which must hold.
    """

    noun: str
    colors: tuple[str, ...] = ()
    sizes: tuple[str, ...] = ()
    relations: tuple[Relation, ...] = ()


@dataclass(frozen=True)
class Question:
    """A sentence taken apart; ``not_understood`` has the words that were left out, in order."""

    text: str
    target: Phrase
    not_understood: tuple[str, ...] = ()


RELATIONS = {
    "near": "near",
    "close to": "near",
    "by": "near",
    "around": "near",
    "next to": "next to",
    "beside": "next to",
    "besides": "next to",
    "at": "next to",
    "on": "on",
    "on top of": "on",
    "standing on": "on",
    "lying on": "on",
    "under": "under",
    "underneath": "under",
    "beneath": "under",
    "below": "under",
    "above": "above",
    "over": "above",
    "left of": "left of",
    "to the left of": "left of",
    "on the left of": "left of",
    "right of": "right of",
    "to the right of": "right of",
    "on the right of": "right of",
    "in front of": "in front of",
    "behind": "behind",
    "in": "in",
    "inside": "in",
    "inside of": "in",
}
"""Words to kinds of relation."""

NEED_A_VIEWER = frozenset({"left of", "right of", "in front of", "behind"})
"""A map has no left or right by itself: these are as somebody sees it."""

COLORS = {
    name: name
    for name in ("black", "white", "red", "green", "yellow", "blue", "brown", "orange", "pink", "purple")
} | {"grey": "grey", "gray": "grey", "violet": "purple"}
"""The basic colour terms of English (Berlin and Kay, 1969), and other spellings."""
SHADES = frozenset({"light", "dark", "bright", "pale", "deep"})
"""Before a colour these are taken out: lighting changes a voxel by more than they mean."""

SIZES = {
    **dict.fromkeys(("big", "large", "huge"), "large"),
    **dict.fromkeys(("small", "little", "tiny"), "small"),
    "tall": "tall",
    **dict.fromkeys(("low", "short"), "low"),
}

_OPENING = re.compile(
    r"^(?:please |could you |can you |would you |robot,? )*"
    r"(?:(?:where(?:'s| is| are| can i find)|find|show|bring|fetch|get|give|go to|look for|search for|"
    r"i need|i want|i am looking for|is there|are there|what is|which is) )?(?:me )?"
)
_ARTICLE = re.compile(r"^(?:(?:the|a|an|some|any|my|your|our|his|her|their|this|that|these|those) )+")
_NOT_FOLLOWED = re.compile(
    r"\b(?:not|no|without|except|other than|instead of|nearest|closest|farthest|furthest|biggest|largest|"
    r"smallest|tallest|lowest|first|second|third|last|two|three|four|five|all|every|each|both|another|only|bigger|"
    r"smaller|larger|taller|than|most|least|very)\b"
)
_USE = re.compile(r"\b(?:to|can|i|you) [a-z]+ $")
"""Before a preposition: that belongs to the verb, as in "something to sit on"."""
_COPULA = re.compile(r" (?:that|which)(?: is| are|'s)$")
_MARKS = re.compile(r"(?<!\w)(?:between|" + "|".join(sorted(RELATIONS, key=len, reverse=True)) + r")(?!\w)")


def parse(text: str) -> Question:
    """A sentence taken apart.

    Raises:
        QuestionError: if nothing is left to look for, or it is longer than ``MOST_CHARACTERS``.
    """
    if len(text) > MOST_CHARACTERS:
        raise QuestionError(f"a question of {len(text)} characters; ask with at most {MOST_CHARACTERS}")
    words = " ".join(re.sub(r"[^\w' -]", " ", text.lower()).split())
    words = _OPENING.sub("", words, count=1)
    lost = _NOT_FOLLOWED.findall(words)
    target, unread = _phrase(" ".join(_NOT_FOLLOWED.sub(" ", words).split()))
    if not target.noun:
        raise QuestionError(
            f"'{text}' names nothing to look for; ask such as 'the red mug near the window' or "
            "'something to sit on'"
        )
    return Question(text, target, (*lost, *unread))


def without_viewer(question: Question) -> Question:
    """The question without relations that need to know where somebody looks from; these are not
    understood then."""
    lost: list[str] = []

    def strip(phrase: Phrase) -> Phrase:
        kept: list[Relation] = []
        for relation in phrase.relations:
            if relation.kind in NEED_A_VIEWER:
                lost.append(f"{relation.words} {relation.landmarks[0].noun} (seen from where?)")
            else:
                kept.append(replace(relation, landmarks=tuple(strip(mark) for mark in relation.landmarks)))
        return replace(phrase, relations=tuple(kept))

    target = strip(question.target)
    return replace(question, target=target, not_understood=(*question.not_understood, *lost))


def is_use(noun: str) -> bool:
    """Whether a noun tells what a thing is for, as "something to sit on", or does, as "what gives light"."""
    return re.search(r"\b(?:to|that|which|what|where|for)\b .", noun) is not None


def nouns(phrase: Phrase) -> list[str]:
    """All that must be encoded: the noun of a phrase and of its landmarks, each once."""
    found = [phrase.noun]
    for relation in phrase.relations:
        for landmark in relation.landmarks:
            found += nouns(landmark)
    return list(dict.fromkeys(found))


def _phrase(words: str) -> tuple[Phrase, list[str]]:
    """A phrase with its relations, and what was not understood in it."""
    mark = _first_mark(words)
    if mark is None:
        return _thing(words)
    thing, lost = _thing(words[: mark.start()])
    kind, rest = mark.group(), words[mark.end() :]
    siblings = _split_siblings(rest, kind == "between")
    landmarks, relations = [], []
    for part in siblings.landmarks:
        landmark, unread = _phrase(part)
        lost += unread
        landmarks.append(landmark)
    if not all(landmark.noun for landmark in landmarks) or (kind == "between" and len(landmarks) < 2):
        lost.append(f"{kind} {rest.strip()}")
    else:
        name = "between" if kind == "between" else RELATIONS[kind]
        relations.append(Relation(name, kind, tuple(landmarks)))
    if siblings.more:
        more, unread = _phrase(f"{thing.noun} {siblings.more}")
        relations += more.relations
        lost += unread
    return replace(thing, relations=tuple(relations)), lost


def _first_mark(words: str) -> re.Match[str] | None:
    """The first words of a relation that have a noun before them and one behind."""
    for mark in _MARKS.finditer(words):
        before, behind = words[: mark.start()], words[mark.end() :].strip()
        # "something to sit on": the preposition belongs to the verb; so it does before another preposition.
        if not _ARTICLE.sub("", before).strip() or not behind or _MARKS.match(behind):
            continue
        if _USE.search(before):
            continue
        return mark
    return None


@dataclass(frozen=True)
class _Siblings:
    landmarks: Sequence[str]
    more: str = ""


def _split_siblings(words: str, between: bool) -> _Siblings:
    """The landmarks that follow a relation, and further relations of the same thing behind an "and"."""
    parts = re.split(r" and ", words)
    landmarks = [parts.pop(0)]
    if between and parts:
        landmarks.append(parts.pop(0))
    return _Siblings([part.strip() for part in landmarks], " and ".join(parts).strip())


def _thing(words: str) -> tuple[Phrase, list[str]]:
    """A phrase without relations, and what was not understood in it."""
    colors, sizes, lost = [], [], []
    kept: list[str] = []
    tokens = _ARTICLE.sub("", words.strip() + " ").split()
    for i, token in enumerate(tokens):
        following = tokens[i + 1] if i + 1 < len(tokens) else ""
        if token in SHADES and following in COLORS:
            lost.append(token)
        elif token in COLORS and (following or token != "orange"):  # the fruit
            colors.append(COLORS[token])
        elif token in SIZES and following:
            sizes.append(SIZES[token])
        elif token == "and" and (not following or following in COLORS or not kept):
            continue
        else:
            kept.append(token)
    noun = _COPULA.sub("", " ".join(kept))
    return Phrase(noun or ("thing" if colors else ""), tuple(colors), tuple(sizes)), lost
