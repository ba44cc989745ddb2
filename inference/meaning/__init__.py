"""What a model's outputs and classes mean: decided and checked on rows that were tried.

Pure: arrays in, judgements out."""
