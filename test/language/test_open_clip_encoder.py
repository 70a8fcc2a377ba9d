"""open_clip models, small and random: shapes, dense features against plain re-computations, loading."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from ws3d_ros.language.dense import dense_features, key_key_attention, patch_size, resized_positions
from ws3d_ros.language.encoder import Encoder, EncoderError
from ws3d_ros.language.open_clip_encoder import (
    OpenClipEncoder,
    cached_tag,
    dense_size,
    import_open_clip,
)

try:
    open_clip = import_open_clip()
except EncoderError as error:
    pytest.skip(f"needs open_clip: {error}", allow_module_level=True)

SHARED = Path(__file__).resolve().parents[2].parent / "shared"
CPU = torch.device("cpu")
HEADS = 2
TEXT = {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}
TOWERS: dict[str, dict[str, Any]] = {
    "vit": {"layers": 2, "width": 32, "head_width": 16, "patch_size": 8, "image_size": 32},
    "vit_mean": {
        "layers": 2,
        "width": 32,
        "head_width": 16,
        "patch_size": 8,
        "image_size": 32,
        "pool_type": "avg",
    },
    "resnet": {"layers": [1, 1, 1, 1], "width": 8, "image_size": 64},
    "timm_cnn": {
        "timm_model_name": "test_efficientnet",
        "timm_pool": "avg",
        "timm_proj": "linear",
        "image_size": 96,
    },
    "timm_token": {
        "timm_model_name": "test_vit",
        "timm_pool": "token",
        "timm_proj": "linear",
        "image_size": 160,
    },
    "timm_map": {"timm_model_name": "test_vit4", "timm_pool": "map", "timm_proj": "none", "image_size": 160},
}


def make(tower: str) -> Any:
    """A small random model of open_clip. Normalisations get random weights, too: they matter."""
    torch.manual_seed(0)
    kind = open_clip.CustomTextCLIP if tower.startswith("timm") else open_clip.CLIP
    dim = 64 if tower == "timm_map" else 24
    model = kind(embed_dim=dim, vision_cfg=TOWERS[tower], text_cfg=TEXT).eval()
    for parameter in model.visual.parameters():
        parameter.data += 0.2 * torch.randn_like(parameter)
    return model.requires_grad_(False)


def noise(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("tower", TOWERS)
def test_dense_features_of_an_image_that_is_not_square(tower: str) -> None:
    visual = make(tower).visual
    patch = patch_size(visual)
    images = noise(2, 3, 3 * patch, 5 * patch)
    dense = dense_features(visual, images)
    assert dense.shape[0] == 2
    assert dense.shape[2:] == (3, 5)
    assert dense.shape[1] == visual(noise(1, 3, *np.broadcast_to(visual.image_size, 2).tolist())).shape[1]
    assert torch.isfinite(dense).all()
    # Images of a batch do not mix: that would differ by as much as the values themselves. Convolutions
    # of another batch size run another algorithm, which differs by up to 3e-4 in deep random networks.
    torch.testing.assert_close(dense_features(visual, images[1:])[0], dense[1], rtol=3e-3, atol=3e-3)


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def norm(x: np.ndarray, layer: Any) -> np.ndarray:
    centred = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + layer.eps)
    return centred * layer.weight.numpy() + layer.bias.numpy()


def plain_last_block(visual: Any, tokens: np.ndarray) -> np.ndarray:
    """The last block of a CLIP ViT with key-key attention, for one image, one head and patch at a time."""
    block = visual.transformer.resblocks[-1]
    weight, bias = block.attn.in_proj_weight.numpy(), block.attn.in_proj_bias.numpy()
    width = tokens.shape[1]
    normal = norm(tokens, block.ln_1)
    k = normal @ weight[width : 2 * width].T + bias[width : 2 * width]
    v = normal @ weight[2 * width :].T + bias[2 * width :]
    out = np.zeros_like(v)
    each = width // HEADS
    for head in range(HEADS):
        part = slice(head * each, (head + 1) * each)
        for i in range(len(tokens)):
            out[i, part] = softmax(k[:, part] @ k[i, part] / math.sqrt(each)) @ v[:, part]
    out = out @ block.attn.out_proj.weight.numpy().T + block.attn.out_proj.bias.numpy()
    return norm(out, visual.ln_post)[1:] @ visual.proj.numpy()


def test_key_key_attention_of_a_clip_vit() -> None:
    visual = make("vit").visual
    before: list[Tensor] = []
    last = visual.transformer.resblocks[-1]
    hook = last.ln_1.register_forward_pre_hook(lambda _, inputs: before.append(inputs[0]))
    images = noise(1, 3, 32, 32)
    dense = dense_features(visual, images)
    visual(images)
    hook.remove()
    # At the size that the model was made for, what enters the last block is what open_clip computes.
    torch.testing.assert_close(before[0], before[1])
    expected = plain_last_block(visual, before[0][0].numpy())
    # float32 through one block
    np.testing.assert_allclose(dense[0].flatten(1).T.numpy(), expected, rtol=1e-3, atol=1e-4)
    plain = visual.ln_post(last(before[0])[:, 1:]) @ visual.proj
    assert (dense[0].flatten(1).T - plain[0]).abs().max() > 0.1


def test_key_key_attention_at_its_ends() -> None:
    """With all keys alike everybody gets the mean; with keys far apart everybody keeps their own value."""
    tokens = noise(1, 6, 8)
    weight, bias = torch.zeros(24, 8), torch.zeros(24)
    weight[16:] = torch.eye(8)
    mean = key_key_attention(tokens, weight, bias, heads=2)
    torch.testing.assert_close(mean, tokens.mean(1, keepdim=True).expand_as(tokens))
    apart = torch.nn.functional.normalize(tokens.view(1, 6, 2, 4), dim=-1).reshape(1, 6, 8)
    weight[8:16] = 1e4 * torch.eye(8)
    own = key_key_attention(apart, weight, None, heads=2)
    torch.testing.assert_close(own, apart)


def test_a_shifted_image_gives_shifted_features() -> None:
    """Without positional embeddings a ViT does not know places: a shift by whole patches shifts the grid."""
    visual = make("vit").visual
    visual.positional_embedding.data.zero_()
    images = noise(1, 3, 32, 48)
    shifted = dense_features(visual, images.roll((8, 16), (2, 3)))
    torch.testing.assert_close(
        shifted, dense_features(visual, images).roll((1, 2), (2, 3)), rtol=1e-4, atol=1e-4
    )


def test_resized_positions() -> None:
    positions = noise(1 + 12, 5)
    assert resized_positions(positions, (3, 4), (3, 4)) is positions
    larger = resized_positions(positions, (3, 4), (6, 10))
    assert larger.shape == (61, 5)
    assert torch.equal(larger[0], positions[0])
    # A slope along the columns stays one (away from the border, where bicubic flattens).
    slope = torch.cat([torch.zeros(1, 1), torch.arange(8.0).repeat(8)[:, None]])
    column = resized_positions(slope, (8, 8), (16, 16))[1:, 0].view(16, 16)[8]
    torch.testing.assert_close(column[5:12].diff(), torch.full((6,), 0.5), rtol=0, atol=0.02)


def test_a_mean_pooled_cnn_is_the_mean_of_its_places() -> None:
    """Mean and linear head commute, so that the image's own vector is an oracle."""
    visual = make("timm_cnn").visual
    images = noise(2, 3, 96, 160)
    torch.testing.assert_close(
        dense_features(visual, images).mean((2, 3)), visual(images), rtol=1e-3, atol=1e-3
    )


