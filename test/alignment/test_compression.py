"""A basis keeps what words can see, and is the same every time."""

import pytest
import torch

from ws3d_ros.alignment.compression import feature_basis


class Words:
    """Fixed random unit vectors in the span of 6 directions of a 16-channel space."""

    dim, space, name, logit_scale = 16, "test", "test", 100.0

    def encode_text(self, texts: list[str]) -> torch.Tensor:
        span = torch.randn(6, self.dim, generator=torch.Generator().manual_seed(0))
        rows = [
            torch.randn(6, generator=torch.Generator().manual_seed(sum(map(ord, text)))) for text in texts
        ]
        return torch.nn.functional.normalize(torch.stack(rows) @ span, dim=1)


WORDS = [f"word {letter}" for letter in "abcdefghijklmnop"]


def test_rows_are_orthonormal_and_words_survive_in_their_span() -> None:
    basis = feature_basis(Words(), WORDS, channels=8)
    assert basis.channels == 8
    torch.testing.assert_close(basis.directions @ basis.directions.T, torch.eye(8), atol=1e-5, rtol=0)
    vectors = Words().encode_text(WORDS)
    # Words span 6 directions, fewer than the 8 kept: nothing may be lost but float32 rounding.
    torch.testing.assert_close(basis.expand(basis.compress(vectors)), vectors, atol=1e-5, rtol=0)


def test_keeps_more_of_the_words_than_any_random_basis() -> None:
    vectors = Words().encode_text(WORDS)
    kept = feature_basis(Words(), WORDS, channels=3).compress(vectors).norm()
    for seed in range(20):
        random, _ = torch.linalg.qr(torch.randn(16, 3, generator=torch.Generator().manual_seed(seed)))
        assert kept >= (vectors @ random).norm()


def test_dot_products_with_any_feature_are_kept_inside_the_span() -> None:
    basis = feature_basis(Words(), WORDS, channels=6)
    feature = torch.randn(40, 16, generator=torch.Generator().manual_seed(1))
    vectors = Words().encode_text(WORDS)
    torch.testing.assert_close(
        basis.compress(feature) @ basis.compress(vectors).T, feature @ vectors.T, atol=1e-4, rtol=0
    )


def test_order_and_repetition_of_words_do_not_matter() -> None:
    one = feature_basis(Words(), WORDS, channels=5)
    other = feature_basis(Words(), WORDS[::-1] + WORDS[:3], channels=5)
    torch.testing.assert_close(one.directions, other.directions, atol=0, rtol=0)


@pytest.mark.parametrize("channels", [0, 16, 99])
def test_all_channels_are_kept_as_they_are(channels: int) -> None:
    basis = feature_basis(Words(), [], channels)
    torch.testing.assert_close(basis.directions, torch.eye(16))


def test_a_grid_is_compressed_like_its_pixels() -> None:
    basis = feature_basis(Words(), WORDS, channels=4)
    dense = torch.randn(16, 3, 5, generator=torch.Generator().manual_seed(2))
    # Same sums in another order: float32 rounding only.
    torch.testing.assert_close(
        basis.compress_grid(dense), basis.compress(dense.permute(1, 2, 0)).permute(2, 0, 1), atol=1e-5, rtol=0
    )


def test_no_words_is_an_error_that_says_what_to_do() -> None:
    with pytest.raises(ValueError, match="needs words"):
        feature_basis(Words(), [], channels=4)
