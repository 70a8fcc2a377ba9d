"""A training run as one YAML file: what is trained, on what, by which terms, for how long."""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, get_args, get_type_hints

import yaml

from ws3d_ros.network.inputs import CHANNELS
from ws3d_ros.network.unet import ARCHITECTURES
from ws3d_ros.training.augment import Augmentation
from ws3d_ros.training.loop import Schedule
from ws3d_ros.untrusted import parse_yaml, short

SHIPPED = Path(__file__).parent / "recipes"
Tree = TypeVar("Tree")


class RecipeError(ValueError):
    """A recipe that cannot be followed. The message names the file and the entry."""


@dataclass(frozen=True)
class StudentRecipe:
    """The network: see ``network.student.Spec``."""

    architecture: str = "Res16UNet14S"
    inputs: tuple[str, ...] = ("color", "normal")
    voxel_size_m: float = 0.05
    boundary: bool = True
    offset: bool = True


@dataclass(frozen=True)
class DataRecipe:
    """The clouds.

    Attributes:
        scenes: procedural scenes to train on.
        first: seed of the first of them.
        held_out: further scenes to score on, never trained on.
        clouds: in a batch.
        voxels: of a cloud, at most; larger ones are cropped.
        whole_from: share of the steps after which clouds are twice as large and batches half as many:
            partial views first, whole scenes later.
    """

    scenes: int = 1000
    first: int = 0
    held_out: int = 24
    clouds: int = 4
    voxels: int = 10_000
    whole_from: float = 0.7


@dataclass(frozen=True)
class PretrainData(DataRecipe):
    """The clouds where all have labels.

    Attributes:
        rare: share of the clouds that are drawn for a class, rare or not, and cropped around one of it.
        mixed: share of the clouds that lie over another one.
    """

    rare: float = 0.0
    mixed: float = 0.0


@dataclass(frozen=True)
class TeacherRecipe:
    """The image encoder that teaches, see ``teacher``; none while ``terms.distillation`` is 0.

    Attributes:
        encoder: as for ``language.choose.choose_encoder``.
        views: rendered of a cloud.
        temperature: of both distributions; 1 takes the encoder at its word.
    """

    encoder: str = ""
    views: int = 6
    temperature: float = 1.0


@dataclass(frozen=True)
class Terms:
    """Weights of the losses; 0 leaves one out."""

    point: float = 1.0
    category: float = 0.3
    region: float = 0.5
    scene: float = 0.2
    boundary: float = 0.3
    offset: float = 0.2
    distillation: float = 0.0


@dataclass(frozen=True)
class Recipe:
    """Everything that a run depends on.

    Attributes:
        source: ``procedural``, or a data set as ``KIND:PATH``.
    """

    seed: int = 0
    source: str = "procedural"
    student: StudentRecipe = field(default_factory=StudentRecipe)
    data: PretrainData = field(default_factory=PretrainData)
    augmentation: Augmentation = field(default_factory=Augmentation)
    teacher: TeacherRecipe = field(default_factory=TeacherRecipe)
    terms: Terms = field(default_factory=Terms)
    schedule: Schedule = field(default_factory=lambda: Schedule(steps=4000))


@dataclass(frozen=True)
class FewLabels:
    """How few labels there are, see ``protocols``.

    Attributes:
        points: labelled points of a labelled scene; 0 for all of them.
        scene_share: share of the scenes that have labels at all.
        novel: classes that never get a label.
    """

    points: int = 20
    scene_share: float = 1.0
    novel: int = 0


@dataclass(frozen=True)
class WeakTerms:
    """Weights of the losses of fine-tuning; 0 leaves one out.

    Attributes:
        point: labelled voxels and their class.
        word: labelled voxels and the word of their class, among the words of classes that have labels.
        boundary, offset: as far as the labels tell.
        energy: of the graph of regions; ``smooth`` and ``sure`` weigh its terms, see ``weak.energy``.
        contrast: regions against the queues of classes.
        distillation: words of the student against those of the student it started as.
    """

    point: float = 1.0
    word: float = 0.5
    boundary: float = 0.3
    offset: float = 0.2
    energy: float = 0.5
    smooth: float = 0.5
    sure: float = 0.05
    contrast: float = 0.1
    distillation: float = 0.5


@dataclass(frozen=True)
class ContrastRecipe:
    """Contrast of regions.

    Attributes:
        thresholds: how likely a guess must be to count as a label, one for each stage of equal length.
        queue: vectors kept of each class.
        temperature: of the cosines.
    """

    thresholds: tuple[float, ...] = (0.95, 0.9, 0.8)
    queue: int = 32
    temperature: float = 0.1


