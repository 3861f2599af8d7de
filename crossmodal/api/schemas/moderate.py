"""The bodies of `/moderate`."""

from pydantic import Field

from crossmodal.api.schemas.base import Answer, Body, PictureBody
from crossmodal.search.policies import MAX_POLICIES


class ModerationOptions(Body):
    """By which policies to look."""

    policies: list[str] | None = Field(
        default=None, min_length=1, max_length=MAX_POLICIES, description="names of configured policies; all by default"
    )


class PictureToModerate(ModerationOptions, PictureBody):
    """A picture, or an indexed one, to look at."""


class PolicyAnswer(Answer):
    """A policy's word on a picture."""

    name: str
    score: float = Field(ge=0, le=1)
    threshold: float = Field(ge=0, le=1)
    flagged: bool
    top_concept: str


class ModerateAnswer(Answer):
    """By each policy, and whether any of them flags the picture."""

    policies: list[PolicyAnswer]
    flagged: bool
    model: str
    notice: str
