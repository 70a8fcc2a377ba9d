"""Features for each place of an image from models that were trained to give one for the whole.

What works depends on how the model comes from places to the whole:

- A class token (CLIP's ViTs): the last block's attention gathers for that token, not for the
  patches. There, each patch instead attends to patches with keys like its own, and the block's
  residual and MLP are left out. Key-key attention: Wang et al., "SCLIP", ECCV 2024; without the
  residual: Lan et al., "ClearCLIP", ECCV 2024.
- Attention pooling (CLIP's ResNets, SigLIP, PE) or a mean (CNNs, some ViTs): the pooling and the
  head are applied to each place alone (Zhou et al., "Extract Free Dense Labels from CLIP", ECCV 2022).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, linear, softmax

from ws3d_ros.language.encoder import EncoderError

CNN_STRIDE = 32
"""Inputs of networks without patches are whole multiples of this."""


def dense_features(visual: Any, images: Tensor) -> Tensor:
    """(B, D, h, w) features of an open_clip image tower, not normalised.

    Args:
        visual: ``model.visual`` of open_clip.
        images: (B, 3, H, W), preprocessed; H and W are multiples of ``patch_size(visual)`` and need
            not be what the model was made for.

    Raises:
        EncoderError: for a kind of tower that gives none.
    """
    kind = type(visual).__name__
    if kind == "VisionTransformer" and visual.attn_pool is None:
        return _transformer(visual, images)
    if kind == "TimmModel":
        return _timm(visual, images)
    if kind == "ModifiedResNet":
        return _resnet(visual, images)
    raise EncoderError(
        f"no dense features from this model's image tower ({kind}); use a CLIP ViT, SigLIP, PE, "
        "MobileCLIP, ConvNeXt or ResNet model"
    )


def patch_size(visual: Any) -> int:
    """Pixels across that the input must be a multiple of."""
    if hasattr(visual, "patch_size"):
        return max(visual.patch_size)
    embedding: Any = getattr(getattr(visual, "trunk", None), "patch_embed", None)
    return int(embedding.feat_ratio()) if hasattr(embedding, "feat_ratio") else CNN_STRIDE


def takes_any_size(visual: Any) -> bool:
    """Whether inputs may differ from what the model was made for: all but rotary positions of timm."""
    return getattr(getattr(visual, "trunk", None), "rope", None) is None


def _transformer(visual: Any, images: Tensor) -> Tensor:
    """open_clip's own ViT."""
    grid = visual.conv1(images)
    batch, width, rows, columns = grid.shape
    class_token = visual.class_embedding.to(grid.dtype).expand(batch, 1, width)
    tokens = torch.cat([class_token, grid.flatten(2).transpose(1, 2)], dim=1)
    tokens = tokens + resized_positions(visual.positional_embedding, visual.grid_size, (rows, columns))
    tokens = visual.ln_pre(tokens)
    *blocks, last = visual.transformer.resblocks
    for block in blocks:
        tokens = block(tokens)
    if visual.pool_type == "tok" and isinstance(last.attn, nn.MultiheadAttention):
        projection = last.attn.in_proj_weight, last.attn.in_proj_bias
        gathered = key_key_attention(last.ln_1(tokens), *projection, last.attn.num_heads)
        tokens = last.ls_1(last.attn.out_proj(gathered))
    else:
        tokens = last(tokens)
    places = visual.ln_post(tokens[:, 1:]) @ visual.proj
    return places.transpose(1, 2).reshape(batch, -1, rows, columns)


