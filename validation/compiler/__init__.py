"""What a TPU's compiler says of a step, without a TPU."""
