"""Files of pairs and of queries, Karpathy's format, and requirements: what they mean, and every way to be wrong."""

import json
from pathlib import Path

import pytest

from crossmodal.errors import ConfigurationError
from crossmodal.records import Modality
from crossmodal.search.metrics import Estimate
from indexer.evaluation.files import MAX_TOLD, FileFaults
from indexer.evaluation.gate import Requirement, check_known, missed, parse_requirement
from indexer.evaluation.karpathy import pairs_of_split
from indexer.evaluation.pairs import Pairs, read_pairs
from indexer.evaluation.queries import LabelledQuery, read_queries


def written(folder: Path, name: str, *lines: object) -> Path:
    file = folder / name
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    file.write_text("\n".join(texts) + "\n", "utf-8")
    return file


def pairs(file: Path, *, images: Path | None = None, first: int | None = None) -> Pairs:
    return read_pairs(file, images=images, max_chars=100, first=first)


def test_lines_of_one_picture_come_together(tmp_path: Path) -> None:
    file = written(
        tmp_path,
        "pairs.jsonl",
        {"image": "a.jpg", "caption": "one"},
        "",
        {"file_name": "b/c.jpg", "captions": ["two", "three"], "licence": "CC0"},
        {"image": "./a.jpg", "caption": "four"},
    )
    read = pairs(file)
    assert read.pictures == [tmp_path / "a.jpg", tmp_path / "b" / "c.jpg"]
    assert list(zip(read.captions, read.owners, strict=True)) == [("one", 0), ("four", 0), ("two", 1), ("three", 1)]
    assert pairs(file, images=Path("/elsewhere")).pictures[0] == Path("/elsewhere/a.jpg")
    assert pairs(file, first=1).captions == ["one", "two"]


def test_csv_is_read_by_its_header(tmp_path: Path) -> None:
    file = tmp_path / "pairs.csv"
    file.write_text(
        '\ufeffid,image,caption\r\n1,a.jpg,"red, and\r\nround"\r\n\r\n2,a.jpg,blue\r\n3,b.jpg,green\r\n', "utf-8"
    )
    read = pairs(file)
    assert [path.name for path in read.pictures] == ["a.jpg", "b.jpg"]
    assert [(" ".join(text.split()), owner) for text, owner in zip(read.captions, read.owners, strict=True)] == [
        ("red, and round", 0),
        ("blue", 0),
        ("green", 1),
    ]


def test_pictures_are_taken_out_with_their_captions() -> None:
    whole = Pairs([Path("a"), Path("b"), Path("c")], ["a1", "b1", "c1", "a2"], [0, 1, 2, 0])
    left = whole.without({1})
    assert left == Pairs([Path("a"), Path("c")], ["a1", "c1", "a2"], [0, 1, 0])


def test_captions_that_pictures_share_are_counted() -> None:
    assert Pairs([Path("a"), Path("b")], ["same", "same", "own", "own"], [0, 1, 0, 0]).shared_captions == 2


def test_every_bad_line_of_pairs_is_told(tmp_path: Path) -> None:
    file = written(
        tmp_path,
        "pairs.jsonl",
        {"image": "a.jpg", "caption": "good"},
        "{",
        ["a.jpg", "text"],
        {"caption": "no image"},
        {"image": "a.jpg"},
        {"image": "a.jpg", "file_name": "a.jpg", "caption": "two images"},
        {"image": "", "caption": "empty name"},
        {"image": "a\0.jpg", "caption": "nul"},
        '{"image": "a\\ud800.jpg", "caption": "half a character"}',
        {"image": 5, "caption": "number"},
        {"image": "a.jpg", "caption": " "},
        {"image": "a.jpg", "caption": 5},
        {"image": "a.jpg", "caption": "x" * 101},
        {"image": "a.jpg", "captions": []},
        {"image": "a.jpg", "captions": ["good", None]},
        "[" * 100_000,
    )
    with pytest.raises(FileFaults) as refused:
        pairs(file)
    expected = [
        (2, "not valid JSON"),
        (3, "an object is needed"),
        (4, "'image' or 'file_name' is needed"),
        (5, "'caption' or 'captions' is needed"),
        (6, "only one of 'image' or 'file_name' is allowed"),
        (7, "the image must be the path of a file"),
        (8, "the image must be the path of a file"),
        (9, "the image must be the path of a file"),
        (10, "the image must be the path of a file"),
        (11, "the caption: the text is empty"),
        (12, "the caption must be a string"),
        (13, "the caption: the text has 101 characters"),
        (14, "the picture has no caption"),
        (15, "the caption must be a string"),
        (16, "not valid JSON"),
    ]
    assert len(refused.value.lines) == len(expected)
    for line, (number, why) in zip(refused.value.lines, expected, strict=True):
        assert line.startswith(f"pairs.jsonl, line {number}: {why}")