def test_attention_pooling_of_each_place_alone() -> None:
    visual = make("timm_map").visual
    images = noise(1, 3, 160, 160)
    tokens = visual.trunk.forward_features(images)
    dense = dense_features(visual, images)
    for place in (0, 37, 99):
        alone = visual.head(visual.trunk.forward_head(tokens[:, place : place + 1]))
        torch.testing.assert_close(dense[0].flatten(1)[:, place], alone[0], rtol=1e-4, atol=1e-4)


def test_a_timm_vit_with_a_class_token_uses_key_key_attention() -> None:
    visual = make("timm_token").visual
    trunk, block = visual.trunk, visual.trunk.blocks[-1]
    images = noise(1, 3, 160, 160)
    before: list[Tensor] = []
    hook = block.register_forward_pre_hook(lambda _, inputs: before.append(inputs[0]))
    dense = dense_features(visual, images)
    hook.remove()
    assert not block._forward_hooks
    qkv = block.attn.qkv
    gathered = key_key_attention(block.norm1(before[0]), qkv.weight, qkv.bias, block.attn.num_heads)
    tokens = trunk.norm(block.ls1(block.attn.proj(gathered)))[:, trunk.num_prefix_tokens :]
    expected = visual.head(trunk.fc_norm(tokens))
    torch.testing.assert_close(dense[0].flatten(1).T, expected[0], rtol=1e-4, atol=1e-4)


def test_values_of_a_clip_resnet() -> None:
    visual = make("resnet").visual
    images = noise(1, 3, 64, 96)
    dense = dense_features(visual, images)
    features = visual.layer4(visual.layer3(visual.layer2(visual.layer1(visual.stem(images)))))
    pool = visual.attnpool
    alone = pool.c_proj(pool.v_proj(features[0, :, 1, 2]))
    torch.testing.assert_close(dense[0, :, 1, 2], alone, rtol=1e-4, atol=1e-4)


def test_towers_without_dense_features_say_so() -> None:
    with pytest.raises(EncoderError, match="Linear"):
        dense_features(torch.nn.Linear(1, 1), noise(1, 3, 32, 32))


