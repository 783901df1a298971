"""Raw Triton and Gluon kernels and their tiles, nothing else; importing this room needs no triton, its files do.

`flash_forward.py` and `flash_backward.py` run on every architecture of `tiles.py`. A kernel for one architecture only
(Gluon on Hopper) is a file of its own beside them and a backend of its own in `attention/`, so that its name in a
table of results says which kernel ran.
"""
