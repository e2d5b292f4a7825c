"""Who answers: LiteRT without TensorFlow where the export chose it, else the SavedModel."""

from __future__ import annotations

import shutil
import struct
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from pipeline_tasks.core.errors import ArtifactError
from pipeline_tasks.core.store import Store
from pipeline_tasks.serving.versions import warm_up
from pipeline_tasks.serving.versions.model import load
from pipeline_tasks.serving.versions.signatures import DEFAULT
from tests.server import PROJECT, environment

ASKED = Path("assets.extra/tf_serving_warmup_requests")


@pytest.fixture(scope="module")
def both(models):
    """The same version on both backends."""
    return [load(models.first, name="small", version=1, backend=b) for b in ("auto", "tensorflow")]


def rows(count: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng(count)
    heights = random.normal(size=count).astype(np.float32)
    heights[:1] = np.nan
    colours = random.choice(np.array([b"red", b"green", b"", "grün".encode()], object), count)
    return {
        "width": random.normal(size=count).astype(np.float32),
        "height": heights,
        "colour": colours,
    }


def altered(folder: Path, tmp_path: Path, change) -> Path:
    """A copy of an exported folder with a change, and a manifest that knows of it."""
    with Store(tmp_path / "store").write("small", "run", "exported", inputs={}) as draft:
        shutil.copytree(folder, draft.folder, dirs_exist_ok=True)
        (draft.folder / "manifest.json").unlink()
        change(draft.folder)
    return Store(tmp_path / "store").open(draft.done())


def test_both_backends_take_the_same_and_answer_the_same_to_any_number_of_rows(both):
    litert, tensorflow = both
    assert (litert.backend, tensorflow.backend) == ("litert", "tensorflow")
    first, second = litert.signatures[DEFAULT], tensorflow.signatures[DEFAULT]
    assert first.inputs == second.inputs
    for count in (1, 3, 64, 2, 300):
        asked = rows(count)
        found, wanted = first.call(asked), second.call(asked)
        assert list(found) == list(wanted) == ["label", "probabilities"]
        np.testing.assert_allclose(found["probabilities"], wanted["probabilities"], atol=1e-5)
        assert found["label"].dtype == wanted["label"].dtype == np.int64
        assert found["label"].tolist() == wanted["label"].tolist()


def test_both_backends_describe_themselves_alike(both):
    described = [model.metadata["metadata"]["signature_def"]["signature_def"] for model in both]
    assert described[0] == described[1]
    inputs = described[0]["serving_default"]["inputs"]
    assert {name: one["dtype"] for name, one in inputs.items()} == {
        "width": "DT_FLOAT",
        "height": "DT_FLOAT",
        "colour": "DT_STRING",
    }


def test_a_litert_graph_may_be_asked_by_many_threads_at_once(both):
    litert = both[0].signatures[DEFAULT]
    asked = [rows(count) for count in range(1, 9)] * 8
    wanted = [litert.call(one)["probabilities"] for one in asked]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda one: litert.call(one)["probabilities"], asked))
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(one, other)


def test_on_litert_a_version_is_loaded_warmed_and_asked_without_tensorflow(models):
    code = (
        "import sys; from pathlib import Path\n"
        "from pipeline_tasks.serving import __main__\n"
        "from pipeline_tasks.serving.versions import model\n"
        "import numpy as np\n"
        "found = model.load(Path(sys.argv[1]), name='small', version=1)\n"
        "row = {'width': np.ones(1, 'f'), 'height': np.ones(1, 'f'), "
        "'colour': np.array([b'red'], object)}\n"
        "assert found.signatures['serving_default'].call(row)['probabilities'].shape == (1, 2)\n"
        "heavy = {'tensorflow', 'keras', 'pandas', 'scipy', 'sklearn'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    command = [sys.executable, "-c", code, str(models.first)]
    done = subprocess.run(
        command, env=environment(), cwd=PROJECT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_litert_alone_is_refused_where_the_export_did_not_choose_it(models, tmp_path):
    def without(folder: Path) -> None:
        shutil.rmtree(folder / "variants")

    folder = altered(models.first, tmp_path, without)
    assert load(folder, name="small", version=1).backend == "tensorflow"
    with pytest.raises(ArtifactError, match=r"no LiteRT graph to be served.*tensorflow"):
        load(folder, name="small", version=1, backend="litert")


def test_the_warm_up_requests_are_what_tensorflow_wrote(models):
    (request,) = warm_up.requests(models.first)
    assert request.signature == "serving_default"
    assert {name: values.shape for name, values in request.arrays.items()} == {
        "width": (1,),
        "height": (1,),
        "colour": (1,),
    }
    assert request.arrays["width"].dtype == np.float32
    assert isinstance(request.arrays["colour"][0], bytes)


@pytest.mark.parametrize("backend", ["auto", "tensorflow"])
@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda content: content[:-7], "cut off"),
        (lambda content: content[:5], "cut off"),
        (lambda content: struct.pack("<QI", 9, 0) + b"\xff" * 13, "record 1 cannot be read"),
        (lambda content: content + struct.pack("<QI", 0, 0) + b"\0" * 4, "record 2 .*no predict"),
        (lambda content: content.replace(b"width", b"depth"), "has the inputs .*depth"),
        (lambda content: content.replace(b"serving_default", b"serving_unknown"), "unknown"),
        (lambda content: content * 1001, "more than 1000 requests"),
    ],
    ids=["cut", "start", "garbage", "empty", "inputs", "signature", "many"],
)
def test_a_bad_warm_up_file_fails_the_load(models, tmp_path, change, problem, backend):
    def spoil(folder: Path) -> None:
        path = folder / ASKED
        path.write_bytes(change(path.read_bytes()))

    folder = altered(models.first, tmp_path, spoil)
    with pytest.raises(ArtifactError, match=problem):
        load(folder, name="small", version=1, backend=backend)


def test_a_graph_that_is_broken_fails_the_load(models, tmp_path):
    def spoil(folder: Path) -> None:
        path = folder / "variants" / "litert.tflite"
        path.write_bytes(path.read_bytes()[:100])

    folder = altered(models.first, tmp_path, spoil)
    with pytest.raises(Exception, match=r"litert\.tflite|buffer|model"):
        load(folder, name="small", version=1)
