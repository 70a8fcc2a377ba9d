"""Vocabularies: shipped ones are sound, words find what is known of them, faults are named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ws3d_ros import resources
from ws3d_ros.language.vocabulary import (
    LONGEST_NAME,
    MAX_NAMES,
    Vocabulary,
    VocabularyError,
    color_of,
    shipped_names,
    shipped_words,
)

WORDS = st.lists(st.text(alphabet="abcdefghij", min_size=1, max_size=8), min_size=1, max_size=20, unique=True)


def test_shipped_names() -> None:
    assert {"indoor", "outdoor", "scannet20", "ade20k"} <= set(shipped_names())


@pytest.mark.parametrize("name", shipped_names())
def test_shipped_vocabularies_tell_their_labels_apart(name: str) -> None:
    vocabulary = Vocabulary.load(name)
    colors = {tuple(color) for color in vocabulary.colors.tolist()} | {vocabulary.unknown_color}
    assert len(colors) == len(vocabulary) + 1
    taken = [word.lower() for word in vocabulary.names]
    for synonyms in vocabulary.synonyms:
        assert not {synonym.lower() for synonym in synonyms} & set(taken)
    spelled = [synonym.lower() for synonyms in vocabulary.synonyms for synonym in synonyms]
    assert len(spelled) == len(set(spelled)), "two names share a synonym"


def test_benchmarks_have_their_number_of_classes() -> None:
    assert len(Vocabulary.load("scannet20")) == 20
    assert len(Vocabulary.load("ade20k")) == 150


def test_floors_and_roads_can_be_crossed_and_walls_not() -> None:
    indoor, outdoor = Vocabulary.load("indoor"), Vocabulary.load("outdoor")
    for vocabulary, name, role in [
        (indoor, "floor", "traversable"),
        (indoor, "wall", "obstacle"),
        (indoor, "cup", "target"),
        (outdoor, "road", "traversable"),
        (outdoor, "car", "obstacle"),
    ]:
        assert vocabulary.roles[vocabulary.names.index(name)] == role


@given(WORDS)
def test_words_with_commas(words: list[str]) -> None:
    vocabulary = Vocabulary.load(" ,  ".join(words) + ", zzz")
    assert vocabulary.names == (*words, "zzz")
    assert vocabulary.colors.shape == (len(words) + 1, 3)
    assert vocabulary.colors.dtype == np.uint8


def test_plain_words_take_over_what_is_known_of_them() -> None:
    vocabulary = Vocabulary.load("floor, couch, flux capacitor")
    assert vocabulary.roles == ("traversable", "obstacle", "obstacle")
    assert "sofa" in vocabulary.synonyms[1]
    assert "couch" not in vocabulary.synonyms[1]
    assert vocabulary.synonyms[2] == ()


def test_a_word_of_the_vocabulary_is_nobodys_synonym() -> None:
    vocabulary = Vocabulary.load("rug, carpet, sofa")
    assert "carpet" not in vocabulary.synonyms[0]
    assert "rug" not in vocabulary.synonyms[1]


@given(WORDS, st.randoms())
def test_a_word_keeps_its_color_in_any_company(words: list[str], random: object) -> None:
    shuffled = list(words)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    one, other = Vocabulary.of(words), Vocabulary.of([*shuffled, "zzz"])
    for name in words:
        color = one.colors[one.names.index(name)]
        assert (color == other.colors[other.names.index(name)]).all()


def test_made_colors_are_bright_and_mostly_distinct() -> None:
    colors = {color_of(word) for word in shipped_words()}
    assert len(colors) > 0.98 * len(shipped_words())
    # value is at least 0.6 of 255
    assert min(max(color) for color in colors) >= 152


def test_a_file(tmp_path: Path) -> None:
    path = tmp_path / "lab.yaml"
    path.write_text(
        "background: [sky]\nunknown_color: [1, 2, 3]\n"
        "entries:\n- robot arm\n"
        "- {name: bench, synonyms: [workbench], color: [9, 8, 7], cost: 0.5, role: target}\n"
    )
    vocabulary = Vocabulary.load(str(path))
    assert vocabulary.names == ("robot arm", "bench")
    assert vocabulary.synonyms == ((), ("workbench",))
    assert vocabulary.colors[1].tolist() == [9, 8, 7]
    assert vocabulary.costs == (1.0, 0.5)
    assert vocabulary.background == ("sky",)
    assert vocabulary.unknown_color == (1, 2, 3)


FAULTS = {
    "entries: []": "at least one name",
    "- a": "entries",
    "entries: 3": "entries",
    "entries: [a, {nam: b}]": "entry 2",
    "entries: [a, b, A]": "entry 3.*entry 1",
    "entries: [{name: a, color: [0, 0, 256]}]": "entry 1 .a.*color",
    "entries: [{name: a, color: [0, 0]}]": "entry 1 .a.*color",
    "entries: [{name: a, color: red}]": "entry 1 .a.*color",
    "entries: [{name: a, role: wall}]": "entry 1 .a.*role",
    "entries: [{name: a, role: [x]}]": "entry 1 .a.*role",
    "entries: [{name: a, cost: 2}]": "entry 1 .a.*cost",
    "entries: [{name: a, cost: .nan}]": "entry 1 .a.*cost",
    "entries: [{name: a, colour: [0, 0, 0]}]": "entry 1 .a.*colour",
    "entries: [{name: a, synonyms: b}]": "entry 1 .a.*synonyms",
    "entries: [{name: ' '}]": "entry 1",
    "entries: [a]\nbackground: [3]": "background",
    "entries: [a]\nbackground: [A]": "background.*also a name",
    "entries: [a]\nextra: 1": "extra",
    "entries: [a": "not YAML",
    "entries: !!python/object/apply:os.system ['true']": "not YAML",
}


@pytest.mark.parametrize("text", FAULTS)
def test_faults_are_named_with_file_and_entry(tmp_path: Path, text: str) -> None:
    path = tmp_path / "faulty.yaml"
    path.write_text(text)
    with pytest.raises(VocabularyError, match=f"(?s)faulty.yaml.*{FAULTS[text]}"):
        Vocabulary.load(str(path))


def test_a_missing_file_and_too_many_words(tmp_path: Path) -> None:
    with pytest.raises(VocabularyError, match=r"nowhere\.yaml"):
        Vocabulary.load(str(tmp_path / "nowhere.yaml"))
    with pytest.raises(VocabularyError, match=str(MAX_NAMES)):
        Vocabulary.of(f"word {i}" for i in range(MAX_NAMES + 1))
    with pytest.raises(VocabularyError, match="entry 2"):
        Vocabulary.load("a,,b")


def test_the_configuration_is_found_in_an_ament_prefix(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "install" / "share" / "ws3d_ros" / "config"
    (folder / "vocabularies").mkdir(parents=True)
    # As if this file lay in a place without a checkout around it.
    monkeypatch.setattr(resources, "__file__", str(tmp_path / "a/b/c/d/e/f/g/ws3d_ros/resources.py"))
    monkeypatch.setattr(resources.sys, "prefix", str(tmp_path / "none"))
    monkeypatch.setattr(resources.sysconfig, "get_path", lambda *_: str(tmp_path / "none"))
    monkeypatch.setenv("AMENT_PREFIX_PATH", f"{tmp_path / 'other'}:{tmp_path / 'install'}")
    assert resources.config_folder() == folder
    monkeypatch.setenv("AMENT_PREFIX_PATH", "")
    with pytest.raises(FileNotFoundError, match="none"):
        resources.config_folder()


def test_files_named_by_a_request_lie_below_their_folder(tmp_path: Path) -> None:
    folder = tmp_path / "words"
    folder.mkdir()
    (folder / "home.yaml").write_text("entries: [mug]")
    (tmp_path / "secret.yaml").write_text("entries: [password]")
    (folder / "link.yaml").symlink_to(tmp_path / "secret.yaml")
    assert Vocabulary.load("home.yaml", str(folder)).names == ("mug",)
    for name in (str(tmp_path / "secret.yaml"), "../secret.yaml", "link.yaml", "~/secret.yaml"):
        why = r"no name for a vocabulary|leads out|cannot read"
        with pytest.raises(VocabularyError, match=why) as raised:
            Vocabulary.load(name, str(folder))
        assert "password" not in str(raised.value)
    assert Vocabulary.load(str(tmp_path / "secret.yaml")).names == ("password",)


def test_names_have_a_length_that_people_read_and_messages_do_not_repeat_all() -> None:
    assert Vocabulary.of(["a" * LONGEST_NAME]).names == ("a" * LONGEST_NAME,)
    for words in (["a" * (LONGEST_NAME + 1)], [f"word{i}" for i in range(100_000)]):
        with pytest.raises(VocabularyError, match="at most") as refused:
            Vocabulary.of(words)
        assert len(str(refused.value)) < 1000
