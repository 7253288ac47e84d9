"""The API against its own description."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("fastapi", reason="the extra serve is not installed")
pytest.importorskip("httpx", reason="no httpx to ask the server with")

import httpx
from running_server import Running

schemathesis = pytest.importorskip("schemathesis", reason="no schemathesis to try the API with")
hypothesis = pytest.importorskip("hypothesis", reason="no hypothesis")
checks = pytest.importorskip("schemathesis.specs.openapi.checks", reason="another schemathesis")


@pytest.mark.parametrize("mode", ["positive", "negative"])
def test_the_api_keeps_to_its_description(server: Running, mode: str) -> None:
    schema = schemathesis.openapi.from_url(f"{server.address}/openapi.json")
    generation = schemathesis.GenerationMode(mode)
    tried = []
    for result in schema.get_all_operations():
        operation = result.ok()
        if mode == "negative" and operation.method == "get":
            continue  # there is nothing to get wrong in it

        @hypothesis.settings(max_examples=20, deadline=None, derandomize=True, database=None)
        @hypothesis.given(case=operation.as_strategy(generation_mode=generation))
        def try_one(case: Any) -> None:
            # most bytes are no picture, which a description cannot say
            case.call_and_validate(excluded_checks=[checks.positive_data_acceptance])

        try_one()
        tried.append(operation.path)
    assert tried[-1] == "/v1/predict"


def test_the_page_about_the_api_loads_nothing_from_elsewhere(server: Running) -> None:
    text = httpx.get(f"{server.address}/docs").text + httpx.get(f"{server.address}/docs.js").text
    assert "openapi.json" in text
    assert "://" not in text


@pytest.mark.parametrize(("method", "path"), [("GET", "/v1/predict"), ("POST", "/"), ("PUT", "/x")])
def test_what_there_is_not_is_refused(server: Running, method: str, path: str) -> None:
    answer = httpx.request(method, server.address + path)
    assert answer.status_code == (404 if path == "/x" else 405)
