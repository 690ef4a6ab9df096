"""From a search's answer to trained models, and back to the law."""
