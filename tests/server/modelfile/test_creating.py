"""Models made of others."""

import hashlib
import shutil
from pathlib import Path

import pytest

from aiadmin_core.backend import Backend, ModelInfo
from aiadmin_core.errors import BadRequest, ModelExists, NotAllowed, UnsupportedParameter
from aiadmin_core.hookspecs import hookimpl
from aiadmin_core.plugins import load_plugins
from aiadmin_core.sources import Caller, FetchedFile, FetchedModel
from aiadmin_core.specs.content import Message, TextPart
from aiadmin_server.modelfile.bases import BlobNotFound, Workshop
from aiadmin_server.modelfile.creating import create
from aiadmin_server.modelfile.parsing import parse
from aiadmin_server.modelfile.recipe import Recipe
from aiadmin_server.modelfile.writing import recipe_of, write
from aiadmin_server.store.aliases import Alias, Aliases
from aiadmin_server.store.store import ModelStore

JINJA = "{% for message in messages %}{{ message.content }}{% endfor %}"


class OnlyOpens(Backend):
    """Knows GGUF by its first bytes, and folders; opens these where `opens_folders`."""

    name = "reader"
    opens_folders = True

    def suitability(self, model):
        return 50 if model.format == "gguf" or self.opens_folders else None

    def inspect(self, path):
        if path.is_dir():
            assert (path / "config.json").is_file()
            return ModelInfo(format="safetensors", architecture="llama")
        data = path.read_bytes()
        if data[:4] != b"GGUF":
            return None
        architecture = next((kind for kind in ("clip", "qwen2") if data.endswith(kind.encode())), "llama")
        return ModelInfo(format="gguf", architecture=architecture, n_params=2_000_000, is_adapter=b"lora" in data)

    def open_engine(self, model, options):
        raise NotImplementedError


