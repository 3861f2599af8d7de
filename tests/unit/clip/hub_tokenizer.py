"""A stand-in for a Hugging Face tokenizer, whose files cannot be fetched here; OpenCLIP's wrapper around it is real."""

from types import SimpleNamespace
from typing import Any

import torch
from open_clip.tokenizer import HFTokenizer, get_clean_fn

END, PAD = 1, 0
WORDS = 500


class WordTokenizer:
    """Speaks the part of transformers' interface that OpenCLIP uses: each character is a token, ``</s>`` ends."""

    def __init__(self, pad_id: int = PAD) -> None:
        self.all_special_tokens = ["</s>", "<pad>"]
        self.bos_token_id, self.eos_token_id, self.pad_token_id, self.cls_token_id = 2, END, pad_id, 3
        self.sep_token_id = END

    def get_vocab(self) -> dict[str, int]:
        return {"<pad>": PAD, "</s>": END, **{f"w{n}": n for n in range(2, WORDS)}}

    def __call__(
        self,
        texts: list[str],
        *,
        padding: str | bool = False,
        truncation: bool = False,
        max_length: int | None = None,
        return_tensors: str | None = None,
        add_special_tokens: bool = True,
    ) -> Any:
        rows = [self._encode(text) + [END] * add_special_tokens for text in texts]
        if truncation and max_length:
            rows = [[*row[: max_length - 1], END] if len(row) > max_length else row for row in rows]
        if padding and max_length:
            rows = [row + [self.pad_token_id] * (max_length - len(row)) for row in rows]
        return SimpleNamespace(input_ids=torch.tensor(rows)) if return_tensors else {"input_ids": rows}

    def _encode(self, text: str) -> list[int]:
        ids: list[int] = []
        while text:
            special = text.startswith("</s>")
            ids.append(END if special else 4 + ord(text[0]) % (WORDS - 4))
            text = text[4 if special else 1 :]
        return ids


def hub_tokenizer(context_length: int, *, clean: str = "canonicalize", mode: str = "") -> Any:
    """OpenCLIP's wrapper, put together without the download in its constructor."""
    wrapper = HFTokenizer.__new__(HFTokenizer)
    wrapper.tokenizer = WordTokenizer()
    wrapper.tokenizer_mode = mode
    wrapper.context_length = context_length
    wrapper.clean_fn = get_clean_fn(clean)
    wrapper.strip_sep_token = False
    return wrapper
