"""A head that lies otherwise than its header says is told from one that lies well."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from bids_flairseg.preprocess.brain import Anatomy
from bids_flairseg.preprocess.orientation import orientation_hints

SHAPE = (48, 64, 48)


def drawn_head() -> NDArray[np.float32]:
    """Cerebrum of 1, hindbrain of 2 below and behind it, air of 0."""
    head = np.zeros(SHAPE, np.float32)
    head[8:40, 8:58, 22:44] = 1
    head[14:34, 10:28, 6:22] = 2
    return head


class Network:
    """Tells the parts by intensity, and is surer of a head that lies as it should."""

    def __init__(self, *, upright: float = 0.9, turned: float = 0.8) -> None:
        self.upright, self.turned, self.calls = upright, turned, 0

    def __call__(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        self.calls += 1
        same = image.shape == SHAPE and np.array_equal(image, drawn_head())
        sure = self.upright if same else self.turned
        probabilities = np.full((*image.shape, 7), (1 - sure) / 6, np.float32)
        for value, index in ((0, 0), (1, 2), (2, 5)):
            probabilities[image == value, index] = sure
        return probabilities


def anatomy_of(image: NDArray[np.float32], network: Network) -> Anatomy:
    return Anatomy(network(image), np.diag([2.0, 2.0, 2.0, 1.0]), image)


@pytest.mark.parametrize(
    ("turn", "said"),
    [
        (lambda data: data[:, :, ::-1], "upside down in"),
        (lambda data: data[:, ::-1], "back to front in"),
        (lambda data: data[:, ::-1, ::-1], "upside down and back to front"),
        (lambda data: data.transpose(0, 2, 1), "slices running from back to front"),
        (lambda data: data[:, :, ::-1].transpose(0, 2, 1), "slices running from front to back"),
        (lambda data: data.transpose(1, 0, 2), "on its side"),
    ],
)
def test_a_turned_head_is_named(
    turn: Callable[[NDArray[np.float32]], NDArray[np.float32]], said: str
) -> None:
    network = Network()
    [hint] = orientation_hints(anatomy_of(turn(drawn_head()), network), network)
    assert said in hint
    assert "header" in hint


def test_an_upright_head_costs_no_further_pass() -> None:
    network = Network()
    assert orientation_hints(anatomy_of(drawn_head(), network), network) == ()
    assert network.calls == 1


def test_an_odd_head_of_which_the_network_is_surest_is_left_alone() -> None:
    upper = drawn_head()
    upper[:, :, :22] = 0  # the field of view ends above the hindbrain
    network = Network(upright=0.8, turned=0.8)
    assert orientation_hints(anatomy_of(upper, network), network) == ()
    assert network.calls > 1


def test_an_image_without_brain_gets_no_hint() -> None:
    network = Network()
    assert orientation_hints(anatomy_of(np.zeros(SHAPE, np.float32), network), network) == ()
