"""What no model between two beats, which a search by bounds prunes with."""
