"""A model behind FastAPI, one input after the other: `uvicorn benchmarks.baselines.one_at_a_time:app`.

As tutorials write it: the model is called inside the handlers, in fp32, each request on its own. MODEL names the folder.
"""

import io
import os
from typing import Annotated

import open_clip
import torch
from fastapi import FastAPI, File, UploadFile
from PIL import Image
from pydantic import BaseModel

MODEL = f"local-dir:{os.environ['MODEL']}"

app = FastAPI()
model, preprocess = open_clip.create_model_from_pretrained(MODEL)
model.eval()
tokenizer = open_clip.get_tokenizer(MODEL)


class Texts(BaseModel):
    """The body of a request for texts."""

    texts: list[str]


@app.get("/readyz")
async def ready() -> dict[str, str]:
    """The model is loaded before the server listens."""
    return {"status": "ready"}


@app.post("/embed/texts")
async def embed_texts(body: Texts) -> dict[str, list[list[float]]]:
    """Unit vectors of texts."""
    vectors = []
    for text in body.texts:
        with torch.no_grad():
            vectors.append(model.encode_text(tokenizer([text]), normalize=True)[0].tolist())
    return {"embeddings": vectors}


@app.post("/embed/images")
async def embed_images(files: Annotated[list[UploadFile], File()]) -> dict[str, list[list[float]]]:
    """Unit vectors of pictures."""
    vectors = []
    for file in files:
        picture = Image.open(io.BytesIO(await file.read())).convert("RGB")
        with torch.no_grad():
            vectors.append(model.encode_image(preprocess(picture).unsqueeze(0), normalize=True)[0].tolist())
    return {"embeddings": vectors}
