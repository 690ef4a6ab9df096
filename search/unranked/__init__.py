"""What no law ranks: the time, memory and tokens of any decoder, or of a whole space of them."""
