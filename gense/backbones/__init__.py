"""Networks, all called as (x, t, cond)."""

from gense.backbones.base import Backbone
from gense.backbones.ncsnpp import NCSNpp
from gense.backbones.unet import UNet

__all__ = ["Backbone", "NCSNpp", "UNet"]
