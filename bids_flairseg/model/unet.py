"""The 3D U-Net, built from a frozen configuration with the Keras 3 API alone.

The default settings are the network of Duong et al. 2019
(doi:10.3174/ajnr.A6138), which Rauschecker et al. 2022
(doi:10.1148/ryai.2021200152) used without change: :data:`DUONG2019`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from math import lcm
from typing import TYPE_CHECKING, Any

from bids_flairseg.errors import InputError

if TYPE_CHECKING:
    import keras

PREFIXES = ("", "beside_")
"""What the names of the layers of each member begin with."""
END = "head_out_conv"
"""What the name of the last layer before the sigmoid or softmax ends with."""


@dataclass(frozen=True)
class Stage:
    """Filters of one resolution level.

    Parameters
    ----------
    first, second : int
        Filters of the two 3 x 3 x 3 convolutions of the block.
    change : int
        Filters of the strided (encoder) or transposed (decoder) convolution
        that follows the block.
    dilation : int
        Dilation of both convolutions of the block.
    """

    first: int
    second: int
    change: int
    dilation: int = 1


@dataclass(frozen=True)
class UNetConfig:
    """Shape of a U-Net.

    Parameters
    ----------
    encoder, decoder : tuple of Stage
        As many decoder as encoder stages, each from input to output.
    classes : int
        Output channels; 1 means a sigmoid, more a softmax.
    residual : bool
        Add a 1 x 1 x 1 shortcut around each block.
    patch : int
        Edge in voxels of the cubes that a first strided convolution turns into
        one voxel of the first stage; 1 for none. The output has the input's
        grid again: a transposed convolution of the same stride, concatenated
        with the image, feeds the head.
    head : tuple of int
        Filters of the hidden convolutions of the head.
    head_kernel : int
        Edge of the head's hidden convolutions.
    head_activation : str
        ``relu`` gives the last convolution a ReLU and batch normalisation, as
        the paper has it; ``linear`` leaves both out.
    beside : UNetConfig or None
        A second network that sees the same image; what comes out is the mean of
        both before the sigmoid or softmax.
    """

    encoder: tuple[Stage, ...]
    decoder: tuple[Stage, ...]
    classes: int = 1
    residual: bool = True
    patch: int = 1
    head: tuple[int, ...] = (16, 16)
    head_kernel: int = 1
    head_activation: str = "relu"
    beside: UNetConfig | None = None

    @property
    def multiple(self) -> int:
        """Voxels of which each input edge must be a multiple."""
        return lcm(*(int(one.patch * 2 ** len(one.encoder)) for one in self.members))

    @property
    def members(self) -> tuple[UNetConfig, ...]:
        """The network itself, and the one beside it if there is one."""
        return (self, self.beside) if self.beside else (self,)

    def to_dict(self) -> dict[str, Any]:
        """Return the configuration as JSON-ready values."""
        values = asdict(self)
        if self.beside:
            return values | {"beside": self.beside.to_dict()}
        values.pop("beside")  # as bundles were before there could be one
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> UNetConfig:
        """Build a configuration from what :meth:`to_dict` returned.

        Parameters
        ----------
        values : mapping
            Names of the parameters and their values.

        Returns
        -------
        config : UNetConfig
            Checked.

        Raises
        ------
        InputError
            If a key is unknown or missing, or a value is impossible.
        """
        fields = dict(values)
        try:
            for side in ("encoder", "decoder"):
                fields[side] = tuple(Stage(**stage) for stage in fields[side])
            if "head" in fields:
                fields["head"] = tuple(fields["head"])
            if fields.get("beside") is not None:
                fields["beside"] = cls.from_dict(fields["beside"])
            config = cls(**fields)
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"architecture: expected the fields of UNetConfig, found {sorted(fields)} "
                f"({error}). The bundle was written by another tool or a newer version."
            ) from error
        _check(config)
        return config


def _check(config: UNetConfig) -> None:
    """Refuse what no network can be built from, or none that fits a machine."""
    stages = [*config.encoder, *config.decoder]
    widths = [n for stage in stages for n in (stage.first, stage.second, stage.change)]
    rules = {
        "1 to 8 encoder stages and as many decoder stages": (
            len(config.encoder) == len(config.decoder) and 1 <= len(config.encoder) <= 8
        ),
        "1 to 4096 filters everywhere": _whole([*widths, *config.head, config.classes], 4096),
        "dilations of 1 to 16": _whole([stage.dilation for stage in stages], 16),
        "a patch of 1 to 8": _whole([config.patch], 8),
        "a hidden layer in the head of a network with a patch": bool(config.head)
        or (config.patch == 1),
        "a head kernel of 1 to 7": _whole([config.head_kernel], 7),
        "true or false for residual": isinstance(config.residual, bool),
        "relu or linear for head_activation": config.head_activation in ("relu", "linear"),
        "one network beside, of as many classes": config.beside is None
        or (config.beside.beside is None and config.beside.classes == config.classes),
    }
    if broken := [rule for rule, kept in rules.items() if not kept]:
        raise InputError(
            f"architecture: expected {broken[0]}, found {config!r:.200}. Correct config.json."
        )


def _whole(values: Sequence[object], highest: int) -> bool:
    return all(type(value) is int and 1 <= value <= highest for value in values)


DUONG2019 = UNetConfig(
    encoder=(
        Stage(16, 16, 64, 2),
        Stage(64, 64, 128, 2),
        Stage(128, 128, 256, 3),
        Stage(256, 256, 256, 3),
    ),
    decoder=(
        Stage(256, 256, 128),
        Stage(128, 128, 64),
        Stage(64, 64, 16),
        Stage(16, 16, 16),
    ),
)


def build_unet(config: UNetConfig) -> keras.Model:
    """Build the network with random weights.

    Parameters
    ----------
    config : UNetConfig
        Shape of the network.

    Returns
    -------
    model : keras.Model
        Maps float (N, X, Y, Z, 1) to float32 (N, X, Y, Z, classes) in [0, 1],
        for edges that are multiples of ``config.multiple``.
    """
    import keras
    from keras import layers

    image = keras.Input((None, None, None, 1), name="image")
    ends = [_ends(image, one, PREFIXES[place]) for place, one in enumerate(config.members)]
    x = layers.Average(name="mean")(ends) if config.beside else ends[0]
    activation = "sigmoid" if config.classes == 1 else "softmax"
    # float32 whatever the precision policy: bfloat16 rounds probabilities to 1
    probability = layers.Activation(activation, dtype="float32", name="probability")(x)
    return keras.Model(image, probability, name="unet")


def _ends(image: Any, config: UNetConfig, prefix: str) -> Any:
    """Return what one network makes of the image, before the sigmoid or softmax."""
    from keras import layers

    x = image
    if config.patch > 1:
        x = _unit(x, config.encoder[0].first, f"{prefix}stem", kernel=config.patch,
                  strides=config.patch)  # fmt: skip
    skips = []
    for level, stage in enumerate(config.encoder):
        x = _block(x, stage, f"{prefix}encoder{level}", residual=config.residual)
        skips.append(x)
        x = _unit(x, stage.change, f"{prefix}encoder{level}_down", strides=2)
    for level, stage in enumerate(config.decoder):
        name = f"{prefix}decoder{level}"
        x = _block(x, stage, name, residual=config.residual)
        x = _up(x, stage.change, f"{name}_up", kernel=3, strides=2)
        x = layers.Concatenate(name=f"{name}_join")([x, skips.pop()])
    if config.patch > 1:
        x = _up(x, config.head[0], f"{prefix}unpatch", kernel=config.patch, strides=config.patch)
        x = layers.Concatenate(name=f"{prefix}unpatch_join")([x, image])
    for index, filters in enumerate(config.head):
        x = _unit(x, filters, f"{prefix}head{index}", kernel=config.head_kernel)
    if config.head_activation == "relu":
        return _unit(x, config.classes, f"{prefix}head_out", kernel=1)
    return layers.Conv3D(config.classes, 1, name=f"{prefix}{END}")(x)


def _block(x: Any, stage: Stage, name: str, *, residual: bool) -> Any:
    from keras import layers

    y = _unit(x, stage.first, f"{name}_a", dilation=stage.dilation)
    y = _unit(y, stage.second, f"{name}_b", dilation=stage.dilation)
    if not residual:
        return y
    shortcut = layers.Conv3D(stage.second, 1, name=f"{name}_shortcut_conv")(x)
    shortcut = layers.BatchNormalization(name=f"{name}_shortcut_norm")(shortcut)
    return layers.Add(name=f"{name}_add")([y, shortcut])


def _unit(
    x: Any, filters: int, name: str, *, kernel: int = 3, strides: int = 1, dilation: int = 1
) -> Any:
    """Convolution, ReLU, batch normalisation, in the paper's order."""
    from keras import layers

    x = layers.Conv3D(
        filters, kernel, strides=strides, dilation_rate=dilation, padding="same",
        name=f"{name}_conv",
    )(x)  # fmt: skip
    x = layers.ReLU(name=f"{name}_relu")(x)
    return layers.BatchNormalization(name=f"{name}_norm")(x)


