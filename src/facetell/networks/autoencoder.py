"""A small autoencoder of faces: the kind of network that swappers draw faces with, and so a source of their texture."""

from __future__ import annotations

from typing import Literal, get_args

from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

Upsampling = Literal["transposed", "nearest", "bilinear", "shuffle"]
STRIDE = 8  # sides of the pictures are multiples of this


class Autoencoder(nn.Module):
    """Three convolutions with stride 2, two residual blocks, and three ways up again.

    Every way of up-sampling leaves a texture of its own (Odena et al., "Deconvolution and Checkerboard Artifacts",
    Distill 2016; Frank et al., "Leveraging Frequency Analysis for Deep Fake Image Recognition", ICML 2020).

    Args:
        upsampling: `transposed` convolutions, `nearest` or `bilinear` scaling before a convolution, or pixel `shuffle`
            after one.
        width: channels at half the resolution; twice and four times as many below.

    Raises:
        ValueError: no such way of up-sampling.

    >>> import torch
    >>> Autoencoder("shuffle", 4)(torch.zeros(2, 3, 64, 96)).shape
    torch.Size([2, 3, 64, 96])
    """

    def __init__(self, upsampling: Upsampling = "transposed", width: int = 16) -> None:
        super().__init__()
        if upsampling not in get_args(Upsampling):
            raise ValueError(f"upsampling {upsampling!r} is none of {', '.join(get_args(Upsampling))}")
        self.encoder = nn.Sequential(
            nn.Conv2d(3, width, 5, 2, 2),
            nn.LeakyReLU(0.1),
            nn.Conv2d(width, 2 * width, 3, 2, 1),
            nn.LeakyReLU(0.1),
            nn.Conv2d(2 * width, 4 * width, 3, 2, 1),
            nn.LeakyReLU(0.1),
        )
        self.middle = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(4 * width, 4 * width, 3, 1, 1), nn.LeakyReLU(0.1), nn.Conv2d(4 * width, 4 * width, 3, 1, 1)
            )
            for _ in range(2)
        )
        self.decoder = nn.Sequential(
            _up(upsampling, 4 * width, 2 * width),
            nn.LeakyReLU(0.1),
            _up(upsampling, 2 * width, width),
            nn.LeakyReLU(0.1),
            _up(upsampling, width, width),
            nn.LeakyReLU(0.1),
            nn.Conv2d(width, 3, 3, 1, 1),
            nn.Sigmoid(),
        )

    def forward(self, faces: Tensor) -> Tensor:
        """(N, 3, H, W) in 0…1 -> the same faces, drawn anew; H and W are multiples of `STRIDE`."""
        code = self.encoder(faces)
        for block in self.middle:
            code = code + block(code)
        return self.decoder(code)


def patch_critic() -> nn.Sequential:
    """Tells drawn faces from real ones patch by patch: (N, 3, H, W) in 0…1 -> (N, 1, H/4, W/4) logits, high for real.

    Source: Isola et al., "Image-to-Image Translation with Conditional Adversarial Networks" (CVPR 2017), section 3.2.2,
    with spectral norms (Miyato et al., ICLR 2018) in place of batch norms.

    >>> import torch
    >>> patch_critic()(torch.zeros(2, 3, 64, 96)).shape
    torch.Size([2, 1, 16, 24])
    """
    return nn.Sequential(
        spectral_norm(nn.Conv2d(3, 24, 4, 2, 1)),
        nn.LeakyReLU(0.2),
        spectral_norm(nn.Conv2d(24, 48, 4, 2, 1)),
        nn.LeakyReLU(0.2),
        spectral_norm(nn.Conv2d(48, 48, 3, 1, 1)),
        nn.LeakyReLU(0.2),
        nn.Conv2d(48, 1, 3, 1, 1),
    )


def _up(upsampling: Upsampling, inputs: int, outputs: int) -> nn.Module:
    """Twice the resolution."""
    match upsampling:
        case "transposed":
            return nn.ConvTranspose2d(inputs, outputs, 4, 2, 1)
        case "shuffle":
            return nn.Sequential(nn.Conv2d(inputs, 4 * outputs, 3, 1, 1), nn.PixelShuffle(2))
        case _:
            return nn.Sequential(nn.Upsample(scale_factor=2, mode=upsampling), nn.Conv2d(inputs, outputs, 3, 1, 1))