def test_very_many_faults_are_counted(tmp_path: Path) -> None:
    with pytest.raises(FileFaults) as refused:
        pairs(written(tmp_path, "pairs.jsonl", *["{"] * (MAX_TOLD + 7)))
    assert len(refused.value.lines) == MAX_TOLD + 1
    assert refused.value.lines[-1] == "and 7 more faults"


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("pairs.jsonl", b"", "holds no pair"),
        ("pairs.csv", b"image,caption\n", "holds no pair"),
        ("pairs.jsonl", b"\xff\xfe", "is not UTF-8"),
        ("pairs.txt", b"a", "neither .jsonl nor .csv"),
        ("pairs.csv", b"image,caption\na.jpg\n", "line 2: 1 fields, but the header names 2"),
        ("pairs.csv", b'image,caption\na.jpg,"open\n', "line 2: not valid CSV"),
        ("pairs.csv", b"picture,caption\na.jpg,x\n", "line 2: 'image' or 'file_name' is needed"),
    ],
)
def test_files_that_hold_no_pairs_are_refused(tmp_path: Path, name: str, content: bytes, why: str) -> None:
    file = tmp_path / name
    file.write_bytes(content)
    with pytest.raises(ConfigurationError, match=why):
        pairs(file)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="is not a file"):
        pairs(tmp_path / "nowhere.jsonl")


def test_queries_say_what_should_be_found_where(tmp_path: Path) -> None:
    file = written(
        tmp_path,
        "queries.jsonl",
        {"query": "red", "relevant": ["a", "b", "a"]},
        {"query": {"image": "x.png"}, "relevant": {"t": 2, "u": 0, "v": 0.5}},
        {"query": {"image": "x.png"}, "relevant": ["a"], "target": "image"},
    )
    read = read_queries(file, images=None, max_chars=100)
    assert read == [
        LabelledQuery("red", Modality.IMAGE, {"a": 1.0, "b": 1.0}),
        LabelledQuery(tmp_path / "x.png", Modality.TEXT, {"t": 2.0, "v": 0.5}),
        LabelledQuery(tmp_path / "x.png", Modality.IMAGE, {"a": 1.0}),
    ]
    assert [each.direction for each in read] == ["text-to-image", "image-to-text", "image-to-image"]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ({"relevant": ["a"]}, "'query' is needed"),
        ({"query": "red"}, "'relevant' is needed"),
        ({"query": "", "relevant": ["a"]}, "the query: the text is empty"),
        ({"query": 5, "relevant": ["a"]}, "the query must be a string"),
        ({"query": {"picture": "x"}, "relevant": ["a"]}, "'image' is needed"),
        ({"query": "red", "relevant": []}, "no id is relevant"),
        ({"query": "red", "relevant": {"a": 0}}, "no id is relevant"),
        ({"query": "red", "relevant": "a"}, "'relevant' is a list of ids or an object"),
        ({"query": "red", "relevant": [5]}, "'relevant' is a list of ids, which are strings"),
        ({"query": "red", "relevant": {"a": -1}}, "the grade of 'a' must be a number of at least 0"),
        ({"query": "red", "relevant": {"a": True}}, "the grade of 'a' must be a number"),
        ({"query": "red", "relevant": {"a": "1"}}, "the grade of 'a' must be a number"),
        ('{"query": "red", "relevant": {"a": NaN}}', "the grade of 'a' must be a number"),
        ('{"query": "red", "relevant": {"a": 1' + "0" * 400 + "}}", "the grade of 'a' must be a number"),
        ({"query": "red", "relevant": ["a"], "target": "sound"}, "'target' is 'image' or 'text'"),
        ({"query": "red", "relevant": ["a"], "target": ["image"]}, "'target' is 'image' or 'text'"),
        ({"query": "red", "relevant": ["a"], "filter": {}}, "'filter' is not known"),
    ],
)
def test_bad_queries_are_told(tmp_path: Path, line: object, why: str) -> None:
    file = written(tmp_path, "queries.jsonl", {"query": "red", "relevant": ["a"]}, line)
    with pytest.raises(FileFaults) as refused:
        read_queries(file, images=None, max_chars=100)
    (told,) = refused.value.lines
    assert told.startswith(f"queries.jsonl, line 2: {why}")


