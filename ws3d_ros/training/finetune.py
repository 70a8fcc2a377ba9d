"""Fine-tuning with few labels: a pre-trained student learns the classes of a data set.

Labels are a few points of each scene, or those of a few scenes. What they say holds for the region of
surface that they lie on; the other regions take part through an energy, through contrast with what was
sure before, and through what the student said before it was tuned (docs/method.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from ws3d_ros.evaluation.metrics import base_and_novel, confusion_matrix, scores
from ws3d_ros.instances.superpoints import Regions, region_graph
from ws3d_ros.network.backends.backend import Backend
from ws3d_ros.network.distillation import distillation
from ws3d_ros.network.student import Spec, Student
from ws3d_ros.training import losses
from ws3d_ros.training.augment import augment, crop
from ws3d_ros.training.batch import Batch, make_batch
from ws3d_ros.training.datasets.labelled_cloud import NONE, LabelledCloud
from ws3d_ros.training.pretrain import Clouds
from ws3d_ros.training.protocols import hide, limited_points, limited_scenes, novel_classes
from ws3d_ros.training.recipe import FineRecipe
from ws3d_ros.training.regions import cloud_regions, spread_labels
from ws3d_ros.training.weak import ClassQueues, contrast, energy, gate, told_boundary
from ws3d_ros.training.words import Encode

ALWAYS_BASE = ("wall", "floor", "ceiling")
"""Never novel: they are in every scene."""
DISTILLATION_TEMPERATURE = 2.0


@dataclass(frozen=True)
class Lesson:
    """A batch of sparsely labelled clouds, its regions and what is known of boundaries.

    Attributes:
        batch: names are -1 for most voxels.
        regions: of its voxels.
        label: (R,) int64 class of each region, -1 for most.
        boundary: (N, 2) float32 as ``Batch.boundary``, NaN where nobody knows.
    """

    batch: Batch
    regions: Regions
    label: Tensor
    boundary: Tensor


def new_student(
    recipe: FineRecipe,
    names: tuple[str, ...],
    encode: Encode,
    start: Student | None = None,
    space: str = "",
    licence: str = "",
) -> Student:
    """A student for a closed set: what ``start`` has is taken over, heads that it lacks are new.

    The head of classes begins with what the words of ``start`` say of them.

    Args:
        recipe: its ``student`` counts without ``start``.
        names: of the classes.
        encode: words to vectors of the language space.
        start: pre-trained student; unchanged.
        space, licence: of a student from scratch.
    """
    torch.manual_seed(recipe.seed)
    if start is not None:
        spec = replace(
            start.spec,
            classes=names,
            boundary=start.spec.boundary or recipe.student.boundary,
            offset=start.spec.offset or recipe.student.offset,
        )
        student = Student(spec)
        known = start.state_dict()
        if start.spec.classes != names:
            known = {key: value for key, value in known.items() if not key.startswith("heads.classes")}
        student.load_state_dict(known, strict=False)
        if start.spec.classes != names:
            _say_words(student, class_words(student, encode))
        return student
    asked, vectors = recipe.student, torch.from_numpy(encode(list(names)))
    student = Student(
        Spec(
            architecture=asked.architecture,
            inputs=asked.inputs,
            voxel_size_m=asked.voxel_size_m,
            space=space,
            dim=vectors.shape[1],
            classes=names,
            boundary=asked.boundary,
            offset=asked.offset,
            vocabulary=names,
            licence=licence,
        )
    )
    student.heads.word_mean.copy_(vectors.mean(0))
    return student


@torch.no_grad()
def _say_words(student: Student, words: Tensor) -> None:
    """The head of classes begins by saying what the words (C, D) say, so that labels need only correct it."""
    projector, classes = student.heads.projector, student.heads.classes
    assert classes is not None
    # Embeddings are about as long as the projector is strong: logits begin near the scaled cosines.
    strength = student.heads.logit_scale / torch.linalg.matrix_norm(projector.weight)
    classes.weight.copy_(strength * words @ projector.weight)
    classes.bias.copy_(strength * words @ projector.bias)


class FineTuning(nn.Module):
    """Draws lessons and says how wrong the student is about them.

    A module, so that the queues of contrast, and the teacher, are saved with the student's weights.

    Attributes:
        student: with a head of closed-set classes; to be trained.
        teacher: the student before, frozen; None from scratch.
        queues: of contrast.
        novel: names of the classes that never get a label.
    """

    def __init__(
        self,
        recipe: FineRecipe,
        student: Student,
        teacher: Student | None,
        clouds: Clouds,
        encode: Encode,
        backend: Backend,
    ) -> None:
        super().__init__()
        spec, labels = student.spec, recipe.labels
        self.student = student
        self.teacher = teacher.requires_grad_(False) if teacher is not None else None
        self.queues = ClassQueues(len(spec.classes), recipe.contrast.queue, spec.dim)
        self.novel = novel_classes(spec.classes, labels.novel, recipe.seed, ALWAYS_BASE)
        self._recipe, self._clouds, self._backend = recipe, clouds, backend
        self._labelled = limited_scenes(len(clouds), labels.scene_share, recipe.seed)
        self._unlabelled = sorted(set(range(len(clouds))) - set(self._labelled))
        self._region: dict[int, np.ndarray] = {}
        # Words of novel classes are left out of the softmax, so that nothing is pushed away from them.
        is_base = torch.tensor([name not in self.novel for name in spec.classes])
        self.register_buffer("_base", is_base.nonzero()[:, 0], persistent=False)
        self.register_buffer("_words", class_words(student, encode), persistent=False)
        told = list(dict.fromkeys([*spec.classes, *spec.vocabulary]))
        told_words = student.heads.centred(torch.from_numpy(encode(told)).to(self._words.device))
        self.register_buffer("_vocabulary", told_words, persistent=False)

    _base: Tensor
    _words: Tensor
    _vocabulary: Tensor

    def train(self, mode: bool = True) -> FineTuning:
        """The teacher stays in evaluation mode, so that its batch norms stay what they were."""
        super().train(mode)
        if self.teacher is not None:
            self.teacher.eval()
        return self

    def draw(self, number: int) -> Lesson:
        """Lesson number n, from the seed and n alone."""
        recipe = self._recipe
        rng = np.random.default_rng([recipe.seed, number])
        late = number >= recipe.data.whole_from * recipe.schedule.steps * recipe.schedule.accumulate
        count, voxels = recipe.data.clouds, recipe.data.voxels
        if late:
            count, voxels = max(2, count // 2), voxels * 2
        size = self.student.spec.voxel_size_m
        picked = [
            augment(crop(self.few_labels(index), voxels, size, rng), recipe.augmentation, rng)
            for index in self._choose(count, rng)
        ]
        device = self._words.device
        batch = make_batch(picked, self.student.spec.inputs, size, self._backend, device, sparse=True)
        regions = region_graph(batch.voxels.coords, batch.region)
        label = spread_labels(regions.of_voxel, regions.count, batch.name)
        whole = recipe.labels.points == 0
        return Lesson(batch, regions, label, batch.boundary if whole else told_boundary(regions, label))

    def few_labels(self, index: int) -> LabelledCloud:
        """A cloud as an annotator left it: with its regions, and with the labels that the protocol allows."""
        recipe, labels = self._recipe, self._recipe.labels
        cloud = self._clouds[index]()
        if index not in self._region:  # cut once, in full colour, not at each look through another camera
            self._region[index] = cloud_regions(cloud, self.student.spec.voxel_size_m).astype(np.int32)
        region = self._region[index].astype(np.int64)
        nothing = np.full(len(cloud), NONE)
        if index not in self._labelled:
            return replace(cloud, label=nothing, instance=nothing, region=region)
        label = hide(cloud.label, cloud.class_names, self.novel)
        if labels.points:
            label = limited_points(label, labels.points, index, recipe.seed)
            return replace(cloud, label=label, instance=nothing, region=region)
        return replace(cloud, label=label, instance=np.where(label < 0, NONE, cloud.instance), region=region)

    def loss(self, lesson: Lesson, step: int) -> dict[str, Tensor]:
        """Weighted terms of the recipe."""
        weight, heads, batch = self._recipe.terms, self.student.heads, lesson.batch
        reading = self.student(batch.voxels)
        assert reading.classes is not None
        classes, embedding = reading.classes.float(), normalize(reading.embedding.float(), dim=1)
        rare = losses.lift_rare(batch.name, classes.shape[1])
        terms = {"point": weight.point * losses.point_alignment(classes, batch.name, rare)}
        if weight.word:
            logits = heads.logit_scale * embedding @ self._words[self._base].T
            name = torch.full_like(rare, NONE, dtype=torch.int64)
            name[self._base] = torch.arange(len(self._base), device=name.device)
            word = torch.where(batch.name >= 0, name[batch.name], NONE)
            terms["word"] = weight.word * losses.point_alignment(logits, word, rare[self._base])
        if reading.boundary is not None and weight.boundary:
            terms["boundary"] = weight.boundary * losses.boundary(reading.boundary.float(), lesson.boundary)
        if reading.offset_m is not None and weight.offset:
            terms["offset"] = weight.offset * losses.offset(reading.offset_m.float(), batch.offset_m)
        terms |= self._of_regions(lesson, classes, embedding, reading.boundary, step)
        if self.teacher is not None and weight.distillation:
            terms["distillation"] = weight.distillation * self._distillation(batch, embedding)
        return terms

    def _of_regions(
        self, lesson: Lesson, classes: Tensor, embedding: Tensor, boundary: Tensor | None, step: int
    ) -> dict[str, Tensor]:
        recipe, regions = self._recipe, lesson.regions
        weight, how = recipe.terms, recipe.contrast
        if not (weight.energy or weight.contrast):
            return {}
        terms = {}
        chance = losses.region_means(torch.softmax(classes, dim=1), regions.of_voxel, regions.count)
        if weight.energy:
            none = chance.new_zeros(len(regions.of_voxel))
            edge = regions.across(none if boundary is None else torch.sigmoid(boundary[:, 0].float()))
            terms["energy"] = weight.energy * energy(
                chance, lesson.label, regions.edges, edge, weight.smooth, weight.sure
            )
        if weight.contrast:
            vectors = losses.region_means(embedding, regions.of_voxel, regions.count)
            stage = min(step * len(how.thresholds) // recipe.schedule.steps, len(how.thresholds) - 1)
            sure = gate(chance, lesson.label, how.thresholds[stage])
            terms["contrast"] = weight.contrast * contrast(vectors, sure, self.queues, how.temperature)
            self.queues.push(vectors[sure >= 0], sure[sure >= 0])
        return terms

    def _distillation(self, batch: Batch, embedding: Tensor) -> Tensor:
        assert self.teacher is not None
        with torch.no_grad():
            before = normalize(self.teacher(batch.voxels).embedding.float(), dim=1)
        scale, words = self.student.heads.logit_scale, self._vocabulary
        everywhere = torch.ones(len(embedding), device=embedding.device)
        return distillation(
            scale * embedding @ words.T, scale * before @ words.T, everywhere, DISTILLATION_TEMPERATURE
        )

    def _choose(self, count: int, rng: np.random.Generator) -> list[int]:
        """Scenes of a batch: half of them unlabelled, if there are such and a term learns from them."""
        weight = self._recipe.terms
        use = weight.energy or weight.contrast or (weight.distillation and self.teacher is not None)
        unlabelled = count // 2 if use and self._unlabelled else 0
        chosen = []
        for pool, wanted in ((self._labelled, count - unlabelled), (self._unlabelled, unlabelled)):
            if wanted:
                chosen += rng.choice(pool, wanted, replace=len(pool) < wanted).tolist()
        return chosen


def class_words(student: Student, encode: Encode) -> Tensor:
    """(C, D) centred vectors of the closed set's names, on the student's device."""
    vectors = torch.from_numpy(encode(list(student.spec.classes)))
    return student.heads.centred(vectors.to(student.heads.word_mean.device))


@torch.inference_mode()
def score(
    student: Student, clouds: Clouds, words: Tensor, novel: Sequence[str], backend: Backend
) -> dict[str, float]:
    """Scores over whole clouds of the head of classes and of the words.

    Args:
        student: in evaluation mode.
        clouds: with all their labels.
        words: (C, D) from :func:`class_words`.
        novel: classes that had no labels.
        backend: that convolves.

    Returns:
        ``miou`` and ``accuracy`` of the closed set; ``words_miou``; with novel classes ``base_miou``,
        ``novel_miou`` and ``hiou``, all three by words.
    """
    names, device = student.spec.classes, words.device
    closed, open_ = torch.zeros(2, len(names), len(names) + 1, dtype=torch.int64, device=device)
    for load in clouds:
        batch = make_batch([load()], student.spec.inputs, student.spec.voxel_size_m, backend, device)
        reading = student(batch.voxels)
        assert reading.classes is not None
        said = (normalize(reading.embedding.float(), dim=1) @ words.T).argmax(1)
        closed += confusion_matrix(batch.name + 1, reading.classes.argmax(1) + 1, len(names))
        open_ += confusion_matrix(batch.name + 1, said + 1, len(names))
    by_class, by_word = scores(closed.cpu()), scores(open_.cpu())
    figures = {"miou": by_class.miou, "accuracy": by_class.accuracy, "words_miou": by_word.miou}
    unseen = [names.index(name) + 1 for name in novel]
    occurring = {number for number in unseen if by_word.count[number - 1] > 0}
    if occurring and len(occurring) < int((by_word.count > 0).sum()):
        figures |= vars(base_and_novel(by_word, unseen))
    return figures
