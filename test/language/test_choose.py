"""The choice of an encoder, and what it tells people."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from language.test_concept_encoder import write_segmenter

from ws3d_ros.language import choose, concept_encoder
from ws3d_ros.language.choose import choose_encoder
from ws3d_ros.language.encoder import EncoderError


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A weights folder with one segmenter."""
    folder = tmp_path / "weights"
    folder.mkdir()
    write_segmenter(folder / "colors")
    return folder


@pytest.fixture(autouse=True)
def nothing_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a packaged segmenter, nor a cached model, nor the variable; and few words, to be quick."""
    monkeypatch.setattr(concept_encoder, "shipped_words", lambda: ["sofa", "sky"])
    monkeypatch.setattr(choose, "PACKAGED_SEGMENTER", tmp_path / "packaged")
    monkeypatch.setattr(choose, "cached_tag", lambda: None)
    monkeypatch.delenv("WS3D_WEIGHTS", raising=False)


def test_none() -> None:
    choice = choose_encoder("none")
    assert choice.encoder is None
    assert "images are not read" in choice.why


def test_auto_without_anything_says_how_to_get_better() -> None:
    choice = choose_encoder("auto")
    assert choice.encoder is None
    for hint in ("images are not read", "WS3D_WEIGHTS", "segmenter.json", "open_clip:"):
        assert hint in choice.why


def test_concept_finds_segmenters_in_the_weights_folder_first(weights: Path, tmp_path: Path) -> None:
    write_segmenter(tmp_path / "packaged")
    for name in ("auto", "concept"):
        choice = choose_encoder(name, weights)
        assert choice.encoder is not None
        assert choice.encoder.space.startswith("concept:colors:")
        assert "colors" in choice.why
    packaged = choose_encoder("auto").encoder
    assert packaged is not None
    assert packaged.space.startswith("concept:packaged:")


def test_the_environment_variable(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WS3D_WEIGHTS", str(weights))
    assert choose_encoder("concept", "").encoder is not None


def test_auto_takes_a_cached_model_where_there_is_a_gpu(
    weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[Any] = []
    monkeypatch.setattr(choose, "cached_tag", lambda: "ViT-B-16/openai")
    monkeypatch.setattr(choose, "OpenClipEncoder", lambda tag, device: loaded.append((tag, device)))
    choice = choose_encoder("auto", weights, "cuda")
    assert loaded == [("ViT-B-16/openai", torch.device("cuda"))]
    assert "ViT-B-16/openai" in choice.why
    loaded.clear()
    assert choose_encoder("auto", weights, "cpu").encoder is not None
    assert not loaded


def test_auto_goes_on_when_the_model_does_not_load(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(tag: str, device: torch.device) -> None:
        raise EncoderError("broken file")

    monkeypatch.setattr(choose, "cached_tag", lambda: "ViT-B-16/openai")
    monkeypatch.setattr(choose, "OpenClipEncoder", fail)
    choice = choose_encoder("auto", "", torch.device("cuda"))
    assert choice.encoder is None
    assert "broken file" in choice.why


@pytest.mark.parametrize("name", ["clip", "open_clip", "open_clip:", ""])
def test_unknown_names(name: str) -> None:
    with pytest.raises(EncoderError, match="known are auto, none, concept, open_clip:MODEL"):
        choose_encoder(name)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(EncoderError, match=r"nowhere does not exist.*weights_dir or WS3D_WEIGHTS"):
        choose_encoder("auto", tmp_path / "nowhere")
    with pytest.raises(EncoderError, match=r"segmenter\.json"):
        choose_encoder("concept", tmp_path)
