"""Which part of attention an operation is: told by the order of products and softmax, as no module is around each."""

from windtunnel.records.profile import Part

_PRODUCTS = ("matmul", "bmm", "mm", "einsum", "baddbmm", "addmm")
_MASKS = ("masked_fill", "ones", "zeros", "triu", "tril", "logical", "where", "full", "arange", "bitwise")
_ROTATES = ("roll", "addcmul", "mul", "add", "neg", "cat", "cos", "sin", "outer", "view_as_complex", "view_as_real")
_FUSED = ("scaled_dot_product", "flash", "efficient_attention", "flex_attention", "cudnn_attention")


class Spot:
    """Where a piece of work belongs; what attention does is only known when all of it has been seen."""

    __slots__ = ("block", "part")

    def __init__(self, part: Part, block: str) -> None:
        """Say where it belongs as far as that is known."""
        self.part = part
        self.block = block


class Attending:
    """Follows the outermost operations inside one call of attention, in their order.

    A range around the call of a backend alone (`Part.ATTENTION`) holds nothing but scores, softmax and weighted sum. A
    range around a whole module (`Part.ATTENTION_OTHER`) holds the rotation before them, and what comes after.
    """

    __slots__ = ("_block", "_products", "_softmaxes", "_spots", "_whole")

    def __init__(self, part: Part, block: str) -> None:
        """Begin a call in a block, of which the range is `part`."""
        self._whole = part is Part.ATTENTION_OTHER
        self._block = block
        self._products = 0
        self._softmaxes = 0
        self._spots: list[Spot] = []

    def see(self, name: str) -> Spot:
        """Return where an operation belongs; `end` may still change it."""
        spot = Spot(self._part(name.rpartition("::")[2]), self._block)
        self._spots.append(spot)
        return spot

    def end(self) -> None:
        """Note that the call is over: where no softmax ran by itself, there was one kernel, or code not told apart."""
        if self._softmaxes == 0 and not self._whole:
            for spot in self._spots:
                spot.part = Part.ATTENTION

    def _part(self, name: str) -> Part:
        plain = name.lstrip("_").rstrip("_")
        if any(word in plain for word in _FUSED):
            return Part.ATTENTION
        if "softmax" in plain:
            self._softmaxes += 1
            return Part.SOFTMAX
        if plain in _PRODUCTS:
            self._products += 1
            return Part.WEIGHTED_SUM if self._softmaxes else Part.SCORES
        if self._softmaxes:
            # A whole module goes on after its weighted sum: the second product.
            return Part.ATTENTION_OTHER if self._whole and self._products > 1 else Part.WEIGHTED_SUM
        if plain.startswith(_MASKS):
            return Part.MASK
        if self._products or not self._whole:
            return Part.SCORES
        return Part.ROTATION if plain.startswith(_ROTATES) else Part.ATTENTION_OTHER
