"""What a user hands over and what is left behind: read checked, written whole."""
