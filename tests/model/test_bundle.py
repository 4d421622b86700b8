"""A saved network predicts the same; a spoilt bundle is refused by name."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import pytest

from bids_flairseg.errors import InputError, MissingInputError, OutputError
from bids_flairseg.model.bundle import (
    bundle_digest,
    bundle_fingerprint,
    bundled,
    check_bundle,
    load_bundle,
    read_card,
    read_config,
    save_bundle,
)
from bids_flairseg.model.card import CARD_FILE, CONFIG_FILE, WEIGHTS_FILE, Card
from bids_flairseg.model.weights import read_weights
from tests.model.conftest import TINY

if TYPE_CHECKING:
    import keras

KERNEL = "encoder0_a_conv/kernel"


def edit_json(path: Path, **changes: Any) -> None:
    """Change values of a JSON file."""
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def image() -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.random.default_rng(0).standard_normal((1, 16, 24, 16, 1), np.float32)


def test_saved_network_predicts_the_same(tiny_bundle: Path, tiny_model: keras.Model) -> None:
    loaded = load_bundle(tiny_bundle)
    before, after = (np.asarray(model(image())) for model in (tiny_model, loaded.model))
    assert before.std() > 0.01
    np.testing.assert_allclose(after, before, atol=2e-3)
    assert loaded.config == TINY


def test_bfloat16_predicts_nearly_the_same(tiny_bundle: Path) -> None:
    import keras

    exact = np.asarray(load_bundle(tiny_bundle).model(image()))
    coarse = np.asarray(load_bundle(tiny_bundle, precision="bfloat16").model(image()))
    assert coarse.dtype == np.float32
    assert 0 < np.abs(coarse - exact).max() < 0.05
    assert keras.config.dtype_policy().name == "float32"


def test_second_generation_is_the_first(tiny_bundle: Path, tmp_path: Path) -> None:
    first = load_bundle(tiny_bundle)
    save_bundle(tmp_path / "second", first.model, first.config, read_card(tiny_bundle))
    assert bundle_digest(tmp_path / "second") == bundle_digest(tiny_bundle)
    assert sorted(path.name for path in (tmp_path / "second").iterdir()) == [
        CONFIG_FILE, CARD_FILE, WEIGHTS_FILE,
    ]  # fmt: skip


def test_kernels_are_stored_in_half_precision(tiny_bundle: Path) -> None:
    with h5py.File(tiny_bundle / WEIGHTS_FILE) as file:
        assert file[KERNEL].dtype == np.float16
        assert file["encoder0_a_norm/moving_variance"].dtype == np.float32


def test_numbers_beyond_half_precision_are_kept(tiny_bundle: Path, tmp_path: Path) -> None:
    model = load_bundle(tiny_bundle).model
    kernel = next(variable for variable in model.weights if variable.path == KERNEL)
    kernel.assign(np.full(kernel.shape, 1e6, np.float32))
    save_bundle(tmp_path / "large", model, TINY, Card())
    layer = load_bundle(tmp_path / "large").model.get_layer("encoder0_a_conv")
    np.testing.assert_array_equal(np.asarray(layer.kernel), np.float32(1e6))


def test_card_names_weights_and_versions(tiny_bundle: Path) -> None:
    card = read_card(tiny_bundle)
    assert card.sha256 == hashlib.sha256((tiny_bundle / WEIGHTS_FILE).read_bytes()).hexdigest()
    assert card.licence == "CC0-1.0"
    assert card.attribution == ("nobody",)
    assert {"flairseg", "keras"} <= set(card.versions)


def test_fingerprint_changes_with_the_threshold_but_not_with_the_card(tiny_bundle: Path) -> None:
    before = bundle_fingerprint(tiny_bundle)
    edit_json(tiny_bundle / CARD_FILE, data="other words")
    assert bundle_fingerprint(tiny_bundle) == before
    edit_json(tiny_bundle / CONFIG_FILE, inference={"window": 16, "step": 8, "threshold": 0.4})
    assert bundle_fingerprint(tiny_bundle) != before


def test_reading_a_configuration_loads_no_numeric_library(tiny_bundle: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from bids_flairseg.model import bundle; "
        f"bundle.check_bundle(Path({str(tiny_bundle)!r})); bundle.bundled('lesion'); "
        "print(*{'numpy', 'h5py', 'keras', 'tensorflow'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


@pytest.mark.parametrize("name", [CONFIG_FILE, WEIGHTS_FILE, CARD_FILE])
def test_missing_file_is_named(tiny_bundle: Path, name: str) -> None:
    (tiny_bundle / name).unlink()
    with pytest.raises(MissingInputError, match=rf"{name}: no such file"):
        load_bundle(tiny_bundle)


def test_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingInputError, match="nowhere: no such folder"):
        read_config(tmp_path / "nowhere")
    with pytest.raises(MissingInputError, match="nowhere: no such folder"):
        bundle_digest(tmp_path / "nowhere")


def test_name_of_no_bundled_model_is_a_missing_folder() -> None:
    with pytest.raises(MissingInputError, match="nonsense: no such folder"):
        read_config(bundled("nonsense"))


@pytest.mark.parametrize("name", [CONFIG_FILE, CARD_FILE])
@pytest.mark.parametrize("text", ["", "{", "[1, 2]", "\udcff", "[" * 100_000])
def test_broken_json_is_named(tiny_bundle: Path, name: str, text: str) -> None:
    (tiny_bundle / name).write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(InputError, match=rf"{name}: expected "):
        check_bundle(tiny_bundle)


def test_newer_format_asks_for_an_update(tiny_bundle: Path) -> None:
    edit_json(tiny_bundle / CONFIG_FILE, format=2)
    with pytest.raises(InputError, match=r"config.json: format: expected 1, found 2.*update"):
        load_bundle(tiny_bundle)


@pytest.mark.parametrize(
    ("name", "value"), [("sha256", 5), ("attribution", "someone"), ("training", [])]
)
def test_card_of_wrong_type_is_refused(tiny_bundle: Path, name: str, value: Any) -> None:
    edit_json(tiny_bundle / CARD_FILE, **{name: value})
    with pytest.raises(InputError, match=rf"model.json: expected {name}"):
        read_card(tiny_bundle)


def test_unknown_entries_of_a_card_do_no_harm(tiny_bundle: Path) -> None:
    edit_json(tiny_bundle / CARD_FILE, favourite_colour="blue")
    assert read_card(tiny_bundle).data == "random numbers"


def flip_a_bit(data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 1])


@pytest.mark.parametrize("spoil", [flip_a_bit, lambda data: data[: len(data) // 2]])
def test_changed_weights_are_noticed(tiny_bundle: Path, spoil: Callable[[bytes], bytes]) -> None:
    file = tiny_bundle / WEIGHTS_FILE
    file.write_bytes(spoil(file.read_bytes()))
    with pytest.raises(InputError, match=r"model.weights.h5: expected SHA-256"):
        check_bundle(tiny_bundle)


@pytest.mark.parametrize("keep", [0, 20, 2000, -1])
def test_truncated_weights_are_refused(
    tiny_bundle: Path, tiny_model: keras.Model, keep: int
) -> None:
    file = tiny_bundle / WEIGHTS_FILE
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(InputError, match=r"model.weights.h5: expected an HDF5 file.*copy"):
        read_weights(file, tiny_model)


def drop(file: h5py.File) -> None:
    del file[KERNEL]


def add(file: h5py.File) -> None:
    file["extra/kernel"] = np.zeros(3)


def reshape(file: h5py.File) -> None:
    shape = file[KERNEL].shape
    del file[KERNEL]
    file[KERNEL] = np.zeros((*shape[:-1], 9))


def put_group(file: h5py.File) -> None:
    del file[KERNEL]
    file.create_group(KERNEL)


def put_text(file: h5py.File) -> None:
    shape = file[KERNEL].shape
    del file[KERNEL]
    file.create_dataset(KERNEL, shape, dtype=h5py.string_dtype())


def put_filtered(file: h5py.File) -> None:
    values = file[KERNEL][()]
    del file[KERNEL]
    file.create_dataset(KERNEL, data=values, compression="gzip")


def link_outside(file: h5py.File) -> None:
    del file[KERNEL]
    file[KERNEL] = h5py.ExternalLink("/etc/passwd", "/")


def link_group_outside(file: h5py.File) -> None:
    del file["encoder0_a_conv"]
    file["encoder0_a_conv"] = h5py.ExternalLink("other.h5", "/")


def store_outside(file: h5py.File) -> None:
    shape = file[KERNEL].shape
    del file[KERNEL]
    file.create_dataset(KERNEL, shape, "f4", external=[("/etc/passwd", 0, 1 << 20)])


def put_nan(file: h5py.File) -> None:
    file[KERNEL][...] = np.nan


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (drop, rf"found no {KERNEL} \(1 missing, 0 foreign\).*another architecture"),
        (add, r"found extra/kernel as well \(0 missing, 1 foreign\)"),
        (reshape, rf"{KERNEL} with shape \(3, 3, 3, 2, 2\), found .*9\)"),
        (put_group, "as a plain array of floats"),
        (put_text, "as a plain array of floats"),
        (put_filtered, "as a plain array of floats"),
        (link_outside, "as a plain array of floats"),
        (link_group_outside, "found no encoder0_a_conv/bias"),
        (store_outside, "as a plain array of floats"),
        (put_nan, "found NaN or infinity"),
    ],
)
def test_foreign_weights_are_refused(
    tiny_bundle: Path,
    tiny_model: keras.Model,
    spoil: Callable[[h5py.File], None],
    message: str,
) -> None:
    path = tiny_bundle / WEIGHTS_FILE
    with h5py.File(path, "a") as file:
        spoil(file)
    before = np.asarray(tiny_model.weights[0])
    with pytest.raises(InputError, match=rf"model.weights.h5: expected.*{message}"):
        read_weights(path, tiny_model)
    np.testing.assert_array_equal(np.asarray(tiny_model.weights[0]), before)


def test_weights_of_another_architecture_are_refused(tiny_bundle: Path) -> None:
    other = dataclasses.replace(TINY.architecture, residual=True)
    edit_json(tiny_bundle / CONFIG_FILE, architecture=other.to_dict())
    with pytest.raises(InputError, match=r"no decoder0_shortcut_conv.*another architecture"):
        load_bundle(tiny_bundle)


def test_network_that_diverged_is_not_saved(tiny_bundle: Path, tmp_path: Path) -> None:
    model = load_bundle(tiny_bundle).model
    model.weights[0].assign(np.full(model.weights[0].shape, np.nan))
    with pytest.raises(InputError, match="diverged"):
        save_bundle(tmp_path / "bad", model, TINY, Card())
    assert not list((tmp_path / "bad").iterdir())


def test_saving_replaces_an_older_bundle(tiny_bundle: Path, tiny_model: keras.Model) -> None:
    renamed = dataclasses.replace(TINY, name="newer")
    save_bundle(tiny_bundle, tiny_model, renamed, Card())
    assert check_bundle(tiny_bundle).name == "newer"


def test_place_that_cannot_be_written_is_named(tmp_path: Path, tiny_model: keras.Model) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="file/bundle: the bundle cannot be written"):
        save_bundle(tmp_path / "file" / "bundle", tiny_model, TINY, Card())
