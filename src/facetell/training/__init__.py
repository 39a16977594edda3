"""From face caches and a recipe to a detector file: one task per kind of detector, one loop for all of them."""
