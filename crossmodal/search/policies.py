"""Policies of moderation, read from a YAML file and checked strictly: a policy that is misspelt must not be missing."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from crossmodal.errors import ClientError, ConfigurationError
from crossmodal.search.texts import check_text

MAX_POLICIES = 100
MAX_PROMPTS = 100
_MAX_PROMPT_CHARS = 1000

Prompts = Annotated[list[str], Field(min_length=1, max_length=MAX_PROMPTS)]


class Policy(BaseModel):
    """What to look for in pictures.

    ``concepts`` are prompts of what is to be flagged, ``neutral`` prompts of what is not, most useful where they come
    close to it; a picture is flagged from ``threshold`` (0 to 1) on, on the score of ``moderating.Moderating``.
    """

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, frozen=True)

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
    description: Annotated[str, Field(max_length=1000)] = ""
    concepts: Prompts
    neutral: Prompts
    threshold: Annotated[float, Field(ge=0, le=1)]


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    policies: Annotated[list[Policy], Field(min_length=1, max_length=MAX_POLICIES)]


_FORM_FAULTS = {"model_type", "model_attributes_type", "dict_type", "list_type", "string_pattern_mismatch"}
_FORMS: dict[str | int, str] = {
    "": "a mapping with the member 'policies' is needed",
    "policies": "a list of policies is needed",
    "name": "a name is 1 to 64 of a-z, 0-9, _ and -, and begins with a letter or a digit",
}
"""What is needed, by the last part of a fault's place, where pydantic would name its own classes or a pattern."""


def load_policies(file: Path) -> tuple[Policy, ...]:
    """The policies of ``file``. Raises ``ConfigurationError``, one line, naming the place of the first fault."""
    try:
        text = file.read_text("utf-8")
    except OSError as error:
        raise ConfigurationError(f"{file}: {error.strerror or type(error).__name__}") from None
    except UnicodeDecodeError:
        raise ConfigurationError(f"{file} is not UTF-8") from None
    try:
        return parse_policies(text)
    except ConfigurationError as error:
        raise ConfigurationError(f"{file}: {error.detail}") from None


def parse_policies(text: str) -> tuple[Policy, ...]:
    """The policies of a file's text. Raises ``ConfigurationError``."""
    try:
        policies = _File.model_validate(_data(text)).policies
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False, include_context=False)[0]
        said = _FORMS.get(fault["loc"][-1] if fault["loc"] else "", "") if fault["type"] in _FORM_FAULTS else ""
        raise ConfigurationError(f"{_place(fault['loc'])}: {said or fault['msg']}") from None
    names = [policy.name for policy in policies]
    for place, policy in enumerate(policies):
        if policy.name in names[:place]:
            raise ConfigurationError(f"policies.{place}.name: {policy.name!r} is the name of another policy")
        for member in ("concepts", "neutral"):
            _check_prompts(getattr(policy, member), f"policies.{place}.{member}")
        for number, prompt in enumerate(policy.neutral):
            if prompt in policy.concepts:
                raise ConfigurationError(f"policies.{place}.neutral.{number}: {prompt!r} is a concept, too")
    return tuple(policies)


def _data(text: str) -> Any:
    """Plain data of YAML. A key that stands twice is refused: YAML's reader takes the last without a word."""
    try:
        for node in nodes_of(yaml.compose(text, Loader=yaml.SafeLoader)):
            keys = [key for key, _ in node.value] if isinstance(node, yaml.MappingNode) else []
            values = [key.value for key in keys]
            for place, key in enumerate(keys):
                if isinstance(key, yaml.ScalarNode) and key.value in values[:place]:
                    raise ConfigurationError(f"line {key.start_mark.line + 1}: {key.value!r} stands twice")
        return yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ConfigurationError(f"not valid YAML{line}: {error.problem}") from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise ConfigurationError(f"not valid YAML: {type(error).__name__}") from None


def nodes_of(root: Any) -> Iterator[Any]:
    """Every node of a composed YAML document, once; none of an empty one."""
    waiting, seen = [root], set()
    while waiting:
        node = waiting.pop()
        if node is None or id(node) in seen:
            continue
        seen.add(id(node))
        yield node
        if isinstance(node, yaml.MappingNode):
            waiting += [each for pair in node.value for each in pair]
        elif isinstance(node, yaml.SequenceNode):
            waiting += node.value


def _check_prompts(prompts: Sequence[str], place: str) -> None:
    for number, prompt in enumerate(prompts):
        try:
            check_text(prompt, max_chars=_MAX_PROMPT_CHARS)
        except ClientError as fault:
            raise ConfigurationError(f"{place}.{number}: {fault.detail}") from None
        if prompt in prompts[:number]:
            raise ConfigurationError(f"{place}.{number}: {prompt!r} stands twice")


def _place(loc: Sequence[str | int]) -> str:
    return ".".join(map(str, loc)) or "the file"
