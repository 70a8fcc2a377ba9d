"""Sentences taken apart."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ws3d_ros.language.questions import (
    COLORS,
    MOST_CHARACTERS,
    NEED_A_VIEWER,
    RELATIONS,
    Phrase,
    QuestionError,
    Relation,
    is_use,
    nouns,
    parse,
    without_viewer,
)


def place(kind: str, words: str, *landmarks: Phrase) -> Relation:
    return Relation(kind, words, landmarks)


WINDOW, TABLE = Phrase("window"), Phrase("table")


@pytest.mark.parametrize(
    ("text", "target"),
    [
        (
            "Where is the red mug near the window?",
            Phrase("mug", ("red",), (), (place("near", "near", WINDOW),)),
        ),
        ("chair left of the table", Phrase("chair", relations=(place("left of", "left of", TABLE),))),
        ("lamp on the desk", Phrase("lamp", relations=(place("on", "on", Phrase("desk")),))),
        ("something to sit on", Phrase("something to sit on")),
        (
            "something to sit on near the window",
            Phrase("something to sit on", relations=(place("near", "near", WINDOW),)),
        ),
        (
            "something to drink from on the table",
            Phrase("something to drink from", relations=(place("on", "on", TABLE),)),
        ),
        (
            "plant between the sofa and the table",
            Phrase("plant", relations=(place("between", "between", Phrase("sofa"), TABLE),)),
        ),
        (
            "book on the table near the window",
            Phrase(
                "book",
                relations=(place("on", "on", Phrase("table", relations=(place("near", "near", WINDOW),))),),
            ),
        ),
        (
            "big gray cabinet next to the table and under the window",
            Phrase(
                "cabinet",
                ("grey",),
                ("large",),
                (place("next to", "next to", TABLE), place("under", "under", WINDOW)),
            ),
        ),
        ("an orange", Phrase("orange")),
        ("the orange chair", Phrase("chair", ("orange",))),
        ("a chair that is red", Phrase("chair", ("red",))),
        ("something red", Phrase("something", ("red",))),
        ("red", Phrase("thing", ("red",))),
    ],
)
def test_sentences_are_understood(text: str, target: Phrase) -> None:
    question = parse(text)
    assert question.target == target
    assert question.not_understood == ()


@pytest.mark.parametrize(
    ("text", "lost", "noun"),
    [
        ("two chairs", "two", "chairs"),
        ("dark red chair", "dark", "chair"),
        ("the biggest bed", "biggest", "bed"),
    ],
)
def test_what_is_not_understood_is_said(text: str, lost: str, noun: str) -> None:
    question = parse(text)
    assert question.not_understood == (lost,)
    assert question.target.noun == noun


@pytest.mark.parametrize("text", ["", "  ?", "the", "where is the", "not", "x" * (MOST_CHARACTERS + 1)])
def test_nothing_to_look_for_is_refused(text: str) -> None:
    with pytest.raises(QuestionError, match=r"ask (such as|with)"):
        parse(text)


def test_sides_need_a_viewer_also_in_landmarks() -> None:
    question = without_viewer(parse("lamp on the table left of the sofa"))
    assert question.target == Phrase("lamp", relations=(place("on", "on", TABLE),))
    assert question.not_understood == ("left of sofa (seen from where?)",)
    assert set(RELATIONS.values()) >= NEED_A_VIEWER


def test_uses_are_told_from_nouns() -> None:
    assert is_use("something to sit on")
    assert is_use("what gives light")
    assert not is_use("coffee mug")


def test_nouns_of_landmarks_come_once() -> None:
    assert nouns(parse("book between the lamp and the lamp near the book").target) == ["book", "lamp"]


WORDS = st.sampled_from(
    [*RELATIONS, *COLORS, "between", "and", "the", "chair", "to sit", "big", "not", "mug", "é", "'", "-"]
)


@settings(max_examples=200, deadline=None)
@given(st.lists(WORDS, max_size=12))
def test_any_order_of_words_ends_in_a_phrase_or_a_refusal(words: list[str]) -> None:
    try:
        question = parse(" ".join(words))
    except QuestionError:
        return
    assert all(nouns(question.target))
