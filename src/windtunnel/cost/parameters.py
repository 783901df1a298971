"""How many parameters a model has, and how many matrices and norms hold them."""

from windtunnel.spec.model import ModelSpec

NORMS_OF_BLOCK = 2


def num_matrices(model: ModelSpec) -> int:
    """Matrices of the feed-forward layer: SwiGLU has a gate besides the way up and the way down."""
    return 3 if model.activation == "swiglu" else 2


def block_matrix_entries(model: ModelSpec) -> int:
    """Count the entries of the matrices of one block: 2·d² + 2·d·d_kv + m·d·d_ff, m of `num_matrices`.

    d_kv is the width of all key heads together: d_model, or less with grouped queries.
    """
    d, d_kv = model.d_model, model.kv_heads * model.d_head
    return 2 * d * d + 2 * d * d_kv + num_matrices(model) * d * model.d_ff


def parameter_count(model: ModelSpec) -> int:
    """Count the parameters: embedding and head V·d each (once where they are tied), the blocks, a last norm d.

    A block has its matrices and two norms of d.
    """
    block = block_matrix_entries(model) + NORMS_OF_BLOCK * model.d_model
    tables = 1 if model.is_tied else 2
    return tables * model.vocab_size * model.d_model + model.num_layers * block + model.d_model


def tensor_sizes(model: ModelSpec) -> dict[int, int]:
    """Return how many tensors there are of each number of entries that hold the parameters."""
    d, d_kv = model.d_model, model.kv_heads * model.d_head
    in_block = [d * d] * 2 + [d * d_kv] * 2 + [d * model.d_ff] * num_matrices(model) + [d] * NORMS_OF_BLOCK
    counts: dict[int, int] = {}
    for entries, count in (
        *((entries, model.num_layers) for entries in in_block),
        (model.vocab_size * d, 1 if model.is_tied else 2),
        (d, 1),
    ):
        counts[entries] = counts.get(entries, 0) + count
    return counts


def tensor_count(model: ModelSpec) -> int:
    """Count the tensors that hold the parameters."""
    return sum(tensor_sizes(model).values())
