"""Real faces become pseudo-fakes: self-blends, parts, mixtures, swaps, and what videos suffer on their way to us."""
