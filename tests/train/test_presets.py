"""Recipes: presets are what they promise, and mistakes are told with the way out."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from bids_flairseg.errors import InputError, MissingInputError, UsageError
from bids_flairseg.train.folds import hold_out
from bids_flairseg.train.presets import MANY, PRESETS, SiteRecipe, load_recipe, recipe_keys
from bids_flairseg.train.sampling import Sampling
from tests.train.blobs import ball_case

ROOT = Path(__file__).resolve().parents[2]


def test_the_paper_is_a_preset() -> None:
    paper = load_recipe("duong2019")
    assert (paper.loss, paper.optimiser, paper.learning_rate) == ("cross-entropy", "adam", 4e-4)
    assert (paper.epochs, paper.batch, paper.patch) == (30, 24, 96)
    assert (paper.lesion_patches, paper.free_patches, paper.augmentations) == (30, 30, 3)
    assert paper.schedule == "constant"
    assert not any((paper.warm_up_steps, paper.clip_norm, paper.ema, paper.mirror))
    assert not any((paper.bias, paper.blur, paper.slices, paper.noise, paper.gamma))


@pytest.mark.parametrize("fine_tuning", [False, True])
@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_valid(name: str, fine_tuning: bool) -> None:
    for participants in (0, MANY):
        recipe = load_recipe(name, fine_tuning=fine_tuning, participants=participants)
        assert recipe.name == name


def test_fine_tuning_takes_smaller_steps_than_training_from_scratch() -> None:
    scratch, tuned = load_recipe("default"), load_recipe("default", fine_tuning=True)
    assert tuned.learning_rate < scratch.learning_rate
    assert tuned.epochs * tuned.steps_per_epoch < scratch.epochs * scratch.steps_per_epoch


def test_a_value_of_the_command_line_wins_over_file_and_base(tmp_path: Path) -> None:
    file = tmp_path / "my.toml"
    file.write_text('base = "quick"\nepochs = 7\nlearning_rate = 1\n[finetune]\nepochs = 2\n')
    recipe = load_recipe(file, {"learning_rate": "2e-3", "keep_best": "false"})
    assert (recipe.epochs, recipe.learning_rate, recipe.keep_best) == (7, 2e-3, False)
    assert recipe.patch == load_recipe("quick").patch
    assert load_recipe(file, fine_tuning=True).epochs == 2
    assert recipe.name == "my"
    file.write_text('name = "ours"\nbase = "quick"\n')
    assert load_recipe(file).name == "ours"


def test_patience_of_a_preset_is_shorter_than_its_training_or_inherited() -> None:
    """A patience of more looks than there are would look as if it did something."""
    for participants in (0, MANY):
        tuned = load_recipe("default", fine_tuning=True, participants=participants)
        looks = -(-tuned.epochs // tuned.validate_every)
        inherited = load_recipe("default").early_stopping
        assert tuned.early_stopping < looks or tuned.early_stopping == inherited


def test_many_participants_are_trained_on_for_longer(tmp_path: Path) -> None:
    few = load_recipe("default", fine_tuning=True, participants=MANY - 1)
    many = load_recipe("default", fine_tuning=True, participants=MANY)
    assert few == load_recipe("default", fine_tuning=True)
    assert many.epochs * many.steps_per_epoch > 5 * few.epochs * few.steps_per_epoch
    assert load_recipe("default", participants=MANY) == load_recipe("default")
    assert load_recipe("default").networks == "all"
    assert (few.networks, many.networks) == ("blocks", "blocks")
    file = tmp_path / "my.toml"
    file.write_text('base = "default"\n[finetune]\nepochs = 3\n[finetune_many]\nbatch = 8\n')
    own = load_recipe(file, fine_tuning=True, participants=MANY)
    assert (own.epochs, own.batch, own.learning_rate) == (3, 8, many.learning_rate)
    file.write_text("finetune_many = 3\n")
    with pytest.raises(InputError, match=r"expected finetune_many as a table"):
        load_recipe(file)


def test_an_unknown_key_is_told_with_the_nearest_one(tmp_path: Path) -> None:
    file = tmp_path / "my.toml"
    file.write_text("learning-rate = 1e-4\n")
    with pytest.raises(InputError, match=r"learning-rate\. The nearest is learning_rate"):
        load_recipe(file)
    with pytest.raises(UsageError, match="The nearest is epochs"):
        load_recipe("quick", {"epoch": "3"})


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("epochs = 1.5", "epochs: expected a whole number"),
        ("epochs = true", "epochs: expected a whole number"),
        ('learning_rate = "fast"', "learning_rate: expected a number"),
        ("learning_rate = nan", "learning_rate: expected a number from"),
        ("keep_best = 1", "keep_best: expected true or false"),
        ('loss = "focal"', "loss: expected one of cross-entropy, dice, both"),
        ("batch = 6\nmicro_batch = 4", "micro_batch: expected a divisor of batch = 6"),
        ('layers = "last"', r"found last\. Put it below \[finetune\]"),
        ("epochs = ", "expected TOML"),
        ('base = "mine"', "expected base as one of"),
    ],
)
def test_a_wrong_value_is_told_with_the_file(tmp_path: Path, text: str, reason: str) -> None:
    file = tmp_path / "my.toml"
    file.write_text(text)
    with pytest.raises(InputError, match=reason) as caught:
        load_recipe(file)
    assert str(file) in str(caught.value)


def test_layers_are_chosen_where_training_begins_with_a_bundle_only(tmp_path: Path) -> None:
    file = tmp_path / "my.toml"
    file.write_text('[finetune]\nlayers = "last"\n')
    assert load_recipe(file).layers == "all"
    assert load_recipe(file, fine_tuning=True).layers == "last"
    assert load_recipe("default", {"layers": "first"}, fine_tuning=True).layers == "first"
    for key, value in (("layers", "first"), ("networks", "blocks")):
        with pytest.raises(UsageError, match=f"{key}: expected all where training begins from"):
            load_recipe("default", {key: value})


def test_a_wrong_value_of_the_command_line_is_a_mistake_of_use() -> None:
    with pytest.raises(UsageError, match="epochs: expected a whole number, found 'many'"):
        load_recipe("default", {"epochs": "many"})


def test_a_wrong_value_is_blamed_on_file_or_command_line_whichever_has_it(tmp_path: Path) -> None:
    file = tmp_path / "my.toml"
    for text, overrides in (
        ('loss = "focal"\n', {"epochs": "3"}),
        ('layers = "last"\n', {"epochs": "3"}),
        ("batch = 6\nmicro_batch = 4\n", {"epochs": "3"}),
    ):
        file.write_text(text)
        with pytest.raises(InputError, match=r"loss|layers|micro_batch") as caught:
            load_recipe(file, overrides)
        assert str(file) in str(caught.value)
        assert "epochs" not in str(caught.value)
    assert load_recipe(file, {"micro_batch": "3"}).micro_batch == 3  # mends what the file has
    for overrides, reason in (
        ({"batch": "10"}, "micro_batch: expected a divisor of batch = 10"),
        ({"batch": "many"}, "batch: expected a whole number, found 'many'"),
    ):
        with pytest.raises(UsageError, match=reason) as wrong:
            load_recipe(file, overrides)
        assert f"recipe {file} with {overrides}" in str(wrong.value)


def test_a_recipe_that_is_not_there_is_told_with_those_that_are() -> None:
    with pytest.raises(MissingInputError, match="Did you mean default"):
        load_recipe("defualt")


def test_every_setting_of_the_patches_can_be_set_by_a_recipe() -> None:
    assert {item.name for item in fields(Sampling)} <= set(recipe_keys())


def test_the_manual_explains_every_key_with_its_default() -> None:
    text = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
    recipe = SiteRecipe()
    for key, meaning in recipe_keys().items():
        default = str(getattr(recipe, key)).lower()
        assert f"| `{key}` | `{default}` | {meaning} |" in text


def test_fine_tuning_holds_one_of_two_participants_out() -> None:
    recipe = load_recipe("default", fine_tuning=True)
    held = [hold_out([ball_case(n) for n in range(count)], share=recipe.hold_out, seed=0)[1]
            for count in (1, 2, 5, 18)]  # fmt: skip
    assert [len(names) for names in held] == [0, 1, 1, recipe.threshold_cases]
