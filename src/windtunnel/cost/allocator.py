"""What the CUDA caching allocator adds to what is asked of it."""

_MIB = 2**20
_BLOCK = 512
_SMALL = _MIB
_LARGE_SEGMENT = 20 * _MIB
_OWN_SEGMENT = 10 * _MIB
_SEGMENT_STEP = 2 * _MIB


def handed_out(num_bytes: int) -> int:
    """Return the bytes that count as allocated for a tensor of `num_bytes` that gets fresh memory.

    Sizes are multiples of 512 bytes. From 1 MiB on, a tensor is cut from a segment of 20 MiB; from 10 MiB on it gets
    a segment of its own, a multiple of 2 MiB. What is left of a segment becomes a free block only if it is more than
    1 MiB: else it goes with the tensor (for segments of 20 MiB, with the last one of several; the mean is returned).
    Weights are allocated so, one after another, when a model is built; activations are cut from what was freed.

    Source: c10/cuda/CUDACachingAllocator.cpp of torch 2.11: kMinBlockSize, kSmallSize, kLargeBuffer, kMinLargeAlloc,
    kRoundLarge, should_split.
    """
    size = -(-num_bytes // _BLOCK) * _BLOCK
    if size <= _SMALL:
        return size
    if size >= _OWN_SEGMENT:
        left = -size % _SEGMENT_STEP
        return size + left if left <= _SMALL else size
    fitting, left = divmod(_LARGE_SEGMENT, size)
    return size + left // fitting if left <= _SMALL else size
