"""The words in use: what things are called, how they are painted, what a planner does with them."""

from __future__ import annotations

import colorsys
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from ws3d_ros.resources import config_folder
from ws3d_ros.untrusted import clipped, parse_yaml, path_below, short

ROLES = ("obstacle", "traversable", "target", "ignore")
COST_OF_ROLE = {"obstacle": 1.0, "traversable": 0.0, "target": 1.0, "ignore": 0.0}
MAX_NAMES = 4096
"""More words than this are surely a mistake, and labels are 16-bit."""
LONGEST_NAME = 200
"""Letters. Encoders read some tens of words at most, and all messages of the vocabulary repeat it."""
UNKNOWN_COLOR = (128, 128, 128)


class VocabularyError(ValueError):
    """A vocabulary that cannot be used. The message names the file and the entry."""


@dataclass(frozen=True)
class Vocabulary:
    """C names with what belongs to each. Label ``i`` > 0 of the map is ``names[i - 1]``.

    Attributes:
        names: distinct, in the order of the labels.
        synonyms: of each name, without the name; may be empty.
        colors: (C, 3) uint8 RGB.
        roles: of each name, one of ``ROLES``.
        costs: of each name, 0 (free to cross) to 1 (never cross).
        background: words for what is none of the names. Where one of them wins, the label is unknown.
        unknown_color: RGB of label 0.
    """

    names: tuple[str, ...]
    synonyms: tuple[tuple[str, ...], ...]
    colors: np.ndarray
    roles: tuple[str, ...]
    costs: tuple[float, ...]
    background: tuple[str, ...] = ()
    unknown_color: tuple[int, int, int] = UNKNOWN_COLOR

    def __len__(self) -> int:
        return len(self.names)

    @staticmethod
    def load(spec: str, folder: str | None = None) -> Vocabulary:
        """A vocabulary by the name of a shipped one, by the path of a YAML file, or from its words.

        Args:
            spec: ``"indoor"``; ``"my_home.yaml"``; or ``"chair, table, coffee mug"``. A single word
                that is neither a shipped name nor a file is a vocabulary of one name.
            folder: where files must lie, for a spec that came in a request; None: anywhere.

        Raises:
            VocabularyError: if it cannot be read or has a fault.
        """
        spec = spec.strip()
        if spec in shipped_names():
            return _read(_shipped_file(spec))
        if spec.lower().endswith((".yaml", ".yml")):
            return _read(Path(spec).expanduser() if folder is None else _in_folder(folder, spec))
        return Vocabulary.of(word for word in spec.split(","))

    @staticmethod
    def of(words: Iterable[str]) -> Vocabulary:
        """A vocabulary of plain words.

        Words that a shipped vocabulary knows, by name or by synonym, take its role, cost and
        synonyms (save those that are themselves among the words), and by name its colour.

        Raises:
            VocabularyError: for no words, or one that is there twice.
        """
        names = [_clean(word) for word in words]
        known = _thesaurus()
        taken = {name.lower() for name in names}
        entries = []
        for name in names:
            entry = {**known.get(name.lower(), {}), "name": name}
            entry["synonyms"] = [word for word in entry.get("synonyms", ()) if word.lower() not in taken]
            entries.append(entry)
        return _build({"entries": entries}, f"'{clipped(', '.join(names))}'")

    @staticmethod
    def from_tree(tree: dict[str, Any], source: str) -> Vocabulary:
        """The vocabulary of a tree as the YAML files have it.

        Raises:
            VocabularyError: that names the source and the entry, if it has a fault.
        """
        if not isinstance(tree.get("entries"), list):
            raise VocabularyError(f"{source}: expected a list 'entries' with one 'name:' each")
        return _build(tree, source)

    def tree(self) -> dict[str, Any]:
        """All of it as lists and plain values, as :meth:`from_tree` takes it."""
        parts = zip(self.names, self.synonyms, self.colors.tolist(), self.roles, self.costs, strict=True)
        keys = ("name", "synonyms", "color", "role", "cost")
        return {
            "entries": [dict(zip(keys, (part[0], list(part[1]), *part[2:]), strict=True)) for part in parts],
            "background": list(self.background),
            "unknown_color": list(self.unknown_color),
        }


def shipped_names() -> tuple[str, ...]:
    """Names of the vocabularies that come with the package."""
    return tuple(sorted(path.stem for path in (config_folder() / "vocabularies").glob("*.yaml")))


@lru_cache(maxsize=1)
def shipped_words() -> list[str]:
    """All names, synonyms and background words of the shipped vocabularies, sorted."""
    words: set[str] = set()
    for name in shipped_names():
        vocabulary = Vocabulary.load(name)
        words.update(vocabulary.names, vocabulary.background, *vocabulary.synonyms)
    return sorted(words)


def color_of(name: str) -> tuple[int, int, int]:
    """A colour that depends on the name alone, so that it stays when the vocabulary changes.

    Hue, saturation and value come from a hash of the name; dull and dark colours are left out.
    """
    digest = hashlib.sha256(name.lower().encode()).digest()
    hue = int.from_bytes(digest[:2], "big") / 65536.0
    saturation = 0.45 + 0.5 * digest[2] / 255.0
    value = 0.6 + 0.38 * digest[3] / 255.0
    red, green, blue = colorsys.hsv_to_rgb(hue, saturation, value)
    return round(255 * red), round(255 * green), round(255 * blue)


def _in_folder(folder: str, name: str) -> Path:
    try:
        return path_below(folder, name, "vocabulary")
    except ValueError as error:
        raise VocabularyError(f"{error} (semantics.vocabulary_folder)") from error


