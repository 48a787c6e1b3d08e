"""Transposed convolutions of stride 2 with fewer multiplications, where the compiled form has them and is faster.

The four phases of such a layer are small convolutions, whose outputs are computed two at a time along each axis by
minimal filtering: 36 products for 16 output pixels with kernel 4, where the definition takes 64. Wherever torch's
own is faster, or is what whoever records a call can follow, that is called.
"""

from deconvbench.upsamplers.fast.deconvolution.layer import ConvTranspose2d

__all__ = ["ConvTranspose2d"]
