"""A model behind BentoML's own batching: `bentoml serve benchmarks.baselines.batchable:Clip`.

As BentoML's documentation shows it: ``batchable=True``, pictures as PIL images, fp32, the settings left as they are but
for the time a request may take. MODEL names the folder.
"""

import os

import bentoml
import numpy as np
import open_clip
import torch
from PIL import Image

MODEL = f"local-dir:{os.environ['MODEL']}"
TIMEOUT_SECONDS = 120


@bentoml.service(traffic={"timeout": TIMEOUT_SECONDS})
class Clip:
    """Embeds texts and pictures."""

    def __init__(self) -> None:
        self.model, self.preprocess = open_clip.create_model_from_pretrained(MODEL)
        self.model.eval()
        self.tokenizer = open_clip.get_tokenizer(MODEL)

    @bentoml.api(batchable=True, max_latency_ms=TIMEOUT_SECONDS * 1000)
    def embed_texts(self, texts: list[str]) -> np.ndarray:
        """Unit vectors of texts."""
        with torch.no_grad():
            vectors: np.ndarray = self.model.encode_text(self.tokenizer(texts), normalize=True).numpy()
        return vectors

    @bentoml.api(batchable=True, max_latency_ms=TIMEOUT_SECONDS * 1000)
    def embed_images(self, images: list[Image.Image]) -> np.ndarray:
        """Unit vectors of pictures."""
        batch = torch.stack([self.preprocess(image.convert("RGB")) for image in images])
        with torch.no_grad():
            vectors: np.ndarray = self.model.encode_image(batch, normalize=True).numpy()
        return vectors
