"""Writes a trained model as a folder that OpenCLIP loads by `local-dir:`."""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from tools.tiny_clip.captions import spoken_phrases
from tools.tiny_clip.network import MODEL_CONFIG, PREPROCESS_CONFIG
from tools.tiny_clip.vocabulary import write_vocabulary

CONFIG_FILE = "open_clip_config.json"
WEIGHTS_FILE = "open_clip_model.safetensors"
MAX_BYTES = 12_000_000


def export(state: dict[str, Tensor], folder: Path) -> Path:
    """Writes configuration, vocabulary and float16 weights; returns the folder.

    Raises ValueError where the weights would take more than `MAX_BYTES`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    config = {"model_cfg": MODEL_CONFIG, "preprocess_cfg": PREPROCESS_CONFIG}
    (folder / CONFIG_FILE).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    write_vocabulary(folder, spoken_phrases())
    half = {
        name: value.detach().to(torch.float16 if value.is_floating_point() else value.dtype).contiguous().clone()
        for name, value in sorted(state.items())
    }
    size = sum(value.numel() * value.element_size() for value in half.values())
    if size > MAX_BYTES:
        raise ValueError(f"weights take {size} bytes, at most {MAX_BYTES} are allowed")
    save_file(half, folder / WEIGHTS_FILE, metadata={"format": "pt"})
    (folder / WEIGHTS_FILE).chmod(0o644)  # the writer leaves it to its owner alone
    return folder
