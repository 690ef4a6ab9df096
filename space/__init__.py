"""What a model is, and which models are allowed."""
