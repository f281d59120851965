"""What clients of LM Studio find out."""

from aiadmin_core.backend import ModelInfo
from aiadmin_core.sources import FetchedFile, FetchedModel
from aiadmin_server.store.aliases import Alias, Aliases
from aiadmin_server.store.store import ModelStore


async def test_models_and_aliases_are_listed_as_lm_studio_does(serve, tmp_path):
    store = ModelStore(tmp_path / "models")
    path = tmp_path / "model.gguf"
    path.write_bytes(b"GGUF")
    info = ModelInfo(format="gguf", architecture="llama", n_ctx_train=8192, quantization="Q4_1")
    store.add("smollm2", FetchedModel(files=(FetchedFile(path=path),), format="gguf", origin="pypi:x"), info=info)
    Aliases(store.aliases_path).set("small", Alias(target="smollm2"))

    async with serve() as server:
        listed = (await server.http.get("/api/v0/models")).json()
        one = (await server.http.get("/api/v0/models/smollm2:latest")).json()
        missing = await server.http.get("/api/v0/models/none/at-all")

    assert listed["object"] == "list"
    assert [model["id"] for model in listed["data"]] == ["smollm2", "small"]
    assert listed["data"][0] == {
        "id": "smollm2",
        "object": "model",
        "type": "llm",
        "publisher": "pypi",
        "arch": "llama",
        "compatibility_type": "gguf",
        "quantization": "Q4_1",
        "state": "not-loaded",
        "max_context_length": 8192,
    }
    assert one["id"] == "smollm2:latest"
    assert missing.status_code == 404
    assert "none/at-all" in missing.json()["error"]
