"""The cut vocabulary: CLIP's own pieces, small ids, the file in the model folder."""

import json
import random
from pathlib import Path

import pytest
from open_clip.tokenizer import SimpleTokenizer

from tools.tiny_clip.captions import describe, spoken_phrases
from tools.tiny_clip.loading import MODEL_FOLDER
from tools.tiny_clip.vocabulary import CONTEXT_LENGTH, VOCABULARY_FILE, tokenizer, write_vocabulary
from tools.tiny_clip.world import draw_scene


@pytest.fixture(scope="module")
def cut() -> SimpleTokenizer:
    return tokenizer(MODEL_FOLDER)


def pieces(of: SimpleTokenizer, text: str) -> list[str]:
    return [of.decoder[token] for token in of.encode(text)]


def test_captions_split_exactly_as_clip_splits_them(cut: SimpleTokenizer) -> None:
    full, rng = SimpleTokenizer(), random.Random(0)
    for _ in range(1000):
        text = describe(draw_scene(rng), rng).text
        assert pieces(cut, text) == pieces(full, text)


def test_any_text_survives_the_round_trip(cut: SimpleTokenizer) -> None:
    for text in ("three bananas on a blue background", "zyzzyva quokkas, 17 of them!", "crème brûlée", "世界"):
        assert cut.decode(cut.encode(text)).replace(" ", "") == text.replace(" ", "")


def test_ids_fit_the_models_table_and_the_special_ones_come_last(cut: SimpleTokenizer) -> None:
    config = json.loads((MODEL_FOLDER / "open_clip_config.json").read_text(encoding="utf-8"))["model_cfg"]["text_cfg"]
    assert cut.vocab_size == config["vocab_size"]
    assert (cut.sot_token_id, cut.eot_token_id) == (cut.vocab_size - 2, cut.vocab_size - 1)
    assert sorted(cut.encoder.values()) == list(range(cut.vocab_size))


def test_no_caption_is_too_long_for_the_context(cut: SimpleTokenizer) -> None:
    rng = random.Random(0)
    captions = [describe(draw_scene(rng), rng, full=True).text for _ in range(2000)]
    assert max(len(cut.encode(text)) + 2 for text in captions) <= CONTEXT_LENGTH


def test_the_bundled_file_is_what_the_tool_writes(tmp_path: Path) -> None:
    written = write_vocabulary(tmp_path, spoken_phrases())
    assert written.read_bytes() == (MODEL_FOLDER / VOCABULARY_FILE).read_bytes()
