"""Tiny architectures of ``transformers`` with random weights, by name: made from configs, nothing is downloaded.

``python tests/unit/pytorch/architectures.py [NAME ..]`` runs them and prints what runs, and what is refused and why.
"""

from __future__ import annotations

import os
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

_TEXT = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24,
         "vocab_size": 40, "max_position_embeddings": 32, "pad_token_id": 0,
         "bos_token_id": 1, "eos_token_id": 2}  # fmt: skip
_DECODER = {**_TEXT, "use_cache": False, "num_key_value_heads": 1, "head_dim": 8}
_IMAGE = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24,
          "image_size": 32, "patch_size": 8, "num_channels": 3}  # fmt: skip
_ODD: dict[str, dict[str, Any]] = {
    "GPT2": {"n_layer": 2, "n_head": 2, "n_embd": 16, "vocab_size": 40, "n_positions": 32, "use_cache": False},
    "T5Encoder": {"d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 2, "num_heads": 2, "vocab_size": 40,
                  "use_cache": False},
    "DistilBert": {"dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 24, "vocab_size": 40,
                   "max_position_embeddings": 32},
    "Albert": {**_TEXT, "embedding_size": 8},
    "Deberta": {**_TEXT, "relative_attention": True, "pos_att_type": ["c2p", "p2c"], "position_biased_input": False},
    "Falcon": {**_TEXT, "use_cache": False, "new_decoder_architecture": False},
    "Bloom": {"hidden_size": 16, "n_layer": 2, "n_head": 2, "vocab_size": 40, "use_cache": False},
    "OPT": {**_TEXT, "ffn_dim": 24, "word_embed_proj_dim": 16, "use_cache": False},
    "GPTNeoX": {**_TEXT, "use_cache": False},
    "WhisperEncoder": {"d_model": 16, "encoder_layers": 2, "encoder_attention_heads": 2, "encoder_ffn_dim": 24,
                       "num_mel_bins": 8, "max_source_positions": 20, "decoder_layers": 1, "vocab_size": 40,
                       "decoder_attention_heads": 2, "decoder_ffn_dim": 16, "pad_token_id": 0, "bos_token_id": 1,
                       "eos_token_id": 2, "decoder_start_token_id": 1, "suppress_tokens": None,
                       "begin_suppress_tokens": None},
    "ConvNext": {"hidden_sizes": [8, 16], "depths": [1, 1], "num_stages": 2},
    "ConvNextV2": {"hidden_sizes": [8, 16], "depths": [1, 1], "num_stages": 2},
    "ResNet": {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "layer_type": "basic"},
    "RegNet": {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "groups_width": 8},
    "MobileViT": {"hidden_sizes": [16, 16, 16], "neck_hidden_sizes": [8, 8, 8, 16, 16, 16, 16], "image_size": 32,
                  "num_attention_heads": 2, "intermediate_size": 24},
    "MobileNetV1": {"depth_multiplier": 0.25, "image_size": 32},
    "MobileNetV2": {"depth_multiplier": 0.25, "image_size": 32},
    "EfficientNet": {"width_coefficient": 0.25, "depth_coefficient": 0.2, "image_size": 32, "hidden_dim": 320},
    "Swin": {"image_size": 32, "patch_size": 4, "embed_dim": 8, "depths": [1, 1], "num_heads": [2, 2],
             "window_size": 4},
    "Segformer": {"num_encoder_blocks": 2, "depths": [1, 1], "sr_ratios": [2, 1], "hidden_sizes": [8, 16],
                  "patch_sizes": [3, 3], "strides": [2, 2], "num_attention_heads": [1, 2], "mlp_ratios": [2, 2]},
    "PoolFormer": {"depths": [1, 1], "hidden_sizes": [8, 16], "num_encoder_blocks": 2, "patch_sizes": [3, 3],
                   "strides": [2, 2], "padding": [1, 1], "mlp_ratio": 2.0},
    "Wav2Vec2": {**_TEXT, "conv_dim": [8, 8], "conv_stride": [4, 2], "conv_kernel": [8, 3],
                 "num_feat_extract_layers": 2, "num_conv_pos_embeddings": 4, "num_conv_pos_embedding_groups": 2,
                 "mask_time_prob": 0.0, "layerdrop": 0.0},
    "Mamba": {"hidden_size": 16, "num_hidden_layers": 2, "state_size": 4, "vocab_size": 40, "use_cache": False,
              "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2},
    "CLIPText": {**_TEXT}, "CLIPVision": {**_IMAGE},
}  # fmt: skip
_KINDS = {
    "ids": ("Bert", "Roberta", "Electra", "Albert", "DistilBert", "MPNet", "XLMRoberta", "Deberta", "ModernBert",
            "GPT2", "GPTNeoX", "OPT", "Bloom", "Falcon", "Llama", "Mistral", "Qwen2", "Qwen3", "Gemma", "Phi", "Mamba",
            "T5Encoder", "CLIPText"),
    "image": ("ViT", "DeiT", "Beit", "Dinov2", "CLIPVision", "Siglip2", "ConvNext", "ConvNextV2", "ResNet", "RegNet",
              "MobileViT", "MobileNetV1", "MobileNetV2", "EfficientNet", "Swin", "Segformer", "PoolFormer"),
    "sound": ("WhisperEncoder", "Wav2Vec2"),
}  # fmt: skip
NAMES = tuple(n for names in _KINDS.values() for n in names if n != "Siglip2")
_DECODERS = ("Llama", "Mistral", "Qwen2", "Qwen3", "Gemma", "Phi")


def made(name: str) -> tuple[torch.nn.Module, torch.Tensor]:
    """Return a module in eval mode with weights drawn by a seed, and an example of what it takes."""
    import transformers

    torch.manual_seed(0)
    kind = next(k for k, names in _KINDS.items() if name in names)
    settings = _ODD.get(name) or (_DECODER if name in _DECODERS else _TEXT if kind == "ids" else _IMAGE)
    config_of = {"T5Encoder": "T5Config", "WhisperEncoder": "WhisperConfig", "CLIPText": "CLIPTextConfig",
                 "CLIPVision": "CLIPVisionConfig"}.get(name, f"{name}Config")  # fmt: skip
    config = getattr(transformers, config_of)(**settings)
    if name == "WhisperEncoder":
        from transformers.models.whisper.modeling_whisper import WhisperEncoder as Model
    else:
        Model = getattr(transformers, f"{name}Model")
    module = Model(config).eval()
    for part in module.modules():
        if isinstance(part, torch.nn.Conv2d):  # of the weights that they begin with nothing would be left
            torch.nn.init.kaiming_normal_(part.weight)
        if isinstance(part, torch.nn.BatchNorm2d):
            part.momentum = None
    if kind == "ids":
        return module, torch.randint(3, 40, (2, 8))
    if kind == "image":
        with torch.no_grad():
            module.train()(torch.randn(8, 3, 32, 32))  # moves running statistics to where batches are
        return module.eval(), torch.randn(2, 3, 32, 32)
    return module, torch.randn(2, 8, 40) if name == "WhisperEncoder" else torch.randn(2, 160)


def tensors(value: Any) -> list[Any]:
    """Return the arrays of a result, in order."""
    if isinstance(value, (torch.Tensor, np.ndarray)):
        return [value]
    if isinstance(value, dict):
        return [t for v in value.values() for t in tensors(v)]
    return [t for v in value for t in tensors(v)] if isinstance(value, (tuple, list)) else []


def compare(name: str, import_: Callable[..., Any]) -> float:
    """Return the largest difference from PyTorch over batches of 3, 1 and 2, relative to the largest number."""
    module, example = made(name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = import_(module, example, training=False)
    worst = 0.0
    for count in (3, 1, 2):
        x = torch.randint(3, 40, (count, *example.shape[1:])) if example.dtype == torch.int64 else torch.randn(
            count, *example.shape[1:])  # fmt: skip
        with torch.no_grad():
            wanted = tensors(module(x))
        found = tensors(model(x))
        assert len(found) == len(wanted)
        for mine, theirs in zip(found, wanted, strict=True):
            assert mine.shape == tuple(theirs.shape)
            scale = max(1.0, theirs.abs().max().item())
            worst = max(worst, float(np.abs(mine - theirs.numpy()).max()) / scale)
    return worst


def main() -> None:
    """Print what runs and what is refused."""
    import loom

    for name in sys.argv[1:] or NAMES:
        start = time.time()
        try:
            told = f"{compare(name, loom.from_torch):.1e}"
        except Exception as error:
            told = f"{type(error).__name__}: {' '.join(str(error).split())[:400]}"
        print(f"{name:16} {time.time() - start:5.1f} s  {told}", flush=True)


if __name__ == "__main__":
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    main()