class Reader(OnlyOpens):
    """Converts, too; quantizing leaves the first half."""

    def convert(self, folder, destination, report):
        report(1, 1)
        destination.write_bytes(b"GGUF of " + (folder / "model.safetensors").read_bytes())

    def quantize(self, source, destination, kind, report):
        data = source.read_bytes()
        report(len(data), len(data))
        destination.write_bytes(data[: len(data) // 2] + kind.encode())


class Bench:
    """A store, and a shop in it."""

    def __init__(self, tmp_path, reader=None):
        self.store = ModelStore(tmp_path / "models")
        self.folder = tmp_path / "work"
        self.folder.mkdir()
        self.reader = reader = reader or Reader()

        class Plugin:
            @hookimpl
            def aiadmin_backends(self):
                return [reader]

        self.plugins = load_plugins(builtin=[("reader", Plugin())], only=[])
        self.said = []

    def shop(self, **more):
        more = {"folder": self.folder, **more}
        return Workshop(
            store=self.store, plugins=self.plugins, progress=lambda step: self.said.append(step.status), **more
        )

    def make(self, name, text, **more):
        return create(name, parse(text), self.shop(), **more)

    def add(self, name, data=b"GGUF weights", **fields):
        path = self.folder / f"{name}.gguf"
        path.write_bytes(data)
        return self.store.add(
            name, FetchedModel(files=(FetchedFile(path=path),), format="gguf", origin="pypi:x", **fields)
        )

    def upload(self, data):
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        upload = self.store.uploads.begin(digest, len(data))
        upload.write(data)
        upload.finish()
        return digest

    def whole(self):
        assert self.store.problems() == []
        assert self.store.verify() == []
        return True


@pytest.fixture
def bench(tmp_path) -> Bench:
    return Bench(tmp_path)


def test_a_model_of_another_shares_its_weights(bench):
    base = bench.add("base", parameters={"temperature": 0.2, "stop": ["a"]}, system="Old.", license="MIT")

    made = bench.make("new", 'FROM base\nSYSTEM New.\nPARAMETER stop b\nTEMPLATE "{{ .Prompt }}"\nLICENSE BSD')

    assert made.files == base.files
    assert (made.system, made.template, made.license) == ("New.", "{{ .Prompt }}", "MIT\nBSD")
    assert made.parameters == {"temperature": 0.2, "stop": ["b"]}
    assert made.weights_digest != base.weights_digest, "another template is another engine"
    assert len([path for path in (bench.store.root / "blobs").iterdir() if path.read_bytes() == b"GGUF weights"]) == 1
    assert bench.said[0] == "reading model metadata"
    assert bench.said[-2:] == ["writing manifest", "success"]
    assert bench.whole()


def test_the_base_may_go(bench):
    bench.add("base")
    bench.make("new", "FROM base\nSYSTEM Hi.")

    bench.store.remove("base")

    assert bench.store.spec(bench.store.find("new")).system == "Hi."
    assert bench.whole()


@pytest.mark.parametrize("template", ["{{ range .Messages }}{{ .Content }}{{ end }}", JINJA])
def test_the_written_modelfile_makes_the_same_again(bench, template):
    bench.add("base", parameters={"temperature": 0.25})
    text = f'FROM base\nTEMPLATE """{template}"""\nSYSTEM """a\n"b" """\nMESSAGE user Hi\nLICENSE MIT\nPARAMETER seed 5'
    first = bench.make("first", text)

    again = bench.make("again", write(recipe_of(first)))

    assert again.digest == first.digest
    assert again.messages == (Message(role="user", content=(TextPart("Hi"),)),)
    assert bench.whole()


def test_what_was_set_is_part_of_what_is_made(bench):
    bench.add("base", parameters={"temperature": 0.2}, system="Old.")
    bench.store.set_defaults("base", lambda own: type(own)(parameters={"temperature": 0.9}, system=""))

    made = bench.make("new", "FROM base")

    assert (made.parameters, made.system) == ({"temperature": 0.9}, None)


def test_a_jinja_template_is_kept_where_only_we_read_it(bench):
    bench.add("base")

    made = bench.make("new", f'FROM base\nTEMPLATE """{JINJA}"""')

    assert made.template == JINJA
    assert not (bench.store.root / "manifests/registry.ollama.ai/library/new/latest").exists()
    assert bench.whole()


def test_paths_begin_at_the_modelfiles_folder(bench):
    (bench.folder / "weights.gguf").write_bytes(b"GGUF mine")
    (bench.folder / "mmproj.gguf").write_bytes(b"GGUF clip")

    made = bench.make("new", "FROM ./weights.gguf\nFROM mmproj.gguf")

    assert [file.role for file in made.files] == ["model", "projector"]
    assert (bench.folder / "weights.gguf").exists(), "the user's file stays"
    assert bench.whole()


def test_aliases_lead_to_bases(bench):
    bench.add("base")
    Aliases(bench.store.aliases_path).set("short", Alias(target="base"))

    assert bench.make("new", "FROM short").files == bench.store.find("base").files


def test_uploads_become_models_and_stay_for_others(bench):
    digest = bench.upload(b"GGUF sent")
    recipe = Recipe(files={"model.gguf": digest})

    one = create("one", recipe, bench.shop(folder=None))
    two = create("two", Recipe(bases=(f"@{digest}",)), bench.shop(folder=None))
    bench.store.uploads.keep(digest)
    assert bench.store.doubts(bench.store.unchecked_spec(two)) == (), "asking for an upload touches no model's file"
    bench.store.remove("one")

    assert one.files[0].digest == two.files[0].digest == digest
    assert bench.store.blob(digest) is not None
    assert bench.whole()


def test_an_upload_that_is_a_models_blob_moves_nothing(bench):
    base = bench.add("base")
    digest = base.files[0].digest

    made = create("new", Recipe(files={"model.gguf": digest}), bench.shop(folder=None))
    bench.store.remove("new")

    assert made.files[0].digest == digest
    assert bench.store.spec(bench.store.find("base"))
    assert bench.whole()


def test_a_folder_comes_file_by_file(bench):
    files = {
        "config.json": bench.upload(b'{"model_type": "llama"}'),
        "model.safetensors": bench.upload(b"weights"),
        "tokenizer.json": bench.upload(b"{}"),
    }
    made = create("new", Recipe(files=files), bench.shop(folder=None))

    assert made.format == "safetensors"
    assert sorted((file.name, file.role) for file in made.files) == [
        ("config.json", "config"),
        ("model.safetensors", "model"),
        ("tokenizer.json", "tokenizer"),
    ]
    again = bench.make("again", "FROM new\nSYSTEM x")
    assert {file.digest for file in again.files} == set(files.values())
    assert bench.whole()


def test_a_folder_that_nobody_opens_is_converted_and_may_be_quantized(bench):
    bench.reader.opens_folders = False
    (bench.folder / "hf").mkdir()
    for name in ("config.json", "model.safetensors"):
        (bench.folder / "hf" / name).write_text("x")

    converted = bench.make("whole", "FROM ./hf")
    small = create("small", Recipe(bases=("./hf",), quantize="Q4_0"), bench.shop())

    assert (converted.format, small.format) == ("gguf", "gguf")
    assert Path(converted.files[0].path).read_bytes() == b"GGUF of x"
    assert Path(small.files[0].path).read_bytes() == b"GGUFQ4_0"
    assert "quantizing model to Q4_0" in bench.said
    assert bench.whole()


def test_quantizing_again_takes_the_modelfiles_base(bench):
    bench.add("base", b"GGUF 12345678")

    made = create("small", Recipe(bases=("base",), quantize="q8_0"), bench.shop())

    assert Path(made.files[0].path).read_bytes() == b"GGUF 1q8_0"
    assert bench.store.find("base").files[0].digest != made.files[0].digest


def test_nobody_who_quantizes_is_said_by_name(tmp_path):
    bench = Bench(tmp_path, reader=OnlyOpens())
    bench.add("base")

    with pytest.raises(UnsupportedParameter, match="no installed backend makes weights smaller"):
        create("small", Recipe(bases=("base",), quantize="Q4_0"), bench.shop())


@pytest.mark.parametrize(
    ("recipe", "error", "message"),
    [
        (Recipe(bases=("base",), adapters=("./lora.gguf",)), NotAllowed, "not read for clients"),
        (Recipe(bases=("base",), adapters=("lora",)), BadRequest, "is no path of a file"),
        (Recipe(bases=("base",), template="{{ .Prompt | upper }}"), BadRequest, "TEMPLATE: .*no function 'upper'"),
        (Recipe(bases=("base",), template="{% for %}"), BadRequest, "TEMPLATE: "),
        (Recipe(bases=("/etc/passwd",)), NotAllowed, "not read for clients"),
        (Recipe(bases=("./x.gguf",)), NotAllowed, "not read for clients"),
        (Recipe(files={"../x.gguf": "sha256:" + "0" * 64}), BadRequest, "no name of a file"),
        (Recipe(files={"x.gguf": "0" * 64}), BadRequest, "is no digest"),
        (Recipe(files={"x.gguf": "sha256:" + "0" * 64}), BlobNotFound, "not found"),
        (Recipe(), BadRequest, "Nothing says"),
    ],
)
def test_what_cannot_be_made_is_refused_and_leaves_nothing(bench, recipe, error, message):
    bench.add("base")
    with pytest.raises(error, match=message):
        create("new", recipe, bench.shop(folder=None, caller=Caller(over="http")))
    assert [model.name for model in bench.store.models()] == ["base:latest"]
    assert not list((bench.store.root / "aiadmin" / "pulls").glob("*"))


def test_the_only_name_of_another_model_is_not_lost(bench):
    bench.add("base")
    bench.add("other", b"GGUF other weights")

    with pytest.raises(ModelExists, match="only name"):
        bench.make("other", "FROM base", replace_others=False)
    bench.make("base", "FROM base\nSYSTEM Hi.", replace_others=False)
    bench.make("mine", "FROM base", replace_others=False)
    bench.make("mine", "FROM other", replace_others=False)
    bench.make("other", "FROM base")

    assert bench.store.find("base").system == "Hi."
    assert bench.store.find("mine").files[0].digest != bench.store.find("other").files[0].digest
    assert bench.whole()


def test_an_adapter_is_part_of_a_model_and_has_to_fit_it(bench):
    bench.add("base")
    for name, data in (("lora", b"GGUF lora"), ("other", b"GGUF lora qwen2"), ("model", b"GGUF model")):
        (bench.folder / f"{name}.gguf").write_bytes(data)

    made = bench.make("tuned", "FROM base\nADAPTER ./lora.gguf")
    again = bench.make("more", "FROM tuned\nSYSTEM Hi.")

    assert [file.role for file in made.files] == [file.role for file in again.files] == ["model", "adapter"]
    assert made.weights_digest == bench.store.find("base").weights_digest  # one engine serves both
    with pytest.raises(BadRequest, match="family 'qwen2', and this is a 'llama'"):
        bench.make("new", "FROM base\nADAPTER other.gguf")
    with pytest.raises(BadRequest, match="is a model, not an adapter"):
        bench.make("new", "FROM base\nADAPTER ./model.gguf")
    assert bench.whole()


def test_what_others_put_there_and_aliases_give_way_only_when_told(bench):
    base = bench.add("base")
    Aliases(bench.store.aliases_path).set("short", Alias(target="base"))
    shutil.rmtree(bench.store.root / "aiadmin" / "records")  # as if another program had pulled it

    for name, why in (("short", "is an alias of 'base'"), ("base", "put there by another program")):
        with pytest.raises(ModelExists, match=why):
            bench.make(name, "FROM base\nSYSTEM Hi.", replace_others=False)
        assert bench.store.find("base").digest == base.digest
    bench.make("short", "FROM base\nSYSTEM Hi.")

    assert bench.store.find("short").system == "Hi."
    assert bench.whole()


@pytest.mark.parametrize("instruction", ["SYSTEM", "LICENSE", "TEMPLATE"])
def test_a_text_that_would_not_be_read_again_is_refused(bench, instruction):
    bench.add("base")
    with pytest.raises(BadRequest, match="at most 1,048,576 are kept"):
        bench.make("new", f'FROM base\n{instruction} """{{{{ .Prompt }}}}{"x" * (1 << 20)}"""')
    assert bench.store.find("new") is None


def test_weights_that_stay_where_they_are_stay_there(bench):
    path = bench.folder / "mine.gguf"
    path.write_bytes(b"GGUF mine")
    file = FetchedFile(path=path, keep_in_place=True)
    bench.store.add("linked", FetchedModel(files=(file,), format="gguf", origin="link:mine.gguf"))

    made = bench.make("new", "FROM linked\nSYSTEM Hi.")

    assert made.files[0].path == str(path)
    assert not any(one.read_bytes() == b"GGUF mine" for one in bench.store.root.rglob("sha256-*"))
    assert bench.whole()


def test_what_repairs_a_damaged_model_is_to_make_it_again(bench):
    bench.add("base")
    made = bench.make("new", "FROM base\nSYSTEM Hi.")
    Path(made.files[0].path).write_bytes(b"GGUF weightz")

    hints = {problem.path: problem.hint for problem in bench.store.verify()}

    assert "aiadmin pull pypi:x --as base:latest --replace" in hints["base:latest"]
    assert hints["new:latest"].startswith("Repair 'base:latest', of which it was made, and make it again")
    path = bench.folder / "base.gguf"
    fetched = FetchedModel(files=(FetchedFile(path=path),), format="gguf", origin="pypi:x")
    bench.store.add("base", fetched, replace=True)
    bench.make("new", "FROM base\nSYSTEM Hi.")
    assert bench.whole()
