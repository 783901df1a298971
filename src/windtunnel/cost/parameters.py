"""How many parameters a model has, and how many matrices and norms hold them."""

from windtunnel.spec.model import ModelSpec

NORMS_OF_BLOCK = 2

OPTIMIZER_STATES = {"adamw": 2, "sgd": 0}
"""Numbers that an optimizer keeps for each parameter, in the format of the parameter."""


def block_matrix_entries(model: ModelSpec) -> int:
    """Count the entries of the matrices of one block: 2·d² + 2·d·d_kv + m·d·d_ff, m of `num_ff_matrices`.

    d_kv is the width of all key heads together: d_model, or less with grouped queries.
    """
    d, d_kv = model.d_model, model.kv_heads * model.d_head
    return 2 * d * d + 2 * d * d_kv + model.num_ff_matrices * d * model.d_ff


def block_parameter_count(model: ModelSpec) -> int:
    """Count the parameters of a block: its matrices and two norms of d."""
    return block_matrix_entries(model) + NORMS_OF_BLOCK * model.d_model


def root_parameter_count(model: ModelSpec) -> int:
    """Count the parameters outside the blocks: embedding and head V·d each (tied: once), and a last norm d."""
    tables = 1 if model.is_tied else 2
    return tables * model.vocab_size * model.d_model + model.d_model


def parameter_count(model: ModelSpec) -> int:
    """Count the parameters, in the blocks and outside."""
    return root_parameter_count(model) + model.num_layers * block_parameter_count(model)


def tensor_sizes(model: ModelSpec) -> dict[int, int]:
    """Return how many tensors there are of each number of entries that hold the parameters."""
    d, d_kv = model.d_model, model.kv_heads * model.d_head
    in_block = [d * d] * 2 + [d * d_kv] * 2 + [d * model.d_ff] * model.num_ff_matrices + [d] * NORMS_OF_BLOCK
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
