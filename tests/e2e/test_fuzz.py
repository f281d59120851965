"""Requests made up from two documents, our own and OpenAI's, valid and broken, to a server with a tiny model.

None costs a 5xx or a long wait, and whatever is answered is what the document says. `nox -s fuzz` makes thousands.
"""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

schemathesis = pytest.importorskip("schemathesis")
hypothesis = pytest.importorskip("hypothesis")
checks = pytest.importorskip("schemathesis.specs.openapi.checks")

pytestmark = [pytest.mark.real_model, pytest.mark.xdist_group("fuzz")]

FEW = 4
"""Of each kind in the suite, the same every time; `nox -s fuzz` draws others."""
LONGEST_S = 30
STORE = ("/api/pull", "/api/push", "/api/create", "/api/blobs", "/api/copy", "/api/delete", "/api/aliases")
"""These change the store, or go to the network."""
THEIRS = ("/chat/completions", "/completions", "/embeddings", "/models", "/models/{model}")


@pytest.fixture(scope="module")
def url(product: Any, tiny_gguf: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Of a server with the model `tiny`."""
    own = product.clone(tmp_path_factory.mktemp("fuzz") / "state")
    own.run("pull", str(tiny_gguf), "--as", "tiny")
    with own.serve() as server:
        yield server.url


@pytest.fixture(scope="module")
def documents(url: str, openai_description: Any) -> dict[str, dict[str, Any]]:
    """Each with what of it is tried, and where."""
    ours = httpx.get(f"{url}/schema/openapi.json").json()
    ours["paths"] = {path: found for path, found in ours["paths"].items() if not path.startswith(STORE)}
    found = {"ours": ours | {"servers": [{"url": url}]}}
    if openai_description.SPEC.exists():
        theirs = dict(openai_description.document())
        theirs["paths"] = {path: {**theirs["paths"][path]} for path in THEIRS}
        theirs["paths"]["/chat/completions"].pop("get", None)  # of stored answers
        theirs["paths"]["/models/{model}"].pop("delete", None)
        theirs.pop("security", None)
        found["openai's"] = json.loads(json.dumps(theirs, default=str)) | {"servers": [{"url": f"{url}/v1"}]}
    return found


def steered(path: str, body: Any) -> Any:
    """`body`, to the model that is there, and for a short answer; what is wrong with it stays wrong."""
    if not isinstance(body, dict):
        return body
    body = body | ({"model": "tiny"} if isinstance(body.get("model"), str) else {})
    if path.startswith("/api") and isinstance(body.get("options", {}), dict):
        return body | {"options": body.get("options", {}) | {"num_predict": 4}}
    if path.endswith("/completions"):
        longest = {name: 4 for name in ("max_tokens", "max_completion_tokens") if _is_long(body.get(name))}
        return {"max_tokens": 4} | body | longest
    return body


def _is_long(limit: Any) -> bool:
    return limit is None or (isinstance(limit, int) and limit > 4)


@pytest.mark.parametrize("document", ["ours", "openai's"])
def test_every_request_is_answered_as_the_document_says(
    documents: dict[str, dict[str, Any]], document: str, request: pytest.FixtureRequest, openai_description: Any
) -> None:
    if document not in documents:
        pytest.skip("OpenAI's description is not beside this checkout")
    n_cases = request.config.getoption("cases")
    answered: Counter[int] = Counter()
    schema = schemathesis.openapi.from_dict(documents[document])
    schema.config.update(base_url=documents[document]["servers"][0]["url"])
    for found in schema.get_all_operations():
        operation = found.ok()
        for mode in schemathesis.GenerationMode:
            if mode.is_negative and not operation.body:
                continue  # there is nothing that could be wrong

            @hypothesis.settings(
                max_examples=n_cases,
                deadline=None,
                database=None,
                derandomize=n_cases == FEW,
                suppress_health_check=list(hypothesis.HealthCheck),
                phases=[hypothesis.Phase.generate, hypothesis.Phase.shrink],
            )
            @hypothesis.given(case=operation.as_strategy(generation_mode=mode))
            def ask(case: Any) -> None:
                case.body = steered(case.operation.path, case.body)
                response = case.call(timeout=LONGEST_S)
                answered[response.status_code] += 1
                asked = json.dumps(case.body, default=str)
                assert response.status_code < 500, f"{case.operation.label} {asked}: {response.text}"
                content_type = response.headers.get("content-type", [""])[0]
                path = response.request.path_url.partition("?")[0]
                if openai_description.SPEC.exists():
                    openai_description.check_answer(path, response.status_code, content_type, response.text)
                if content_type.startswith("application/json") and document == "ours":
                    case.validate_response(response, checks=[checks.response_schema_conformance])

            ask()
    assert answered[200] > sum(answered.values()) / 20
    assert answered[400] > sum(answered.values()) / 4