@dataclass(frozen=True)
class FineRecipe:
    """Everything that a run of fine-tuning depends on.

    Attributes:
        start: checkpoint of a pre-trained student, whose network then is the student's; "" from scratch.
        source: ``procedural``, or a data set as ``KIND:PATH``.
    """

    seed: int = 0
    start: str = ""
    source: str = "procedural"
    student: StudentRecipe = field(default_factory=StudentRecipe)
    data: DataRecipe = field(default_factory=lambda: DataRecipe(scenes=100))
    labels: FewLabels = field(default_factory=FewLabels)
    augmentation: Augmentation = field(default_factory=Augmentation)
    terms: WeakTerms = field(default_factory=WeakTerms)
    contrast: ContrastRecipe = field(default_factory=ContrastRecipe)
    schedule: Schedule = field(default_factory=lambda: Schedule(steps=600, learning_rate=1e-3))


AnyRecipe = TypeVar("AnyRecipe", Recipe, FineRecipe)


def load_recipe(name: str, tree: type[AnyRecipe] = Recipe) -> tuple[AnyRecipe, str]:  # type: ignore[assignment]
    """A recipe by the name of a shipped one or by its path, and its text.

    Args:
        name: see above.
        tree: of what kind: :class:`Recipe` or :class:`FineRecipe`.

    Raises:
        RecipeError: if it is not there, or an entry is unknown or does not fit.
    """
    path = SHIPPED / f"{name}.yaml"
    if not path.is_file():
        path = Path(name).expanduser()
    if not path.is_file():
        shipped = ", ".join(sorted(file.stem for file in SHIPPED.glob("*.yaml")))
        raise RecipeError(f"there is no recipe '{name}'; give a YAML file, or one of: {shipped}")
    try:
        content = path.read_bytes()
        values = parse_yaml(content)
    except OSError as error:
        raise RecipeError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise RecipeError(f"{path} is not YAML: {error}") from error
    recipe = _read(tree, {} if values is None else values, str(path))
    check(recipe, str(path))
    return recipe, content.decode("utf-8")


def write_recipe(recipe: Recipe | FineRecipe) -> str:
    """YAML of every entry, as :func:`load_recipe` reads it."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: plain(each) for key, each in value.items()}
        return list(value) if isinstance(value, tuple) else value

    return yaml.safe_dump(plain(dataclasses.asdict(recipe)), sort_keys=False)


def check(recipe: Recipe | FineRecipe, where: str) -> None:
    """Raises RecipeError for what cannot be trained."""
    student = recipe.student
    if student.architecture not in ARCHITECTURES:
        raise RecipeError(f"{where}: student.architecture must be one of {', '.join(ARCHITECTURES)}")
    unknown = set(student.inputs) - set(CHANNELS)
    if unknown or not student.inputs:
        raise RecipeError(f"{where}: student.inputs must be out of {', '.join(CHANNELS)}")
    if recipe.data.clouds < 2:
        raise RecipeError(f"{where}: data.clouds must be 2 or more: batch norms need several scenes")
    if isinstance(recipe, Recipe):
        if recipe.terms.distillation and not recipe.teacher.encoder:
            raise RecipeError(f"{where}: terms.distillation needs a teacher.encoder, such as auto")
        if recipe.teacher.views < 1 or recipe.teacher.temperature <= 0.0:
            raise RecipeError(f"{where}: teacher.views must be 1 or more, teacher.temperature above 0")
    if isinstance(recipe, FineRecipe):
        if not 0.0 < recipe.labels.scene_share <= 1.0:
            raise RecipeError(f"{where}: labels.scene_share must be above 0 and at most 1")
        if recipe.labels.points < 0 or recipe.labels.novel < 0:
            raise RecipeError(f"{where}: labels.points and labels.novel must be 0 or more")
        if not recipe.contrast.thresholds or recipe.contrast.queue < 1:
            raise RecipeError(f"{where}: contrast needs a threshold and a queue of 1 or more")


def _read(tree: type[Tree], values: Any, where: str) -> Tree:
    if not isinstance(values, Mapping):
        raise RecipeError(f"{where}: expected entries, not {short(values)}")
    hints = get_type_hints(tree)
    taken: dict[str, Any] = {}
    for name, value in values.items():
        if name not in hints:
            near = difflib.get_close_matches(str(name), hints, n=1)
            raise RecipeError(
                f"{where}: unknown entry {short(name)}" + (f"; did you mean '{near[0]}'?" if near else "")
            )
        kind, place = hints[name], f"{where}: {name}"
        if dataclasses.is_dataclass(kind):
            taken[name] = _read(kind, value, place)  # type: ignore[type-var,arg-type]
        elif kind in (tuple[str, ...], tuple[float, ...]):
            item, what = get_args(kind)[0], {str: "words", float: "numbers"}[get_args(kind)[0]]
            if not isinstance(value, list) or not all(_fits(each, item) for each in value):
                raise RecipeError(f"{place} must be a list of {what}, not {short(value)}")
            taken[name] = tuple(value)
        else:
            value = float(value) if kind is float and type(value) is int and abs(value) < 1 << 53 else value
            if not _fits(value, kind):
                raise RecipeError(f"{place} must be {kind.__name__}, not {short(value)}")
            taken[name] = value
    try:
        return tree(**taken)
    except TypeError as error:
        raise RecipeError(f"{where}: {error}") from error


def _fits(value: Any, kind: type) -> bool:
    return type(value) is kind and not (isinstance(value, float) and not math.isfinite(value))
