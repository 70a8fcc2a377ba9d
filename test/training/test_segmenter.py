"""The small segmenter: pictures for training, network, loss weights and the file that ships."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("trimesh", reason="training needs the extra: pip install 'ws3d_ros[scenes]'")
pytest.importorskip("moderngl", reason="training needs the extra: pip install 'ws3d_ros[scenes]'")

from ws3d_ros.language.choose import PACKAGED_SEGMENTER
from ws3d_ros.language.segmenter import Segmenter as Shipped
from ws3d_ros.training import segmenter
from ws3d_ros.training.scenes import furniture
from ws3d_ros.training.scenes.classes import CLASSES
from ws3d_ros.training.scenes.render import Renderer, RendererMissingError

H, W = segmenter.HEIGHT, segmenter.WIDTH


def rooms(folder: Path, count: int = 3) -> list[Path]:
    """Files of pictures whose left third is wall (0), the rest floor (1), and a bed (5) in one corner."""
    files = []
    for number in range(count):
        stack = np.zeros((4, H, W, 4), np.uint8)
        stack[:, :, : W // 3, :3], stack[:, :, W // 3 :, :3] = 200, 60
        stack[:, :, W // 3 :, 3] = 1
        stack[:, -16:, -16:] = 255, 0, 0, 5
        stack[:, :8, :8, 3] = segmenter.IGNORE
        files.append(folder / f"{number}.npy")
        np.save(files[-1], stack)
    return files


def test_network_answers_at_a_quarter_and_is_small() -> None:
    model = segmenter.Segmenter(len(CLASSES)).eval()
    assert model(torch.zeros(2, 3, H, W)).shape == (2, len(CLASSES), H // 4, W // 4)
    assert model(torch.zeros(1, 3, H // 2, W // 2)).shape[2:] == (H // 8, W // 8)
    assert sum(p.numel() for p in model.parameters()) < 1_000_000


def test_batches_keep_pixels_and_labels_together(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    bright, dark = [], []
    for images, labels in segmenter.batches(rooms(tmp_path), 4, rng):
        assert images.shape == (4, 3, H, W)
        assert labels.shape == (4, H // 4, W // 4)
        assert set(labels.unique().tolist()) <= {0, 1, 5, segmenter.IGNORE}
        for image, label in zip(images.mean(1)[:, 2::4, 2::4], labels, strict=True):
            bright.append(image[label == 0].mean() if (label == 0).any() else np.nan)
            dark.append(image[label == 1].mean())
    # Whatever the crop, the mirror image and the light: walls stay brighter than floors.
    assert np.nanmin(np.array(bright) - np.array(dark)) > 0.02
    assert len(bright) == 12


def test_rare_classes_weigh_more_and_the_mean_is_one(tmp_path: Path) -> None:
    files = rooms(tmp_path)
    weight = segmenter.class_weights(files)
    assert weight[5] > weight[0] > weight[1]
    labels = np.load(files[0])[:, ::8, ::8, 3]
    known = labels[labels != segmenter.IGNORE].astype(int)
    # Classes that are absent are given a share of 1e-4 each, about 0.5 % together.
    assert weight.numpy()[known].mean() == pytest.approx(1.0, abs=0.15)


def test_it_can_learn(tmp_path: Path) -> None:
    torch.manual_seed(0)
    files = rooms(tmp_path)
    model = segmenter.Segmenter(len(CLASSES))
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    rng = np.random.default_rng(0)
    for _ in range(4):
        for images, labels in segmenter.batches(files, 4, rng):
            model.train()
            loss = torch.nn.functional.cross_entropy(
                model(images[:, :, ::2, ::2]), labels[:, ::2, ::2], ignore_index=segmenter.IGNORE
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    assert loss.item() < 1.5  # ln(57) = 4.0 at the start


def test_confusion_counts_what_is_known(tmp_path: Path) -> None:
    class Floor(torch.nn.Module):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            logits = torch.zeros(len(image), len(CLASSES), H // 4, W // 4)
            logits[:, 1] = 1
            return logits

    files = rooms(tmp_path, 1)
    counts = segmenter.confusion(Floor(), files)
    labels = np.load(files[0])[:, 2::4, 2::4, 3]
    assert int(counts.sum()) == (labels != segmenter.IGNORE).sum()
    assert int(counts[0, 1]) == (labels == 0).sum()
    assert int(counts[5, 1]) == (labels == 5).sum()


def test_export_answers_like_the_network(tmp_path: Path) -> None:
    pytest.importorskip("onnx", reason="the export needs the extra: pip install 'ws3d_ros[train]'")
    if not list(furniture.FOLDER.glob("*.sh3f")):
        pytest.skip("the credits need Debian's sweethome3d-furniture")
    torch.manual_seed(0)
    model = segmenter.Segmenter(len(CLASSES)).eval()
    segmenter.export(model, 0.9, tmp_path)
    assert (tmp_path / "segmenter.onnx").stat().st_size < 2 * 2**20
    assert json.loads((tmp_path / "segmenter.json").read_text())["classes"] == list(CLASSES)
    assert "CC0" in (tmp_path / "CREDITS.md").read_text()
    image = torch.rand(1, 3, H, W)
    with torch.inference_mode():
        expected = torch.softmax(model(image) / 0.9, dim=1)
    # Weights in half precision: a relative error of 5e-4 each.
    torch.testing.assert_close(Shipped(tmp_path).probabilities(image), expected, atol=5e-3, rtol=0)


def test_a_rendered_room_has_known_classes() -> None:
    if not list(furniture.FOLDER.glob("*.sh3f")):
        pytest.skip("Debian's sweethome3d-furniture is not installed")
    try:
        with Renderer() as renderer:
            stack = segmenter.render_room(renderer, 10_000, 2)
            again = segmenter.render_room(renderer, 10_000, 2)
    except RendererMissingError as error:
        pytest.skip(str(error))
    assert stack.shape == (2, H, W, 4)
    labels = stack[..., 3]
    assert ((labels < len(CLASSES)) | (labels == segmenter.IGNORE)).all()
    assert (labels == CLASSES.index("wall")).mean() > 0.02
    np.testing.assert_array_equal(stack, again)


def test_the_shipped_segmenter_knows_a_wall_from_a_floor() -> None:
    """On the sample recording's first frame, which it has not seen in training."""
    import cv2
    from rosbags.rosbag2 import Reader
    from rosbags.typesys import Stores, get_typestore

    description = json.loads((PACKAGED_SEGMENTER / "segmenter.json").read_text())
    assert description["classes"] == list(CLASSES)
    room = PACKAGED_SEGMENTER.parents[3] / "samples" / "room"
    store = get_typestore(Stores.ROS2_JAZZY)
    pictures = {}
    with Reader(room) as reader:
        for connection, _, raw in reader.messages():
            if connection.topic in ("/camera/camera/color/image_raw/compressed", "/ground_truth/instances"):
                data = store.deserialize_cdr(raw, connection.msgtype).data
                pictures.setdefault(connection.topic, cv2.imdecode(data, cv2.IMREAD_UNCHANGED))
            if len(pictures) == 2:
                break
    color, instance = pictures.values()
    if color.ndim == 2:
        color, instance = instance, color
    things = json.loads((room / "ground_truth.json").read_text())["instances"]
    image = torch.from_numpy(color[..., ::-1].copy()).permute(2, 0, 1)[None].float() / 255.0
    guess = Shipped(PACKAGED_SEGMENTER).probabilities(image)[0].argmax(0).numpy()
    step = color.shape[0] // guess.shape[0]
    truth = instance[step // 2 :: step, step // 2 :: step]
    for word in ("wall", "floor"):
        numbers = [int(number) for number, thing in things.items() if thing["class"] == word]
        assert (guess[np.isin(truth, numbers)] == CLASSES.index(word)).mean() > 0.5, word
