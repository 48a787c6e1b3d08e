"""A fuzzer of `fuse`: random networks, used in random ways, against what they were before.

`programs` draws a network and writes it as source code, `scenarios` draws what is done with it, `changes` does
that, and `comparing` compares all that can be seen of the network and its fused copy from outside.
"""
