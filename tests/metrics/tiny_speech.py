"""Speech models of `transformers` with random weights, small enough for tests, saved as folders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

TRUNK: dict[str, Any] = {
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "conv_dim": (8,) * 7,
    "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 2,
}
LETTERS = {"<pad>": 0, "<s>": 1, "</s>": 2, "<unk>": 3, "|": 4, "a": 5, "b": 6, "tʃ": 7}


def noise(seconds: float, seed: int = 0) -> np.ndarray:
    """(S,) at 16 kHz."""
    return 0.1 * np.random.default_rng(seed).standard_normal(round(16000 * seconds))


def save_trunk(folder: Path, *, stable: bool = True) -> Path:
    """WavLM, of the style with normalisation before each layer, or after it."""
    from transformers import WavLMConfig, WavLMModel

    torch.manual_seed(0)
    norm = "layer" if stable else "group"
    WavLMModel(WavLMConfig(**TRUNK, do_stable_layer_norm=stable, feat_extract_norm=norm)).save_pretrained(folder)
    return folder


def save_ctc(folder: Path) -> Path:
    """wav2vec 2.0 with the symbols of LETTERS, whose output changes from frame to frame."""
    from transformers import Wav2Vec2Config, Wav2Vec2CTCTokenizer, Wav2Vec2FeatureExtractor, Wav2Vec2ForCTC

    torch.manual_seed(0)
    model = Wav2Vec2ForCTC(
        Wav2Vec2Config(**TRUNK, vocab_size=len(LETTERS), pad_token_id=0, do_stable_layer_norm=True,
                       feat_extract_norm="layer")
    )  # fmt: skip
    # Every symbol is as probable as any other on average, so that the best one changes
    torch.nn.init.normal_(model.lm_head.weight)
    with torch.no_grad():
        states = model.eval().wav2vec2(torch.tensor(noise(1.0)).float()[None] * 10.0).last_hidden_state[0]
        model.lm_head.bias.copy_(-model.lm_head.weight @ states.mean(0))
    model.save_pretrained(folder)
    (folder / "vocab.json").write_text(json.dumps(LETTERS))
    Wav2Vec2CTCTokenizer(str(folder / "vocab.json")).save_pretrained(folder)
    Wav2Vec2FeatureExtractor(do_normalize=True).save_pretrained(folder)
    return folder


def save_whisper(folder: Path) -> Path:
    """Whisper with a vocabulary of twelve words."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from transformers import (
        GenerationConfig,
        PreTrainedTokenizerFast,
        WhisperConfig,
        WhisperFeatureExtractor,
        WhisperForConditionalGeneration,
    )

    torch.manual_seed(0)
    config = WhisperConfig(
        vocab_size=12, d_model=16, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=32, decoder_ffn_dim=32, num_mel_bins=8, max_target_positions=16,
        pad_token_id=0, bos_token_id=1, eos_token_id=1, decoder_start_token_id=2, suppress_tokens=None,
        begin_suppress_tokens=None,
    )  # fmt: skip
    model = WhisperForConditionalGeneration(config)
    torch.nn.init.normal_(model.model.decoder.embed_tokens.weight)
    torch.nn.init.normal_(model.model.decoder.embed_positions.weight, std=5.0)  # so that the words differ
    model.generation_config = GenerationConfig(
        max_length=10, pad_token_id=0, bos_token_id=1, eos_token_id=1, decoder_start_token_id=2
    )
    model.save_pretrained(folder)
    words = {"<pad>": 0, "<end>": 1, "<start>": 2} | {f"word{index}": index for index in range(3, 12)}
    PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(WordLevel(words, unk_token="<pad>")), pad_token="<pad>", eos_token="<end>",
        bos_token="<start>",
    ).save_pretrained(folder)  # fmt: skip
    WhisperFeatureExtractor(feature_size=8).save_pretrained(folder)
    return folder


def save_text(folder: Path) -> Path:
    """BERT over a few words."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    torch.manual_seed(0)
    words = ("[UNK]", "the", "cat", "dog", "sat", "on", "mat")
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    BertModel(BertConfig(vocab_size=len(words), **sizes), add_pooling_layer=False).save_pretrained(folder)
    tokenizer = Tokenizer(WordLevel({word: index for index, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]").save_pretrained(folder)
    return folder