def key_key_attention(tokens: Tensor, weight: Tensor, bias: Tensor | None, heads: int) -> Tensor:
    """Attention with keys in the place of queries: ``softmax(k k^T / sqrt(d)) v`` in each head.

    Args:
        tokens: (B, N, C), already normalised.
        weight, bias: (3 C, C) and (3 C,), from tokens to queries, keys and values.
        heads: each of width d = C / heads.

    Returns:
        (B, N, C) before the output projection.
    """
    channels = tokens.shape[-1]
    keys_values = linear(tokens, weight[channels:], None if bias is None else bias[channels:])
    key, value = (part.unflatten(-1, (heads, -1)).transpose(1, 2) for part in keys_values.chunk(2, -1))
    likeness = softmax(key @ key.transpose(-1, -2) * key.shape[-1] ** -0.5, dim=-1)
    return (likeness @ value).transpose(1, 2).flatten(2)


def resized_positions(positions: Tensor, grid: tuple[int, int], new_grid: tuple[int, int]) -> Tensor:
    """Positional embeddings for another grid of patches, bicubic; the class token's stays.

    Args:
        positions: (1 + rows * columns, C).
        grid: rows and columns it is for.
        new_grid: rows and columns that are wanted.
    """
    if tuple(grid) == new_grid:
        return positions
    image = positions[1:].T.reshape(1, -1, *grid)
    image = interpolate(image.float(), new_grid, mode="bicubic", align_corners=False, antialias=True)
    return torch.cat([positions[:1], image[0].flatten(1).T.to(positions.dtype)])


def _timm(visual: Any, images: Tensor) -> Tensor:
    """A trunk from timm: CNN or transformer, the head applied to each place alone."""
    trunk = visual.trunk
    if hasattr(trunk, "dynamic_img_size") and takes_any_size(visual):
        _accept_any_size(trunk)
    features = _timm_features(trunk, images)
    if features.ndim == 4:
        batch, _, rows, columns = features.shape
        places = features.permute(0, 2, 3, 1).flatten(0, 2)[:, :, None, None]
    elif features.ndim == 3:
        patch = patch_size(visual)
        batch, rows, columns = len(features), images.shape[2] // patch, images.shape[3] // patch
        places = features[:, features.shape[1] - rows * columns :].flatten(0, 1)[:, None]
    else:
        raise EncoderError(
            f"no dense features from {type(trunk).__name__}: it gives {features.ndim}-D features"
        )
    vectors = visual.head(trunk.forward_head(places))
    return vectors.view(batch, rows, columns, -1).permute(0, 3, 1, 2)


def _timm_features(trunk: Any, images: Tensor) -> Tensor:
    """What comes before pooling, with key-key attention in the last block where a class token pools."""
    if type(trunk).__name__ != "VisionTransformer" or trunk.global_pool != "token":
        return trunk.forward_features(images)

    def attend(block: Any, inputs: tuple[Tensor, ...], _: Tensor) -> Tensor:
        attention = block.attn
        projection = attention.qkv.weight, attention.qkv.bias
        return block.ls1(
            attention.proj(key_key_attention(block.norm1(inputs[0]), *projection, attention.num_heads))
        )

    hook = trunk.blocks[-1].register_forward_hook(attend)
    try:
        return trunk.forward_features(images)
    finally:
        hook.remove()


def _accept_any_size(trunk: Any) -> None:
    """Sets what timm's own ``dynamic_img_size=True`` would have set, which open_clip does not pass on:
    positional embeddings are then resampled from the original ones for each input."""
    if not trunk.dynamic_img_size:
        trunk.dynamic_img_size = True
        trunk.patch_embed.strict_img_size = False
        trunk.patch_embed.flatten = False
        trunk.patch_embed.output_fmt = type(trunk.patch_embed.output_fmt)("NHWC")


def _resnet(visual: Any, images: Tensor) -> Tensor:
    """CLIP's ResNet: the values of its attention pooling, which a place would give attending to itself."""
    features = visual.stem(images)
    for layer in (visual.layer1, visual.layer2, visual.layer3, visual.layer4):
        features = layer(features)
    pool = visual.attnpool
    return pool.c_proj(pool.v_proj(features.permute(0, 2, 3, 1))).permute(0, 3, 1, 2)
