"""Which of the sample policies is true of a sample picture: what `samples/policies-examples.jsonl` was written from."""

import json
from pathlib import Path

from tools.servers import ROOT

SAMPLES = ROOT / "samples"
POLICIES = SAMPLES / "policies.yaml"
EXAMPLES = SAMPLES / "policies-examples.jsonl"

OBJECTS = {
    "fruit": {"banana", "apple", "orange", "lemon", "strawberry", "pineapple"},
    "vehicles": {"car", "bus", "train", "fire truck", "tractor", "bicycle", "airplane", "helicopter", "sailboat"},
    "sea-animals": {"fish", "shark", "whale", "dolphin", "octopus", "crab"},
}


def labelled(metadata: Path = SAMPLES / "images" / "metadata.jsonl") -> list[str]:
    """The lines of the examples: every drawn sample picture, by what its metadata say it shows."""
    lines = []
    for entry in map(json.loads, metadata.read_text("utf-8").splitlines()):
        if entry["kind"] != "photograph":
            shown = {entry["object"], entry.get("other")}
            policies = [name for name, objects in OBJECTS.items() if shown & objects]
            lines.append(json.dumps({"image": f"images/{entry['file_name']}", "policies": policies}))
    return lines
