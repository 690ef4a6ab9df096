"""What a model costs and how good it will be: pure formulas and their fits."""
