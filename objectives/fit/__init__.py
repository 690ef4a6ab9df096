"""From runs to a law, from timed steps to a step-time model, with how sure they are."""
