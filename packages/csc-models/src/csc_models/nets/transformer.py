"""The encoder of the ViT-V-Net: convolutions to a quarter of the resolution, then a transformer on patches of 8.

Source: Dosovitskiy et al., An image is worth 16x16 words, 2020, https://arxiv.org/abs/2010.11929
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from csc_models.nets.recomputation import recomputed

PATCH = 8
STRIDE = 4 * PATCH  # voxels of the input per patch

Grid = tuple[int, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class ViTVNetConfig:
    """Sizes of a ViT-V-Net; the defaults are the published ones.

    Attributes
    ----------
    hidden_size, mlp_dim, num_heads, num_layers : int
        Width of the transformer, of its multilayer perceptrons, heads per layer, and layers.
    attention_dropout_rate, dropout_rate : float
        Dropout of the attention, and of everything else in the transformer.
    encoder_channels : tuple of int
        Channels of the convolutional encoder at full, half and quarter resolution.
    conv_first_channel : int
        Channels of the first layer of the decoder.
    decoder_channels : tuple of int
        Channels of the decoder from 1/16 to full resolution.
    """

    hidden_size: int = 252
    mlp_dim: int = 3072
    num_heads: int = 12
    num_layers: int = 12
    attention_dropout_rate: float = 0.0
    dropout_rate: float = 0.1
    encoder_channels: tuple[int, int, int] = (16, 32, 32)
    conv_first_channel: int = 512
    decoder_channels: tuple[int, int, int, int, int] = (96, 48, 32, 32, 16)


class DoubleConv(nn.Module):
    """Twice convolution and ReLU."""

    def __init__(self, channels: int, wide: int) -> None:
        super().__init__()
        self.double_conv = nn.Sequential(
            nn.Conv3d(channels, wide, kernel_size=3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv3d(wide, wide, kernel_size=3, padding=1),
            nn.ReLU(inplace=True),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, channels, z, y, x) to (B, wide, z, y, x)."""
        result: Tensor = self.double_conv(x)
        return result


class Down(nn.Module):
    """Halve the resolution, then convolve twice."""

    def __init__(self, channels: int, wide: int) -> None:
        super().__init__()
        self.maxpool_conv = nn.Sequential(nn.MaxPool3d(2), DoubleConv(channels, wide))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, channels, z, y, x) to (B, wide, z/2, y/2, x/2)."""
        result: Tensor = self.maxpool_conv(x)
        return result


class ConvolutionalEncoder(nn.Module):
    """Features at full, half and quarter resolution, and the last ones pooled twice more."""

    def __init__(self, n_channels: int, widths: tuple[int, int, int]) -> None:
        super().__init__()
        self.inc = DoubleConv(n_channels, widths[0])
        self.down1 = Down(widths[0], widths[1])
        self.down2 = Down(widths[1], widths[2])
        self.pool = nn.MaxPool3d(2)

    def forward(self, x: Tensor, save_memory: bool) -> tuple[Tensor, list[Tensor]]:
        """Return the features at quarter resolution, and all features from coarse to fine."""
        full = recomputed(self.inc, x, enabled=save_memory)
        half = recomputed(self.down1, full, enabled=save_memory)
        quarter = recomputed(self.down2, half, enabled=save_memory)
        eighth = self.pool(quarter)
        return quarter, [self.pool(eighth), eighth, quarter, half, full]


class Embeddings(nn.Module):
    """Patches as vectors, with their positions added."""

    def __init__(self, config: ViTVNetConfig, n_channels: int, grid: Grid) -> None:
        super().__init__()
        self.grid = grid
        features = config.encoder_channels[-1]
        self.position_embeddings = nn.Parameter(torch.zeros(1, math.prod(grid), config.hidden_size))
        self.hybrid_model = ConvolutionalEncoder(n_channels, config.encoder_channels)
        self.patch_embeddings = nn.Conv3d(features, config.hidden_size, kernel_size=PATCH, stride=PATCH)
        self.dropout = nn.Dropout(config.dropout_rate)

    def forward(self, x: Tensor, save_memory: bool) -> tuple[Tensor, Grid, list[Tensor]]:
        """Map voxels to vectors (B, patches, hidden), their grid, and the convolutional features."""
        features, skips = self.hybrid_model(x, save_memory)
        patches = self.patch_embeddings(features)
        grid = tuple(patches.shape[2:])
        positions: Tensor = self.position_embeddings
        if grid != self.grid:
            positions = resized_positions(positions, self.grid, grid)
        vectors: Tensor = self.dropout(patches.flatten(2).transpose(1, 2) + positions)
        return vectors, grid, skips


class Attention(nn.Module):
    """Attention of several heads of all patches to all."""

    def __init__(self, config: ViTVNetConfig, vis: bool) -> None:
        super().__init__()
        hidden_size, dropout = config.hidden_size, config.attention_dropout_rate
        self.num_heads = config.num_heads
        self.vis = vis
        self.kept_weights: Tensor | None = None
        self.query = nn.Linear(hidden_size, hidden_size)
        self.key = nn.Linear(hidden_size, hidden_size)
        self.value = nn.Linear(hidden_size, hidden_size)
        self.out = nn.Linear(hidden_size, hidden_size)
        self.attn_dropout = nn.Dropout(dropout)
        self.proj_dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, patches, hidden) to the same."""
        query, key, value = (self._heads(layer(x)) for layer in (self.query, self.key, self.value))
        if self.vis:
            weights = (query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])).softmax(dim=-1)
            self.kept_weights = weights.detach()
            mixed = self.attn_dropout(weights) @ value
        else:
            dropout = self.attn_dropout.p if self.training else 0.0
            mixed = functional.scaled_dot_product_attention(query, key, value, dropout_p=dropout)
        result: Tensor = self.proj_dropout(self.out(mixed.transpose(1, 2).flatten(2)))
        return result

    def _heads(self, x: Tensor) -> Tensor:
        """Split (B, patches, hidden) into (B, heads, patches, hidden / heads)."""
        return x.reshape(*x.shape[:2], self.num_heads, -1).transpose(1, 2)


