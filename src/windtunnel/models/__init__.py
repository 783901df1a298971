"""The reference Transformer that every named size builds, and the door for a model of the user's own."""
