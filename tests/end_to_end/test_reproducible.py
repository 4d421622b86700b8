"""The same bytes again: from the record of a run, and with other numbers of threads."""

from __future__ import annotations

import hashlib
import json
import tomllib
from pathlib import Path

import pytest
import rdflib
from rdflib.query import ResultRow

from tests.end_to_end.heads import Command, draw_head, finish, launch, write_dataset
from tests.end_to_end.test_options import write_brain_mask

pytestmark = pytest.mark.slow

Runs = tuple[Path, Path, Path]
DATA = (".nii.gz", ".tsv", ".json")


@pytest.fixture(scope="module")
def runs(bundles: Path, tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """Run in one process of one thread, and again from its record in two of two."""
    folder = tmp_path_factory.mktemp("twice")
    drawn = {label: draw_head("LPS", 10.0, lesion=label != "03") for label in ("02", "03")}
    heads = write_dataset(folder / "bids", drawn)
    masks = folder / "masks"
    write_brain_mask(masks)
    command = Command(bundles, folder)
    first, second = folder / "first", folder / "second"
    code, text = command.run(
        heads, first, "-d", f"masks={masks}", "--threshold", "0.4", "--n4",
        "--nprocs", "1", "--omp-nthreads", "1",
    )  # fmt: skip
    assert code == 0, text
    (record,) = first.glob("logs/*/flairseg.toml")
    more = ["--config", record, "--nprocs", "2", "--omp-nthreads", "2", "-w", folder / "other"]
    words = [*command.arguments(heads, second)[:6], *map(str, more)]
    code, text = finish(launch(words, folder))
    assert code == 0, text
    return heads, first, second


def digests(out: Path) -> dict[str, str]:
    """Return the digest of each file of data by its place; logs hold times."""
    return {
        str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in out.rglob("*")
        if path.name.endswith(DATA) and "logs" not in path.relative_to(out).parts
    }


def test_threads_and_processes_change_no_byte(runs: Runs) -> None:
    _, first, second = runs
    expected = digests(first)
    assert len([name for name in expected if name.endswith(".nii.gz")]) == 2 * 6
    assert digests(second) == expected


def test_a_record_holds_all_that_was_asked_for(runs: Runs) -> None:
    _, first, second = runs
    tables = []
    for out in (first, second):
        (record,) = out.glob("logs/*/flairseg.toml")
        tables.append(tomllib.loads(record.read_text())["arguments"])
    other = {"output_dir", "work_dir", "nprocs", "omp_nthreads"}
    assert {key for key in tables[0] if tables[0][key] != tables[1][key]} == other
    assert tables[1]["threshold"] == 0.4


@pytest.mark.filterwarnings("ignore:ConjunctiveGraph:DeprecationWarning")  # rdflib's own
def test_provenance_is_a_graph_from_each_result_to_its_inputs(runs: Runs) -> None:
    bids, out, _ = runs
    (path,) = out.glob("logs/*/provenance.jsonld")
    graph = rdflib.Graph().parse(data=path.read_text(), format="json-ld")
    rows = graph.query(
        "PREFIX prov: <http://www.w3.org/ns/prov#> PREFIX own: <urn:flairseg:> "
        "SELECT ?result ?input ?sha256 WHERE { ?result prov:wasGeneratedBy ?act . "
        "?act prov:used ?input . ?input own:digest [own:sha256 ?sha256] }"
    )
    found: dict[str, dict[str, str]] = {}
    for row in rows:
        assert isinstance(row, ResultRow)
        result, source, sha256 = map(str, row)
        found.setdefault(result, {})[source] = sha256
    results = {result.removeprefix("bids::") for result in found}
    assert len(results) == 2 * 9
    assert all((out / result).is_file() for result in results)
    mask = found["bids::sub-02/anat/sub-02_space-orig_label-L_mask.nii.gz"]
    flair = bids / "sub-02" / "anat" / "sub-02_FLAIR.nii.gz"
    assert mask["bids:raw:sub-02/anat/sub-02_FLAIR.nii.gz"] == digest(flair)
    assert len(mask) == 4  # two models, and a brain mask of the user's
    models = {digest for uri, digest in mask.items() if "provEntity" in uri}
    (record,) = out.glob("logs/*/flairseg.toml")
    recorded = tomllib.loads(record.read_text())["models"]
    assert models == {recorded["lesion"]["sha256"], recorded["anatomy"]["sha256"]}


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_provenance_tells_how(runs: Runs) -> None:
    _, out, _ = runs
    (path,) = out.glob("logs/*/provenance.jsonld")
    records = json.loads(path.read_text())["Records"]
    activities = [one for one in records if one["Type"] == "Activity"]
    assert {one["Parameters"]["threshold"] for one in activities} == {0.4}
    assert {one["Parameters"]["flip"] for one in activities} == {True}
    software = {one["Label"]: one["Version"] for one in records if one["Type"] == "Software"}
    assert {"flairseg", "tensorflow", "python"} <= software.keys()
    assert str(out) not in json.dumps([one["Id"] for one in records])
