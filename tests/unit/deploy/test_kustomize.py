from pathlib import Path

import pytest

from tests.kustomize import Unsupported, build

DEPLOYMENT = """
kind: Deployment
metadata: {name: api}
spec:
  template:
    spec:
      containers:
        - {name: api, image: app, env: [{name: A, value: "1"}], args: [x, y]}
        - {name: other, image: elsewhere}
"""
PATCH = """
kind: Deployment
metadata: {name: api}
spec:
  template:
    spec:
      containers:
        - {name: api, env: [{name: B, value: "2"}], args: [z]}
"""


def write(folder: Path, **files: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / f"{name}.yaml").write_text(content)
    return folder


def test_a_patch_is_merged_by_the_names_of_list_entries_and_images_are_set(tmp_path: Path) -> None:
    write(tmp_path / "base", kustomization="{resources: [d.yaml]}", d=DEPLOYMENT)
    said = "{resources: [../base], namespace: n, patches: [{path: p.yaml}], images: [{name: app, newName: r/a, newTag: v}]}"
    (built,) = build(write(tmp_path / "overlay", kustomization=said, p=PATCH))
    api, other = built["spec"]["template"]["spec"]["containers"]
    assert api == {
        "name": "api",
        "image": "r/a:v",
        "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
        "args": ["z"],
    }
    assert other == {"name": "other", "image": "elsewhere"}
    assert built["metadata"]["namespace"] == "n"


def test_literals_of_an_overlay_are_merged_into_those_of_the_base(tmp_path: Path) -> None:
    write(tmp_path / "base", kustomization="{configMapGenerator: [{name: s, literals: [A=1, B=2=3]}]}")
    said = "{resources: [../base], configMapGenerator: [{name: s, behavior: merge, literals: [A=4]}]}"
    (built,) = build(write(tmp_path / "overlay", kustomization=said))
    assert built["data"] == {"A": "4", "B": "2=3"}


def test_one_value_of_a_named_target_is_replaced(tmp_path: Path) -> None:
    path = "/spec/template/spec/containers/0/env/0/value"
    operation = f"[{{op: replace, path: {path}, value: '9'}}]"
    said = f'{{resources: [d.yaml], patches: [{{target: {{kind: Deployment, name: api}}, patch: "{operation}"}}]}}'
    (built,) = build(write(tmp_path, kustomization=said, d=DEPLOYMENT))
    api, other = built["spec"]["template"]["spec"]["containers"]
    assert api == {"name": "api", "image": "app", "env": [{"name": "A", "value": "9"}], "args": ["x", "y"]}
    assert other == {"name": "other", "image": "elsewhere"}


@pytest.mark.parametrize(
    "said",
    [
        "{resources: [d.yaml], patches: [{target: {kind: Deployment, name: b}, patch: '[{op: replace, path: /kind, value: x}]'}]}",
        "{resources: [d.yaml], patches: [{target: {kind: Deployment, name: api}, patch: '[{op: replace, path: /x, value: x}]'}]}",
        "{resources: [d.yaml], patches: [{target: {kind: Deployment, name: api}, patch: '[{op: remove, path: /kind}]'}]}",
        "{namePrefix: x-}",
        "{resources: [../outside.yaml]}",
        "{configMapGenerator: [{name: s, envs: [f]}]}",
        "{configMapGenerator: [{name: s, behavior: merge, literals: [A=4]}]}",
        "{resources: [d.yaml], patches: [{target: {kind: Deployment}, patch: x}]}",
        "{resources: [d.yaml], patches: [{path: deleting.yaml}]}",
        "{resources: [d.yaml], patches: [{path: unknown.yaml}]}",
    ],
)
def test_what_the_reader_does_not_know_is_refused(tmp_path: Path, said: str) -> None:
    write(tmp_path, outside=DEPLOYMENT)
    deleting = "{kind: Deployment, metadata: {name: api}, spec: {$patch: delete}}"
    unknown = "{kind: Deployment, metadata: {name: nobody}}"
    with pytest.raises(Unsupported):
        build(write(tmp_path / "k", kustomization=said, d=DEPLOYMENT, deleting=deleting, unknown=unknown))
