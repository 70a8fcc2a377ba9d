"""Learning on the way, in the pipeline and in saved maps."""

from pathlib import Path

import pytest
import torch
from small_world import ColourEncoder, pose, shot
from students import random_student

from ws3d_ros import naming
from ws3d_ros.adaptation import adapter as module
from ws3d_ros.config import from_mapping
from ws3d_ros.language.vocabulary import Vocabulary
from ws3d_ros.learning import HALF_BELIEVED, evidence
from ws3d_ros.network.choose import choose_network
from ws3d_ros.pipeline import Pipeline
from ws3d_ros.saved_maps import checkpoint_digest, fit, snapshot, take_adaptation

CPU = torch.device("cpu")
WORDS = ("floor", "wall", "box")


def pipeline(checkpoint: Path, enabled: bool = True) -> Pipeline:
    config = from_mapping(
        {
            "network.checkpoint": str(checkpoint),
            "network.precision": "float32",
            "network.reuse": "off",  # so that the same weights give the same bits
            "adaptation.enabled": enabled,
            "adaptation.share": 1.0,
        }
    )
    encoder = ColourEncoder()
    namer = choose_network(config.network, encoder, "", CPU).namer
    return Pipeline(config, encoder, Vocabulary.of(WORDS), CPU, namer)


def drive(pipe: Pipeline) -> None:
    """Enough keyframes for a round of learning, and the gate."""
    for step in range(2 * module.HELD_OUT + module.ROUND_STEPS):
        pipe.take(shot(pose(0.05 * step, yaw_deg=20.0 * (step % 2))))
        assert pipe.learning is not None
        pipe.learning.adapter._busy_s = 0.0  # whatever this machine takes


def test_what_was_learnt_serves_and_is_saved_with_the_map(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "refusal", lambda *_: "")
    monkeypatch.setattr(module, "LEAST_KAPPA", -2.0)
    checkpoint = random_student(tmp_path / "student.safetensors")
    pipe = pipeline(checkpoint)
    drive(pipe)
    assert pipe.learning is not None
    assert pipe.learning.adapter.accepted > 0
    window = pipe.map.everything()
    learnt = pipe.read(window).read
    start = pipeline(checkpoint, enabled=False)
    assert start.learning is None
    unlearnt = start.read(window).read
    assert learnt is not None
    assert unlearnt is not None
    assert learnt.embedding is not None
    assert unlearnt.embedding is not None
    assert not torch.equal(learnt.embedding, unlearnt.embedding)

    saved = snapshot(pipe, pipe._config, pipe.vocabulary, checkpoint_digest(str(checkpoint)))
    again = pipeline(checkpoint)
    fitting = fit(saved, again, again._config)
    take_adaptation(saved, again, fitting, str(checkpoint))
    assert fitting.notes == []
    reread = again.read(window).read
    assert reread is not None
    assert torch.equal(reread.embedding, learnt.embedding)  # type: ignore[arg-type]

    other = random_student(tmp_path / "other.safetensors", licence="another")
    stranger = pipeline(other)
    fitting = fit(saved, stranger, stranger._config)
    take_adaptation(saved, stranger, fitting, str(other))
    assert any("other weights" in note for note in fitting.notes)
    assert stranger.learning is not None
    assert stranger.learning.adapter.accepted == 0


def test_evidence_believes_images_by_their_weight(tmp_path: Path) -> None:
    pipe = pipeline(random_student(tmp_path / "student.safetensors"))
    pipe.take(shot(pose()))
    pipe.integrate(shot(pose(0.5, yaw_deg=60.0)))  # seen, but no image of it was looked at
    window = pipe.map.everything()
    seen = evidence(window, pipe._words, 0.05)
    weight = window.feature_weight
    assert torch.allclose(seen.trust, weight / (weight + HALF_BELIEVED))
    assert bool((seen.trust == 0).any())
    image, network = naming.said(window, pipe._words)
    assert torch.equal(seen.image, image)
    unseen = (weight == 0) & network.any(1)
    assert torch.allclose(seen.pooled[unseen], network[unseen])
    assert seen.pooled.shape == (len(window), len(WORDS) + len(pipe.vocabulary.background))
