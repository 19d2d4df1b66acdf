"""NCSN++ on complex spectrograms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, cast

import torch
from torch import Tensor, nn

from gense.backbones.base import Backbone
from gense.backbones.layers.attention import MapAttention
from gense.backbones.layers.fir import FIRDown, FIRUp
from gense.backbones.layers.initialisation import Conv
from gense.backbones.layers.levels import DownLevel, SpectrumHead, UpLevel
from gense.backbones.layers.residual import ResidualBlock
from gense.backbones.layers.time_embedding import TimeEmbedding
from gense.types import Condition


class NCSNpp(Backbone):
    """U-Net with BigGAN residual blocks, FIR resampling and a pyramid of the input and output at every resolution.

    Song et al. 2021 (arXiv:2011.13456, NCSN++), for complex spectra as in Richter et al. 2023 (arXiv:2208.05830).
    The input channels are the real and imaginary parts of the state and of each condition, in order.  Bins and
    frames must be multiples of 2^(levels - 1).  The defaults are the published 16 kHz network; with
    `divide_by_time=None` they are the one whose scaling lies outside the network, and the published 48 kHz network has
    `attention_levels=()`, `progressive="none"`, `progressive_input="none"` and `divide_by_time="after"`.

    On a CPU, without gradients and in float32, large maps are computed in strips with fewer multiplications
    (`layers/strips.py`); the result differs from the plain layers by rounding only.

    Args:
        inputs: number of complex inputs: the state and the conditions.
        base_channels: channels of the finest level per unit of `channel_mult`.
        channel_mult: factor of the channels at each level, finest first; its length is the number of levels.
        blocks_per_level: residual blocks per level on the way down; one more on the way up.
        attention_levels: levels with attention over the map, 0 = finest.  The published network is built for 256 bins
            with attention at height 16: level 4.  The bottleneck always has attention.
        progressive: "output_skip" sums the outputs of all levels; "none" has one head after the finest level.
        progressive_input: "input_skip" adds the downsampled input to every level; "none" does not.
        timed: condition on time.  Without, forward takes t = None and `divide_by_time` must be None.
        divide_by_time: divide by t "before" the output layer (its bias is then not divided), "after" it, or not (None).
        centered: False maps the input values x to 2 x - 1.
        fourier_scale: standard deviation of the random frequencies of log t.
        dropout: probability before the second convolution of each residual block.

    Raises:
        ValueError: arguments out of range or in conflict, or channels that group norm cannot divide.
    """

    def __init__(
        self,
        *,
        inputs: int = 2,
        base_channels: int = 128,
        channel_mult: Sequence[int] = (1, 1, 2, 2, 2, 2, 2),
        blocks_per_level: int = 2,
        attention_levels: Sequence[int] = (4,),
        progressive: Literal["output_skip", "none"] = "output_skip",
        progressive_input: Literal["input_skip", "none"] = "input_skip",
        timed: bool = True,
        divide_by_time: Literal["before", "after"] | None = "before",
        centered: bool = True,
        fourier_scale: float = 16.0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        levels = len(channel_mult)
        counts = {"inputs": inputs, "levels in channel_mult": levels, "blocks_per_level": blocks_per_level}
        for name, value in counts.items():
            if value < 1:
                raise ValueError(f"{value} {name}: need at least 1")
        if outside := [level for level in attention_levels if not 0 <= level < levels]:
            raise ValueError(f"attention_levels has {outside}; the {levels} levels are 0 to {levels - 1}")
        for name, choice, known in (
            ("progressive", progressive, ("output_skip", "none")),
            ("progressive_input", progressive_input, ("input_skip", "none")),
            ("divide_by_time", divide_by_time, ("before", "after", None)),
        ):
            if choice not in known:
                raise ValueError(f"{name}={choice!r}: expected one of {known}")
        if divide_by_time is not None and not timed:
            raise ValueError(f"divide_by_time={divide_by_time!r} needs a time; with timed=False set it to None")
        self.inputs, self.levels = inputs, levels
        self.divide_by_time, self.centered = divide_by_time, centered
        planes = 2 * inputs
        time_features = 4 * base_channels if timed else None

        def block(channels_in: int, channels_out: int, resample: Literal["down", "up"] | None = None) -> ResidualBlock:
            return ResidualBlock(
                channels_in, channels_out, time_features=time_features, resample=resample, dropout=dropout
            )

        self.time = TimeEmbedding(base_channels, scale=fourier_scale) if timed else None
        self.pyramid_down, self.pyramid_up = FIRDown(), FIRUp()
        self.stem = Conv(planes, base_channels, 3)

        self.down = cast("list[DownLevel]", nn.ModuleList())
        channels = base_channels
        laterals = [channels]
        for level, factor in enumerate(channel_mult):
            width, deepest = base_channels * factor, level == levels - 1
            blocks = [block(channels if i == 0 else width, width) for i in range(blocks_per_level)]
            channels = width
            attention = [MapAttention(width) for _ in blocks] if level in attention_levels else []
            shrink = None if deepest else block(width, width, "down")
            inject = None if deepest or progressive_input == "none" else Conv(planes, width, 1)
            self.down.append(DownLevel(blocks, attention, shrink, inject))
            laterals += [width] * (len(blocks) if deepest else len(blocks) + 1)

        self.middle_in = block(channels, channels)
        self.middle_attention = MapAttention(channels)
        self.middle_out = block(channels, channels)

        self.up = cast("list[UpLevel]", nn.ModuleList())
        for level in reversed(range(levels)):
            width = base_channels * channel_mult[level]
            blocks = []
            for _ in range(blocks_per_level + 1):
                blocks.append(block(channels + laterals.pop(), width))
                channels = width
            self.up.append(
                UpLevel(
                    blocks,
                    MapAttention(width) if level in attention_levels else None,
                    SpectrumHead(width, planes) if progressive == "output_skip" else None,
                    block(width, width, "up") if level > 0 else None,
                )
            )
        self.head = SpectrumHead(channels, planes) if progressive == "none" else None
        self.output_layer = nn.Conv2d(planes, 2, 1)

    def forward(self, x: Tensor, t: Tensor | None, cond: Condition) -> Tensor:
        """Run the network once.

        Args:
            x: state, complex (B, 1, F, T); F and T multiples of 2^(levels - 1).
            t: time of each item, (B,), positive; None if built with `timed=False`.
            cond: `inputs - 1` conditions, each complex (B, 1, F, T).

        Returns:
            Complex (B, 1, F, T), complex64 whatever the dtype of the parameters.

        Raises:
            TypeError: an input is not complex.
            ValueError: wrong number or shape of the inputs, or t missing, superfluous or not (B,).
        """
        self._check(x, t, cond)
        planes = self._planes([x, *cond.values()])
        time = None if self.time is None or t is None else self.time(t)
        planes = self._network(planes, time)
        output = self._output(planes if self.head is None else self.head(planes), t)
        return torch.view_as_complex(output.permute(0, 2, 3, 1).contiguous())[:, None]

    def _check(self, x: Tensor, t: Tensor | None, cond: Condition) -> None:
        if len(cond) + 1 != self.inputs:
            names = ", ".join(cond) or "none"
            raise ValueError(
                f"got {len(cond)} conditions ({names}): a network with inputs={self.inputs} takes {self.inputs - 1}"
            )
        for name, spectrum in {"x": x, **cond}.items():
            if not spectrum.is_complex():
                raise TypeError(f"{name} is {spectrum.dtype}: expected a complex spectrum (B, 1, F, T)")
            if spectrum.ndim != 4 or spectrum.shape[1] != 1:
                raise ValueError(f"{name} is {tuple(spectrum.shape)}: expected one channel, (B, 1, F, T)")
            if spectrum.shape != x.shape:
                raise ValueError(f"{name} is {tuple(spectrum.shape)}, x {tuple(x.shape)}: expected equal shapes")
        multiple = 2 ** (self.levels - 1)
        for name, size in (("bins", x.shape[2]), ("frames", x.shape[3])):
            if size == 0 or size % multiple:
                raise ValueError(f"{size} {name}: {self.levels} levels need a multiple of {multiple}; pad the spectrum")
        if (t is None) != (self.time is None):
            raise ValueError(
                "t is None: this network is conditioned on time, pass (B,)"
                if t is None
                else "this network was built with timed=False: pass t=None"
            )
        if t is not None and t.shape != x.shape[:1]:
            raise ValueError(f"t is {tuple(t.shape)}: expected one time per item, ({x.shape[0]},)")

    def _planes(self, spectra: list[Tensor]) -> Tensor:
        """Real and imaginary parts as channels, (B, 2 inputs, F, T)."""
        # Complex numbers are channels-last memory already, which convolutions on a CPU want, and which all layers keep.
        # Elsewhere group norm returns to contiguous memory, and a mixture of both would be copied at every turn.
        planes = torch.cat([torch.view_as_real(spectrum[:, 0]) for spectrum in spectra], dim=-1).permute(0, 3, 1, 2)
        planes = planes.to(self.stem.weight.dtype)
        if planes.device.type != "cpu":
            planes = planes.contiguous()
        return planes if self.centered else 2 * planes - 1

    def _network(self, planes: Tensor, time: Tensor | None) -> Tensor:
        """The U-Net: the output pyramid, (B, 2 inputs, F, T), or the finest map if the network has no pyramid."""
        x = self.stem(planes)
        laterals = [x]
        for level in self.down:
            maps = level.features(x, time)
            laterals += maps
            x = maps[-1]
            if level.shrink is not None:
                x = level.shrink(x, time)
                if level.inject is not None:
                    planes = self.pyramid_down(planes)
                    x = x + level.inject(planes)
                laterals.append(x)

        x = self.middle_out(self.middle_attention(self.middle_in(x, time)), time)

        pyramid: Tensor | None = None
        for step in self.up:
            x = step.features(x, time, laterals)
            if step.head is not None:
                pyramid = step.head(x) if pyramid is None else self.pyramid_up(pyramid) + step.head(x)
            if step.grow is not None:
                x = step.grow(x, time)
        return x if pyramid is None else pyramid

    def _output(self, planes: Tensor, t: Tensor | None) -> Tensor:
        """The output layer and the division by time in float32, (B, 2 inputs, F, T) -> (B, 2, F, T)."""
        scale = None if t is None else t.float()[:, None, None, None]
        if scale is not None and self.divide_by_time == "before":
            planes = (planes.float() / scale).to(planes.dtype)
        output = self.output_layer(planes).float()
        return output / scale if scale is not None and self.divide_by_time == "after" else output