class MultilayerPerceptron(nn.Module):
    """Two linear layers with a GELU between."""

    def __init__(self, config: ViTVNetConfig) -> None:
        super().__init__()
        self.fc1 = nn.Linear(config.hidden_size, config.mlp_dim)
        self.fc2 = nn.Linear(config.mlp_dim, config.hidden_size)
        self.dropout = nn.Dropout(config.dropout_rate)
        for layer in (self.fc1, self.fc2):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.normal_(layer.bias, std=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, patches, hidden) to the same."""
        hidden = self.dropout(functional.gelu(self.fc1(x)))
        result: Tensor = self.dropout(self.fc2(hidden))
        return result


class Layer(nn.Module):
    """Attention, then a multilayer perceptron, each on normalised input and added to it."""

    def __init__(self, config: ViTVNetConfig, vis: bool) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(config.hidden_size, eps=1e-6)
        self.ffn_norm = nn.LayerNorm(config.hidden_size, eps=1e-6)
        self.ffn = MultilayerPerceptron(config)
        self.attn = Attention(config, vis)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, patches, hidden) to the same."""
        x = x + self.attn(self.attention_norm(x))
        result: Tensor = x + self.ffn(self.ffn_norm(x))
        return result


class Layers(nn.Module):
    """The layers of the transformer, and a last normalisation."""

    def __init__(self, config: ViTVNetConfig, vis: bool) -> None:
        super().__init__()
        self.layer = nn.ModuleList(Layer(config, vis) for _ in range(config.num_layers))
        self.encoder_norm = nn.LayerNorm(config.hidden_size, eps=1e-6)

    def forward(self, x: Tensor, save_memory: bool) -> Tensor:
        """Map (B, patches, hidden) to the same."""
        for layer in self.layer:
            x = recomputed(layer, x, enabled=save_memory)
        result: Tensor = self.encoder_norm(x)
        return result


class Transformer(nn.Module):
    """Convolutional encoder, patches, and the transformer on them."""

    def __init__(self, config: ViTVNetConfig, n_channels: int, grid: Grid, vis: bool) -> None:
        super().__init__()
        self.embeddings = Embeddings(config, n_channels, grid)
        self.encoder = Layers(config, vis)

    def forward(self, x: Tensor, save_memory: bool) -> tuple[Tensor, list[Tensor]]:
        """Map voxels to features of patches (B, hidden, z, y, x), and the convolutional features."""
        vectors, grid, skips = self.embeddings(x, save_memory)
        encoded: Tensor = self.encoder(vectors, save_memory)
        return encoded.transpose(1, 2).reshape(*encoded.shape[::2], *grid), skips


def resized_positions(positions: Tensor, grid: Grid, new_grid: Grid) -> Tensor:
    """Interpolate position embeddings (1, patches, hidden) linearly from one grid of patches to another.

    Examples
    --------
    >>> import torch
    >>> tuple(resized_positions(torch.rand(1, 8, 4), (2, 2, 2), (3, 3, 3)).shape)
    (1, 27, 4)
    """
    volume = positions.transpose(1, 2).reshape(1, -1, *grid)
    resized = functional.interpolate(volume, size=new_grid, mode="trilinear", align_corners=False)
    return resized.flatten(2).transpose(1, 2)
