"""The answers of the API, for its OpenAPI description."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

SCHEMA = "fer-edge-predict/1"

IMAGE_TYPES = ("image/jpeg", "image/png", "image/webp", "image/bmp", "image/tiff")


class FaceRecord(BaseModel):
    """One face: its box (x, y, width, height) in the picture's pixels, and its expression."""

    box: tuple[int, int, int, int]
    emotion: str
    confidence: float
    probabilities: dict[str, float]


class PictureRecord(BaseModel):
    """One picture's faces, the largest first."""

    image: str | None
    faces: list[FaceRecord]


class PredictAnswer(BaseModel):
    """As `fer-edge predict --json` writes it, for one picture without a name."""

    model_config = ConfigDict(serialize_by_alias=True)

    schema_: str = Field(alias="schema")
    results: list[PictureRecord]


class Health(BaseModel):
    """What the server runs."""

    status: Literal["ok"]
    model: str
    backend: str
    precision: str


class Refusal(BaseModel):
    """Why a request was refused."""

    detail: str


def refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Describe the refusals of a route for OpenAPI."""
    meanings = {
        400: "the body is no picture, or a damaged one",
        401: "the token is missing or another",
        403: "a foreign Host or Origin",
        404: "no such model",
        408: "the body did not come in time",
        413: "too many bytes or pixels",
        415: "another type than JPEG, PNG, WebP, BMP or TIFF",
        422: "a parameter is out of range",
        429: "too many pictures wait already",
    }
    return {status: {"model": Refusal, "description": meanings[status]} for status in statuses}