@pytest.mark.parametrize(("height", "width", "native", "patch"), [(480, 640, 224, 16), (100, 300, 384, 14)])
def test_dense_size(height: int, width: int, native: int, patch: int) -> None:
    rows, columns = dense_size(height, width, native, patch)
    assert rows % patch == 0
    assert columns % patch == 0
    assert abs(min(rows, columns) - max(336, native)) <= patch / 2
    assert abs(columns - rows * width / height) <= patch


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An open_clip folder with a small random ViT."""
    path = tmp_path_factory.mktemp("model") / "small"
    path.mkdir()
    torch.save(make("vit").state_dict(), path / "open_clip_pytorch_model.bin")
    preprocess = {"mean": [0.1, 0.2, 0.3], "std": [0.5, 0.6, 0.7], "size": [32, 32]}
    model = {"embed_dim": 24, "vision_cfg": TOWERS["vit"], "text_cfg": TEXT}
    (path / "open_clip_config.json").write_text(
        json.dumps({"model_cfg": model, "preprocess_cfg": preprocess})
    )
    return path


def test_a_local_model_is_an_encoder(folder: Path) -> None:
    encoder = OpenClipEncoder(f"local-dir:{folder}", CPU)
    assert isinstance(encoder, Encoder)
    assert encoder.space == "open_clip:small"
    assert encoder.logit_scale == pytest.approx(1 / 0.07, rel=1e-3)  # open_clip's start value
    images = torch.rand(2, 3, 60, 80, generator=torch.Generator().manual_seed(3))
    dense, crops = encoder.encode_dense(images), encoder.encode_image(images)
    assert dense.shape == (2, 24, 42, 56)
    assert crops.shape == (2, 24)
    texts = encoder.encode_text(["a sofa", "a cup", "a sofa"])
    assert texts.shape == (3, 24)
    assert torch.equal(texts[0], texts[2])
    assert not torch.allclose(texts[0], texts[1])
    for vectors in (dense.movedim(1, -1), crops, texts):
        torch.testing.assert_close(vectors.norm(dim=-1), torch.ones(vectors.shape[:-1]))
    assert torch.equal(dense, encoder.encode_dense(images))
    assert not dense.requires_grad


def test_images_are_prepared_with_the_models_own_mean(folder: Path) -> None:
    encoder = OpenClipEncoder(f"local-dir:{folder}", CPU)
    image = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(4))
    mean, std = torch.tensor([0.1, 0.2, 0.3]), torch.tensor([0.5, 0.6, 0.7])
    expected = encoder._model.visual((image - mean[:, None, None]) / std[:, None, None])
    found = encoder.encode_image(image)
    torch.testing.assert_close(found, torch.nn.functional.normalize(expected, dim=-1), rtol=1e-4, atol=1e-5)


def test_the_place_holder_of_a_folder_becomes_its_copy(folder: Path, tmp_path: Path) -> None:
    """`__DIR__` anywhere in the configuration is read as the folder; the folder itself is not touched."""
    config = json.loads((folder / "open_clip_config.json").read_text())
    copy = tmp_path / 'odd "name"'
    copy.mkdir()
    (copy / "open_clip_pytorch_model.bin").symlink_to(folder / "open_clip_pytorch_model.bin")
    config["note"] = "__DIR__"
    (copy / "open_clip_config.json").write_text(json.dumps(config))
    OpenClipEncoder(f"local-dir:{copy}", CPU)
    assert "__DIR__" in (copy / "open_clip_config.json").read_text()


def test_what_cannot_be_loaded(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(EncoderError, match=r"open_clip_config\.json"):
        OpenClipEncoder(f"local-dir:{tmp_path}", CPU)
    (tmp_path / "open_clip_config.json").write_text((folder / "open_clip_config.json").read_text())
    with pytest.raises(EncoderError, match="does not load"):
        OpenClipEncoder(f"local-dir:{tmp_path}", CPU)
    with pytest.raises(EncoderError, match=r"list_pretrained"):
        OpenClipEncoder("ViT-Q-99/openai", CPU)
    with pytest.raises(EncoderError, match=r"ViT-B-32 are .*openai"):
        OpenClipEncoder("ViT-B-32/nobody", CPU)


def test_weights_that_are_not_here_and_cannot_come(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # nobody listens there
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    with pytest.raises(EncoderError, match=r"127\.0\.0\.1:9 cannot be reached"):
        OpenClipEncoder("ViT-B-32/openai", CPU)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(EncoderError, match="HF_HUB_OFFLINE is set"):
        OpenClipEncoder("ViT-B-32/openai", CPU)


def test_the_cache_is_searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cached_tag() is None
    source = open_clip.get_pretrained_cfg("ViT-B-16", "openai")["hf_hub"]
    repository = tmp_path / ("models--" + source.strip("/").replace("/", "--"))
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("abc")
    (repository / "snapshots" / "abc").mkdir(parents=True)
    (repository / "snapshots" / "abc" / "open_clip_model.safetensors").touch()
    assert cached_tag() == "ViT-B-16/openai"


def test_the_dual_encoder_of_the_shared_weights() -> None:
    folder = SHARED / "weights" / "lit-effl0-minilm"
    if not folder.is_dir():
        pytest.skip(f"needs {folder}")
    pytest.importorskip("transformers", reason="its text side is from transformers")
    encoder = OpenClipEncoder(f"local-dir:{folder}", CPU)
    texts = encoder.encode_text(["dog", "puppy", "airplane"])
    assert texts[0] @ texts[1] > texts[0] @ texts[2]
    assert encoder.encode_dense(torch.rand(1, 3, 120, 160)).shape[:2] == (1, 384)
