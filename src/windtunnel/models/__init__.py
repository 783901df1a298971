"""The reference Transformer that every named size builds."""
