"""The compiled form, as its own tests have it."""

from tests.upsamplers.fast.native.conftest import cache, compiled, compiler, native

__all__ = ["cache", "compiled", "compiler", "native"]
