"""The networks, one file each: plain torch modules from a normalised batch to a raw logit of FAKE."""