def _up(x: Any, filters: int, name: str, *, kernel: int, strides: int) -> Any:
    from keras import layers

    x = _transposed()(filters, kernel, strides=strides, padding="same", name=f"{name}_conv")(x)
    x = layers.ReLU(name=f"{name}_relu")(x)
    return layers.BatchNormalization(name=f"{name}_norm")(x)


@cache
def _transposed() -> Any:
    """Return the layer of a transposed convolution; on JAX one that a GPU can train.

    XLA has no fast gradient of a transposed convolution whose padding is uneven, as that of
    stride 2 and kernel 3 is: measured, 550 ms for one layer where an ordinary convolution of
    the same result takes 6. Hence zeros between the voxels and an ordinary convolution.
    """
    import keras

    if keras.backend.backend() != "jax":
        return keras.layers.Conv3DTranspose

    class SpreadConvolution(keras.layers.Conv3DTranspose):
        def call(self, inputs: Any) -> Any:
            ops, edge, stride = keras.ops, self.kernel_size[0], self.strides[0]
            spread = _spread(inputs, stride)
            after = max(edge - stride, 0) // 2  # as "same" has it
            ahead = (edge - 1 - after, after)
            spread = ops.pad(spread, ((0, 0), ahead, ahead, ahead, (0, 0)))
            kernel = ops.transpose(ops.flip(self.kernel, (0, 1, 2)), (0, 1, 2, 4, 3))
            return ops.add(ops.conv(spread, kernel, padding="valid"), self.bias)

    return SpreadConvolution


def _spread(x: Any, stride: int) -> Any:
    """Put zeros between voxels: (N, X, Y, Z, C) to (N, sX, sY, sZ, C)."""
    from keras import ops

    batch, *edges, channels = x.shape
    apart = ops.reshape(x, (batch, *(n for edge in edges for n in (edge, 1)), channels))
    apart = ops.pad(apart, ((0, 0), *((0, 0), (0, stride - 1)) * 3, (0, 0)))
    return ops.reshape(apart, (batch, *(stride * edge for edge in edges), channels))
