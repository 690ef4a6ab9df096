"""What loss parameters and tokens reach, and what else has a say in it."""