def test_queries_are_jsonl_and_some(tmp_path: Path) -> None:
    for name, why in (("queries.csv", "is not .jsonl"), ("queries.jsonl", "holds no query")):
        with pytest.raises(ConfigurationError, match=why):
            read_queries(written(tmp_path, name, ""), images=None, max_chars=100)


def split_file(folder: Path) -> Path:
    """A file as of Karpathy's COCO splits; the third picture, as in Flickr's, names no folder."""

    def image(number: int, split: str, *captions: str, **members: object) -> dict[str, object]:
        sentences = [
            {"tokens": text.lower().split(), "raw": text, "imgid": number, "sentid": 10 * number + place}
            for place, text in enumerate(captions)
        ]
        return {"filename": f"{number}.jpg", "imgid": number, "split": split, "sentences": sentences} | members

    images = [
        image(0, "test", "A red thing. ", "red\nthing", filepath="val2014", cocoid=391895),
        image(1, "train", "A blue thing.", filepath="train2014", cocoid=391896),
        image(2, "test", "Grün", " "),
    ]
    file = folder / "dataset_coco.json"
    file.write_text(json.dumps({"images": images, "dataset": "coco"}), "utf-8")
    return file


def test_karpathys_splits_become_pairs(tmp_path: Path) -> None:
    lines = list(pairs_of_split(split_file(tmp_path), "test"))
    assert [json.loads(line) for line in lines] == [
        {"image": "val2014/0.jpg", "captions": ["A red thing.", "red thing"]},
        {"image": "2.jpg", "captions": ["Grün"]},
    ]
    read = pairs(written(tmp_path, "pairs.jsonl", *lines))
    assert (len(read.pictures), read.captions, read.owners) == (2, ["A red thing.", "red thing", "Grün"], [0, 0, 1])


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("{", "is not valid JSON"),
        ("[]", "an object with a list 'images' is needed"),
        ('{"images": []}', "an object with a list 'images' is needed"),
        ('{"images": [{"filename": "a", "split": "test"}]}', "is not of the format"),
        ('{"images": [5]}', "is not of the format"),
        ('{"images": [{"split": "test", "filename": "a", "sentences": [{"raw": 5}]}]}', "is not of the format"),
        (
            '{"images": [{"split": "train", "filename": "a", "sentences": []}]}',
            "no picture of the split 'test'; it has train",
        ),
    ],
)
def test_what_is_not_karpathys_is_refused(tmp_path: Path, content: str, why: str) -> None:
    file = tmp_path / "dataset.json"
    file.write_text(content)
    with pytest.raises(ConfigurationError, match=why):
        list(pairs_of_split(file, "test"))
    with pytest.raises(ConfigurationError, match="cannot be read"):
        list(pairs_of_split(tmp_path / "nowhere.json", "test"))


def test_requirements_are_read() -> None:
    assert parse_requirement("recall@1:text-to-image=0.30") == Requirement("recall@1", "text-to-image", 0.3)
    assert parse_requirement(" MRR:image-to-text=1 ") == Requirement("mrr", "image-to-text", 1.0)


@pytest.mark.parametrize(
    "text", ["", "recall@1=0.3", "recall@1:text-to-image", "recall@1:text-to-image=30", "recall@1:text-to-image=-0.1",
             "recall@1:text-to-image=nan", "recall@1:text-to-image=0,3", "recall:text-to-image=0.3=0.4"]
)  # fmt: skip
def test_what_is_no_requirement_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="is not METRIC:DIRECTION=NUMBER"):
        parse_requirement(text)


def test_requirements_of_what_is_not_measured_are_refused() -> None:
    for text, why in (("recall@3:text-to-image=0.3", "'recall@3'"), ("recall@1:text-to-text=0.3", "'text-to-text'")):
        with pytest.raises(ConfigurationError, match=f"{why} is not measured here"):
            check_known([parse_requirement(text)], ["recall@1"], ["text-to-image"])
    check_known([parse_requirement("recall@1:text-to-image=0.3")], ["recall@1"], ["text-to-image"])


def test_what_is_missed_is_told_with_by_how_much() -> None:
    results = {"text-to-image": {"recall@1": Estimate(0.25, 0.2, 0.3), "mrr": Estimate(0.4, 0.3, 0.5)}}
    asked = [parse_requirement(f"{each}:text-to-image=0.3") for each in ("recall@1", "mrr")]
    assert missed(asked, results) == ["recall@1:text-to-image is 0.2500, 0.0500 below the required 0.3"]
    assert missed([parse_requirement("recall@1:text-to-image=0.25")], results) == []
