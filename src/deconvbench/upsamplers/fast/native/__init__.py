"""The tiled form compiled for this machine, as an extra: a C file and a compiler where there is one, nothing else.

Torch's operations each pass over memory; here a band of the image goes through all of the form while it stays in
the cache. `build_native` compiles and tries it, once, on request; a run with the layer `nearest_conv_native` is
such a request. From then on `ResizeConv2d` finds it by itself and takes it where it pays (``tiled`` and ``auto``,
float32 on the CPU). Without it everything works as before.
"""

from deconvbench.upsamplers.fast.native.building import NativeBuild, build_native, ensure_native
from deconvbench.upsamplers.fast.native.library import Library, find_library

__all__ = ["Library", "NativeBuild", "build_native", "ensure_native", "find_library"]
