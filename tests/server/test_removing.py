"""What goes with a model that is removed."""

import pytest

from aiadmin_core.errors import ModelNotFound
from aiadmin_core.sources import FetchedFile, FetchedModel
from aiadmin_server.removing import remove_model
from aiadmin_server.settings import Settings
from aiadmin_server.store.store import ModelStore


def test_what_was_computed_of_prompts_goes_with_the_last_name_of_the_weights(tmp_path):
    store, settings = ModelStore(tmp_path / "models"), Settings(state=tmp_path / "state")
    (tmp_path / "m.gguf").write_bytes(b"GGUF")
    model = store.add("m", FetchedModel(files=(FetchedFile(path=tmp_path / "m.gguf"),), format="gguf"))
    store.copy("m", "n")
    for name, digest in (("ours", model.weights_digest), ("other", "sha256:0")):
        (settings.prefixes / name).mkdir(parents=True)
        (settings.prefixes / name / "model").write_text(digest)
        (settings.prefixes / name / "x.parcel").touch()
    remove_model("m", store, settings)
    assert (settings.prefixes / "ours" / "x.parcel").exists(), "another name has the same weights"
    assert remove_model("n", store, settings) > 0
    assert [path.name for path in settings.prefixes.iterdir()] == ["other"]
    with pytest.raises(ModelNotFound):
        remove_model("n", store, settings)