def _shipped_file(name: str) -> Path:
    return config_folder() / "vocabularies" / f"{name}.yaml"


@lru_cache(maxsize=1)
def _thesaurus() -> dict[str, dict[str, Any]]:
    """Each word of the shipped vocabularies, to what is known of it. Names win over synonyms, and
    ``indoor`` over the others."""
    by_name: dict[str, dict[str, Any]] = {}
    by_synonym: dict[str, dict[str, Any]] = {}
    for shipped in sorted(shipped_names(), key=lambda name: (name != "indoor", name)):
        vocabulary = Vocabulary.load(shipped)
        for i, name in enumerate(vocabulary.names):
            entry = {
                "color": vocabulary.colors[i].tolist(),
                "role": vocabulary.roles[i],
                "cost": vocabulary.costs[i],
                "synonyms": (name, *vocabulary.synonyms[i]),
            }
            by_name.setdefault(name.lower(), entry)
            alike = {key: value for key, value in entry.items() if key != "color"}
            for synonym in vocabulary.synonyms[i]:
                by_synonym.setdefault(synonym.lower(), alike)
    return {**by_synonym, **by_name}


def _read(path: Path) -> Vocabulary:
    try:
        tree = parse_yaml(path.read_bytes())
    except OSError as error:
        raise VocabularyError(f"cannot read the vocabulary {path}: {error.strerror}") from error
    except ValueError as error:
        raise VocabularyError(f"{path} is not YAML: {error}") from error
    if not isinstance(tree, dict) or not isinstance(tree.get("entries"), list):
        raise VocabularyError(f"{path}: expected a list 'entries' with one 'name:' each")
    return _build(tree, str(path))


def _build(tree: dict[str, Any], source: str) -> Vocabulary:
    """The checked vocabulary of a tree as the YAML files have it."""
    _only_keys(tree, {"entries", "background", "unknown_color"}, source)
    entries = [_entry(item, f"{source}: entry {i + 1}") for i, item in enumerate(tree["entries"])]
    names = [entry["name"] for entry in entries]
    if not names:
        raise VocabularyError(f"{source}: a vocabulary needs at least one name")
    if len(names) > MAX_NAMES:
        raise VocabularyError(f"{source}: {len(names)} names; {MAX_NAMES} at most")
    seen: dict[str, int] = {}
    for i, name in enumerate(names):
        if name.lower() in seen:
            raise VocabularyError(
                f"{source}: entry {i + 1}: {short(name)} is already entry {seen[name.lower()] + 1}"
            )
        seen[name.lower()] = i
    background = _words(tree.get("background", []), f"{source}: background")
    for word in background:
        if word.lower() in seen:
            raise VocabularyError(f"{source}: background: {short(word)} is also a name")
    return Vocabulary(
        names=tuple(names),
        synonyms=tuple(entry["synonyms"] for entry in entries),
        colors=np.array([entry["color"] for entry in entries], dtype=np.uint8),
        roles=tuple(entry["role"] for entry in entries),
        costs=tuple(entry["cost"] for entry in entries),
        background=background,
        unknown_color=_color(tree.get("unknown_color", UNKNOWN_COLOR), f"{source}: unknown_color"),
    )


def _entry(item: Any, where: str) -> dict[str, Any]:
    item = {"name": item} if isinstance(item, str) else item
    if not isinstance(item, dict) or not isinstance(item.get("name"), str) or not _clean(item["name"]):
        raise VocabularyError(f"{where}: needs a 'name'; it is {short(item)}")
    name = _clean(item["name"])
    where = f"{where} ({clipped(name)})"
    if len(name) > LONGEST_NAME:
        raise VocabularyError(f"{where}: a name of {len(name)} letters; {LONGEST_NAME} at most")
    _only_keys(item, {"name", "synonyms", "color", "role", "cost"}, where)
    role = item.get("role", "obstacle")
    if role not in ROLES:
        raise VocabularyError(f"{where}: role {short(role)} is none of {', '.join(ROLES)}")
    cost = item.get("cost", COST_OF_ROLE[role])
    if isinstance(cost, bool) or not isinstance(cost, (int, float)) or not 0.0 <= cost <= 1.0:
        raise VocabularyError(f"{where}: cost {short(cost)} is no number from 0 to 1")
    synonyms = _words(item.get("synonyms", []), f"{where}: synonyms")
    return {
        "name": name,
        "synonyms": tuple(word for word in dict.fromkeys(synonyms) if word.lower() != name.lower()),
        "color": _color(item.get("color", color_of(name)), f"{where}: color"),
        "role": role,
        "cost": float(cost),
    }


def _only_keys(item: dict[str, Any], known: set[str], where: str) -> None:
    for key in item:
        if key not in known:
            raise VocabularyError(f"{where}: unknown key {short(key)}; known are {', '.join(sorted(known))}")


def _words(value: Any, where: str) -> tuple[str, ...]:
    fits = isinstance(value, (list, tuple)) and all(isinstance(word, str) and _clean(word) for word in value)
    if not fits:
        raise VocabularyError(f"{where}: expected a list of words, not {short(value)}")
    return tuple(_clean(word) for word in value)


def _color(value: Any, where: str) -> tuple[int, int, int]:
    fits = (
        isinstance(value, (list, tuple))
        and len(value) == 3
        and all(isinstance(part, int) and not isinstance(part, bool) and 0 <= part <= 255 for part in value)
    )
    if not fits:
        raise VocabularyError(f"{where}: expected [red, green, blue] from 0 to 255, not {short(value)}")
    return value[0], value[1], value[2]


def _clean(word: str) -> str:
    """One space between the parts, none around."""
    return " ".join(word.split())
