"""What is shipped under a name, or a user's file of the same kind."""
