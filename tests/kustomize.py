"""A reader of kustomizations, for tests where there is no kustomize: it does the little that deploy/ uses, and refuses the rest.

Known: ``resources`` (files beside or below, folders anywhere), ``namespace``, ``images``, ``configMapGenerator`` with literals
or files, and ``patches``: strategic merge by path, and replacement (JSON patch) in one named target. Names of generated config maps get no hash here, in them and in what
refers to them alike.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

Document = dict[str, Any]

_KNOWN = {"apiVersion", "kind", "namespace", "resources", "images", "configMapGenerator", "patches"}
_KNOWN_GENERATOR = {"name", "behavior", "literals", "files", "options"}
_KEYS = {"containers": "name", "env": "name", "volumes": "name", "volumeMounts": "mountPath", "ports": "containerPort"}
"""What tells the entries of a list apart when one is merged into another, from Kubernetes' API types."""
_ATOMIC = {"tolerations", "args", "command"}
_CLUSTER_WIDE = {"Namespace"}


class Unsupported(Exception):
    """Something kustomize may know, and this reader does not."""


def documents(path: Path) -> list[Document]:
    """The documents of one YAML file."""
    return [document for document in yaml.safe_load_all(path.read_text(encoding="utf-8")) if document is not None]


def build(folder: Path) -> list[Document]:
    """What `kubectl apply -k` of ``folder`` would send. Raises ``Unsupported``."""
    said = yaml.safe_load((folder / "kustomization.yaml").read_text())
    if unknown := set(said) - _KNOWN:
        raise Unsupported(f"{folder.name}: {sorted(unknown)}")
    built = [document for name in said.get("resources", []) for document in _resource(folder, name)]
    for generator in said.get("configMapGenerator", []):
        _generate(folder, generator, built)
    for patch in said.get("patches", []):
        _patch(folder, patch, built)
    for document in built:
        for image in said.get("images", []):
            _set_image(document, image)
        if "namespace" in said and document["kind"] not in _CLUSTER_WIDE:
            document["metadata"]["namespace"] = said["namespace"]
    return built


def _resource(folder: Path, name: str) -> list[Document]:
    path = (folder / name).resolve()
    if path.is_dir():
        return build(path)
    if not path.is_relative_to(folder.resolve()):
        raise Unsupported(f"{name}: kustomize takes files from below its folder only")
    return documents(path)


def _generate(folder: Path, generator: Document, built: list[Document]) -> None:
    if unknown := set(generator) - _KNOWN_GENERATOR:
        raise Unsupported(f"{folder.name}: {sorted(unknown)}")
    data = dict(literal.split("=", 1) for literal in generator.get("literals", []))
    data |= {name: (folder / name).read_text() for name in generator.get("files", [])}
    if generator.get("behavior") == "merge":
        _only(built, "ConfigMap", generator["name"])["data"].update(data)
        return
    if "behavior" in generator:
        raise Unsupported(f"behavior {generator['behavior']}")
    labels = generator.get("options", {}).get("labels", {})
    built.append(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": generator["name"], "labels": labels},
            "data": data,
        }
    )


def _patch(folder: Path, patch: Document, built: list[Document]) -> None:
    if set(patch) == {"target", "patch"} and set(patch["target"]) == {"kind", "name"}:
        target = _only(built, **patch["target"])
        for operation in yaml.safe_load(patch["patch"]):
            _replace(target, operation)
        return
    if set(patch) != {"path"}:
        raise Unsupported(f"{folder.name}: patches by {sorted(patch)}")
    for document in documents(folder / patch["path"]):
        target = _only(built, document["kind"], document["metadata"]["name"])
        target.update(_merge(target, document, "document"))


def _replace(document: Document, operation: Document) -> None:
    if set(operation) != {"op", "path", "value"} or operation["op"] != "replace":
        raise Unsupported(f"the operation {operation}")
    *way, last = operation["path"].strip("/").split("/")
    place: Any = document
    for step in way:
        place = place[int(step) if isinstance(place, list) else step]
    if not isinstance(place, dict) or last not in place:
        raise Unsupported(f"{operation['path']}: there is nothing to replace")
    place[last] = operation["value"]


def _set_image(document: Document, image: Document) -> None:
    for container in _containers(document):
        if container["image"] == image["name"]:
            container["image"] = f"{image['newName']}:{image['newTag']}"


def _only(built: list[Document], kind: str, name: str) -> Document:
    found = [document for document in built if (document["kind"], document["metadata"]["name"]) == (kind, name)]
    if len(found) != 1:
        raise Unsupported(f"{len(found)} of {kind} {name}")
    return found[0]


def _merge(old: Any, new: Any, field: str) -> Any:
    if isinstance(old, dict) and isinstance(new, dict):
        if any(str(key).startswith("$") for key in new) or None in new.values():
            raise Unsupported(f"{field}: a directive of strategic merge")
        return old | {key: _merge(old[key], value, key) if key in old else value for key, value in new.items()}
    if isinstance(old, list) and isinstance(new, list) and field not in _ATOMIC:
        if field not in _KEYS:
            raise Unsupported(f"a list {field}")
        key = _KEYS[field]
        merged = {entry[key]: entry for entry in old}
        for entry in new:
            merged[entry[key]] = _merge(merged.get(entry[key], {}), entry, field)
        return list(merged.values())
    return new


def _containers(document: Document) -> Iterator[Document]:
    pod = document.get("spec", {}).get("template", {}).get("spec", {})
    yield from pod.get("containers", [])
    yield from pod.get("initContainers", [])
